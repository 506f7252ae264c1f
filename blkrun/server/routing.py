"""From the graph's edges to routes: what is worked out anew after each edit.

Pure but for ``lower``, which makes closures and touches nothing.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from blkrun.server.dirty import marking
from blkrun.server.export import Export
from blkrun.server.hold import Hold
from blkrun.server.node import Node, Parent
from blkrun.server.route import Key, Route
from blkrun.server.way import FLAG_FUA, FLAG_MAY_TRIM, NOWHERE, Late, Way

Entry = Export | Node[Any]
"""Where requests come in: an export's clients, or a node whose parent makes requests of its own."""

Routes = dict[Entry, Route]


def resolve(
    exports: Iterable[Export],
    nodes: Collection[Node[Any]],
    known: Mapping[Entry, Route],
    entered: Collection[Node[Any]] = (),
) -> Routes:
    """The route from each place where requests enter.  One of ``known`` that is still right stays.

    Parents and ``detached`` of all nodes must be up to date.  ``entered`` are nodes whose parents
    have gone, but may have requests inside that will come.
    """
    resolver = _Resolver(known)
    for export in exports:
        resolver.route(export, export.root)
    for node in nodes:
        if not any(isinstance(parent, Node) and not parent.detached for parent, _ in node.parents):
            resolver.route(node, node)  # a top: jobs and whoever tries it out enter there
        elif node in entered:
            resolver.route(node, node)
    return resolver.routes


def apart() -> Callable[[Node[Any]], Route]:
    """Gives routes from nodes down that are apart from those in force: see ``reaching``."""
    resolver = _Resolver({})
    return lambda node: resolver.route(node, node)


class _Resolver:
    def __init__(self, known: Mapping[Entry, Route]) -> None:
        self._known = known
        self._parents: dict[Node[Any], int] = {}
        self.routes: Routes = {}

    def route(self, entry: Entry, first: Node[Any]) -> Route:
        """The route that begins at an entry with the node ``first``."""
        if entry in self.routes:
            return self.routes[entry]
        nodes, below = self._follow(entry, first)
        key: Key = (below, *((node.form(), node.recorders()) for node in nodes))
        route = self._known.get(entry)
        if route is None or route.key != key:
            way, holds = _lower(nodes, _way_below(nodes, below))
            route = Route(tuple(nodes), way, below, holds, key)
        self.routes[entry] = route
        return route

    def _follow(self, entry: Entry, first: Node[Any]) -> tuple[list[Node[Any]], tuple[Route, ...]]:
        """The nodes that see the same requests, from ``first`` down, and the routes below them."""
        nodes: list[Node[Any]] = []
        node = first
        while True:
            if node is not entry and self._is_joined(node):
                return nodes, (self.route(node, node),)
            nodes.append(node)
            if not node.passes_on:
                return nodes, tuple(self.route(child, child) for child in node.children.values())
            node = node.children[node.main]
            if _keeps_trims(nodes[-1]):  # those below do not see the same requests
                return nodes, (self.route(node, node),)

    def _is_joined(self, node: Node[Any]) -> bool:
        """Whether several edges lead here that requests of clients may take."""
        if node not in self._parents:
            self._parents[node] = sum(map(_is_attached, node.parents))
        return self._parents[node] > 1


def _way_below(nodes: Sequence[Node[Any]], below: Sequence[Route]) -> Way:
    """What the last of the nodes has below it; of one that fans out, what it makes of that."""
    last = nodes[-1] if nodes else None
    if last is not None and last.fans_out:
        ways = (route.entrance for route in below)
        return last.lower_over(dict(zip(last.children, ways, strict=True)))
    return NOWHERE if last is not None and not last.passes_on else below[0].entrance


def _is_attached(edge: tuple[Parent, str]) -> bool:
    parent, _ = edge
    return isinstance(parent, Export) or (isinstance(parent, Node) and not parent.detached)


def _lower(nodes: Sequence[Node[Any]], way: Way) -> tuple[Way, tuple[tuple[int, Hold], ...]]:
    """What a request does at all the nodes, and the places where it may wait."""
    holds = []
    for position, node in reversed(list(enumerate(nodes))):
        if node.may_wait():
            hold = Hold()
            holds.append((position + 1, hold))
            on_time = hold.on_time(way)
            way = node.lower(on_time, hold.late(on_time))
        elif not node.fans_out:  # the last, whose way this is then
            way = node.lower(way, way)
        if recorders := node.recorders():
            way = marking(way, recorders)
        if _keeps_trims(node):
            way = _without_discard(way)
    return way, tuple(reversed(holds))


def _keeps_trims(node: Node[Any]) -> bool:
    return bool(node.options.discard == "ignore")


def _without_discard(way: Way) -> Way:
    """``discard = "ignore"``: a trim is done at once, but for its FUA, and zeroes unmap nothing.

    As QEMU's bdrv_co_pdiscard and bdrv_co_pwrite_zeroes without BDRV_O_UNMAP.
    """

    def zero(count: int, offset: int, flags: int) -> Late | None:
        return way.zero(count, offset, flags & ~FLAG_MAY_TRIM)

    def trim(count: int, offset: int, flags: int) -> None:
        del count, offset
        if flags & FLAG_FUA:
            way.flush()

    return way._replace(zero=zero, trim=trim)
