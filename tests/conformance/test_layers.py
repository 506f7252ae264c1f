"""Every driver under two filters: each layer is called in order, and counts what it did."""

import errno
from collections.abc import Callable
from typing import Any

import pytest

from blkrun.options import BlockdevOptions, NodeName, RawOptions
from blkrun.server.node import Filter, Node
from blkrun.server.staging import Staging
from blkrun.server.way import FLAG_FUA, FLAG_MAY_TRIM, FLAG_REQ_ONE, Extent, Way

from .subjects import Subject
from .tools import change_way, counts, pattern, read, write

Log = list[tuple[str, str, str, tuple[Any, ...]]]
"""(node, kind of request, in or out, arguments)"""


class RecorderOptions(BlockdevOptions, frozen=True, tag="recorder"):
    """A filter of these tests."""

    is_filter = True

    file: NodeName


class Recorder(Filter[RecorderOptions]):
    """Writes down when a request comes in and when it goes out."""

    driver = "recorder"

    def __init__(self, options: RecorderOptions, log: Log) -> None:
        super().__init__(options)
        self._log = log

    def lower(self, below: Way, late: Way) -> Way:
        """Pass on, and write it down."""
        return recorded(self.name, below, self._log)


def recorded(name: str, way: Way, log: Log) -> Way:
    """The same way, that writes down its requests."""

    def wrap(kind: str, work: Any) -> Callable[..., Any] | None:
        if work is None:  # nobody listens to events
            return None

        def logged(*arguments: object) -> object:
            log.append((name, kind, "in", arguments))
            try:
                return work(*arguments)
            finally:
                log.append((name, kind, "out", arguments))

        return logged

    return Way._make(map(wrap, Way._fields, way))


def record(node: Node[Any], log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a node of any driver write down its requests, from the next route on."""
    change_way(node, lambda way: recorded(node.name, way, log), monkeypatch)


def requests(node: Node[Any]) -> dict[str, Callable[[], list[Extent] | bytes | None]]:
    """One request of each kind."""
    return {
        "pread": lambda: read(node, 700, 3),
        "pwrite": lambda: write(node, pattern(700, 1), 3, FLAG_FUA),
        "zero": lambda: node.zero(700, 3, FLAG_MAY_TRIM),
        "trim": lambda: node.trim(700, 3, 0),
        "flush": node.flush,
        "extents": lambda: node.extents(700, 3, FLAG_REQ_ONE),
        "cache": lambda: node.cache(700, 3),
    }


def test_layers_are_called_in_order(passing: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request passes top, middle and the driver once each, on its way down and up again."""
    passing.row.settle(passing.node)
    log: Log = []
    middle = Recorder(RecorderOptions(node_name="middle", file="subject"), log)
    top = Recorder(RecorderOptions(node_name="top", file="middle"), log)

    def stack(staging: Staging) -> None:
        staging.add_node(middle, {"file": passing.node})
        staging.add_node(top, {"file": middle})

    for node in passing.nodes:
        record(node, log, monkeypatch)
    passing.shop.graph.transaction([stack])
    layers = [top, middle, *passing.nodes]
    for kind, request in requests(top).items():
        log.clear()
        request()
        seen = [entry for entry in log if entry[1] == kind]
        down = [(node.name, "in") for node in layers]
        up = [(node.name, "out") for node in reversed(layers)]
        assert [(name, way) for name, _, way, _ in seen] == down + up
        check_arguments(kind, layers, [arguments for _, _, _, arguments in seen[: len(layers)]])
    assert top.size_bytes == middle.size_bytes == passing.size


def check_arguments(kind: str, layers: list[Node[Any]], passed: list[tuple[Any, ...]]) -> None:
    """The same buffer, count and flags at each layer; the offset too, but for raw's own."""
    shift = 0
    for node, arguments in zip(layers, passed, strict=True):
        expected = list(passed[0])
        if kind != "flush":
            assert expected[1] == 3
            expected[1] += shift
        assert all(a is b or a == b for a, b in zip(arguments, expected, strict=True))
        if kind in ("pread", "pwrite"):
            assert arguments[0] is passed[0][0], "the buffer was copied on the way"
        if isinstance(node.options, RawOptions):
            shift += node.options.offset


def check_counts(subject: Subject, node: Node[Any], expected: dict[str, int]) -> None:
    """Exactly these; below a driver that reads more than it is asked to, at least these reads."""
    found = counts(node)
    if subject.row.reads_besides and node is not subject.node:
        for key in ("rd_operations", "rd_bytes", "failed_rd_operations"):
            assert found.pop(key, 0) >= expected.get(key, 0)
            found |= {key: expected[key]} if key in expected else {}
    assert found == expected


def test_counters(passing: Subject) -> None:
    """Operations and bytes by kind are what was done, at the driver and at the node below it."""
    node = passing.node
    passing.row.settle(node)
    for count, offset in ((1, 0), (4096, 1), (70000, 65535)):
        read(node, count, offset)
    for count, offset in ((512, 0), (65537, 65530)):
        write(node, pattern(count, 1), offset, FLAG_FUA)
    node.zero(1000, 65000, FLAG_MAY_TRIM)
    node.zero(10, 5, FLAG_FUA)
    node.trim(2000, 64000, 0)
    node.flush()
    node.flush()
    node.extents(1000, 0)
    node.cache(1000, 0)
    expected = {
        "rd_operations": 3,
        "rd_bytes": 1 + 4096 + 70000,
        "wr_operations": 4,
        "wr_bytes": 512 + 65537 + 1000 + 10,
        "unmap_operations": 1,
        "unmap_bytes": 2000,
        "flush_operations": 2,
    }
    for counted in passing.nodes:
        check_counts(passing, counted, expected)
        assert counted.stats.in_flight == 0
        assert counted.stats.in_flight_max == 1


def test_failures_are_counted_and_keep_their_errno(
    passing: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that fails below fails above with the same errno, and is a failure at both."""

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    def broken(way: Way) -> Way:
        return way._replace(pread=fail, pwrite=fail, zero=fail, trim=fail, flush=fail)

    passing.row.settle(passing.node)
    for bottom in passing.bottoms:
        change_way(bottom, broken, monkeypatch)
    passing.shop.graph.transaction([])  # routes are made anew
    for kind, request in requests(passing.node).items():
        if kind not in ("extents", "cache"):
            with pytest.raises(OSError, match="full") as raised:
                request()
            assert raised.value.errno == errno.ENOSPC
    expected = {
        "failed_rd_operations": 1,
        "failed_wr_operations": 2,
        "failed_unmap_operations": 1,
        "failed_flush_operations": 1,
    }
    for node in passing.nodes:
        check_counts(passing, node, expected)
        assert node.stats.in_flight == 0
