"""Traffic: the routes that requests take, and those that they are still on after an edit.

A route that an edit has replaced stays here while requests are inside.  When the last has left,
what it has counted is added to the past of its nodes.  Called by one thread at a time, with the
graph's ``swapping`` held where routes change.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from blkrun.server.export import Export
from blkrun.server.node import Node, Parent
from blkrun.server.route import Route
from blkrun.server.routing import Entry, Routes, resolve
from blkrun.server.stats import Tally, total


class Traffic:
    """``_routes`` are those in force, ``_replaced`` those from before that have not been left."""

    def __init__(self) -> None:
        self._routes: Routes = {}
        self._replaced: list[_Replaced] = []

    def reroute(self, exports: Collection[Export], nodes: Collection[Node[Any]]) -> None:
        """Work out the routes anew, and send requests along those that are new.

        An export whose gate is closed gets its route when the gate opens.
        """
        old = self._routes
        self._routes = resolve(exports, nodes, old, self._entered())
        for entry, route in old.items():
            if self._routes.get(entry) is not route:
                self._replaced.append(_Replaced(entry, route))
        for export in exports:
            if export.gate is None:
                export.route = self._routes[export]
        for node in nodes:
            node.route = self._routes.get(node)
        self._settle([*exports, *nodes])

    def route_of(self, export: Export) -> Route:
        """Where its requests go; for one that has been deleted, to their refusal."""
        return self._routes.get(export, export.route)

    def leaving(self) -> list[Route]:
        """Replaced routes with requests inside.

        Those inside the graph are part of one of a client, so exports' routes tell it all.
        """
        return [each.route for each in self._replaced if each.route.in_flight]

    def strays(self, changing: Collection[object]) -> list[Route]:
        """Of those the ones that lead to nodes which are about to change, or to be closed."""
        return [route for route in self.leaving() if not route.reach().isdisjoint(changing)]

    def at_rest(self) -> bool:
        """Whether no request is under way anywhere."""
        return not under_way([*self._routes.values(), *self.leaving()])

    def _entered(self) -> set[Node[Any]]:
        """The nodes that requests which are inside now may still choose to go on to."""
        routes = [*self._routes.values(), *(each.route for each in self._replaced)]
        lowest = {node for route in routes for node in route.nodes[-1:]}
        return {child for node in lowest if chooses(node) for child in node.children.values()}

    def _settle(self, places: list[Entry]) -> None:
        """Fold the counts of routes that have been left into their nodes, and list the others."""
        busy = self.leaving()
        kept = set(busy).union(*(route.routes_below() for route in busy))
        left = [each for each in self._replaced if each.route not in kept]
        self._replaced = [each for each in self._replaced if each.route in kept]
        for each in left:
            each.fold()
        for each in (*left, *self._replaced):  # also such as are in no table any more
            places += _places(each.entry, each.route)
        for place in places:
            place.routes = []
        for entry, route in self._routes.items():
            _note(entry, route)
        for each in self._replaced:
            _note(each.entry, each.route)


def under_way(routes: Iterable[Route]) -> bool:
    """Whether a request is inside any of them."""
    return any(route.in_flight for route in routes)


def chooses(parent: Parent) -> bool:
    """Whether a parent looks at its edges per request."""
    return isinstance(parent, Node) and not (parent.passes_on or parent.fans_out)


@dataclass(frozen=True, slots=True)
class _Replaced:
    """A route that was an entry's, and that some requests may still be on."""

    entry: Entry
    route: Route

    def fold(self) -> None:
        """Nobody will be counted here any more: hand the counts on.

        Places that have seen the same go on to share one tally of what is past.
        """
        route = self.route
        if not route.in_flight_max:
            return  # nobody ever took it
        pasts: dict[tuple[Tally, int], Tally] = {}

        def new_past(old: Tally, level: int) -> Tally:
            if (old, level) not in pasts:
                pasts[old, level] = _past((old, route.tally_at(level)))
            return pasts[old, level]

        if isinstance(self.entry, Export):
            self.entry.past = new_past(self.entry.past, 0)
        for node in route.nodes:
            node.past = new_past(node.past, route.level_of(node))


def _past(tallies: Iterable[Tally]) -> Tally:
    """Their sum; a request that looked in and turned round may have been counted as in flight."""
    summed = total(tallies)
    summed.in_flight = 0
    return summed


def _note(entry: Entry, route: Route) -> None:
    for place in _places(entry, route):
        place.routes.append(route)


def _places(entry: Entry, route: Route) -> list[Entry]:
    """Who has seen what a route has counted."""
    return [entry, *route.nodes] if isinstance(entry, Export) else [*route.nodes]
