"""Where the metadata of an image are: no data are ever written there (QEMU's overlap checks).

In an image that is whole nothing else leads to these clusters.  In one that is damaged an entry
may, and then a guest that writes to its disk must not be able to do further damage.
"""

import threading
from collections.abc import Iterator

from blkrun.server.bitmap import Bitmap
from blkrun.server.qcow2.bitmaps import clusters_of
from blkrun.server.qcow2.entries import OFFSET_MASK
from blkrun.server.qcow2.image import Image
from blkrun.server.qcow2.snapshots import table_bytes

_MOST_BYTES = 2**56


class Guard:
    """``structures`` are tables that only their owners write; ``tables`` the active L2 tables."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._bytes = image.geometry.cluster_bytes
        self._lock = threading.Lock()
        self.structures = Bitmap(_MOST_BYTES, self._bytes)
        self.tables = Bitmap(_MOST_BYTES, self._bytes)
        header = image.header
        self.add(0, self._bytes)
        self.add(header.l1_table_offset, header.l1_size * 8)
        self.add(header.refcount_table_offset, header.refcount_table_clusters * self._bytes)
        for offset, length in _others(image):
            self.add(offset, length)
        l1_index = image.next_table(0)
        while l1_index < len(image.l1):
            self.add_table(image.l1[l1_index] & OFFSET_MASK)
            l1_index = image.next_table(l1_index + 1)

    def add(self, offset: int, count: int) -> None:
        """A structure; it may end in the middle of a cluster."""
        with self._lock:
            first, past = self.structures.touched(offset, count)
            self.structures.set_clusters(first, past)

    def remove(self, offset: int, count: int) -> None:
        """A structure that has been given up."""
        with self._lock:
            first, past = self.structures.touched(offset, count)
            self.structures.reset_clusters(first, past)

    def add_table(self, offset: int) -> None:
        """An active L2 table."""
        with self._lock:
            cluster = offset // self._bytes
            self.tables.set_clusters(cluster, cluster + 1)

    def remove_table(self, offset: int) -> None:
        """An L2 table that is not active any more."""
        with self._lock:
            cluster = offset // self._bytes
            self.tables.reset_clusters(cluster, cluster + 1)

    def has(self, offset: int, count: int) -> bool:
        """Whether any of a range is metadata."""
        return self.structures.any(offset, count) or self.tables.any(offset, count)

    def check_data(self, offset: int, count: int) -> None:
        """Before data are written.  Raises EIO, and tells of the corruption."""
        if self.has(offset, count):
            self._refuse("data", offset, count)

    def check_table(self, offset: int) -> None:
        """Before an L2 table is changed."""
        if self.structures.any(offset, self._bytes):
            self._refuse("an L2 table", offset, self._bytes)

    def check_free(self, run: tuple[int, int]) -> None:
        """Before clusters are used that count as free."""
        offset, end = run[0] * self._bytes, run[1] * self._bytes
        if self.has(offset, end - offset):
            self._refuse("newly allocated clusters", offset, end - offset)

    def _refuse(self, what: str, offset: int, count: int) -> None:
        self._image.corrupted(
            f"Preventing invalid write on metadata (offset 0x{offset:x} belongs to {what} as well)",
            offset,
            count,
            fatal=True,
        )


def _others(image: Image) -> Iterator[tuple[int, int]]:
    """(offset, length) of what belongs to snapshots and bitmaps."""
    if image.snapshots:
        yield image.header.snapshots_offset, table_bytes(image.header, image.store)
    for snapshot in image.snapshots:
        yield snapshot.l1_table_offset, snapshot.l1_size * 8
    if image.bitmaps is not None:
        yield from clusters_of(image.bitmaps, image.header, image.store)
