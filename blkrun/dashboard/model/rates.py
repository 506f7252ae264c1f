"""Rates between two snapshots.  Where the counters began anew there is a gap, never a number."""

from collections.abc import Iterable
from dataclasses import dataclass

from blkrun.dashboard.model.snapshot import Export, Histogram, Snapshot, Stats

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


@dataclass(frozen=True, slots=True)
class Interval:
    """The rates of everything between two snapshots; empty when they are of different servers."""

    nodes: dict[str, Rate]
    exports: dict[str, Rate]
    p99_ns: dict[str, int]


NOTHING = Interval({}, {}, {})


def interval(before: Snapshot | None, after: Snapshot) -> Interval:
    """What happened between two snapshots."""
    if before is None or before.pid != after.pid or after.now_ns <= before.now_ns:
        return NOTHING
    seconds = (after.now_ns - before.now_ns) / _NS_PER_S
    nodes = {node.node_name: node.stats for node in before.nodes}
    exports = {export.id: export for export in before.exports}
    return Interval(
        nodes={
            node.node_name: rate
            for node in after.nodes
            if (rate := _rate(nodes.get(node.node_name), node.stats, seconds))
        },
        exports={
            export.id: rate
            for export in after.exports
            if (old := exports.get(export.id)) and (rate := _rate(old.stats, export.stats, seconds))
        },
        p99_ns={
            export.id: slow
            for export in after.exports
            if (old := exports.get(export.id)) and (slow := _p99_ns(old, export))
        },
    )


def _rate(before: Stats | None, after: Stats, seconds: float) -> Rate | None:
    """None when there is no before, or when it counted further than after."""
    if before is None:
        return None
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


def _p99_ns(before: Export, after: Export) -> int | None:
    counts: dict[int, int] = {}
    for old, new in (
        (before.read_latency, after.read_latency),
        (before.write_latency, after.write_latency),
    ):
        _add_growth(counts, old, new)
    return percentile_ns(counts, 0.99) if min(counts.values(), default=0) >= 0 else None


def _add_growth(counts: dict[int, int], old: Histogram, new: Histogram) -> None:
    was = dict(old)
    for floor_ns, count in new:
        if growth := count - was.get(floor_ns, 0):
            counts[floor_ns] = counts.get(floor_ns, 0) + growth


def percentile_ns(counts: dict[int, int], share: float) -> int | None:
    """The middle of the bucket that the share of requests did not exceed; None without any."""
    rest = sum(counts.values()) * share
    if not rest:
        return None
    for floor_ns in sorted(counts):
        rest -= counts[floor_ns]
        if rest <= 0:
            break
    return floor_ns + (1 << max(floor_ns.bit_length() - 5, 0)) // 2
