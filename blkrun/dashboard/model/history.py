"""What every node, export and group did in the last 1, 5 and 30 minutes; times are given.

Writes are writes, zeroes and trims: what throttles charge as writes, so that it compares with
limits.  A limit with ``iops-size`` charges large requests more than once; here they count once.

Bounded: a subject costs 50 kB, 22 kB more if it has limits, and goes 30 minutes after it was last
seen.  Who does nothing, look after look, is written down when that ends or when somebody asks.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from itertools import filterfalse
from math import inf, isnan, nan
from operator import add
from typing import Literal, NamedTuple

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

_IDLE = array("d", [0.0, 0.0, 0.0, 0.0, nan, nan, 0.0])
"""The row of whoever does nothing: always this very one."""


@dataclass(frozen=True, slots=True)
class Series:
    """Slots of ``slot_s`` up to ``end_s``, the oldest first; NaN is a gap, or no limit.

    ``limits`` has those that there were at any time of it.  Of one ``era``, what is over stays.
    """

    span_s: float
    slot_s: float
    end_s: float
    values: Mapping[Measure, "array[float]"]
    limits: Mapping[Limit, "array[float]"]
    era: int = 0


class _Reached(NamedTuple):
    """How far time has come, and in each tier the slot that this is in."""

    end_s: float
    slots: tuple[int | None, ...]


_NOWHERE = _Reached(-inf, (None,) * len(SPANS_S))


class _Span(NamedTuple):
    """One more of them.  ``goes_on``: there is no hole before it."""

    steps: Sequence[Step]
    before: _Reached
    reached: _Reached
    goes_on: bool


Rows = Iterator[tuple[str, "array[float]"]]


class _Track:
    """One subject's rings, a pair for each tier, written up to ``written``.

    From there on it has been as ``row`` and ``held`` say until it was last seen.
    """

    __slots__ = ("held", "limits", "measures", "row", "seen_s", "written")

    def __init__(self, written: _Reached) -> None:
        self.measures = [Ring(_NO_MEASURES, means=_MEANS) for _ in SPANS_S]
        self.limits: list[Ring] = []
        self.seen_s = -inf
        self.written = written
        self.row: array[float] | None = None
        self.held: array[float] | None = None

    def fill(self, steps: Sequence[Step]) -> None:
        """It was like that, and is written."""
        row, held = self.row or _NO_MEASURES, self.held
        for ring, step in zip(self.measures, steps, strict=True):
            ring.fill(step, row)
        if held is not None and not self.limits:
            self.limits = [Ring(_NO_LIMITS, means=0) for _ in SPANS_S]
        for ring, step in zip(self.limits, steps, strict=False):
            ring.fill(step, held or _NO_LIMITS)

    def skip(self, steps: Sequence[Step]) -> None:
        """Nothing is known of it."""
        self.row = None
        for rings in (self.measures, self.limits):
            for ring, step in zip(rings, steps, strict=False):
                ring.skip(step)


class History:
    """Grows by what the feed sees; time only goes on, until ``clear``."""

    def __init__(self) -> None:
        self._era = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything: the recording has been rewound."""
        self._era += 1
        self._grids = [Grid(span_s) for span_s in SPANS_S]
        self._tracks: dict[SubjectKind, dict[str, _Track]] = {"node": {}, "export": {}, "group": {}}
        self._reached = _NOWHERE
        self._idle: list[_Track] | None = None
        """All, if none of them does anything, or is absent."""

    def copy(self) -> "History":
        """As it is now, for good."""
        return deepcopy(self)

    def add(
        self,
        snapshot: Snapshot,
        rates: Interval,
        begin_s: float,
        end_s: float,
        *,
        is_still: bool = False,
    ) -> None:
        """It was like this from ``begin_s`` to ``end_s``; what has no rate has a gap.

        Of a span that begins before the end of the last one only the rest counts.  ``is_still``:
        all of it is as it was in that.
        """
        begin_s = max(begin_s, self._reached.end_s, end_s - SPANS_S[-1])
        if not begin_s < end_s < inf:
            return
        steps = [grid.step(begin_s, end_s) for grid in self._grids]
        before = self._reached
        self._reached = _Reached(end_s, tuple(grid.last for grid in self._grids))
        span = _Span(steps, before, self._reached, goes_on=begin_s == before.end_s)
        if is_still and span.goes_on and self._idle is not None:
            for track in self._idle:
                track.seen_s = end_s
            return
        limits = _Limits(snapshot)
        self._go_on("node", _node_rows(snapshot, rates), limits.of_nodes, span)
        self._go_on("export", _export_rows(snapshot, rates), limits.of_exports(), span)
        self._go_on("group", _group_rows(snapshot, rates), limits.of_groups, span)
        tracks = [track for each in self._tracks.values() for track in each.values()]
        self._idle = tracks if all(track.row is _IDLE for track in tracks) else None

    def _go_on(
        self, kind: SubjectKind, rows: Rows, limits: Mapping[str, "array[float]"], span: _Span
    ) -> None:
        """Who did what it did before, which is nothing, is written later."""
        tracks = self._tracks[kind]
        for name, row in rows:
            track = tracks.get(name)
            if track is None:
                track = tracks[name] = _Track(span.before)
            held, track.seen_s = limits.get(name), span.reached.end_s
            if not (span.goes_on and row is track.row and held is track.held):
                self._write(track, span.before)
                track.row, track.held, track.written = row, held, span.reached
                track.fill(span.steps)
        self._keep(tracks, span)

    def _write(self, track: _Track, until: _Reached) -> None:
        """What it did all the time since it was last written."""
        since = track.written
        if since.end_s >= until.end_s:  # also of names that come twice
            return
        track.written = until
        track.fill(
            [
                grid.step_from(slot, since.end_s, until.end_s)
                for grid, slot in zip(self._grids, since.slots, strict=True)
            ]
        )

    def _keep(self, tracks: dict[str, _Track], span: _Span) -> None:
        """Who is not there has a gap, and is forgotten after a while, or when there are many."""
        end_s = span.reached.end_s
        absent = [name for name, track in tracks.items() if track.seen_s < end_s]
        absent.sort(key=lambda name: tracks[name].seen_s)
        too_many = len(tracks) - _KEPT
        for number, name in enumerate(absent):
            track = tracks[name]
            if number < too_many or end_s - track.seen_s > SPANS_S[-1]:
                del tracks[name]
            else:
                self._write(track, span.before)
                track.skip(span.steps)
                track.written = span.reached

    def series(self, subject: Subject, span_s: float) -> Series:
        """The tier of that span, or the next longer one; all gaps if nothing is known."""
        tier = next((n for n, each in enumerate(SPANS_S) if each >= span_s), len(SPANS_S) - 1)
        grid, track = self._grids[tier], self._tracks[subject.kind].get(subject.name)
        last = grid.last or 0
        values: dict[Measure, array[float]] = dict.fromkeys(MEASURES, _NO_VALUES)
        limits: dict[Limit, array[float]] = {}
        if track is not None:
            self._write(track, self._reached)
            ring = track.measures[tier]
            values = {name: ring.column(n, last) for n, name in enumerate(MEASURES)}
            if track.limits:
                ring = track.limits[tier]
                columns = {name: ring.column(n, last) for n, name in enumerate(LIMITS)}
                limits = {name: each for name, each in columns.items() if not all(map(isnan, each))}
        end_s = (last + 1) * grid.slot_s
        return Series(grid.span_s, grid.slot_s, end_s, values, limits, self._era)

    def recent(self, subject: Subject, seconds: int) -> list[float]:
        """Reads and writes together in each of the last whole seconds and in the one that runs.

        Empty if nothing is known of it; NaN is a gap.
        """
        grid, track = self._grids[0], self._tracks[subject.kind].get(subject.name)
        if track is None or grid.last is None:
            return []
        if track.row is _IDLE and self._reached.end_s - track.written.end_s > seconds:
            return [0.0] * seconds
        self._write(track, self._reached)
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
    moving = rate.reads or rate.writes or rate.read_bytes or rate.write_bytes
    if latency is None and not (moving or in_flight):
        return _IDLE
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
        """For each the lowest that is met on the way down its main edges."""
        if not self.of_nodes:
            return {}
        below = {
            node.node_name: node.children.get("file", node.children.get("image"))
            for node in self._snapshot.nodes
        }
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
    if not any(map(group.limits.get, LIMITS)):
        return None
    return _shared(tuple(group.limits.get(name) or nan for name in LIMITS))


@lru_cache(maxsize=1024)
def _shared(limits: tuple[float, ...]) -> "array[float]":
    """Equal ones are the same one."""
    return array("f", limits)


def _chain(name: str | None, below: Mapping[str, str | None]) -> Iterator[str]:
    """Down to the backend; a recording may hold anything, a ring too."""
    for _ in range(len(below)):
        if name is None:
            return
        yield name
        name = below.get(name)


def _lowest(all_limits: list["array[float]"]) -> "array[float]":
    columns = zip(*all_limits, strict=True)
    return _shared(tuple(min(filterfalse(isnan, column), default=nan) for column in columns))
