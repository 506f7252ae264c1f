"""A window of the child: ``size`` bytes from ``offset``, as QEMU's raw format."""

from collections.abc import Mapping
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
        if not shift:
            return below

        def pread(buf: memoryview, offset: int) -> Late | None:
            return below.pread(buf, offset + shift)

        def pwrite(buf: memoryview, offset: int, flags: int) -> Late | None:
            return below.pwrite(buf, offset + shift, flags)

        def extents(count: int, offset: int, flags: int) -> list[Extent]:
            found = below.extents(count, offset + shift, flags)
            return [(start - shift, length, kind) for start, length, kind in found]

        return Way(
            pread,
            pwrite,
            zero=lambda count, offset, flags: below.zero(count, offset + shift, flags),
            trim=lambda count, offset, flags: below.trim(count, offset + shift, flags),
            flush=below.flush,
            extents=extents,
            cache=lambda count, offset: below.cache(count, offset + shift),
        )
