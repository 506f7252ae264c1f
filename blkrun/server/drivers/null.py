"""Zeroes to read, nowhere to write: what everything above it costs (QEMU's null-co)."""

from collections.abc import Mapping

from blkrun.options import NullOptions
from blkrun.server.node import Node
from blkrun.server.way import EXTENT_HOLE, EXTENT_ZERO, Extent

_ZEROES = bytes(2**16)


class Null(Node[NullOptions]):
    """Always fills the buffer: nbdkit's may hold another request's data."""

    driver = "null"

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """As the options say."""
        del sizes
        return self.options.size

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Zeroes."""
        del offset
        length = len(buf)
        for start in range(0, length, len(_ZEROES)):
            end = min(start + len(_ZEROES), length)
            buf[start:end] = _ZEROES[: end - start]

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Forgotten."""

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """It is zero already."""

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """One hole."""
        return [(offset, count, EXTENT_HOLE | EXTENT_ZERO)]
