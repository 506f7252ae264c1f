"""A small format, whose file gets longer as it is written."""

from collections.abc import Mapping
from typing import Any, ClassVar

from blkrun.options import RawOptions
from blkrun.server.node import Node
from blkrun.server.staging import Staging

CHUNK = 4096


class Tape(Node[RawOptions]):
    """A format: what is written goes to the end of ``file``, after how often it was opened."""

    driver = "tape"
    grows = frozenset({"file"})
    file: Node[Any]
    closed: ClassVar[list[str]] = []

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """Whatever is below."""
        del sizes
        return 2**20

    def open(self, staging: Staging) -> None:
        """Reads its header, if there is one."""
        del staging
        self.end = self.file.length()
        self.header = bytearray(min(CHUNK, self.end))
        self.file.pread(memoryview(self.header), 0)

    def close(self) -> None:
        """Writes to the very end."""
        Tape.closed.append(self.name)
        self.append(b"closed".ljust(CHUNK))

    def append(self, data: bytes) -> None:
        """At the end."""
        at, self.end = self.end, self.end + len(data)
        self.file.truncate(self.end, exact=False)
        self.file.pwrite(memoryview(data), at, 0)

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """What is at the beginning."""
        del offset
        self.file.pread(buf, 0)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """To the end."""
        del offset, flags
        self.append(bytes(buf))


def add_tape(staging: Staging, over: str, name: str = "tape") -> None:
    """Over a node that is there, in this edit at the latest."""
    node = staging.node(over)
    assert node is not None
    staging.add_node(Tape(RawOptions(node_name=name, file=over)), {"file": node})
