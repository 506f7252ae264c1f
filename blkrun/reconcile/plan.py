"""Desired against live: the shortest list of operations that leads from one to the other.

Pure.  Every operation is an action of a QMP transaction, so the list that ``blkrun plan`` prints
is the transaction that is sent.  Order:

1. jobs that go, since what they work on is busy, then bitmaps that go, and throttle groups that are
   new or changed (what adds needs them);
2. nodes and exports, children before parents.  A new node is added over its final children.  For
   a surviving parent each edge that differs is changed, by one operation: fewer there cannot be
   (see ``blkrun.reconcile.edges``).  A node's new bitmaps come right after it, since a node above
   may go by them;
3. what nobody uses any more: nodes, parents before children, then groups;
4. jobs that are new or changed.

Filters that have left by themselves are not put back: see ``blkrun.reconcile.spent``.  What the
file says of a disk that a mirror has led everybody away from is read as the new one: see
``blkrun.reconcile.pivots``.

Children first also means that no step makes a cycle: edges of nodes already done lead only to
nodes already done (desired, acyclic), those of the others are still the live ones (acyclic).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from blkrun.model import GraphModel
from blkrun.options import (
    BlockdevOptions,
    ExportOptions,
    children_of,
    fields_of,
    lists_of,
)
from blkrun.reconcile import children, nodes
from blkrun.reconcile.bitmaps import bitmap_changes
from blkrun.reconcile.disks import Disks, unfiltered
from blkrun.reconcile.edges import Edge, Edges
from blkrun.reconcile.groups import groups_gone, groups_needed
from blkrun.reconcile.jobs import jobs_removed, jobs_started
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.pivots import with_pivots
from blkrun.reconcile.spent import without_spent
from blkrun.reconcile.words import change_words


def plan(desired: GraphModel, live: GraphModel) -> tuple[Operation, ...]:
    """What to do, in order; empty when there is nothing to do."""
    moved = with_pivots(desired, live)
    desired_now = without_spent(moved, live)
    planner = _Planner(desired_now, live, Edges(desired_now, live))
    bitmaps = bitmap_changes(planner.desired, live, planner.lost(), planner.stale())
    planner.bitmaps = bitmaps.added
    return (
        *jobs_removed(desired, live, bitmaps.late),
        *bitmaps.removed,
        *planner.operations(),
        *jobs_started(desired, live, bitmaps.late),
        *_forgotten(desired, live),
    )


def endangered(
    operations: tuple[Operation, ...], desired: GraphModel, live: GraphModel
) -> set[str]:
    """Exports that would be withdrawn, or show another disk than they do now."""
    desired = with_pivots(desired, live)
    gone = {op.data["id"] for op in operations if op.type == "block-export-del"}
    replaced = {op.data["node-name"] for op in operations if op.type == "x-blkrun-replace-node"}
    disks = Disks(desired, live, replaced)
    for name, export in live.exports.items():
        if name not in desired.exports:
            continue
        old, top = disks.before(export.node), _below_overlays(desired, live, name)
        if old != disks.after(top) or old & replaced:
            gone.add(name)
    return gone


def _below_overlays(desired: GraphModel, live: GraphModel, export: str) -> str:
    """The node that an export shows, or the one that new overlays have been put over there.

    To stack an overlay is to take a snapshot: clients go on with the disk that they have.
    """
    top = desired.exports[export].node
    name = unfiltered(desired, top)
    while name not in live.nodes and "backing" in (below := children_of(desired.nodes[name])):
        name = unfiltered(desired, below["backing"])
    return name if name == unfiltered(live, live.exports[export].node) else top


def summarise(operations: tuple[Operation, ...]) -> str:
    """``+2 ~1 -1``."""
    counts = {sign: sum(op.sign == sign for op in operations) for sign in "+~-"}
    return " ".join(f"{sign}{count}" for sign, count in counts.items() if count)


@dataclass(slots=True)
class _Planner:
    """``bitmaps``: operations that make them, by the nodes that must be there."""

    desired: GraphModel
    live: GraphModel
    edges: Edges
    bitmaps: dict[str, list[Operation]] = field(default_factory=dict)

    def operations(self) -> Iterator[Operation]:
        yield from self._withdraw_exports()
        yield from groups_needed(self.desired, self.live)
        for name in _children_first(self.desired):
            yield from self._node(name)
            yield from self.bitmaps.get(name, ())
        for name, export in self.desired.exports.items():
            yield from self._export(name, export)
        yield from self._leftovers()
        yield from groups_gone(self.desired, self.live)

    def lost(self) -> set[str]:
        """Nodes with bitmaps that go or are replaced."""
        return {
            bitmap.node
            for bitmap in self.live.bitmaps.values()
            if bitmap.node not in self.desired.nodes or self._why_replaced(bitmap.node)
        }

    def stale(self) -> set[str]:
        """Nodes with bitmaps that stay, and that get other data below."""
        nodes = {bitmap.node for bitmap in self.live.bitmaps.values()} - self.lost()
        return {name for name in nodes if self._has_other_data(name)}

    def _has_other_data(self, name: str) -> bool:
        both = self.live.nodes.keys() & self.desired.nodes.keys()
        disks = Disks(self.desired, self.live, set(filter(self._why_replaced, both)))
        old = disks.before(name)
        return old != disks.after(name) or any(map(self._why_replaced, old))

    def _node(self, name: str) -> Iterator[Operation]:
        new, old = self.desired.nodes[name], self.live.nodes.get(name)
        if old is None:
            yield nodes.add(new)
        elif (why := self._why_replaced(name)) is not None:
            yield nodes.replace(old, new, why)
        elif old != new:
            yield from self._change(old, new)
        self.edges.define(new)

    def _change(self, old: BlockdevOptions, new: BlockdevOptions) -> Iterator[Operation]:
        changed = nodes.changed_options(old, new)
        if changed and children.others(old, new):
            yield nodes.reopen(old, new, changed | lists_of(type(new)))
            return
        before, after = children_of(old), children_of(new)
        for role in nodes.moved_edges(old, new):
            yield self.edges.lead(Edge(new.node_name, role, before.get(role)), after.get(role))
        yield from children.changes(old, new, self.desired, self.live, self.edges)
        if changed:
            yield nodes.reopen(old, new, changed)

    def _why_replaced(self, name: str) -> set[str] | None:
        return nodes.why_replaced(self.desired, self.live, name)

    def _withdraw_exports(self) -> Iterator[Operation]:
        """First, so that an export whose options change can come back under its name."""
        for name, old in self.live.exports.items():
            if not self._keeps_export(name):
                words = _mode_words(old, self.desired.exports.get(name))
                data, table = {"id": name}, f"exports.{name}"
                yield Operation("block-export-del", data, "-", f"export {name}{words}", table)

    def _keeps_export(self, name: str) -> bool:
        """Whether it is live, and at most another node is to be shown by it."""
        old, new = self.live.exports.get(name), self.desired.exports.get(name)
        if old is None or new is None:
            return False
        return not _fixed_changes(old, new)

    def _export(self, name: str, new: ExportOptions) -> Iterator[Operation]:
        if not self._keeps_export(name):
            yield _add_export(name, new)
        elif (node := self.live.exports[name].node) != new.node:
            yield self.edges.lead(Edge(name, "root", node, is_export=True), new.node)

    def _leftovers(self) -> Iterator[Operation]:
        gone = [name for name in _children_first(self.live) if name not in self.desired.nodes]
        for name in reversed(gone):
            yield nodes.delete(self.live.nodes[name])


def _forgotten(desired: GraphModel, live: GraphModel) -> Iterator[Operation]:
    """Filters that had left by themselves, whose tables have gone now: a new table is a new one."""
    for name, options in live.spent.items():
        if name not in desired.nodes:
            yield nodes.forget(options)


def _children_first(graph: GraphModel) -> list[str]:
    """Topological order, without recursion: a chain may be longer than Python's stack."""
    done: dict[str, None] = {}
    for start in graph.nodes:
        stack = [start]
        while stack:
            name = stack[-1]
            below = children_of(graph.nodes[name]).values() if name not in done else ()
            waiting = [child for child in below if child in graph.nodes and child not in done]
            if waiting:
                stack.extend(waiting)
            else:
                done[stack.pop()] = None
    return list(done)


def _mode_words(old: ExportOptions, new: ExportOptions | None) -> str:
    """Why an export that stays in the file is withdrawn, and offered anew."""
    if new is None:
        return ""
    return f", to come back with {change_words(old, new, _fixed_changes(old, new))}"


def _fixed_changes(old: ExportOptions, new: ExportOptions) -> set[str]:
    """Wire names of what differs and cannot be changed under clients."""
    if old == new:
        return set()
    changed = {
        each.encode_name
        for each in fields_of(ExportOptions)
        if getattr(old, each.name) != getattr(new, each.name)
    }
    return changed - ExportOptions.changeable


def _add_export(name: str, new: ExportOptions) -> Operation:
    data: dict[str, Any] = {"type": "nbd", "id": name, "node-name": new.node}
    data |= {"writable": True} if not new.read_only else {}
    data |= {"description": new.description} if new.description else {}
    mode = "read-only" if new.read_only else "writable"
    text = f"export {name} of {new.node}, {mode}"
    return Operation("block-export-add", data, "+", text, f"exports.{name}")
