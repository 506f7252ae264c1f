"""A window of the child: ``size`` bytes from ``offset``, as QEMU's raw format."""

import errno
from collections.abc import Callable, Mapping
from typing import Any

from blkrun.errors import CommandError
from blkrun.options import RawOptions
from blkrun.server.node import Node
from blkrun.server.way import Extent, Late, Way


class Raw(Node[RawOptions]):
    """Adds the offset on the way down and takes it off extents on the way up."""

    driver = "raw"
    passes_on = True
    file: Node[Any]

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """The window must lie within the child."""
        offset, size, room = self.options.offset, self.options.size, sizes["file"]
        if offset > room:
            raise CommandError(
                f"Node '{self.name}': offset {offset} is past the end of "
                f"'{self.options.file}' ({room} bytes)"
            )
        if size is None:
            return room - offset
        if offset + size > room:
            raise CommandError(
                f"Node '{self.name}': offset {offset} and size {size} end past the end of "
                f"'{self.options.file}' ({room} bytes)"
            )
        return size

    def lower(self, below: Way, late: Way) -> Way:
        """The child's way, with the offset added; a window from 0 on is the child itself."""
        shift = self.options.offset
        below = below._replace(length=self._length_over(below), truncate=self._truncate_over(below))
        if below.event is not None:
            below = _telling(below, below.event)
        if not shift:
            return below

        def pread(buf: memoryview, offset: int) -> Late | None:
            return below.pread(buf, offset + shift)

        def pwrite(buf: memoryview, offset: int, flags: int) -> Late | None:
            return below.pwrite(buf, offset + shift, flags)

        def extents(count: int, offset: int, flags: int) -> list[Extent]:
            found = below.extents(count, offset + shift, flags)
            return [(start - shift, length, kind) for start, length, kind in found]

        return below._replace(
            pread=pread,
            pwrite=pwrite,
            zero=lambda count, offset, flags: below.zero(count, offset + shift, flags),
            trim=lambda count, offset, flags: below.trim(count, offset + shift, flags),
            extents=extents,
            cache=lambda count, offset: below.cache(count, offset + shift),
        )

    def _length_over(self, below: Way) -> Callable[[], int]:
        return lambda: self.size_over({"file": below.length()})

    def _truncate_over(self, below: Way) -> Callable[[int, bool], None]:
        """Only a window without an end of its own has one that can be moved."""
        shift, size = self.options.offset, self.options.size

        def truncate(size_bytes: int, exact: bool) -> None:  # noqa: FBT001 - Way's
            if size is None:
                below.truncate(size_bytes + shift, exact)
            elif size_bytes > size or (exact and size_bytes != size):
                raise OSError(errno.ENOSPC, f"the window '{self.name}' has {size} bytes")

        return truncate


def _telling(below: Way, event: Callable[[str], None]) -> Way:
    """Where somebody listens: what QEMU's raw format says before it reads and writes."""

    def pread(buf: memoryview, offset: int) -> Late | None:
        event("read_aio")
        return below.pread(buf, offset)

    def pwrite(buf: memoryview, offset: int, flags: int) -> Late | None:
        event("write_aio")
        return below.pwrite(buf, offset, flags)

    return below._replace(pread=pread, pwrite=pwrite)
