"""All numbers of the graph, for ``x-blkrun-stats``, as cheaply as can be.

Nodes that have seen the same requests have one set of latencies: it is made once and referred to.
Where nothing was done since the last call, it is that of the last call.
"""

from typing import Any

from blkrun.server.export import Export
from blkrun.server.graph import Graph
from blkrun.server.node import Node
from blkrun.server.route import Route
from blkrun.server.stats import (
    COLUMNS,
    KINDS,
    NOTHING_YET,
    Tally,
    latency_report,
    row_of,
    sum_rows,
    total,
)

Parts = tuple[Tally, tuple[tuple[Route, int], ...]]
"""What adds up to a place's numbers: its past, and routes with the place's level on them."""


class StatsReport:
    """``__call__`` makes a report, and keeps what the next one may use again."""

    def __init__(self) -> None:
        self._kept: dict[Parts, tuple[int, dict[str, Any]]] = {}

    def __call__(self, graph: Graph) -> dict[str, Any]:
        """The reply; one caller at a time, with the graph's ``swapping`` held.

        Nodes and exports have their ``numbers``, in the order of ``columns``, and say where in
        the list of ``latencies`` theirs are.
        """
        draft = _Draft(self._kept)
        nodes = {node.name: draft.node(node) for node in graph.nodes.values()}
        exports = {name: draft.export(export) for name, export in graph.exports.items()}
        self._kept = draft.kept
        return {
            "columns": COLUMNS,
            "nodes": nodes,
            "exports": exports,
            "latencies": draft.latencies,
            "throttle-groups": {name: group.levels() for name, group in graph.groups.items()},
        }


class _Draft:
    """One report in the making."""

    def __init__(self, last: dict[Parts, tuple[int, dict[str, Any]]]) -> None:
        self._last = last
        self._entries: dict[Parts, dict[str, Any]] = {}
        self._places: dict[Parts, int] = {}
        self.kept: dict[Parts, tuple[int, dict[str, Any]]] = {}
        self.latencies: list[dict[str, Any]] = [{}]

    def node(self, node: Node[Any]) -> dict[str, Any]:
        """A node's numbers, and what its driver has to tell."""
        used = tuple((r, r.level_of(node)) for r in node.routes if r.in_flight_max)
        entry = self._entry((node.past, used))
        own = node.describe()
        return {**entry, "driver-specific": own} if own else entry

    def export(self, export: Export) -> dict[str, Any]:
        """An export's numbers."""
        return self._entry((export.past, tuple((r, 0) for r in export.routes if r.in_flight_max)))

    def _entry(self, parts: Parts) -> dict[str, Any]:
        entry = self._entries.get(parts)
        if entry is None:
            past, used = parts
            rows = [route.row_at(level) for route, level in used]
            row = sum_rows(rows if past is NOTHING_YET else [row_of(past), *rows])
            timed = (past, tuple((route, route.timed_level(level)) for route, level in used))
            entry = {"numbers": row, "latency": self._place(timed) if any(row) else 0}
            self._entries[parts] = entry
        return entry

    def _place(self, timed: Parts) -> int:
        """Where the latencies are in the list; 0 is "none"."""
        place = self._places.get(timed)
        if place is None:
            past, used = timed
            done = sum(route.done() for route, _ in used)  # what is past does not change
            last = self._last.get(timed)
            latency = last[1] if last is not None and last[0] == done else _latency(past, used)
            self.kept[timed] = (done, latency)
            place = self._places[timed] = len(self.latencies)
            self.latencies.append(latency)
        return place


def _latency(past: Tally, used: tuple[tuple[Route, int], ...]) -> dict[str, Any]:
    """By kind."""
    tallies = [route.tally_at(level) for route, level in used]
    if past is not NOTHING_YET:
        tallies.append(past)
    tally = tallies[0] if len(tallies) == 1 else total(tallies)
    found = {}
    for kind in KINDS:
        histogram = getattr(tally, kind).latency.copy()
        if histogram:
            found[kind] = latency_report(histogram)
    return found
