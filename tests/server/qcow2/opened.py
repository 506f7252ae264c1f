"""Images as nodes of a graph, and what they read."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from blkrun.options import BlockdevOptions, FileOptions, Qcow2Options
from blkrun.server.actions import blockdev_add
from blkrun.server.drivers.qcow2 import Qcow2
from blkrun.server.events import Events
from blkrun.server.graph import Graph


@contextmanager
def opened(image: Path, *others: BlockdevOptions, **options: Any) -> Iterator[Qcow2]:
    """A qcow2 node ``top`` over an image, and ``others`` before it."""
    graph = Graph(Events())
    options = {key.replace("_", "-"): value for key, value in options.items()}
    options = {"driver": "qcow2", "read-only": True, "node-name": "top", "file": "file"} | options
    nodes = (
        FileOptions(node_name="file", path=str(image), read_only=bool(options["read-only"])),
        *others,
        msgspec.convert(options, Qcow2Options),
    )
    try:
        graph.transaction([partial(blockdev_add, options=each) for each in nodes])
        node = graph.nodes["top"]
        assert isinstance(node, Qcow2)
        yield node
    finally:
        graph.close()


def read(node: Any, length: int, offset: int = 0) -> bytes:
    """Into a buffer that was full of something else."""
    data = bytearray(b"\xa5") * length
    node.pread(memoryview(data), offset)
    return bytes(data)


def read_all(node: Any, step: int = 2**20) -> bytes:
    """The whole disk, in steps."""
    size = node.size_bytes
    return b"".join(read(node, min(step, size - at), at) for at in range(0, size, step))
