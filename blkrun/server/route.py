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
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from blkrun.server.hold import Hold
from blkrun.server.stats import Operations, Row, Tally, hit, index_of, row_of, total
from blkrun.server.way import Extent, Late, Way

if TYPE_CHECKING:
    from blkrun.server.node import Node

P = ParamSpec("P")
R = TypeVar("R")

Key = tuple[object, ...]


class Route(Tally):
    """``nodes`` see what is counted here; ``below`` are the routes that these requests go on to.

    ``holds`` are the places where they may wait, with the number of nodes above each.

    A client's request enters by raising ``in_flight`` itself (see ``Connection``); requests from
    inside the graph come by ``entrance``.
    """

    __slots__ = ("_levels", "below", "entrance", "holds", "key", "nodes", "read", "way", "write")

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
        self._levels = {
            node: sum(above <= position for above, _ in holds)
            for position, node in enumerate(nodes)
        }
        self.way = way
        self.read, self.write = way.pread, way.pwrite
        self.entrance = self._make_entrance()

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
        return set(self.nodes).union(*(route.nodes for route in self.routes_below()))

    def routes_below(self) -> "set[Route]":
        """All routes that requests may go on to from here."""
        found: set[Route] = set()
        rest = self._next()
        while rest:
            route = rest.pop()
            if route not in found:
                found.add(route)
                rest += route._next()  # noqa: SLF001 - the same class
        return found

    def _next(self) -> "list[Route]":
        """Right below; also what a node that looks at its edges per request would find now."""
        following = list(self.below)
        if self.nodes and not (self.nodes[-1].passes_on or self.nodes[-1].fans_out):
            children = self.nodes[-1].children.values()
            following += [child.route for child in children if child.route is not None]
        return following

    def count(
        self,
        kind: str,
        length: int,
        work: Callable[P, Late | None],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Do a request that has entered, count it, and leave.

        ``Connection`` has this written out for reads and writes.
        """
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
        # In no line from here on is there a call: another thread's counts cannot come in between.
        try:
            operations.latency[index] += 1
        except KeyError:
            hit(operations.latency, index)
        operations.time_ns += elapsed_ns
        operations.bytes += length
        operations.done += 1
        if late is not None:
            late.leave(kind, elapsed_ns)
        self.in_flight -= 1

    def uncounted(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The same for requests that only look."""
        try:
            return work(*args, **kwargs)
        finally:
            self.in_flight -= 1

    def _enter(self) -> None:
        self.in_flight = depth = self.in_flight + 1
        if depth > self.in_flight_max:
            self.in_flight_max = depth

    def _make_entrance(self) -> Way:
        way = self.way

        def pread(buf: memoryview, offset: int) -> None:
            self._enter()
            self.count("reads", len(buf), way.pread, buf, offset)

        def pwrite(buf: memoryview, offset: int, flags: int) -> None:
            self._enter()
            self.count("writes", len(buf), way.pwrite, buf, offset, flags)

        def zero(count: int, offset: int, flags: int) -> None:
            self._enter()
            self.count("zeroes", count, way.zero, count, offset, flags)

        def trim(count: int, offset: int, flags: int) -> None:
            self._enter()
            self.count("trims", count, way.trim, count, offset, flags)

        def flush() -> None:
            self._enter()
            self.count("flushes", 0, way.flush)

        def extents(count: int, offset: int, flags: int) -> list[Extent]:
            self._enter()
            return self.uncounted(way.extents, count, offset, flags)

        def cache(count: int, offset: int) -> None:
            self._enter()
            self.uncounted(way.cache, count, offset)

        def length() -> int:
            self._enter()
            return self.uncounted(way.length)

        def truncate(size_bytes: int, exact: bool) -> None:  # noqa: FBT001 - Way's
            self._enter()
            self.uncounted(self.truncate, size_bytes, exact)

        return Way(pread, pwrite, zero, trim, flush, extents, cache, length, truncate, way.event)

    def truncate(self, size_bytes: int, exact: bool) -> None:  # noqa: FBT001 - Way's
        """The nodes are of another size then, without an edit."""
        self.way.truncate(size_bytes, exact)
        for node in reversed(self.nodes):
            if node.routes:  # else no edit has told it its size yet
                node.resized()
