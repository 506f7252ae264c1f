"""Rates between two snapshots.  Where the counters began anew there is a gap, never a number."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from blkrun.dashboard.model.snapshot import Durations, Export, Latencies, Node, Snapshot, Stats

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """Per second.  ``write_*`` are writes and zeroes, ``trim_*`` are discards."""

    reads: float = 0.0
    writes: float = 0.0
    trims: float = 0.0
    read_bytes: float = 0.0
    write_bytes: float = 0.0
    trim_bytes: float = 0.0
    errors: float = 0.0

    @property
    def operations(self) -> float:
        """Reads and writes."""
        return self.reads + self.writes

    @property
    def bandwidth(self) -> float:
        """Bytes read and written."""
        return self.read_bytes + self.write_bytes

    def __add__(self, other: "Rate") -> "Rate":
        return Rate(
            self.reads + other.reads,
            self.writes + other.writes,
            self.trims + other.trims,
            self.read_bytes + other.read_bytes,
            self.write_bytes + other.write_bytes,
            self.trim_bytes + other.trim_bytes,
            self.errors + other.errors,
        )


def total(rates: Iterable[Rate | None]) -> Rate | None:
    """The sum of those that are known; None if none is."""
    known = [rate for rate in rates if rate is not None]
    return sum(known, Rate()) if known else None


class Latency(NamedTuple):
    """How long reads and writes took: half of them at most this, 99 % at most that."""

    p50_ns: int
    p99_ns: int


@dataclass(frozen=True, slots=True)
class Interval:
    """What everything did between two snapshots; empty when they are of different servers.

    Who did nothing has no latency, and neither has one whose rate is not known.
    """

    nodes: dict[str, Rate]
    exports: dict[str, Rate]
    node_latency: dict[str, Latency]
    export_latency: dict[str, Latency]


NOTHING = Interval({}, {}, {}, {})


def interval(before: Snapshot | None, after: Snapshot) -> Interval:
    """What happened between two snapshots."""
    if before is None or before.pid != after.pid or after.now_ns <= before.now_ns:
        return NOTHING
    growth = _Growth(before, after)
    nodes, node_latency = growth.of(
        {node.node_name: node for node in before.nodes},
        {node.node_name: node for node in after.nodes},
    )
    exports, export_latency = growth.of(
        {export.id: export for export in before.exports},
        {export.id: export for export in after.exports},
    )
    return Interval(nodes, exports, node_latency, export_latency)


class _Growth:
    """Compares places; those that share their latencies in both snapshots share the answer."""

    def __init__(self, before: Snapshot, after: Snapshot) -> None:
        self._seconds = (after.now_ns - before.now_ns) / _NS_PER_S
        self._before = before.latencies
        self._after = after.latencies
        self._found: dict[tuple[int, int], Latency | None] = {}

    def of(
        self, before: Mapping[str, Node | Export], after: Mapping[str, Node | Export]
    ) -> tuple[dict[str, Rate], dict[str, Latency]]:
        """Rates and latencies of those that were there before, by name."""
        rates: dict[str, Rate] = {}
        latencies: dict[str, Latency] = {}
        for name, new in after.items():
            old = before.get(name)
            if old is None or (rate := _rate(old.stats, new.stats, self._seconds)) is None:
                continue
            rates[name] = rate
            if rate.operations and (latency := self._latency(old.latency, new.latency)):
                latencies[name] = latency
        return rates, latencies

    def _latency(self, old: int, new: int) -> Latency | None:
        if (old, new) not in self._found:
            counts = new_counts(_entry(self._before, old), _entry(self._after, new))
            self._found[old, new] = latency_of(counts)
        return self._found[old, new]


_IDLE = Rate()


def _rate(before: Stats, after: Stats, seconds: float) -> Rate | None:
    """None when it counted further before than after."""
    if after == before:
        return _IDLE
    differences = (
        after.rd_operations - before.rd_operations,
        after.wr_operations - before.wr_operations,
        after.unmap_operations - before.unmap_operations,
        after.rd_bytes - before.rd_bytes,
        after.wr_bytes - before.wr_bytes,
        after.unmap_bytes - before.unmap_bytes,
        after.failed - before.failed,
    )
    if min(differences) < 0:
        return None
    return Rate(*(difference / seconds for difference in differences))


_NO_LATENCIES = Latencies()


def _entry(latencies: Sequence[Latencies], place: int) -> Latencies:
    """A place that is not there is one where nothing has passed."""
    return latencies[place] if place < len(latencies) else _NO_LATENCIES


def new_counts(old: Latencies, new: Latencies) -> dict[int, int]:
    """Requests since, by bucket: reads and writes, zeroes being writes."""
    counts: dict[int, int] = {}
    _add_growth(counts, old.reads, new.reads)
    _add_growth(counts, old.writes, new.writes)
    _add_growth(counts, old.zeroes, new.zeroes)
    return counts


def _add_growth(counts: dict[int, int], old: Durations, new: Durations) -> None:
    if new == old:
        return
    if new.floors_ns == old.floors_ns:
        for floor_ns, count, before in zip(new.floors_ns, new.counts, old.counts, strict=True):
            if count != before:
                counts[floor_ns] = counts.get(floor_ns, 0) + count - before
        return
    was = dict(zip(old.floors_ns, old.counts, strict=True))
    for floor_ns, count in zip(new.floors_ns, new.counts, strict=True):
        if growth := count - was.get(floor_ns, 0):
            counts[floor_ns] = counts.get(floor_ns, 0) + growth


def latency_of(counts: Mapping[int, int]) -> Latency | None:
    """Of requests by bucket; None without any, or when some have vanished."""
    if not counts or min(counts.values()) < 0:
        return None
    floors = sorted(counts)
    reached = list(accumulate(map(counts.__getitem__, floors)))
    p50, p99 = (floors[bisect_left(reached, share * reached[-1])] for share in (0.5, 0.99))
    return Latency(_middle_ns(p50), _middle_ns(p99))


def _middle_ns(floor_ns: int) -> int:
    """Of the bucket: a sixteenth of a power of two wide."""
    return floor_ns + (1 << max(floor_ns.bit_length() - 5, 0)) // 2
