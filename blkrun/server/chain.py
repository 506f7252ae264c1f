"""Backing chains: from a node down, by ``backing``, with filters on the way or without.

::

    top ─▶ limit ─▶ mid ─▶ base        the chain is top, mid, base; limit is a filter

Each function looks at edges as they are, or as they will be: pass ``Staging.child``.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from blkrun.server.node import Node

Child = Callable[[Node[Any], str], Node[Any] | None]
"""Where an edge leads."""

Allocated = tuple[int, int, bool]
"""(offset, length, whether it is held)"""


def live_child(node: Node[Any], role: str) -> Node[Any] | None:
    """Where an edge leads now."""
    return node.children.get(role)


def unfiltered(node: Node[Any], child: Child = live_child) -> Node[Any]:
    """The node below all filters: it is what has the data."""
    while node.is_filter and (below := child(node, "file")) is not None:
        node = below
    return node


def chain(node: Node[Any], child: Child = live_child) -> Iterator[Node[Any]]:
    """The nodes that have the data, from the top to the base; bounded where there is a cycle."""
    seen: set[Node[Any]] = set()
    below: Node[Any] | None = node
    while below is not None and (data := unfiltered(below, child)) not in seen:
        seen.add(data)
        yield data
        below = child(data, "backing")


def written_below(
    root: Node[Any], children: Callable[[Node[Any]], Mapping[str, Node[Any]]]
) -> set[Node[Any]]:
    """The nodes that a write to ``root`` may come to: nobody writes to a backing image."""
    found: set[Node[Any]] = set()
    rest = [root]
    while rest:
        node = rest.pop()
        if node not in found:
            found.add(node)
            if not node.options.only_reads:
                rest.extend(below for role, below in children(node).items() if role != "backing")
    return found
