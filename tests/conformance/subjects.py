"""The table: how to build a small graph with each driver.  A new driver is a new row."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from blkrun.options import (
    BlockdevOptions,
    CopyBeforeWriteOptions,
    CopyOnReadOptions,
    FileOptions,
    MemoryOptions,
    MirrorTopOptions,
    NbdOptions,
    NullOptions,
    Qcow2Options,
    RawOptions,
    ThrottleLimits,
    ThrottleOptions,
    WriteThresholdOptions,
    children_of,
)
from blkrun.server.actions import blockdev_add, group_add
from blkrun.server.divergence import Divergence
from blkrun.server.drivers.mirror_top import MirrorTop
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.node import Node

from .tools import (
    DIST_PACKAGES,
    answers,
    loop_device,
    memory_directory,
    require_module,
    require_tool,
    running,
    wait_until,
)

SIZE = 5 * 2**16 + 777
"""Several pages of the memory driver and a tail that no power of two divides."""

QCOW2_SIZE = 5 * 2**16 + 3 * 512
"""Of sectors, as the format has it."""

NBD_SIZE = 64 * 2**20
DEVICE_SIZE = 6 * 2**16
WINDOW_OFFSET = 1000

if DIST_PACKAGES not in sys.path:
    sys.path.append(DIST_PACKAGES)  # last: for libnbd only


class Workshop:
    """A graph, a directory, and processes that end with the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.graph = Graph(Events())
        self.stack = ExitStack()

    def add(self, *options: BlockdevOptions) -> Node[Any]:
        """Add nodes in one transaction; gives the last."""
        self.graph.transaction([partial(blockdev_add, options=each) for each in options])
        return self.graph.nodes[options[-1].node_name]

    def add_mirror_top(self, options: MirrorTopOptions, *, blocking: bool) -> Node[Any]:
        """As a job does, but without a job, whose own requests would be counted."""
        node = MirrorTop(options)
        node.divergence = Divergence(SIZE, 2**16, blocking=blocking)
        children = {role: self.graph.nodes[name] for role, name in children_of(options).items()}
        self.graph.transaction([lambda staging: staging.add_node(node, children)])
        return node

    def add_group(self, name: str, limits: ThrottleLimits) -> None:
        """Add a throttle group."""
        self.graph.transaction([lambda s: group_add(s, name, limits)])


@dataclass(frozen=True)
class Row:
    """A driver's graph: options from the bottom up, the last for the driver itself."""

    build: Callable[[Workshop], tuple[BlockdevOptions, ...]]
    on_top: Callable[[Workshop], Node[Any]] | None = None
    """For a driver that blockdev-add does not know: it puts its node over the others."""
    size: int = SIZE
    stores: bool = True
    trim_zeroes: bool = True
    trim_block: int = 512
    """Where trims do not zero all: whole blocks of that size are."""
    translates: bool = False
    """A format: what it asks of the node below is something else."""
    settle: Callable[[Any], None] = lambda _: None
    """Have the node do what it does once only, and does besides passing requests on."""


def _file(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    path = str(shop.directory / "disk.img")
    return (FileOptions(node_name="subject", path=path, size=SIZE, create=True),)


def _tmpfs(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    path = memory_directory() / f"blkrun-row-{os.getpid()}.img"
    shop.stack.callback(path.unlink, missing_ok=True)
    return (FileOptions(node_name="subject", path=str(path), size=SIZE, create=True),)


def _device(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    image = shop.directory / "device.img"
    image.touch()
    os.truncate(image, DEVICE_SIZE)
    device = shop.stack.enter_context(loop_device(image))
    return (FileOptions(node_name="subject", path=str(device)),)


def _memory(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    del shop
    return (MemoryOptions(node_name="subject", size=SIZE),)


def _nbd(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    require_module("nbd")
    sock = shop.directory / "sock"
    command = (require_tool("nbdkit"), "-f", "-U", str(sock), "memory", "64M")
    shop.stack.enter_context(running(*command))
    wait_until(lambda: answers(sock))
    return (NbdOptions(node_name="subject", uri=f"nbd+unix:///?socket={sock}"),)


def _coarse(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    require_module("nbd")
    blocks = ("blocksize-minimum=512", "blocksize-preferred=4096", "blocksize-error-policy=error")
    server = (require_tool("nbdkit"), "--filter=blocksize-policy", "memory", "64M", *blocks)
    return (NbdOptions(node_name="subject", command=server),)


def _null(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    del shop
    return (NullOptions(node_name="subject", size=SIZE),)


def _copy_before_write(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    del shop
    return (
        MemoryOptions(node_name="disk", size=SIZE),
        MemoryOptions(node_name="scratch", size=SIZE),
        CopyBeforeWriteOptions(node_name="subject", file="disk", target="scratch"),
    )


def _copy_on_read(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    del shop
    return (
        MemoryOptions(node_name="disk", size=SIZE),
        CopyOnReadOptions(node_name="subject", file="disk"),
    )


def _two_disks(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    del shop
    return (MemoryOptions(node_name="disk", size=SIZE), MemoryOptions(node_name="copy", size=SIZE))


def _mirror_top(shop: Workshop, *, blocking: bool) -> Node[Any]:
    options = MirrorTopOptions(node_name="subject", file="disk", target="copy")
    return shop.add_mirror_top(options, blocking=blocking)


def _qcow2(shop: Workshop, options: dict[str, Any] | None = None) -> tuple[BlockdevOptions, ...]:
    path = str(shop.directory / "disk.qcow2")
    image = {"driver": "qcow2", "node-name": "subject", "file": "disk", "create": True}
    return (
        FileOptions(node_name="disk", path=path, create=True),
        msgspec.convert(image | {"size": QCOW2_SIZE} | (options or {}), Qcow2Options),
    )


def _image(build: Callable[[Workshop], tuple[BlockdevOptions, ...]]) -> Row:
    """Of a qcow2 node: only whole clusters that are trimmed read as zeroes."""
    return Row(build, size=QCOW2_SIZE, trim_zeroes=False, trim_block=2**16, translates=True)


def _overlay(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    base = MemoryOptions(node_name="base", size=QCOW2_SIZE)
    return (base, *_qcow2(shop, {"backing": "base", "cluster-size": 4096}))


def _copied_up(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    below = MemoryOptions(node_name="base", size=QCOW2_SIZE)
    top = _qcow2(shop, {"node-name": "top", "backing": "base", "cluster-size": 4096})
    return (below, *top, CopyOnReadOptions(node_name="subject", file="top"))


def _data_file(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    path = str(shop.directory / "data")
    data = FileOptions(node_name="data", path=path, create=True, size=QCOW2_SIZE)
    return (data, *_qcow2(shop, {"data-file": "data"}))


def _raw(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    del shop
    return (
        MemoryOptions(node_name="disk", size=WINDOW_OFFSET + SIZE + 500),
        RawOptions(node_name="subject", file="disk", offset=WINDOW_OFFSET, size=SIZE),
    )


def _throttle(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    shop.add_group("free", ThrottleLimits())
    return (
        MemoryOptions(node_name="disk", size=SIZE),
        ThrottleOptions(node_name="subject", file="disk", throttle_group="free"),
    )


def _write_threshold(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    del shop
    return (
        MemoryOptions(node_name="disk", size=SIZE),
        WriteThresholdOptions(node_name="subject", file="disk", write_threshold=2**16),
    )


def _chain(shop: Workshop) -> tuple[BlockdevOptions, ...]:
    shop.add_group("wide", ThrottleLimits(iops_total=10**9, bps_total=10**12))
    path, size = str(shop.directory / "disk.img"), WINDOW_OFFSET + SIZE + 500
    return (
        FileOptions(node_name="disk", path=path, size=size, create=True),
        ThrottleOptions(node_name="limit", file="disk", throttle_group="wide"),
        RawOptions(node_name="subject", file="limit", offset=WINDOW_OFFSET, size=SIZE),
    )


ROWS = {
    "copy-before-write": Row(
        _copy_before_write, settle=lambda node: node.copy(0, node.moment.access.clusters)
    ),
    "copy-on-read": Row(_copy_on_read),
    "file": Row(_file),
    "memory": Row(_memory),
    "nbd": Row(_nbd, size=NBD_SIZE),
    "null": Row(_null, stores=False),
    "qcow2": _image(_qcow2),
    "raw": Row(_raw),
    "throttle": Row(_throttle),
    "write-threshold": Row(_write_threshold),
}
"""One for each driver; a test says if one is missing."""

CHAINS = {
    "chain": Row(_chain),
    "copy-on-read-overlay": _image(_copied_up),
    "coarse": Row(_coarse, size=NBD_SIZE, trim_zeroes=False),
    "mirror_top": Row(_two_disks, partial(_mirror_top, blocking=False)),
    "mirror_top-blocking": Row(_two_disks, partial(_mirror_top, blocking=True)),
    "qcow2-512": _image(lambda shop: _qcow2(shop, {"cluster-size": 512})),
    "qcow2-data-file": _image(_data_file),
    "qcow2-extended": _image(lambda shop: _qcow2(shop, {"extended-l2": True})),
    "qcow2-overlay": _image(_overlay),
    "qcow2-v2": _image(lambda shop: _qcow2(shop, {"version": "v2"})),
    "device": Row(_device, size=DEVICE_SIZE, trim_zeroes=False),
    "tmpfs": Row(_tmpfs),
}
"""More, held to the same rules: the filter of a mirror, in both its modes; raw over
throttle over file; copy-on-read over an overlay; a server and a device with sectors; a filesystem
that makes holes, but zeroes nothing without.
"""

SUBJECTS = ROWS | CHAINS


@dataclass(frozen=True)
class Subject:
    """A driver (or a chain of them) under test, what is below it, and the graph around them."""

    driver: str
    row: Row
    node: Node[Any]
    nodes: tuple[Node[Any], ...]
    """The driver's, and those that its requests go on to, top first."""
    shop: Workshop

    @property
    def bottom(self) -> Node[Any]:
        """Where the data ends in."""
        return self.nodes[-1]

    @property
    def size(self) -> int:
        """The node's size in bytes."""
        return self.node.size_bytes


@contextmanager
def subject_of(driver: str, directory: Path) -> Iterator[Subject]:
    """The graph of a row, open."""
    shop = Workshop(directory)
    row = SUBJECTS[driver]
    with shop.stack:
        shop.stack.callback(shop.graph.close)
        options = row.build(shop)
        node = shop.add(*options)
        if row.on_top is not None:
            node = row.on_top(shop)
        # Processes end after the nodes that talk to them are closed.
        shop.stack.callback(shop.graph.close)
        yield Subject(driver, row, node, tuple(_way_down(node)), shop)


def _way_down(node: Node[Any]) -> Iterator[Node[Any]]:
    yield node
    while (below := node.children.get("file")) is not None:
        node = below
        yield node
