"""QEMU's qcow2 over ``file``: see ``blkrun.server.qcow2``, which this puts into the graph."""

import errno
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from msgspec import UNSET

from blkrun.errors import CommandError
from blkrun.image_options import check_image_options
from blkrun.options import Qcow2Options
from blkrun.server.chain import chain
from blkrun.server.drivers._image_disks import ImageDisks
from blkrun.server.drivers._named_by_image import add_inline, format_of, open_place, path_of
from blkrun.server.drivers._new_image import create_image, is_blank
from blkrun.server.naming import generated_name
from blkrun.server.node import Node
from blkrun.server.qcow2 import features
from blkrun.server.qcow2 import header as headers
from blkrun.server.qcow2.backing_name import with_backing_name
from blkrun.server.qcow2.cache_sizes import cache_sizes
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.header import Header
from blkrun.server.qcow2.image import Image, Settings, geometry_of, read_contents, read_header
from blkrun.server.qcow2.reading import Reader
from blkrun.server.qcow2.references import resolve
from blkrun.server.qcow2.store import Store
from blkrun.server.qcow2.writing import Writer
from blkrun.server.reaching import reaching
from blkrun.server.route import Key
from blkrun.server.routing import apart
from blkrun.server.staging import Staging
from blkrun.server.way import Allocated, Extent, Way

MOST_IMAGES = 100
"""In a chain: what is read goes all the way down it on one thread's stack."""

_WRONG_DATA_FILE = {
    True: "'data-file' is required for this image",
    False: "'data-file' can only be set for images with an external data file",
}
"""By whether the image has one."""


class Qcow2(Node[Qcow2Options]):
    """``image`` is what is open; it is read anew where another node may have written to it."""

    driver = "qcow2"
    grows = frozenset({"file", "data-file"})
    file: Node[Any]
    image: Image
    reader: Reader
    backing: Node[Any] | None = None
    data_file: Node[Any]

    def __init__(self, options: Qcow2Options) -> None:
        super().__init__(options)
        self._emit: Callable[[str, dict[str, Any]], None] = lambda *_: None
        self._told: set[bool] = set()
        self._writer: Writer | None = None
        self._beginning = threading.Lock()
        self._is_read_only = False
        self.disks = ImageDisks(self)
        self._above: set[str | None] = set()  # paths of the images whose backing it is

    # Control

    def open(self, staging: Staging) -> None:
        """Read what leads to the data, and open the files that the image names.

        Raises CommandError in QEMU's words.
        """
        self._emit = staging.graph.events.emit
        self._is_read_only = staging.read_only(self)
        if (broken := check_image_options(self.options)) is not None:
            raise CommandError(f"Could not open node '{self.name}': {broken.message}")
        try:
            if self.options.create and not self._is_read_only and is_blank(self.file):
                create_image(self, staging)
            header = read_header(Store(self, "file", self.file.length()))
            self._check_header(header)
            self._open_data_file(staging, header)
            self._open_backing(staging, header)
            self._load()
        except ImageError as error:
            raise CommandError(f"Could not open node '{self.name}': {error}") from error
        self.disks.take(staging)

    def close(self) -> None:
        """Leave an image that needs no care at its next opening."""
        self.let_go()

    def let_go(self) -> None:
        """At rest: all that was written is in the file.  Raises OSError; then it goes on."""
        if self._writer is None:
            return
        self._writer.flush()
        writer, self._writer = self._writer, None
        try:
            writer.close()
        except OSError as error:  # nothing is lost: clusters are, until somebody checks the image
            self._log(f"the image is left as after a crash: {error}")

    def has_default(self, role: str) -> bool:
        """Whether the image names a file for this role."""
        header = self.image.header
        if role == "backing":
            return header.backing_file is not None
        return role == "data-file" and header.external_data

    def prepare_reopen(self, options: Qcow2Options, staging: Staging) -> Callable[[], None]:
        """What an image was made with can be forgotten; a discard now goes down, or does not."""
        self._check_size(options, self.image.header)
        apply = super().prepare_reopen(options, staging)

        def commit() -> None:
            apply()
            self.image.settings = self._settings(self.image.header)

        return commit

    def check(self, staging: Staging) -> None:
        """Raises CommandError for what would read or write it wrong: see the parts."""
        length = sum(1 for _ in chain(self, staging.child))
        if length > MOST_IMAGES:
            raise CommandError(
                f"Node '{self.name}' is the top of {length} images; the limit is {MOST_IMAGES}"
            )
        if self.image.header.external_data != (staging.child(self, "data-file") is not None):
            raise CommandError(_WRONG_DATA_FILE[self.image.header.external_data])
        self.disks.check(staging)
        if staging.graph.nodes.get(self.name) is not self:
            self._succeed(staging)

    def _succeed(self, staging: Staging) -> None:
        """Nodes that leave with this edit may have written to the same image until then."""
        kept = set(staging.nodes.values())
        for old in staging.graph.nodes.values():
            if isinstance(old, Qcow2) and old not in kept and self.disks.shares(old.disks):
                staging.disturbed.add(old)
                staging.settles.append(partial(self._take_over, old))

    def _take_over(self, old: "Qcow2") -> None:
        """Both are at rest.  Raises CommandError; then the old one goes on."""
        try:
            with reaching(apart()):
                old.let_go()
                self._load()
        except (ImageError, OSError) as error:
            raise CommandError(f"Could not open node '{self.name}' anew: {error}") from error

    def cluster_bytes(self) -> int:
        """A subcluster's, where entries have them."""
        return 1 << self.image.geometry.subcluster_bits

    def change_backing_file(self, name: str | None, image_format: str | None) -> None:
        """In the header, durably.  No request is under way."""
        self._begin_writing()
        image = self.image
        try:
            header = with_backing_name(image.header, name, image_format)
        except ImageError as error:
            raise OSError(errno.ENOSPC, str(error)) from error
        image.store.pwrite(memoryview(header.to_bytes()), 0)
        image.header = header
        image.store.flush()

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """The disk's, as the header says; the file's is another matter."""
        del sizes
        return self.image.header.size_bytes

    def form(self) -> Key:
        """Also which image: requests look at what was bound to it."""
        return (*super().form(), self.image)

    def describe(self) -> dict[str, Any]:
        """Of the tables in memory, and what else is in the image."""
        bitmaps = self.image.bitmaps
        return {
            "l2-tables": len(self.image.tables),
            "l2-tables-max": self.image.tables.most_tables,
            "snapshots": [snapshot.name for snapshot in self.image.snapshots],
            "bitmaps": [bitmap.name for bitmap in bitmaps.bitmaps] if bitmaps else [],
        }

    def _load(self) -> None:
        """All anew, from what is in the file now."""
        file = Store(self, "file", self.file.length())
        header = read_header(file)
        self._check_header(header)
        contents = read_contents(header, file)
        data = Store(self, "data-file", self.data_file.length()) if header.external_data else file
        self.image = Image(header, file, data, contents, self._settings(header))
        self.reader = Reader(self.image)

    def _check_header(self, header: Header) -> None:
        method = {headers.AES: "AES", headers.LUKS: "LUKS"}.get(header.crypt_method)
        if method is not None:
            raise ImageError(
                f"Encryption ({method}) is not supported; qemu-img convert can decrypt it"
            )
        if header.incompatible & features.CORRUPT and not self._is_read_only:
            raise ImageError(
                "Image is corrupt; cannot be opened read/write; "
                "qemu-img check -r all may repair it, read-only = true reads it"
            )
        self._check_size(self.options, header)

    def _check_size(self, options: Qcow2Options, header: Header) -> None:
        if options.size not in (None, header.size_bytes):
            raise CommandError(
                f"Node '{self.name}': the image is of a disk of {header.size_bytes} bytes, not the "
                f"{options.size} that 'size' asks for; leave 'size' out to take it as it is"
            )

    def _open_data_file(self, staging: Staging, header: Header) -> None:
        """Where the image says; one that options name is there already."""
        if not header.external_data or "data-file" in self.children:
            return
        name = header.text(headers.DATA_FILE)
        if name is None:
            raise ImageError(_WRONG_DATA_FILE[True])
        reference = resolve(name, "raw", path_of(self.file))
        with _saying("Could not open data file"):
            place = open_place(staging, reference, read_only=self._is_read_only)
        self._adopt(staging, "data-file", place)

    def _open_backing(self, staging: Staging, header: Header) -> None:
        """The image's own, unless options say otherwise."""
        if header.backing_file is None or self.options.backing is not UNSET:
            return
        image_format = header.text(headers.BACKING_FORMAT)
        reference = resolve(header.backing_file, image_format, path_of(self.file))
        with _saying("Could not open backing file"):
            place = open_place(staging, reference, read_only=True)
            backing = place
            if (reference.format or format_of(place, place.length())) == "qcow2":
                backing = self._open_image(staging, place)
        self._adopt(staging, "backing", backing)

    def _open_image(self, staging: Staging, place: Node[Any]) -> Node[Any]:
        name = generated_name()
        backing = Qcow2(Qcow2Options(node_name=name, file=place.name, read_only=True))
        backing._above = {*self._above, path_of(self.file)}
        path = path_of(place)
        if path in backing._above or len(backing._above) > MOST_IMAGES:
            raise CommandError(f"'{path}' is a backing file of itself")
        add_inline(staging, backing, {"file": place})
        return backing

    def _adopt(self, staging: Staging, role: str, child: Node[Any]) -> None:
        """A child of its own choice: nobody else uses it."""
        self.attach(role, child)
        staging.set_edge(self, role, child)

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
        """Reads go straight to the reader; the long way, if somebody below listens to events."""
        way = super().lower(below, late)
        if _is_listened_to(self.file):
            return way._replace(pread=self.reader.read, pwrite=self._write_telling)
        return way._replace(pread=self.reader.pread)

    def _write_telling(self, buf: memoryview, offset: int, flags: int) -> None:
        """Guest data, the long way."""
        (self._writer or self._begin_writing()).write(buf, offset, flags)

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Guest data."""
        self.reader.pread(buf, offset)

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """What is allocated here and below."""
        return self.reader.extents(count, offset, flags)

    def do_allocated(self, count: int, offset: int) -> list[Allocated]:
        """What the image maps to something, zeroes included."""
        return self.reader.allocated(count, offset)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Guest data."""
        writer = self._writer
        if writer is None:
            writer = self._begin_writing()
        writer.pwrite(buf, offset, flags)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """By entries that say so."""
        (self._writer or self._begin_writing()).zero(count, offset, flags)

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Clusters are given up."""
        (self._writer or self._begin_writing()).trim(count, offset, flags)

    def do_flush(self) -> None:
        """Data, and the entries that lead to them."""
        if self._writer is not None:
            self._writer.flush()
            return
        self.file.flush()
        if self.image.header.external_data:
            self.data_file.flush()

    def _begin_writing(self) -> Writer:
        """Nothing in the image is changed before somebody writes to it."""
        with self._beginning:
            if self._writer is None:
                self._writer = Writer(self.image, self.reader)
            return self._writer


def _is_listened_to(node: Node[Any]) -> bool:
    """Whether a node on the way to the file acts on events: routes are made anew when one comes."""
    while not node.listens and node.main in node.children:
        node = node.children[node.main]
    return node.listens


@contextmanager
def _saying(what: str) -> Iterator[None]:
    """Refusals inside begin with this, as QEMU's do."""
    try:
        yield
    except CommandError as error:
        raise CommandError(f"{what}: {error}") from error
