"""A RAM disk that fails, is slow, or tells of its requests, as the test says."""

from collections.abc import Callable

from blkrun.options import MemoryOptions
from blkrun.server.drivers.memory import Memory


class Faulty(Memory):
    """``before_read`` and ``before_write`` are called with offset and count, and may raise."""

    def __init__(self, options: MemoryOptions) -> None:
        super().__init__(options)
        self.before_read: Callable[[int, int], None] = _nothing
        self.before_write: Callable[[int, int], None] = _nothing
        self.before_flush: Callable[[], None] = _nothing

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """First what it was told."""
        self.before_read(offset, len(buf))
        super().do_pread(buf, offset)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """First what it was told."""
        self.before_write(offset, len(buf))
        super().do_pwrite(buf, offset, flags)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """First what it was told."""
        self.before_write(offset, count)
        super().do_zero(count, offset, flags)

    def do_flush(self) -> None:
        """First what it was told."""
        self.before_flush()

    def poke(self, data: bytes, offset: int) -> None:
        """Past every filter and fault."""
        super().do_pwrite(memoryview(bytearray(data)), offset, 0)

    def content(self) -> bytes:
        """All of it, past every filter and fault."""
        buf = bytearray(self.options.size)
        super().do_pread(memoryview(buf), 0)
        return bytes(buf)


def _nothing(*_: int) -> None:
    """All is well."""
