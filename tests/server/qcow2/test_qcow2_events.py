"""What an image is about to do, for who listens below it."""

from functools import partial
from pathlib import Path

from blkrun.options import (
    BlockdevOptions,
    FileOptions,
    MemoryOptions,
    NodeName,
    Qcow2Options,
)
from blkrun.server.actions import blockdev_add
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.node import Filter
from blkrun.server.staging import Staging
from blkrun.server.way import Way
from tests.server.qcow2.images import Variety, create, qemu_io
from tests.server.qcow2.opened import read


class ListenerOptions(BlockdevOptions, frozen=True, tag="listener"):
    """A filter of these tests."""

    is_filter = True

    file: NodeName


class Listener(Filter[ListenerOptions]):
    """Writes down what formats above it are about to do."""

    driver = "listener"
    listens = True

    def __init__(self, options: ListenerOptions) -> None:
        super().__init__(options)
        self.heard: list[str] = []

    def lower(self, below: Way, late: Way) -> Way:
        """As blkdebug."""
        return below._replace(event=self.heard.append)


def test_events_are_told_to_who_listens(tmp_path: Path) -> None:
    """By QEMU's names, from the edit on that puts it in; else reads go the short way."""
    path = create(tmp_path / "a.qcow2", Variety(size_bytes=2**20))
    qemu_io(path, "write -P 1 0 64k", "write -c -P 2 64k 64k")
    graph = Graph(Events())
    nodes: list[BlockdevOptions] = [
        FileOptions(node_name="file", path=str(path), read_only=True),
        MemoryOptions(node_name="base", size=2**20),
        Qcow2Options(node_name="top", file="file", backing="base", read_only=True),
    ]
    graph.transaction([partial(blockdev_add, options=each) for each in nodes])
    top, file = graph.nodes["top"], graph.nodes["file"]
    listener = Listener(ListenerOptions(node_name="listener", file="file"))

    def put_in(staging: Staging) -> None:
        staging.add_node(listener, {"file": file})
        staging.set_edge(top, "file", listener)

    graph.transaction([put_in])
    for offset in (0, 65536, 131072):
        read(top, 512, offset)
    assert listener.heard == ["l2_load", "read_aio", "read_compressed", "read_backing_aio"]
    graph.transaction([lambda staging: staging.take_out(listener)])
    read(top, 512)
    assert len(listener.heard) == 4
    graph.close()
