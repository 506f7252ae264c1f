"""Counters that are exact under any load, and latency histograms.

Two ways to be exact without a lock on the data path:

* a :class:`Slot` has a single writer, the worker thread that owns it; readers only add slots up;
* a node's :class:`Counters` have many writers, but each update is ``self.x += n`` on an attribute
  that holds an int.  CPython with a GIL switches threads only where the interpreter checks for
  it: at calls and backward jumps, never between the load, the addition of two ints and the
  store.  ``tests/server/test_stats.py`` hammers this with a switch interval of a microsecond, and
  the plugin refuses a free-threaded interpreter.

Counter names are QEMU's (query-blockstats).  As in QEMU an operation is counted when it is done.
"""

from collections.abc import Iterable
from typing import Final

HISTOGRAM_SUB_BITS: Final = 3
HISTOGRAM_SIZE: Final = 41 << HISTOGRAM_SUB_BITS
"""Eight buckets per power of two (an error of at most 1/8), from 8 ns to 2^40 ns (18 minutes)."""

_BOTTOM_NS: Final = 8
_TOP_NS: Final = 2**40 - 1

COUNTERS: Final = (
    "rd_bytes",
    "wr_bytes",
    "unmap_bytes",
    "rd_operations",
    "wr_operations",
    "flush_operations",
    "unmap_operations",
    "failed_rd_operations",
    "failed_wr_operations",
    "failed_flush_operations",
    "failed_unmap_operations",
    "rd_total_time_ns",
    "wr_total_time_ns",
    "flush_total_time_ns",
    "unmap_total_time_ns",
)

_ALL: Final = (*COUNTERS, "started")
_FINISHED: Final = tuple(name for name in COUNTERS if name.endswith("_operations"))


class Counters:
    """Operations, bytes, errors and time by kind; ``started`` counts every beginning."""

    __slots__ = _ALL

    def __init__(self) -> None:
        for name in _ALL:
            setattr(self, name, 0)
        self.started: int
        self.rd_bytes: int
        self.wr_bytes: int
        self.unmap_bytes: int
        self.rd_operations: int
        self.wr_operations: int
        self.flush_operations: int
        self.unmap_operations: int
        self.failed_rd_operations: int
        self.failed_wr_operations: int
        self.failed_flush_operations: int
        self.failed_unmap_operations: int
        self.rd_total_time_ns: int
        self.wr_total_time_ns: int
        self.flush_total_time_ns: int
        self.unmap_total_time_ns: int

    def add(self, other: "Counters") -> None:
        """Add another's counts to this one."""
        for name in _ALL:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def in_flight(self) -> int:
        """Begun and not ended.  Ends are read first, so that a race cannot give less than none."""
        finished: int = sum(getattr(self, name) for name in _FINISHED)
        return self.started - finished

    def as_dict(self) -> dict[str, int]:
        """The QEMU counters by name."""
        return {name: getattr(self, name) for name in COUNTERS}


class Slot(Counters):
    """One worker thread's place: what it has done, and whether it is inside a request.

    ``busy`` and ``sequence`` are what drain and grace periods look at: a thread sets ``busy``
    before it reads the export's gate and root, and counts ``sequence`` up when it leaves.
    """

    __slots__ = ("busy", "read_latency", "sequence", "write_latency")

    def __init__(self) -> None:
        super().__init__()
        self.busy = False
        self.sequence = 0
        self.read_latency = new_histogram()
        self.write_latency = new_histogram()


def new_histogram() -> list[int]:
    """An empty histogram."""
    return [0] * HISTOGRAM_SIZE


def bucket_of(duration_ns: int) -> int:
    """Index of the histogram bucket for a duration."""
    if duration_ns < _BOTTOM_NS:
        duration_ns = _BOTTOM_NS
    elif duration_ns > _TOP_NS:
        duration_ns = _TOP_NS
    bits = duration_ns.bit_length()
    return bits << 3 | (duration_ns >> (bits - 4)) & 7


def bucket_floor_ns(index: int) -> int:
    """The smallest duration that falls into a bucket."""
    bits, part = divmod(index, 1 << HISTOGRAM_SUB_BITS)
    return (8 | part) << (bits - 4) if bits >= HISTOGRAM_SUB_BITS + 1 else 0


def merge_histograms(histograms: Iterable[list[int]]) -> list[int]:
    """Bucket by bucket sum."""
    total = new_histogram()
    for histogram in histograms:
        for index, count in enumerate(histogram):
            if count:
                total[index] += count
    return total


def sparse(histogram: list[int]) -> list[tuple[int, int]]:
    """The wire form: (bucket's floor in ns, count) of the buckets that are not empty."""
    return [(bucket_floor_ns(index), count) for index, count in enumerate(histogram) if count]
