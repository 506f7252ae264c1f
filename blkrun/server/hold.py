"""Holds: the places on a route where requests may be made to wait, and what that changes below.

All nodes on a route see the same requests, so they share one tally.  Below a place where requests
are held back two things differ all the same: how many are in flight, and how long those took that
had to wait.  A :class:`Hold` counts just these, so that requests that need not wait are counted
once, at the top, as if there were no such place::

    latencies below = latencies at the top - those of late requests + what they took from here on

A late request says so by what its way returns: the first Hold that it was late at.  Whoever timed
it above tells that Hold, from which bucket to which it has moved.
"""

from collections.abc import Callable
from time import perf_counter_ns
from typing import ParamSpec, TypeVar

from blkrun.server.stats import COLUMNS, Histogram, Operations, Row, Tally, hit, index_of, merge
from blkrun.server.way import Late, Way

P = ParamSpec("P")
R = TypeVar("R")

_FAILED = tuple(COLUMNS.index(f"{kind}-failed") for kind in ("reads", "writes", "zeroes", "trims"))
"""Columns; the next is the time, the last two are the depths."""


class Moved:
    """How the times of one kind of request below differ from those above."""

    __slots__ = ("arrived", "failed", "left", "time_ns")

    def __init__(self) -> None:
        self.failed = 0  # all that failed below; not a difference
        self.time_ns = 0
        self.left: Histogram = {}
        self.arrived: Histogram = {}

    def leave(self, elapsed_ns: int) -> None:
        """A late request was counted above with this time."""
        hit(self.left, index_of(elapsed_ns))
        self.time_ns -= elapsed_ns

    def arrive(self, elapsed_ns: int) -> None:
        """It took this time from here on."""
        hit(self.arrived, index_of(elapsed_ns))
        self.time_ns += elapsed_ns

    def apply(self, operations: Operations) -> None:
        """Make the counts above into those below."""
        operations.failed = self.failed
        operations.time_ns += self.time_ns
        latency = operations.latency
        merge(latency, self.arrived)
        for index, count in self.left.copy().items():
            latency[index] = latency.get(index, 0) - count
            if not latency[index]:
                del latency[index]


class Hold(Late):
    """One such place.  ``in_flight`` are the requests that have gone on from it."""

    __slots__ = (
        "_moved",
        "in_flight",
        "in_flight_max",
        "reads",
        "trims",
        "writes",
        "zeroes",
    )

    def __init__(self) -> None:
        self.in_flight = 0
        self.in_flight_max = 0
        self.reads = Moved()
        self.writes = Moved()
        self.zeroes = Moved()
        self.trims = Moved()
        self._moved = (self.reads, self.writes, self.zeroes, self.trims)

    def was_late(self) -> bool:
        """Whether a request ever had to wait here and then went on."""
        return any(moved.arrived for moved in self._moved)

    def apply(self, above: Tally) -> None:
        """Make a copy of what was counted above into what has passed below."""
        above.in_flight, above.in_flight_max = self.in_flight, self.in_flight_max
        self.reads.apply(above.reads)
        self.writes.apply(above.writes)
        self.zeroes.apply(above.zeroes)
        self.trims.apply(above.trims)

    def apply_to_row(self, above: Row) -> Row:
        """The same for a row of numbers."""
        row = list(above)
        for column, moved in zip(_FAILED, self._moved, strict=True):
            row[column] = moved.failed
            row[column + 1] += moved.time_ns
        row[-2:] = self.in_flight, self.in_flight_max
        return tuple(row)

    def on_time(self, below: Way) -> Way:
        """``below``, for requests that did not have to wait here."""
        go_read, go_write, reads, writes = below.pread, below.pwrite, self.reads, self.writes

        def pread(buf: memoryview, offset: int) -> Late | None:
            self.in_flight = depth = self.in_flight + 1
            if depth > self.in_flight_max:
                self.in_flight_max = depth
            try:
                late = go_read(buf, offset)
            except BaseException:
                reads.failed += 1
                self.in_flight -= 1
                raise
            self.in_flight -= 1
            return late

        def pwrite(buf: memoryview, offset: int, flags: int) -> Late | None:
            self.in_flight = depth = self.in_flight + 1
            if depth > self.in_flight_max:
                self.in_flight_max = depth
            try:
                late = go_write(buf, offset, flags)
            except BaseException:
                writes.failed += 1
                self.in_flight -= 1
                raise
            self.in_flight -= 1
            return late

        return Way(
            pread,
            pwrite,
            self._passing(below.zero, self.zeroes),
            self._passing(below.trim, self.trims),
            self._passing(below.flush),
            self._passing(below.extents),
            self._passing(below.cache),
            self._passing(below.length),
            self._passing(below.truncate),
            below.event,
        )

    def late(self, below: Way) -> Way:
        """``below``, for requests that had to wait here; ``below`` is on time."""
        return below._replace(
            pread=self._timed(below.pread, "reads"),
            pwrite=self._timed(below.pwrite, "writes"),
            zero=self._timed(below.zero, "zeroes"),
            trim=self._timed(below.trim, "trims"),
        )

    def _passing(self, go_on: Callable[P, R], moved: Moved | None = None) -> Callable[P, R]:
        def passing(*args: P.args, **kwargs: P.kwargs) -> R:
            self.in_flight = depth = self.in_flight + 1
            if depth > self.in_flight_max:
                self.in_flight_max = depth
            try:
                result = go_on(*args, **kwargs)
            except BaseException:
                if moved is not None:
                    moved.failed += 1
                self.in_flight -= 1
                raise
            self.in_flight -= 1
            return result

        return passing

    def _timed(self, go_on: Callable[P, Late | None], kind: str) -> Callable[P, Late]:
        moved: Moved = getattr(self, kind)

        def timed(*args: P.args, **kwargs: P.kwargs) -> Late:
            begin_ns = perf_counter_ns()
            further = go_on(*args, **kwargs)
            elapsed_ns = perf_counter_ns() - begin_ns
            moved.arrive(elapsed_ns)
            if further is not None:
                further.leave(kind, elapsed_ns)
            return self

        return timed

    def leave(self, kind: str, elapsed_ns: int) -> None:
        """A late request was counted above."""
        moved: Moved = getattr(self, kind)
        moved.leave(elapsed_ns)
