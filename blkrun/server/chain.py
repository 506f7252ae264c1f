"""Backing chains: from a node down, by ``backing``, with filters on the way or without.

::

    top ─▶ limit ─▶ mid ─▶ base        the chain is top, mid, base; limit is a filter

Each function looks at edges as they are, or as they will be: pass ``Staging.child``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from blkrun.server.node import Node
from blkrun.server.way import Allocated

Child = Callable[[Node[Any], str], Node[Any] | None]
"""Where an edge leads."""

Range = tuple[int, int]
"""(start, end)"""


def live_child(node: Node[Any], role: str) -> Node[Any] | None:
    """Where an edge leads now."""
    return node.children.get(role)


def unfiltered(node: Node[Any], child: Child = live_child) -> Node[Any]:
    """The node below all filters: it is what has the data."""
    while node.is_filter and (below := child(node, node.main)) is not None:
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


def unheld(nodes: Iterable[Node[Any]], start: int, end: int) -> list[Range]:
    """What of a range none of the nodes has.

    Beyond its end a node has zeroes, if there is a backing image that these hide, else nothing.
    For who is inside a request that comes by there.
    """
    missing = [(start, end)]
    for node in nodes:
        missing = [gap for part in missing for gap in _gaps(node, *part)]
    return missing


def without(ranges: Iterable[Range], others: Iterable[Range]) -> list[Range]:
    """What of ``ranges`` is in none of ``others``; both are in order, without overlaps."""
    holes, rest = list(others), []
    for start, end in ranges:
        at = start
        for first, past in holes:
            if first < end and at < past:
                if at < first:
                    rest.append((at, first))
                at = past
        if at < end:
            rest.append((at, end))
    return rest


def gaps(ask: Callable[[int, int], list[Allocated]], start: int, end: int) -> Iterator[Range]:
    """What of a range a node has not, by its ``allocated``, which is asked until it has said it."""
    while start < end:
        for at, length, held in ask(end - start, start):
            start = min(at + length, end)
            if not held:
                yield at, start


def _gaps(node: Node[Any], start: int, end: int) -> Iterator[Range]:
    room = min(end, node.size_bytes)
    yield from gaps(node.do_allocated, start, room)
    if max(start, room) < end and "backing" not in node.children:
        yield max(start, room), end
