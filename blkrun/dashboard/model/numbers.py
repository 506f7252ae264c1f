"""A reply of ``x-blkrun-stats`` in types, and what it makes of an older look at the whole graph.

Every look asks for the numbers, which the server has ready; for the rest of what is known, which
takes it several times as long, only when it may have changed.
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from blkrun.dashboard.model.snapshot import (
    Client,
    Export,
    Group,
    Job,
    Latencies,
    Node,
    Snapshot,
    Stats,
)


class Place(Struct, frozen=True, rename="kebab"):
    """A node or an export: its numbers in the order of the columns, and where its latencies are."""

    numbers: tuple[int, ...]
    latency: int = 0
    driver_specific: dict[str, Any] = {}


class Numbers(Struct, frozen=True, rename="kebab", kw_only=True):
    """What changes all the time, and what says whether anything else may have changed."""

    pid: int
    now_ns: int
    revision: int
    last_event: int
    columns: tuple[str, ...]
    nodes: dict[str, Place]
    exports: dict[str, Place]
    latencies: tuple[Latencies, ...]
    throttle_groups: dict[str, dict[str, float]]
    clients: dict[str, tuple[Client, ...]]
    jobs: tuple[Job, ...]


def fits(graph: Snapshot, numbers: Numbers) -> bool:
    """Whether they are of the same graph: the same nodes, edges and limits."""
    return (graph.pid, graph.revision) == (numbers.pid, numbers.revision)


class Reading:
    """Replies one after the other: what is the same in the next one is not made again."""

    def __init__(self) -> None:
        self._reply: Mapping[str, Any] = {}
        self._numbers: Numbers | None = None
        self._seen: tuple[Snapshot, Numbers, Snapshot] | None = None

    def numbers(self, reply: Mapping[str, Any]) -> Numbers:
        """Raises msgspec.ValidationError when the reply has another shape."""
        before, self._numbers = self._numbers, None
        numbers = read_numbers(reply) if before is None else self._later(before, reply)
        self._reply, self._numbers = reply, numbers
        return numbers

    def _later(self, before: Numbers, reply: Mapping[str, Any]) -> Numbers:
        """Of nodes, exports and latencies all or nothing: that is where the many numbers are."""
        if any(key not in reply or reply[key] != self._reply[key] for key in _MANY):
            return read_numbers(reply)
        return replace(
            read_numbers({**reply, **_NONE_OF_MANY}),
            nodes=before.nodes,
            exports=before.exports,
            latencies=before.latencies,
        )

    def snapshot(self, graph: Snapshot, numbers: Numbers) -> Snapshot:
        """The graph with these numbers, as of their time."""
        before = self._seen
        if before is None or before[0] is not graph or not _have_same(before[1], numbers):
            seen = renewed(graph, numbers)
        else:
            seen = _later(before[2], graph, numbers)
        self._seen = graph, numbers, seen
        return seen


_NONE_OF_MANY: Mapping[str, Any] = {"nodes": {}, "exports": {}, "latencies": []}
_MANY = ("columns", *_NONE_OF_MANY)


def _have_same(before: Numbers, after: Numbers) -> bool:
    """Whether they are of the same reading, but for clients and jobs."""
    return before.nodes is after.nodes and before.throttle_groups == after.throttle_groups


def _later(before: Snapshot, graph: Snapshot, numbers: Numbers) -> Snapshot:
    """Exports without clients are the very same ones."""
    return replace(
        before,
        now_ns=numbers.now_ns,
        uptime_ns=graph.uptime_ns + numbers.now_ns - graph.now_ns,
        exports=tuple(
            each if each.clients == clients else replace(each, clients=clients)
            for each in before.exports
            for clients in (numbers.clients.get(each.id, ()),)
        ),
        jobs=numbers.jobs,
    )


def renewed(graph: Snapshot, numbers: Numbers) -> Snapshot:
    """The graph with these numbers, as of their time.

    Of a node that they do not know it has its own; one that it does not know is left out.
    """
    read = _Reader(numbers)
    return replace(
        graph,
        now_ns=numbers.now_ns,
        uptime_ns=graph.uptime_ns + numbers.now_ns - graph.now_ns,
        nodes=tuple(map(read.node, graph.nodes)),
        throttle_groups=tuple(map(read.group, graph.throttle_groups)),
        exports=tuple(map(read.export, graph.exports)),
        latencies=numbers.latencies,
        jobs=numbers.jobs,
    )


_SUMS = {
    "rd_operations": ("reads-done",),
    "wr_operations": ("writes-done", "zeroes-done"),
    "unmap_operations": ("trims-done",),
    "rd_bytes": ("reads-bytes",),
    "wr_bytes": ("writes-bytes", "zeroes-bytes"),
    "unmap_bytes": ("trims-bytes",),
    "failed_rd_operations": ("reads-failed",),
    "failed_wr_operations": ("writes-failed", "zeroes-failed"),
    "failed_flush_operations": ("flushes-failed",),
    "failed_unmap_operations": ("trims-failed",),
}
"""Zeroes count as writes, as they do in QEMU."""

_DEPTH = "in-flight"
_NEEDED = frozenset({_DEPTH}.union(*_SUMS.values()))


def read_numbers(reply: Any) -> Numbers:
    """Raises msgspec.ValidationError when the reply has another shape."""
    numbers = msgspec.convert(reply, Numbers)
    width = len(numbers.columns)
    places = (*numbers.nodes.values(), *numbers.exports.values())
    if not set(numbers.columns) >= _NEEDED or any(len(each.numbers) != width for each in places):
        raise msgspec.ValidationError("the server counts otherwise than this dashboard knows")
    return numbers


class _Reader:
    """Gives nodes, groups and exports their new numbers."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        place = {column: at for at, column in enumerate(numbers.columns)}
        self._in_flight = itemgetter(place[_DEPTH])
        self._places = {
            field: tuple(place[column] for column in columns) for field, columns in _SUMS.items()
        }
        self._read: dict[tuple[int, ...], Stats] = {}

    def node(self, node: Node) -> Node:
        place = self._numbers.nodes.get(node.node_name)
        if place is None:
            return replace(node, latency=0)
        return replace(
            node,
            in_flight=self._in_flight(place.numbers),
            stats=self._stats(place.numbers),
            latency=place.latency,
            driver_specific=place.driver_specific,
        )

    def export(self, export: Export) -> Export:
        place = self._numbers.exports.get(export.id)
        if place is None:
            return replace(export, latency=0)
        return replace(
            export,
            in_flight=self._in_flight(place.numbers),
            stats=self._stats(place.numbers),
            latency=place.latency,
            clients=self._numbers.clients.get(export.id, ()),
        )

    def group(self, group: Group) -> Group:
        levels = self._numbers.throttle_groups.get(group.id)
        if levels is None:
            return group
        members = tuple(replace(m, waiting=self._waiting(m.node_name)) for m in group.members)
        return replace(group, levels=levels, members=members)

    def _waiting(self, name: str) -> int:
        place = self._numbers.nodes.get(name)
        return 0 if place is None else int(place.driver_specific.get("waiting", 0))

    def _stats(self, numbers: tuple[int, ...]) -> Stats:
        """Nodes of a chain often have the same."""
        stats = self._read.get(numbers)
        if stats is None:
            sums = {
                field: sum(map(numbers.__getitem__, places))
                for field, places in self._places.items()
            }
            stats = self._read[numbers] = Stats(**sums)
        return stats
