"""Disks that become backing images while clients write them: what has to happen to them first.

No write may be under way to a node that an overlay above begins to copy from: the copy could miss
it, and the overlay would hide it.  And what clients were answered so far must be durable, for their
next flush comes to the overlay only.
"""

from collections.abc import Collection, Iterable
from typing import Any

from blkrun.server.chain import unfiltered, written_below
from blkrun.server.export import Export
from blkrun.server.node import Node
from blkrun.server.staging import Edge, Staging


def sinking(
    staging: Staging, exports: Iterable[Export], swaps: Collection[Edge]
) -> dict[Export, set[Node[Any]]]:
    """Nodes that exports' clients write now, and that will be backing images below them.

    ``swaps`` are the staged edges that lead elsewhere than now.
    """
    if not any(_has_other_data(staging, edge) for edge in swaps):
        return {}
    found = {}
    for export in exports:
        root = staging.child(export, "root")
        if export.options.read_only or export.shutting_down or root is None:
            continue
        written = written_below(export.root, _children) - written_below(root, staging.children)
        if sunk := {node for node in written & staging.tree(root) if not node.is_filter}:
            found[export] = sunk
    return found


def _has_other_data(staging: Staging, edge: Edge) -> bool:
    """Whether more than filters differ; an edge that was not there has nobody's writes."""
    parent, role = edge
    old, new = parent.children.get(role), staging.edges[edge]
    if old is None or new is None:
        return False
    return unfiltered(old) is not unfiltered(new, staging.child)


def _children(node: Node[Any]) -> dict[str, Node[Any]]:
    return node.children
