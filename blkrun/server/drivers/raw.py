"""A window of the child: ``size`` bytes from ``offset``, as QEMU's raw format."""

from collections.abc import Mapping
from typing import Any

from blkrun.errors import CommandError
from blkrun.options import RawOptions
from blkrun.server.node import Extent, Node


class Raw(Node[RawOptions]):
    """Adds the offset on the way down and takes it off extents on the way up."""

    driver = "raw"
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

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Read from the window."""
        self.file.pread(buf, offset + self.options.offset)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write to the window."""
        self.file.pwrite(buf, offset + self.options.offset, flags)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Zero in the window."""
        self.file.zero(count, offset + self.options.offset, flags)

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Discard in the window."""
        self.file.trim(count, offset + self.options.offset, flags)

    def do_flush(self) -> None:
        """The child has the data."""
        self.file.flush()

    def do_extents(self, count: int, offset: int) -> list[Extent]:
        """The child's, as seen from the window."""
        shift = self.options.offset
        return [
            (start - shift, length, kind)
            for start, length, kind in self.file.extents(count, offset + shift)
        ]

    def do_cache(self, count: int, offset: int) -> None:
        """Prefetch in the window."""
        self.file.cache(count, offset + self.options.offset)
