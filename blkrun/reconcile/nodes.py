"""One node: what of it differs, and the operations that make, change and delete it."""

from typing import Any

from msgspec import UNSET

from blkrun.model import GraphModel
from blkrun.options import EDGES, BlockdevOptions, children_of, fields_of, to_wire
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.words import change_words


def why_replaced(desired: GraphModel, live: GraphModel, name: str) -> set[str] | None:
    """What differs of a node that is in both graphs and cannot be changed; None if it stays.

    Wire names of options, or just ``driver``.
    """
    old, new = live.nodes[name], desired.nodes[name]
    if old == new and not type(new).fixed_edges:
        return None
    if type(old) is not type(new):
        return {"driver"}
    changed = changed_options(old, new) | _other_disks(desired, live, name) | _unsaid(old, new)
    return changed if changed - type(new).reopenable else None


def _other_disks(desired: GraphModel, live: GraphModel, name: str) -> set[str]:
    """Roles that lead to another disk, or to a new one, of a node that is over its disks for life.

    Filters on the way come and go there as anywhere.
    """
    old, new = live.nodes[name], desired.nodes[name]
    found = set()
    roles = children_of(new).keys() - {"backing"} if type(new).fixed_edges else ()
    for role in roles:
        disk = unfiltered(live, _get(old, role))
        is_same = disk == unfiltered(desired, _get(new, role))
        if not is_same or (disk in live.nodes and why_replaced(desired, live, disk) is not None):
            found.add(role)
    return found


def _unsaid(old: BlockdevOptions, new: BlockdevOptions) -> set[str]:
    """Edges of which nothing is said any more: what a driver has there, only opening it tells."""
    return {
        role
        for role, field in EDGES[type(new)].items()
        if getattr(new, field) is UNSET and getattr(old, field) is not UNSET
    }


def moved_edges(old: BlockdevOptions, new: BlockdevOptions) -> list[str]:
    """Roles of which something else is said now, of nodes with the same driver."""
    return [
        role
        for role, field in EDGES[type(new)].items()
        if getattr(old, field) != getattr(new, field)
    ]


def changed_options(old: BlockdevOptions, new: BlockdevOptions) -> set[str]:
    """Wire names of the options that differ, edges apart, of nodes with the same driver."""
    if old == new:
        return set()
    roles = EDGES[type(new)]
    return {
        each.encode_name
        for each in fields_of(type(new))
        if each.encode_name not in roles and getattr(old, each.name) != getattr(new, each.name)
    }


def add(new: BlockdevOptions) -> Operation:
    """A node that was not there."""
    children = children_of(new)
    over = f" over {', '.join(children.values())}" if children else ""
    return Operation("blockdev-add", to_wire(new), "+", f"{_words(new)}{over}", table_of(new))


def replace(old: BlockdevOptions, new: BlockdevOptions, why: set[str]) -> Operation:
    """A node that cannot be changed."""
    if type(old) is type(new):
        words = change_words(old, new, why)
    else:
        words = f"driver {old.__struct_config__.tag} → {new.__struct_config__.tag}"
    text = f"{new.node_name}: a new node in its place ({words})"
    return Operation("x-blkrun-replace-node", to_wire(new), "~", text, table_of(new))


def reopen(old: BlockdevOptions, new: BlockdevOptions, changed: set[str]) -> Operation:
    """A node that takes these options anew, and has its edges already."""
    text = f"{new.node_name}: {change_words(old, new, changed)}"
    data = {"options": [to_wire(new)]}
    return Operation("blockdev-reopen", data, "~", text, table_of(new))


def delete(old: BlockdevOptions) -> Operation:
    """A node that nobody uses any more."""
    return Operation("blockdev-del", {"node-name": old.node_name}, "-", _words(old), table_of(old))


def forget(old: BlockdevOptions) -> Operation:
    """A filter that is gone already, and whose table is now."""
    text, data = f"{_words(old)}, which had left by itself", {"node-name": old.node_name}
    return Operation("x-blkrun-forget-spent", data, "-", text, table_of(old))


def table_of(options: BlockdevOptions) -> str:
    """The table that defines it."""
    return f"{_kind(options)}s.{options.node_name}"


def _words(options: BlockdevOptions) -> str:
    return f"{_kind(options)} {options.node_name} ({options.__struct_config__.tag})"


def _kind(options: BlockdevOptions) -> str:
    return "backend" if options.is_backend else "node"


def unfiltered(graph: GraphModel, name: str) -> str:
    """The node below all filters."""
    while (options := graph.nodes.get(name)) is not None and options.is_filter:
        name = children_of(options)["file"]
    return name


def _get(options: BlockdevOptions, wire_name: str) -> Any:
    return getattr(options, wire_name.replace("-", "_"))
