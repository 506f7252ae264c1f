"""The nodes of a draft as a graph: cycles, and what is below a name."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from blkrun.config.tables import Draft, NodeTable
from blkrun.decode import Path


def by_name(draft: Draft) -> dict[str, NodeTable]:
    """The first table of each name (a name written twice is reported elsewhere)."""
    nodes: dict[str, NodeTable] = {}
    for node in draft.nodes:
        nodes.setdefault(node.name, node)
    return nodes


def cycles(nodes: dict[str, NodeTable]) -> Iterator[list[str]]:
    """Each cycle once, as names from parent to child, beginning with the first in the file.

    An edge of a cycle that was found is taken out and the search begun anew, which is slow
    only for a file with very many cycles.
    """
    children = {
        name: [child for _, child in node.edges() if child in nodes] for name, node in nodes.items()
    }
    order = {name: index for index, name in enumerate(nodes)}
    while True:
        try:
            TopologicalSorter(children).prepare()
        except CycleError as error:
            ring = error.args[1][:0:-1]  # comes child first, with its first name again at the end
        else:
            return
        start = ring.index(min(ring, key=order.__getitem__))
        ring = ring[start:] + ring[:start]
        yield ring
        children[ring[0]].remove(ring[1 % len(ring)])


def place_of(node: NodeTable, child: str) -> Path:
    """Where the (first) edge to a child that the node is known to have is written."""
    return next(place for place, name in node.edges() if name == child)


def skip_disabled(name: str, nodes: dict[str, NodeTable]) -> str:
    """The node itself, or what takes its place while it is switched off."""
    for _ in nodes:  # a bound: the draft may still have cycles
        node = nodes.get(name)
        if node is None or node.enabled:
            break
        name = node.text(node.main) or name
    return name


def tree(name: str, nodes: dict[str, NodeTable]) -> set[str]:
    """A node and everything below it, leaving out what is switched off."""
    found: set[str] = set()
    rest = [name]
    while rest:
        node = nodes.get(skip_disabled(rest.pop(), nodes))
        if node is not None and node.name not in found:
            found.add(node.name)
            rest.extend(child for _, child in node.edges())
    return found


def parents(nodes: dict[str, NodeTable]) -> dict[str, set[str]]:
    """Who is directly over whom, leaving out what is switched off."""
    found: dict[str, set[str]] = {}
    for node in nodes.values():
        for _, child in node.edges() if node.enabled else ():
            found.setdefault(skip_disabled(child, nodes), set()).add(node.name)
    return found


def over_all(name: str, parents: dict[str, set[str]]) -> set[str]:
    """A node and everything above it."""
    found, rest = {name}, [name]
    while rest:
        new = parents.get(rest.pop(), set()) - found
        found |= new
        rest.extend(new)
    return found


def written_to(node: NodeTable, nodes: dict[str, NodeTable]) -> list[str]:
    """Those right below that its writes go to: all that there are, or the main one.

    Leaving out what is switched off.
    """
    fans_out = node.driver is not None and node.driver.fans_out
    below = [child for place, child in node.edges() if fans_out or place == (node.main,)]
    return [skip_disabled(child, nodes) for child in below]
