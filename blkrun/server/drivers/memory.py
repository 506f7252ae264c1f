"""A sparse RAM disk in pages of 64 KiB, made on first write.

No lock: a page's dictionary entry appears by ``setdefault`` and disappears by ``pop``, both
atomic; a page is dropped only when a request zeroes or trims all of it, so whatever write it
could race with overlaps it, and NBD leaves the order of overlapping requests open.
"""

from collections.abc import Iterator, Mapping

from blkrun.options import MemoryOptions
from blkrun.server.node import Node
from blkrun.server.way import EXTENT_DATA, EXTENT_HOLE, EXTENT_ZERO, FLAG_REQ_ONE, Extent

PAGE_BYTES = 2**16
_ZEROES = bytes(PAGE_BYTES)


class Memory(Node[MemoryOptions]):
    """Page number → bytearray."""

    driver = "memory"

    def __init__(self, options: MemoryOptions) -> None:
        super().__init__(options)
        self._pages: dict[int, bytearray] = {}

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """As the options say."""
        del sizes
        return self.options.size

    def close(self) -> None:
        """Free the pages."""
        self._pages.clear()

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Copy out of the pages; zeroes where there is none."""
        for page, start, end, at in _pieces(len(buf), offset):
            data = self._pages.get(page)
            buf[at : at + end - start] = (
                _ZEROES[: end - start] if data is None else memoryview(data)[start:end]
            )

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Copy into the pages.  FUA asks for nothing more: this is as durable as it gets."""
        del flags
        pages = self._pages
        for page, start, end, at in _pieces(len(buf), offset):
            data = pages.get(page)
            if data is None:
                data = pages.setdefault(page, bytearray(PAGE_BYTES))
            data[start:end] = buf[at : at + end - start]

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Drop whole pages, clear parts of pages."""
        del flags
        for page, start, end, at in _pieces(count, offset):
            if not start and (end == PAGE_BYTES or offset + at + end == self.options.size):
                self._pages.pop(page, None)
            elif (data := self._pages.get(page)) is not None:
                data[start:end] = _ZEROES[: end - start]

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Trimmed data reads as zeroes."""
        self.do_zero(count, offset, flags)

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """Pages that are there are data; neighbours of one kind are one extent."""
        extents: list[Extent] = []
        for page, start, end, at in _pieces(count, offset):
            kind = EXTENT_DATA if page in self._pages else EXTENT_HOLE | EXTENT_ZERO
            if extents and extents[-1][2] == kind:
                first, length, _ = extents[-1]
                extents[-1] = (first, length + end - start, kind)
            elif extents and flags & FLAG_REQ_ONE:
                break
            else:
                extents.append((offset + at, end - start, kind))
        return extents


def _pieces(length: int, offset: int) -> Iterator[tuple[int, int, int, int]]:
    """Split a range at page boundaries: (page, start and end within it, position in the range)."""
    at = 0
    while at < length:
        page, start = divmod(offset + at, PAGE_BYTES)
        end = min(PAGE_BYTES, start + length - at)
        yield page, start, end, at
        at += end - start
