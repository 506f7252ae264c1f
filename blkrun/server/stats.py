"""Counters that are exact under any load, and latency histograms.

Many threads write one tally, without a lock: each update is ``self.x += n`` on an attribute that
holds an int, or ``histogram[i] += 1`` on a plain dict that has the key.  CPython with a GIL
switches threads only where the interpreter checks for it: at calls and backward jumps, never
between the load, the addition of two ints and the store.  ``tests/server/test_stats.py`` hammers
this with a switch interval of a microsecond and reads the bytecode, and the plugin refuses a
free-threaded interpreter.

As in QEMU an operation is counted when it is done; what failed counts no bytes and no time.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Any, Final

SUB_BITS: Final = 4
"""Sixteen buckets a power of two: the middle of a bucket is at most 1/32 wrong."""

_LOWEST: Final = 5 << SUB_BITS
_TABLE_SIZE: Final = 45 << SUB_BITS
"""Up to hours."""

Histogram = dict[int, int]
"""Bucket's index → operations; buckets appear when they are first hit.

A defaultdict would do for that, but looks up ``__missing__`` first: an allocation, in which the
garbage collector may run finalizers, and they other threads.
"""


def hit(histogram: Histogram, index: int) -> None:
    """One more in a bucket.  For many threads at once."""
    histogram.setdefault(index, 0)
    histogram[index] += 1


def index_of(duration_ns: int) -> int:
    """The bucket of a duration.  Below 16 ns all are one; there is no upper end.

    ``Route`` has this written out for reads and writes.
    """
    bits = (duration_ns | 16).bit_length()
    return bits << 4 | (duration_ns >> (bits - 5)) & 15


def floor_ns(index: int) -> int:
    """The smallest duration that falls into a bucket."""
    bits, part = divmod(index, 1 << SUB_BITS)
    return (16 | part) << (bits - 5)


def middle_ns(index: int) -> int:
    """What stands for the durations in a bucket."""
    return (floor_ns(index) + floor_ns(index + 1)) // 2


_FLOORS_NS: Final = [floor_ns(index) if index >= _LOWEST else 0 for index in range(_TABLE_SIZE)]


def buckets_of(histogram: dict[int, int]) -> list[tuple[int, int]]:
    """(smallest duration in ns, operations) of the buckets that are not empty, in order."""
    return [(floor_ns(index), histogram[index]) for index in sorted(histogram)]


def percentiles_ns(histogram: dict[int, int], shares: Iterable[float]) -> list[int]:
    """The duration that a share (0.99: 99 %) of the operations did not exceed; 0s without any."""
    if not histogram:
        return [0 for _ in shares]
    indices = sorted(histogram)
    return _percentiles_ns(indices, [histogram[index] for index in indices], shares)


def _percentiles_ns(indices: list[int], counts: list[int], shares: Iterable[float]) -> list[int]:
    reached = list(accumulate(counts))
    return [middle_ns(indices[bisect_left(reached, share * reached[-1])]) for share in shares]


_SHARES: Final = {"p50-ns": 0.5, "p99-ns": 0.99, "p99.9-ns": 0.999}


def latency_report(histogram: dict[int, int]) -> dict[str, Any]:
    """Percentiles, and the buckets that are not empty: ``floors-ns`` and ``counts`` in step.

    Many are asked for at once, so no line of Python is run per bucket and no pair is made.
    """
    indices = sorted(histogram)
    counts = list(map(histogram.__getitem__, indices))
    if indices[-1] < _TABLE_SIZE:
        floors = list(map(_FLOORS_NS.__getitem__, indices))
    else:
        floors = list(map(floor_ns, indices))
    percentiles = _percentiles_ns(indices, counts, _SHARES.values())
    return {**dict(zip(_SHARES, percentiles, strict=True)), "floors-ns": floors, "counts": counts}


class Operations:
    """One kind of request: how many are done, their bytes, how many failed, the time they took."""

    __slots__ = ("bytes", "done", "failed", "latency", "time_ns")

    def __init__(self) -> None:
        self.done = 0
        self.bytes = 0
        self.failed = 0
        self.time_ns = 0
        self.latency: Histogram = {}

    def add(self, other: "Operations") -> None:
        """Add another's counts to this one.  Both must be at rest, or one of them a copy."""
        self.done += other.done
        self.bytes += other.bytes
        self.failed += other.failed
        self.time_ns += other.time_ns
        merge(self.latency, other.latency)


def merge(histogram: Histogram, other: dict[int, int]) -> None:
    """Add ``other``, which may be counting, bucket by bucket."""
    for index, count in other.copy().items():  # copying is one step: it is whole
        histogram[index] = histogram.get(index, 0) + count


KINDS: Final = ("reads", "writes", "zeroes", "trims", "flushes")
"""The kinds of request that are counted: attributes of a tally."""

_NUMBERS: Final = ("done", "bytes", "failed", "time_ns")
_ATTRIBUTES: Final = (
    *(f"{kind}.{number}" for kind in KINDS for number in _NUMBERS),
    "in_flight",
    "in_flight_max",
)
COLUMNS: Final = tuple(name.replace(".", "-").replace("_", "-") for name in _ATTRIBUTES)
"""What a row of ``x-blkrun-stats`` holds, in order: ``reads-done``, ``reads-bytes``, …"""

Row = tuple[int, ...]

row_of: Final = attrgetter(*_ATTRIBUTES)
"""A tally's COLUMNS as a Row."""


class Tally:
    """What has passed one place: operations by kind, and how many are under way.

    ``in_flight_max`` is the most that ever were under way at once.
    """

    __slots__ = ("flushes", "in_flight", "in_flight_max", "reads", "trims", "writes", "zeroes")

    def __init__(self) -> None:
        self.in_flight = 0
        self.in_flight_max = 0
        self.reads = Operations()
        self.writes = Operations()
        self.zeroes = Operations()
        self.trims = Operations()
        self.flushes = Operations()

    def add(self, other: "Tally") -> None:
        """Add another's counts to this one; the maximum is the higher of the two."""
        self.in_flight += other.in_flight
        self.in_flight_max = max(self.in_flight_max, other.in_flight_max)
        for kind in KINDS:
            getattr(self, kind).add(getattr(other, kind))


NOTHING_YET: Final = Tally()
"""Before anything has passed.  Nobody counts here."""


def total(tallies: Iterable[Tally]) -> Tally:
    """A new tally with the counts of all."""
    summed = Tally()
    for tally in tallies:
        summed.add(tally)
    return summed


IN_FLIGHT: Final = COLUMNS.index("in-flight")
_DEEPEST: Final = COLUMNS.index("in-flight-max")
_NOTHING: Final = row_of(NOTHING_YET)


def sum_rows(rows: Sequence[Row]) -> Row:
    """The sum, but of the depths that were reached it is the deepest."""
    if len(rows) == 1:
        return rows[0]
    if not rows:
        return _NOTHING
    *sums, _ = map(sum, zip(*rows, strict=True))
    return (*sums, max(row[_DEEPEST] for row in rows))


def qemu_counters(row: Row) -> dict[str, int]:
    """The counters of query-blockstats.  Zeroes count as writes, as they do in QEMU."""
    value = dict(zip(COLUMNS, row, strict=True))
    return {
        "rd_bytes": value["reads-bytes"],
        "wr_bytes": value["writes-bytes"] + value["zeroes-bytes"],
        "unmap_bytes": value["trims-bytes"],
        "rd_operations": value["reads-done"],
        "wr_operations": value["writes-done"] + value["zeroes-done"],
        "flush_operations": value["flushes-done"],
        "unmap_operations": value["trims-done"],
        "failed_rd_operations": value["reads-failed"],
        "failed_wr_operations": value["writes-failed"] + value["zeroes-failed"],
        "failed_flush_operations": value["flushes-failed"],
        "failed_unmap_operations": value["trims-failed"],
        "rd_total_time_ns": value["reads-time-ns"],
        "wr_total_time_ns": value["writes-time-ns"] + value["zeroes-time-ns"],
        "flush_total_time_ns": value["flushes-time-ns"],
        "unmap_total_time_ns": value["trims-time-ns"],
    }


def qemu_histogram(histogram: dict[int, int]) -> dict[str, list[int]]:
    """QEMU's BlockLatencyHistogramInfo: ``boundaries`` in ns, and one more of ``bins``.

    The first bin ends at the first boundary, the last has no end; both are empty here.
    """
    if not histogram:
        return {"boundaries": [], "bins": [0]}
    lowest, highest = min(histogram), max(histogram)
    indices = range(lowest, highest + 1)
    return {
        "boundaries": [floor_ns(index) for index in range(lowest, highest + 2)],
        "bins": [0, *(histogram.get(index, 0) for index in indices), 0],
    }
