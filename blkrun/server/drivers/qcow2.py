"""QEMU's qcow2 over ``file``: see ``blkrun.server.qcow2``, which this puts into the graph."""

import errno
import sys
from collections.abc import Callable, Mapping
from typing import Any

from blkrun.errors import CommandError
from blkrun.options import Qcow2Options
from blkrun.server.node import Node
from blkrun.server.qcow2 import features
from blkrun.server.qcow2 import header as headers
from blkrun.server.qcow2.cache_sizes import cache_sizes
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.header import Header
from blkrun.server.qcow2.image import Image, Settings, geometry_of, read_header, read_l1
from blkrun.server.qcow2.reading import Reader
from blkrun.server.qcow2.store import Store
from blkrun.server.route import Key
from blkrun.server.staging import Staging
from blkrun.server.way import Extent, Way


class Qcow2(Node[Qcow2Options]):
    """``image`` is what is open; it is read anew where another node may have written to it."""

    driver = "qcow2"
    grows = frozenset({"file", "data-file"})
    file: Node[Any]
    image: Image
    reader: Reader

    def __init__(self, options: Qcow2Options) -> None:
        super().__init__(options)
        self._emit: Callable[[str, dict[str, Any]], None] = lambda *_: None
        self._told: set[bool] = set()

    # Control

    def open(self, staging: Staging) -> None:
        """Read the header and the L1 table.  Raises CommandError in QEMU's words."""
        self._emit = staging.graph.events.emit
        try:
            self._load()
        except ImageError as error:
            raise CommandError(f"Could not open node '{self.name}': {error}") from error

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """The disk's, as the header says; the file's is another matter."""
        del sizes
        return self.image.header.size_bytes

    def form(self) -> Key:
        """Also which image: requests look at what was bound to it."""
        return (*super().form(), self.image)

    def describe(self) -> dict[str, Any]:
        """Of the tables in memory."""
        return {
            "l2-tables": len(self.image.tables),
            "l2-tables-max": self.image.tables.most_tables,
        }

    def _load(self) -> None:
        file = Store(self, "file", self.file.length())
        header = read_header(file)
        _refuse_encryption(header)
        settings = self._settings(header)
        data = file
        self.image = Image(header, file, data, read_l1(header, file), settings)
        self.reader = Reader(self.image)

    def _settings(self, header: Header) -> Settings:
        options = self.options
        l2_bytes, refcount_bytes = cache_sizes(options, geometry_of(header))
        lazy, discards = options.lazy_refcounts, options.pass_discard_request
        if lazy is None:
            lazy = bool(header.compatible & features.LAZY_REFCOUNTS)
        if lazy and header.version < 3:
            raise ImageError("Lazy refcounts require a qcow2 image with at least qemu 1.1 compat")
        return Settings(
            l2_cache_bytes=l2_bytes,
            refcount_cache_bytes=refcount_bytes,
            lazy_refcounts=lazy,
            pass_discards=options.discard == "unmap" if discards is None else discards,
            tell_corruption=self._tell_corruption,
            log=self._log,
        )

    def _tell_corruption(
        self,
        message: str,
        offset: int | None,
        size: int | None,
        fatal: bool,  # noqa: FBT001 - as the event has it
    ) -> None:
        """The first of each kind: of a damaged table every request would have something to tell."""
        if fatal in self._told:
            return
        self._told.add(fatal)
        data: dict[str, Any] = {"device": "", "node-name": self.name, "msg": message}
        if offset is not None:
            data |= {"offset": offset, "size": size}
        self._emit("BLOCK_IMAGE_CORRUPTED", data | {"fatal": fatal})

    def _log(self, line: str) -> None:
        print(f"{self.name}: {line}", file=sys.stderr)  # noqa: T201 - the server's log

    # Requests

    def lower(self, below: Way, late: Way) -> Way:
        """Reads go straight to the reader."""
        return super().lower(below, late)._replace(pread=self.reader.pread)

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Guest data."""
        self.reader.pread(buf, offset)

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """What is allocated here and below."""
        return self.reader.extents(count, offset, flags)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Not yet."""
        raise OSError(errno.EPERM, f"'{self.name}' is read-only")

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Not yet."""
        raise OSError(errno.EPERM, f"'{self.name}' is read-only")


def _refuse_encryption(header: Header) -> None:
    method = {headers.AES: "AES", headers.LUKS: "LUKS"}.get(header.crypt_method)
    if method is not None:
        raise ImageError(f"Encryption ({method}) is not supported; qemu-img convert can decrypt it")
