"""Routes: the way down from one place where requests enter, and the tally of those that took it.

Each node says in ``lower`` what a request has to do there, over what it does below.  A filter that
only passes on says "what my child does", and so costs a request nothing; a throttle puts its wait
in front; a backend is the end.  This is worked out when edges change (``blkrun.server.routing``),
not per request.

Nodes that see the same requests, each once and whole, are on one route and are counted once,
together::

    vda ─▶ limit ─▶ alarm ─┐                  three routes: one with limit and alarm, one with
    vdb ───────────────────┴▶ disk            none, and the one of disk, where they join

Where requests may be made to wait, what differs below is counted apart: see ``blkrun.server.hold``.
The next route begins where requests join (a node with several parents) and where they end (a node
that makes requests of its own).

Swapping an export's route is one store.  A request enters in three steps: ``in_flight`` up, a look
whether the route still is the export's, then down.  The editor stores the new route before it
looks at the old one's ``in_flight``; one of the two sees the other.  So a route that was replaced
and has nobody in flight has been left for good, and its nodes may be closed.
"""

from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, ParamSpec

from blkrun.server.hold import Hold
from blkrun.server.stats import Operations, Row, Tally, index_of, row_of, total
from blkrun.server.way import Extent, Late, Way

if TYPE_CHECKING:
    from blkrun.server.node import Node

P = ParamSpec("P")

Key = tuple[object, ...]


class Route(Tally):
    """``nodes`` see what is counted here; ``below`` are the routes that these requests go on to.

    ``holds`` are the places where they may wait, with the number of nodes above each.

    Two kinds of entrance: a request of a client has raised ``in_flight`` itself before it calls
    ``pread`` and its siblings (see ``Connection``); requests from inside the graph come by
    ``entrance``.  Either way it is lowered here when the request is over.
    """

    __slots__ = ("_levels", "_way", "below", "entrance", "holds", "key", "nodes", "read", "write")

    def __init__(
        self,
        nodes: "tuple[Node[Any], ...]",
        way: Way,
        below: "tuple[Route, ...]" = (),
        holds: tuple[tuple[int, Hold], ...] = (),
        key: Key = (),
    ) -> None:
        super().__init__()
        self.nodes = nodes
        self.below = below
        self.holds = holds
        self.key = key
        self.read = way.pread
        self.write = way.pwrite
        self._levels = {
            node: sum(above <= position for above, _ in holds)
            for position, node in enumerate(nodes)
        }
        self._way = way
        self.entrance = Way(
            self._enter_pread,
            self._enter_pwrite,
            self._entering(self.zero),
            self._entering(self.trim),
            self._entering(self.flush),
            self._enter_extents,
            self._entering(self.cache),
        )

    def seen_by(self, node: "Node[Any]") -> Tally:
        """What has passed one of the nodes."""
        return self.tally_at(self.level_of(node))

    def tally_at(self, level: int) -> Tally:
        """What has passed below that many of the places to wait."""
        tally = total([self]) if level else self
        for _, hold in self.holds[:level]:
            hold.apply(tally)
        return tally

    def timed_level(self, level: int) -> int:
        """The highest level with the same times: where nobody was late, they are those above."""
        while level and not self.holds[level - 1][1].was_late():
            level -= 1
        return level

    def done(self) -> int:
        """Operations of all kinds."""
        return (
            self.reads.done
            + self.writes.done
            + self.zeroes.done
            + self.trims.done
            + self.flushes.done
        )

    def row_at(self, level: int) -> Row:
        """Its numbers, without going through the histograms."""
        row = row_of(self)
        for _, hold in self.holds[:level]:
            row = hold.apply_to_row(row)
        return row

    def level_of(self, node: "Node[Any]") -> int:
        """How many places to wait are above a node."""
        return self._levels[node]

    def reach(self) -> "set[Node[Any]]":
        """The nodes on this route and on all below it."""
        return set(self.nodes).union(*(route.reach() for route in self.below))

    def routes_below(self) -> "set[Route]":
        """All routes that requests may go on to from here."""
        return set(self.below).union(*(route.routes_below() for route in self.below))

    def pread(self, buf: memoryview, offset: int) -> None:
        """Fill ``buf`` from ``offset``."""
        begin_ns = perf_counter_ns()
        try:
            late = self.read(buf, offset)
        except BaseException:
            self.reads.failed += 1
            self.in_flight -= 1
            raise
        elapsed_ns = perf_counter_ns() - begin_ns
        length = len(buf)
        # From here on there is no call: another thread's counts cannot come in between.
        bits = (elapsed_ns | 16).bit_length()
        done = self.reads
        done.latency[bits << 4 | (elapsed_ns >> (bits - 5)) & 15] += 1
        done.time_ns += elapsed_ns
        done.bytes += length
        done.done += 1
        if late is not None:
            late.leave("reads", elapsed_ns)
        self.in_flight -= 1

    def pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write all of ``buf``."""
        begin_ns = perf_counter_ns()
        try:
            late = self.write(buf, offset, flags)
        except BaseException:
            self.writes.failed += 1
            self.in_flight -= 1
            raise
        elapsed_ns = perf_counter_ns() - begin_ns
        length = len(buf)
        bits = (elapsed_ns | 16).bit_length()
        done = self.writes
        done.latency[bits << 4 | (elapsed_ns >> (bits - 5)) & 15] += 1
        done.time_ns += elapsed_ns
        done.bytes += length
        done.done += 1
        if late is not None:
            late.leave("writes", elapsed_ns)
        self.in_flight -= 1

    def zero(self, count: int, offset: int, flags: int) -> None:
        """Make a range read as zeroes."""
        self._count("zeroes", count, self._way.zero, count, offset, flags)

    def trim(self, count: int, offset: int, flags: int) -> None:
        """Discard a range."""
        self._count("trims", count, self._way.trim, count, offset, flags)

    def flush(self) -> None:
        """Make every acknowledged write durable."""
        self._count("flushes", 0, self._way.flush)

    def extents(self, count: int, offset: int) -> list[Extent]:
        """What is allocated where."""
        try:
            return self._way.extents(count, offset)
        finally:
            self.in_flight -= 1

    def cache(self, count: int, offset: int) -> None:
        """Prefetch a range."""
        try:
            self._way.cache(count, offset)
        finally:
            self.in_flight -= 1

    def _count(
        self,
        kind: str,
        length: int,
        work: Callable[P, Late | None],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        operations: Operations = getattr(self, kind)
        begin_ns = perf_counter_ns()
        try:
            late = work(*args, **kwargs)
        except BaseException:
            operations.failed += 1
            self.in_flight -= 1
            raise
        elapsed_ns = perf_counter_ns() - begin_ns
        index = index_of(elapsed_ns)
        operations.latency[index] += 1
        operations.time_ns += elapsed_ns
        operations.bytes += length
        operations.done += 1
        if late is not None:
            late.leave(kind, elapsed_ns)
        self.in_flight -= 1

    def _enter(self) -> None:
        self.in_flight = depth = self.in_flight + 1
        self.in_flight_max = max(self.in_flight_max, depth)

    def _enter_pread(self, buf: memoryview, offset: int) -> None:
        self.in_flight = depth = self.in_flight + 1
        self.in_flight_max = max(self.in_flight_max, depth)
        self.pread(buf, offset)

    def _enter_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        self.in_flight = depth = self.in_flight + 1
        self.in_flight_max = max(self.in_flight_max, depth)
        self.pwrite(buf, offset, flags)

    def _enter_extents(self, count: int, offset: int) -> list[Extent]:
        self._enter()
        return self.extents(count, offset)

    def _entering(self, work: Callable[P, None]) -> Callable[P, None]:
        def entered(*args: P.args, **kwargs: P.kwargs) -> None:
            self._enter()
            work(*args, **kwargs)

        return entered
