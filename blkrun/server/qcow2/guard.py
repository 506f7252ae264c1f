"""Where the metadata of an image are: no data are ever written there (QEMU's overlap checks).

In an image that is whole nothing else leads to these clusters.  In one that is damaged an entry
may, and then a guest that writes to its disk must not be able to do further damage.
"""

import threading

from blkrun.server.bitmap import Bitmap
from blkrun.server.qcow2.entries import OFFSET_MASK
from blkrun.server.qcow2.image import Image

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
        for word in image.l1:
            if word & OFFSET_MASK:
                self.add_table(word & OFFSET_MASK)

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
