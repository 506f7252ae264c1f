"""What every node, export and group did in the last 1, 5 and 30 minutes; times are given.

Writes are writes, zeroes and trims: what throttles charge as writes, so that it compares with
limits.  A limit with ``iops-size`` charges large requests more than once; here they count once.

Bounded: a subject costs 50 kB, 22 kB more if it has limits, and goes 30 minutes after it was last
seen.
"""

from array import array
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import filterfalse
from math import inf, isnan, nan
from operator import add
from typing import Literal

from blkrun.dashboard.model.rates import Interval, Latency, Rate, total
from blkrun.dashboard.model.rings import SLOTS, Grid, Ring, Step
from blkrun.dashboard.model.snapshot import Group, Snapshot
from blkrun.dashboard.model.subject import Subject, SubjectKind

SPANS_S = (60.0, 300.0, 1800.0)
"""How far back each tier goes."""

Measure = Literal["reads", "writes", "read_bytes", "write_bytes", "p50_ns", "p99_ns", "in_flight"]
Limit = Literal["iops-total", "iops-read", "iops-write", "bps-total", "bps-read", "bps-write"]

MEASURES: tuple[Measure, ...] = (
    "reads",
    "writes",
    "read_bytes",
    "write_bytes",
    "p50_ns",
    "p99_ns",
    "in_flight",
)
LIMITS: tuple[Limit, ...] = (
    "iops-total",
    "iops-read",
    "iops-write",
    "bps-total",
    "bps-read",
    "bps-write",
)
_KEPT = 250
"""Nodes, exports and groups of which each this many are remembered, or those there are now."""

_SLOTS_A_SECOND = round(SLOTS / SPANS_S[0])

_MEANS = 4
"""The first of the measures; of the others a slot has the most."""

_NO_VALUES = array("d", [nan]) * SLOTS
_NO_MEASURES = array("d", [nan]) * len(MEASURES)
_NO_LIMITS = array("f", [nan]) * len(LIMITS)
"""Seven digits of a limit are enough, and there are many."""


@dataclass(frozen=True, slots=True)
class Series:
    """Slots of ``slot_s`` up to ``end_s``, the oldest first; NaN is a gap, or no limit.

    ``limits`` has those that there were at any time of it.
    """

    span_s: float
    slot_s: float
    end_s: float
    values: Mapping[Measure, "array[float]"]
    limits: Mapping[Limit, "array[float]"]


class _Track:
    """One subject's rings, a pair for each tier."""

    __slots__ = ("limits", "measures", "seen_s")

    def __init__(self) -> None:
        self.measures = [Ring(_NO_MEASURES, means=_MEANS) for _ in SPANS_S]
        self.limits: list[Ring] = []
        self.seen_s = -inf

    def fill(self, steps: list[Step], row: "array[float]", limits: "array[float] | None") -> None:
        for ring, step in zip(self.measures, steps, strict=True):
            ring.fill(step, row)
        if limits is not None and not self.limits:
            self.limits = [Ring(_NO_LIMITS, means=0) for _ in SPANS_S]
        for ring, step in zip(self.limits, steps, strict=False):
            ring.fill(step, limits or _NO_LIMITS)

    def skip(self, steps: list[Step]) -> None:
        for rings in (self.measures, self.limits):
            for ring, step in zip(rings, steps, strict=False):
                ring.skip(step)


class History:
    """Grows by what the feed sees; time only goes on, until ``clear``."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything: the recording has been rewound."""
        self._grids = [Grid(span_s) for span_s in SPANS_S]
        self._tracks: dict[SubjectKind, dict[str, _Track]] = {"node": {}, "export": {}, "group": {}}
        self._end_s = -inf

    def copy(self) -> "History":
        """As it is now, for good."""
        return deepcopy(self)

    def add(self, snapshot: Snapshot, rates: Interval, begin_s: float, end_s: float) -> None:
        """It was like this from ``begin_s`` to ``end_s``; what has no rate has a gap.

        Of a span that begins before the end of the last one only the rest counts.
        """
        begin_s = max(begin_s, self._end_s, end_s - SPANS_S[-1])
        if not begin_s < end_s < inf:
            return
        self._end_s = end_s
        steps = [grid.step(begin_s, end_s) for grid in self._grids]
        limits = _Limits(snapshot)
        self._fill("node", _node_rows(snapshot, rates), limits.of_nodes, steps)
        self._fill("export", _export_rows(snapshot, rates), limits.of_exports(), steps)
        self._fill("group", _group_rows(snapshot, rates), limits.of_groups, steps)

    def _fill(
        self,
        kind: SubjectKind,
        rows: Iterator[tuple[str, "array[float]"]],
        limits: Mapping[str, "array[float]"],
        steps: list[Step],
    ) -> None:
        tracks, end_s = self._tracks[kind], self._end_s
        for name, row in rows:
            track = tracks.get(name)
            if track is None:
                track = tracks[name] = _Track()
            track.fill(steps, row, limits.get(name))
            track.seen_s = end_s
        self._keep(tracks, [name for name, track in tracks.items() if track.seen_s < end_s], steps)

    def _keep(self, tracks: dict[str, _Track], absent: list[str], steps: list[Step]) -> None:
        """Who is not there has a gap, and is forgotten after a while, or when there are many."""
        absent.sort(key=lambda name: tracks[name].seen_s)
        too_many = len(tracks) - _KEPT
        for number, name in enumerate(absent):
            if number < too_many or self._end_s - tracks[name].seen_s > SPANS_S[-1]:
                del tracks[name]
            else:
                tracks[name].skip(steps)

    def series(self, subject: Subject, span_s: float) -> Series:
        """The tier of that span, or the next longer one; all gaps if nothing is known."""
        tier = next((n for n, each in enumerate(SPANS_S) if each >= span_s), len(SPANS_S) - 1)
        grid, track = self._grids[tier], self._tracks[subject.kind].get(subject.name)
        last = grid.last or 0
        values: dict[Measure, array[float]] = dict.fromkeys(MEASURES, _NO_VALUES)
        limits: dict[Limit, array[float]] = {}
        if track is not None:
            ring = track.measures[tier]
            values = {name: ring.column(n, last) for n, name in enumerate(MEASURES)}
            if track.limits:
                ring = track.limits[tier]
                columns = {name: ring.column(n, last) for n, name in enumerate(LIMITS)}
                limits = {name: each for name, each in columns.items() if not all(map(isnan, each))}
        return Series(grid.span_s, grid.slot_s, (last + 1) * grid.slot_s, values, limits)

    def recent(self, subject: Subject, seconds: int) -> list[float]:
        """Reads and writes together in each of the last whole seconds and in the one that runs.

        Empty if nothing is known of it; NaN is a gap.
        """
        grid, track = self._grids[0], self._tracks[subject.kind].get(subject.name)
        if track is None or grid.last is None:
            return []
        begun = grid.last % _SLOTS_A_SECOND + 1
        count = begun + (seconds - 1) * _SLOTS_A_SECOND
        ring = track.measures[0]
        reads, writes = (ring.newest(number, grid.last, count) for number in (0, 1))
        slots = list(map(add, reads, writes))
        found: list[float] = []
        for begin in range(0, count, _SLOTS_A_SECOND):
            part = slots[begin : begin + _SLOTS_A_SECOND]
            if isnan(sum(part)):
                part = [each for each in part if not isnan(each)]
            found.append(sum(part) / len(part) if part else nan)
        return found


# Rows, in the order of MEASURES


def _row(rate: Rate, latency: Latency | None, in_flight: float) -> "array[float]":
    p50, p99 = (nan, nan) if latency is None else latency
    writes, write_bytes = rate.writes + rate.trims, rate.write_bytes + rate.trim_bytes
    return array("d", (rate.reads, writes, rate.read_bytes, write_bytes, p50, p99, in_flight))


def _node_rows(snapshot: Snapshot, rates: Interval) -> Iterator[tuple[str, "array[float]"]]:
    for node in snapshot.nodes:
        name = node.node_name
        if (rate := rates.nodes.get(name)) is not None:
            yield name, _row(rate, rates.node_latency.get(name), node.in_flight)


def _export_rows(snapshot: Snapshot, rates: Interval) -> Iterator[tuple[str, "array[float]"]]:
    for export in snapshot.exports:
        if (rate := rates.exports.get(export.id)) is not None:
            yield export.id, _row(rate, rates.export_latency.get(export.id), export.in_flight)


def _group_rows(snapshot: Snapshot, rates: Interval) -> Iterator[tuple[str, "array[float]"]]:
    """A group is what its members do together; in flight are those that wait in it."""
    for group in snapshot.throttle_groups:
        rate = total(rates.nodes.get(member.node_name) for member in group.members)
        if rate is not None:
            yield group.id, _row(rate, None, sum(member.waiting for member in group.members))


class _Limits:
    """Who is held to what, in the order of LIMITS; those without limits are not there."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.of_groups = {
            group.id: limits for group in snapshot.throttle_groups if (limits := _limits(group))
        }
        self.of_nodes = {
            node.node_name: self.of_groups[group]
            for node in snapshot.nodes
            if (group := node.group) is not None and group in self.of_groups
        }

    def of_exports(self) -> dict[str, "array[float]"]:
        """For each the lowest that is met on the way down its ``file`` edges."""
        if not self.of_nodes:
            return {}
        below = {node.node_name: node.children.get("file") for node in self._snapshot.nodes}
        found: dict[str, array[float]] = {}
        for export in self._snapshot.exports:
            met = [
                self.of_nodes[name]
                for name in _chain(export.node_name, below)
                if name in self.of_nodes
            ]
            if met:
                found[export.id] = met[0] if len(met) == 1 else _lowest(met)
        return found


def _limits(group: Group) -> "array[float] | None":
    """0 is no limit."""
    if not group.limits:
        return None
    return array("f", [group.limits.get(name) or nan for name in LIMITS])


def _chain(name: str | None, below: Mapping[str, str | None]) -> Iterator[str]:
    """Down to the backend; a recording may hold anything, a ring too."""
    for _ in range(len(below)):
        if name is None:
            return
        yield name
        name = below.get(name)


def _lowest(all_limits: list["array[float]"]) -> "array[float]":
    columns = zip(*all_limits, strict=True)
    return array("f", [min(filterfalse(isnan, column), default=nan) for column in columns])
