"""An image that is open: what reads and writes share."""

import errno
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from blkrun.server.node import Node
from blkrun.server.qcow2 import header as headers
from blkrun.server.qcow2.bitmaps import Directory, read_directory
from blkrun.server.qcow2.compressed import decompressor
from blkrun.server.qcow2.entries import Entries, decode_l1
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.geometry import Geometry
from blkrun.server.qcow2.header import Header
from blkrun.server.qcow2.reuse import Reuse
from blkrun.server.qcow2.snapshots import Snapshot, read_snapshots
from blkrun.server.qcow2.store import Store
from blkrun.server.qcow2.tables import Table, Tables, decode_words

_START_BYTES = 24
_L1_STEP = 4096

Corrupted = Callable[[str, int | None, int | None, bool], None]
"""(message, offset, size, fatal): tell of metadata that cannot be, as QEMU's event does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an image is used, as the node's options say."""

    l2_cache_bytes: int
    refcount_cache_bytes: int
    lazy_refcounts: bool
    pass_discards: bool
    """Clusters that are freed are discarded in the file as well."""
    tell_corruption: Corrupted
    log: Callable[[str], None]
    """A line for the server's log."""


class Contents(NamedTuple):
    """What is read of an image when it is opened."""

    l1: "array[int]"
    snapshots: tuple[Snapshot, ...]
    bitmaps: Directory | None


class Image:
    """``store`` has the metadata, ``data`` guest data: the same, but for an external data file.

    ``l1`` has the L1 table's words; who changes one has written it to the file before.
    """

    def __init__(
        self,
        header: Header,
        store: Store,
        data: Store,
        contents: Contents,
        settings: Settings,
    ) -> None:
        self.header = header
        self.geometry = geometry_of(header)
        self.entries = Entries(self.geometry, version=header.version, external=header.external_data)
        self.store = store
        self.data = data
        self.l1 = contents.l1
        self.snapshots = contents.snapshots
        self.bitmaps = contents.bitmaps
        self.tables = Tables(self.geometry.cluster_bytes, settings.l2_cache_bytes, self._load_table)
        self.reuse = Reuse()
        self.decompress = decompressor(header.compression_type)
        self.settings = settings
        self.on_fatal: Callable[[], None] = lambda: None
        """Called when metadata turn out to be damaged: whoever writes to the image marks it."""

    @property
    def owner(self) -> Node[Any]:
        """The node whose image it is."""
        return self.store.owner

    def backing(self) -> Node[Any] | None:
        """What is read where nothing is allocated."""
        return self.owner.children.get("backing")

    def next_table(self, l1_index: int) -> int:
        """The next L1 index from there on that leads to a table; past the last one if none does."""
        l1 = self.l1
        while l1_index < len(l1):
            if any(l1[l1_index : l1_index + _L1_STEP]):
                return l1_index + next(
                    at for at, word in enumerate(l1[l1_index : l1_index + _L1_STEP]) if word
                )
            l1_index += _L1_STEP
        return max(l1_index, self.geometry.l1_entries)

    def flush(self) -> None:
        """What was written to the files is durable on return."""
        self.event("flush_to_os")
        if self.data is not self.store:
            self.data.flush()
        self.store.flush()

    def corrupted(
        self, message: str, offset: int | None = None, size: int | None = None, *, fatal: bool
    ) -> NoReturn:
        """Metadata cannot be: tell of it and fail the request.  ``fatal``: no use going on."""
        self.settings.tell_corruption(message, offset, size, fatal)
        if fatal:
            self.on_fatal()
        raise OSError(errno.EIO, f"{self.owner.name}: {message}")

    def event(self, name: str) -> None:
        """About to do what QEMU calls so (BlkdebugEvent): a blkdebug node below may act on it."""
        self.store.node.debug_event(name)

    def _load_table(self, l1_index: int) -> Table | None:
        try:
            offset = decode_l1(self.l1[l1_index], self.geometry)
        except ImageError as error:
            self.corrupted(f"{error} (L1 index: 0x{l1_index:x})", fatal=True)
        if not offset:
            return None
        length = self.geometry.cluster_bytes
        if offset + length > self.store.end_bytes:
            self.corrupted(
                f"L2 table offset 0x{offset:x} past the end of the image file "
                f"(L1 index: 0x{l1_index:x})",
                fatal=True,
            )
        self.event("l2_load")
        return Table(offset, decode_words(self.store.read(length, offset)))


def read_header(store: Store) -> Header:
    """Raises ImageError, or OSError where reading fails."""
    start = store.read(min(_START_BYTES, store.end_bytes), 0)
    cluster_bytes = headers.first_cluster_bytes(bytes(start))
    return headers.parse(bytes(store.read(min(cluster_bytes, store.end_bytes), 0)))


def read_contents(header: Header, store: Store) -> Contents:
    """Raises ImageError, or OSError where reading fails."""
    return Contents(
        _read_l1(header, store), read_snapshots(header, store), read_directory(header, store)
    )


def _read_l1(header: Header, store: Store) -> "array[int]":
    """The active L1 table.  Raises ImageError if it does not cover the disk, or is cut off."""
    if header.l1_size < geometry_of(header).l1_entries:
        raise ImageError(f"L1 table is too small: {header.l1_size} entries")
    length = header.l1_size * 8
    if length and header.l1_table_offset + length > store.end_bytes:
        raise ImageError("L1 table ends past the end of the image file")
    return decode_words(store.read(length, header.l1_table_offset))


def geometry_of(header: Header) -> Geometry:
    """What a header says of the places in tables."""
    return Geometry(
        header.cluster_bits, header.refcount_order, header.size_bytes, header.extended_l2
    )
