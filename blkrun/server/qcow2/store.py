"""A child as the file of an image: what is past its end reads as zeroes, and writes lengthen it."""

import errno
import threading
from operator import attrgetter
from typing import Any

from blkrun.server.node import Node

_ZEROES = bytes(2**16)


class Store:
    """``end_bytes``: where the file ends by now.

    The edge is looked up for each request: filters come and go below an image in use.
    """

    def __init__(self, owner: Node[Any], role: str, end_bytes: int) -> None:
        self.owner = owner
        self.end_bytes = end_bytes
        self._growing = threading.Lock()
        self.get_node = attrgetter(role.replace("-", "_"))
        """Owner → where the edge leads now."""

    @property
    def node(self) -> Node[Any]:
        """Where the edge leads now."""
        found: Node[Any] = self.get_node(self.owner)
        return found

    def pread(self, buf: memoryview, offset: int) -> None:
        """Fill ``buf``; zeroes for what is past the end, as QEMU reads a file."""
        there = min(max(self.end_bytes - offset, 0), len(buf))
        if there == len(buf):
            self.node.pread(buf, offset)
            return
        if there:
            self.node.pread(buf[:there], offset)
        fill_zeroes(buf[there:])

    def read(self, length: int, offset: int) -> bytearray:
        """That many bytes.  Raises EIO if the file ends before."""
        if offset + length > self.end_bytes:
            raise OSError(errno.EIO, f"'{self.node.name}' ends at byte {self.end_bytes}")
        data = bytearray(length)
        if length:
            self.node.pread(memoryview(data), offset)
        return data

    def pwrite(self, buf: memoryview, offset: int, flags: int = 0) -> None:
        """Write all of ``buf``.  Raises ENOSPC past the end of a child that cannot grow."""
        if offset + len(buf) > self.end_bytes:
            self.make_room(offset + len(buf))
        self.node.pwrite(buf, offset, flags)

    def zero(self, count: int, offset: int, flags: int = 0) -> None:
        """Make a range read as zeroes; what of it is past the end is a part of the file then."""
        if offset + count > self.end_bytes:
            self.make_room(offset + count)
        self.node.zero(count, offset, flags)

    def trim(self, count: int, offset: int, flags: int = 0) -> None:
        """Of what is within the file."""
        count = min(count, self.end_bytes - offset)
        if count > 0:
            self.node.trim(count, offset, flags)

    def flush(self) -> None:
        """All that was written is durable on return."""
        self.node.flush()

    def make_room(self, end: int) -> None:
        """Have the file end there at least; what is added reads as zeroes.

        Raises ENOSPC where the child cannot grow.
        """
        with self._growing:
            if end > self.end_bytes:
                self.node.truncate(end, exact=False)
                self.end_bytes = end


def fill_zeroes(buf: memoryview) -> None:
    """Zeroes all over."""
    for at in range(0, len(buf), len(_ZEROES)):
        length = min(len(_ZEROES), len(buf) - at)
        buf[at : at + length] = _ZEROES[:length]
