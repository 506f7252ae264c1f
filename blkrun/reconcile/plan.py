"""Desired against live: the shortest list of operations that leads from one to the other.

Pure.  Every operation is an action of a QMP transaction, so the list that ``blkrun plan`` prints
is the transaction that is sent.  Order:

1. jobs that go, since what they work on is busy, then bitmaps that go, and throttle groups that are
   new or changed (what adds needs them);
2. nodes and exports, children before parents.  A new node is added over its final children.  For
   a surviving parent each edge that differs is changed: filters that go are removed one by one
   (block-remove-node), new ones are inserted one by one (block-insert-node), anything else is
   one x-blkrun-set-edge.  A node's new bitmaps come right after it, since a node above may go by
   them;
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

import msgspec

from blkrun.model import GraphModel
from blkrun.options import BlockdevOptions, ExportOptions, children_of, fields_of
from blkrun.reconcile import nodes
from blkrun.reconcile.bitmaps import bitmap_changes
from blkrun.reconcile.groups import groups_gone, groups_needed
from blkrun.reconcile.jobs import jobs_removed, jobs_started
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.pivots import with_pivots
from blkrun.reconcile.spent import without_spent
from blkrun.reconcile.words import change_words

_EXPORT = "export "


def plan(desired: GraphModel, live: GraphModel) -> tuple[Operation, ...]:
    """What to do, in order; empty when there is nothing to do."""
    moved = with_pivots(desired, live)
    planner = _Planner(without_spent(moved, live), live)
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
    for name, export in live.exports.items():
        if name not in desired.exports:
            continue
        old = _disk(live, export.node)
        if old != _disk(desired, desired.exports[name].node) or old & replaced:
            gone.add(name)
    return gone


def _disk(graph: GraphModel, node: str) -> set[str]:
    """The nodes below that say what the data is: all but filters, which do not change it."""
    found, rest = set(), [node]
    while rest:
        name = rest.pop()
        options = graph.nodes.get(name)
        children = {} if options is None else children_of(options)
        if options is not None and options.is_filter:
            rest.append(children["file"])
            continue
        found.add(name)
        rest.extend(children.values())
        if options is not None and options.only_reads:
            found.add(children["file"])  # what a filter keeps, rather than what it passes on
    return found


def summarise(operations: tuple[Operation, ...]) -> str:
    """``+2 ~1 -1``."""
    counts = {sign: sum(op.sign == sign for op in operations) for sign in "+~-"}
    return " ".join(f"{sign}{count}" for sign, count in counts.items() if count)


@dataclass(slots=True)
class _Planner:
    """``edges`` is the live graph as it is after the operations so far: (parent, role) → child.

    ``nodes`` likewise: a name may be a backend in the live graph and a filter in the desired one.

    Exports are parents too, as ``"export NAME"``: no node's name has a space.
    """

    desired: GraphModel
    live: GraphModel
    edges: dict[tuple[str, str], str] = field(default_factory=dict)
    nodes: dict[str, BlockdevOptions] = field(default_factory=dict)
    bitmaps: dict[str, list[Operation]] = field(default_factory=dict)
    """To be made, by their nodes."""

    def operations(self) -> Iterator[Operation]:
        self.nodes.update(self.live.nodes)
        for name, options in self.live.nodes.items():
            for role, child in children_of(options).items():
                self.edges[name, role] = child
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
        old, new = _disk(self.live, name), _disk(self.desired, name)
        return old != new or any(map(self._why_replaced, old))

    def _node(self, name: str) -> Iterator[Operation]:
        new, old = self.desired.nodes[name], self.live.nodes.get(name)
        self.nodes[name] = new
        if old is None:
            yield nodes.add(new)
            self._open(new)
        elif (why := self._why_replaced(name)) is not None:
            yield nodes.replace(old, new, why)
            for role in children_of(old):
                del self.edges[name, role]
            self._open(new)
        else:
            for role, child in children_of(new).items():
                yield from self._edge(name, role, child, nodes.table_of(new))
            if changed := nodes.changed_options(old, new):
                yield nodes.reopen(old, new, changed)

    def _open(self, new: BlockdevOptions) -> None:
        for role, child in children_of(new).items():
            self.edges[new.node_name, role] = child

    def _why_replaced(self, name: str) -> set[str] | None:
        return nodes.why_replaced(self.desired, self.live, name)

    def _withdraw_exports(self) -> Iterator[Operation]:
        """First, so that an export whose options change can come back under its name."""
        for name, old in self.live.exports.items():
            new = self.desired.exports.get(name)
            if new is None or _without_node(new) != _without_node(old):
                data = {"id": name}
                text, table = f"export {name}{_mode_words(old, new)}", f"exports.{name}"
                yield Operation("block-export-del", data, "-", text, table)
            else:
                self.edges[_EXPORT + name, "root"] = old.node

    def _export(self, name: str, new: ExportOptions) -> Iterator[Operation]:
        table = f"exports.{name}"
        if (_EXPORT + name, "root") in self.edges:
            yield from self._edge(_EXPORT + name, "root", new.node, table)
            return
        data: dict[str, Any] = {"type": "nbd", "id": name, "node-name": new.node}
        data |= {"writable": True} if not new.read_only else {}
        data |= {"description": new.description} if new.description else {}
        mode = "read-only" if new.read_only else "writable"
        text = f"export {name} of {new.node}, {mode}"
        yield Operation("block-export-add", data, "+", text, table)

    def _edge(self, parent: str, role: str, target: str, table: str) -> Iterator[Operation]:
        """Operations that make (parent, role) lead to ``target``."""
        for gone in self._going(self.edges[parent, role], target):
            child = self.edges[gone, "file"]
            self.edges[parent, role] = child
            yield self._move("remove", parent, role, child, gone)
        current = self.edges[parent, role]
        if current == target:
            return
        inserted = self._inserted(current, target)
        if inserted:
            for node in inserted:
                yield self._move("insert", parent, role, self.edges[parent, role], node)
                self.edges[parent, role] = node
        elif self._is_filter_over(current, target):
            yield self._move("remove", parent, role, target, current)
        else:
            data = {"parent": parent.removeprefix(_EXPORT), "role": role, "child": target}
            text = f"{parent}: {role} {current} → {target}"
            yield Operation("x-blkrun-set-edge", data, "~", text, table)
        self.edges[parent, role] = target

    def _move(self, verb: str, parent: str, role: str, child: str, node: str) -> Operation:
        sign, text = (
            ("+", f"insert {node} between {parent} and {child}")
            if verb == "insert"
            else ("-", f"remove {node} from between {parent} and {child}")
        )
        table, name = f"nodes.{node}", parent.removeprefix(_EXPORT)
        if name == parent and (name in self.desired.exports or name in self.live.exports):
            # QEMU's commands take this name for the export's; the role says which is meant.
            to = node if verb == "insert" else child
            data = {"parent": name, "role": role, "child": to}
            return Operation("x-blkrun-set-edge", data, sign, text, table)
        data = {"parent": name, "child": child, "node": node}
        return Operation(f"block-{verb}-node", data, sign, text, table)

    def _going(self, current: str, target: str) -> list[str]:
        """Filters at the top of ``current`` that the desired graph has not any more."""
        going = []
        while current != target and current not in self.desired.nodes and self._filter(current):
            going.append(current)
            current = self.edges[current, "file"]
        return going

    def _inserted(self, current: str, target: str) -> list[str]:
        """Filters from ``current`` (exclusive) up to ``target``, lowest first; empty if not so.

        More than one only if all are new: a filter that moves is one operation by itself.
        """
        chain: list[str] = []
        node = target
        while node != current:
            if not self._filter(node) or (chain and node in self.live.nodes):
                return []
            chain.append(node)
            node = self.edges[node, "file"]
        if len(chain) > 1 and chain[0] in self.live.nodes:
            return []
        return chain[::-1]

    def _is_filter_over(self, node: str, child: str) -> bool:
        return self._filter(node) and self.edges[node, "file"] == child

    def _filter(self, name: str) -> bool:
        return self.nodes[name].is_filter

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
    changed = {
        each.encode_name
        for each in fields_of(ExportOptions)
        if each.name != "node" and getattr(old, each.name) != getattr(new, each.name)
    }
    return f", to come back with {change_words(old, new, changed)}"


def _without_node(export: ExportOptions) -> ExportOptions:
    return msgspec.structs.replace(export, node="")
