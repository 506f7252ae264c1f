"""What a plan touches, by name: for those who show the graph and mark what is to change in it."""

from collections.abc import Iterable, Iterator
from typing import Any

from blkrun.config.tables import written_edges
from blkrun.options import DRIVERS
from blkrun.reconcile.operation import Operation

_Mark = tuple[str, str, str]
"""``nodes``, ``exports`` or ``groups``; a name; and + - or ~."""


def marks(operations: Iterable[Operation]) -> dict[str, Any]:
    """``nodes``, ``exports`` and ``groups``: name → + - or ~.  ``added``: what a new node will be.

    Of that, ``driver`` and ``over``, the children that it will lead to.
    """
    found: dict[str, dict[str, str]] = {"nodes": {}, "exports": {}, "groups": {}}
    added: dict[str, dict[str, Any]] = {}
    for operation in operations:
        for place, name, sign in _marks(operation):
            found[place][name] = _both(found[place].get(name), sign)
        if operation.type == "blockdev-add":
            added[operation.data["node-name"]] = _described(operation.data)
    return {**found, "added": added}


def _both(old: str | None, new: str) -> str:
    """Coming and going say more than a change; what goes and comes back is changed."""
    if old is None or old == "~":
        return new
    return "~" if {old, new} == {"+", "-"} else old


def _marks(operation: Operation) -> Iterator[_Mark]:
    data, sign = operation.data, operation.sign
    match operation.type:
        case "blockdev-add" | "x-blkrun-replace-node" | "blockdev-del":
            yield "nodes", data["node-name"], sign
        case "blockdev-reopen":
            yield from (("nodes", each["node-name"], sign) for each in data["options"])
        case "block-insert-node" | "block-remove-node":  # which may stay, elsewhere
            yield "nodes", data["node"], "~"
        case "x-blockdev-change":
            yield "nodes", data["parent"], "~"
        case "x-blkrun-set-edge" if sign == "~":  # else others come or go
            yield "exports" if data["role"] == "root" else "nodes", data["parent"], sign
        case "block-dirty-bitmap-add" | "block-dirty-bitmap-remove":
            yield "nodes", data["node"], "~"
        case "block-export-add" | "block-export-del":
            yield "exports", data["id"], sign
        case "object-add" | "object-del":
            yield "groups", data["id"], sign
        case "qom-set":
            yield "groups", data["path"], sign


def _described(data: dict[str, Any]) -> dict[str, Any]:
    """What only jobs put in has no table, and no place that could be told."""
    driver = DRIVERS.get(data["driver"])
    edges = () if driver is None else written_edges(driver, data)
    return {"driver": data["driver"], "over": [child for _, child in edges]}
