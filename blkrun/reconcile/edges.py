"""The one operation that makes an edge lead where it should.

An edge that differs is changed once, whatever has come and gone on it: its new child is at its
final place by then (see ``blkrun.reconcile.plan``), so pointing the edge there is all.  QEMU's
commands say so where they can, for a single filter that comes or goes; several at once, or some
for others, are one x-blkrun-set-edge.  The text says which they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from blkrun.model import GraphModel
from blkrun.options import BlockdevOptions, children_of, key_of, main_child
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.words import change_words

_NAMED = 4
"""More filters than this at once are not all named."""


@dataclass(frozen=True, slots=True)
class Edge:
    """From a parent to where it leads now, or None.  ``is_export``: a node may have its name."""

    parent: str
    role: str
    child: str | None
    is_export: bool = False

    @property
    def who(self) -> str:
        """The parent in a text."""
        return f"export {self.parent}" if self.is_export else self.parent

    @property
    def table(self) -> str:
        """The table that says where it is to lead."""
        return f"exports.{self.parent}" if self.is_export else f"nodes.{self.parent}"


class Edges:
    """Decides by the nodes that there are, as they are after the operations so far."""

    def __init__(self, desired: GraphModel, live: GraphModel) -> None:
        self._desired, self._live = desired, live
        self._nodes = dict(live.nodes)

    def define(self, options: BlockdevOptions) -> None:
        """A node is as it is to be: opened, or all its edges changed."""
        self._nodes[options.node_name] = options

    def lead(self, edge: Edge, target: str | None) -> Operation:
        """Make an edge that leads elsewhere lead to ``target``; None: nowhere."""
        if edge.child is None or target is None:
            old, new = self._live.nodes[edge.parent], self._desired.nodes[edge.parent]
            words = f"{edge.parent}: {change_words(old, new, [edge.role])}"
            return _set_edge(edge, target, "~", words, edge.table)
        if self._is_filter_over(edge.child, target):
            return self._toggle(edge, edge.child, target, "remove")
        if self._is_filter_over(target, edge.child):
            return self._toggle(edge, edge.child, target, "insert")
        going, below = self._top_filters(edge.child, self._desired)
        coming, below_new = self._top_filters(target, self._live)
        if below == below_new:
            sign, words = _words(going, coming, f"{edge.who} and {below}")
        else:
            sign, words = "~", f"{edge.who}: {edge.role} {edge.child} → {target}"
        return _set_edge(edge, target, sign, words, edge.table)

    def _toggle(self, edge: Edge, old: str, target: str, verb: str) -> Operation:
        node, child = (old, target) if verb == "remove" else (target, old)
        removed, inserted = ([node], []) if verb == "remove" else ([], [node])
        sign, words = _words(removed, inserted, f"{edge.who} and {child}")
        table = f"nodes.{node}"
        if self._is_ambiguous(edge):
            return _set_edge(edge, target, sign, words, table)
        data = {"parent": edge.parent, "child": child, "node": node}
        return Operation(f"block-{verb}-node", data, sign, words, table)

    def _is_ambiguous(self, edge: Edge) -> bool:
        """Whether QEMU's commands would mean another edge by the names of its two ends.

        An export goes before a node, and the first of a node's edges to a child before others.
        """
        if edge.is_export:
            return False
        if edge.parent in self._desired.exports or edge.parent in self._live.exports:
            return True
        live, desired = (
            children_of(graph.nodes[edge.parent]) for graph in (self._live, self._desired)
        )
        key = key_of(edge.role)
        if key != edge.role and edge.child in _members(desired, key):
            return True  # elsewhere in the list, perhaps since an operation before this one
        others = [each for each in (*live.items(), *desired.items()) if key_of(each[0]) != key]
        return any(child == edge.child for _, child in others)

    def _top_filters(self, name: str, other: GraphModel) -> tuple[list[str], str]:
        """Filters from a node down that the other graph has not, and what is below them."""
        found: list[str] = []
        while name not in other.nodes and self._nodes[name].is_filter:
            found.append(name)
            name = main_child(self._nodes[name])
        return found, name

    def _is_filter_over(self, name: str, child: str) -> bool:
        options = self._nodes[name]
        return options.is_filter and main_child(options) == child


def _set_edge(edge: Edge, target: str | None, sign: str, words: str, table: str) -> Operation:
    data = {"parent": edge.parent, "role": edge.role, "child": target}
    return Operation("x-blkrun-set-edge", data, sign, words, table)


def _words(removed: list[str], inserted: list[str], ends: str) -> tuple[str, str]:
    """The sign and the text; names from the top down."""
    if not inserted:
        return "-", f"remove {_names(removed)} from between {ends}"
    if not removed:
        return "+", f"insert {_names(inserted)} between {ends}"
    return "~", f"replace {_names(removed)} by {_names(inserted)} between {ends}"


def _names(names: list[str]) -> str:
    if len(names) <= _NAMED:
        return ", ".join(names)
    few = names[: _NAMED - 1]
    return f"{', '.join(few)} and {len(names) - len(few)} more"


def _members(children: Mapping[str, str], key: str) -> list[str]:
    return [child for role, child in children.items() if key_of(role) == key]
