"""Which disk is seen at a node: what says so, before and after an edit.  Pure."""

from collections.abc import Collection, Iterable

from blkrun.model import GraphModel
from blkrun.options import (
    BlkverifyOptions,
    BlockdevOptions,
    QuorumOptions,
    children_of,
    main_child,
)


class Disks:
    """Of two graphs, by the names of nodes.  Equal sets are one disk, if none is a new node.

    A quorum's children may come and go, if what it shows stays: those that are in both graphs can
    reach its threshold, and are more than those that come, which cannot outvote them.  One of the
    ``replaced``, which get a new node in their place, comes.
    """

    def __init__(
        self, desired: GraphModel, live: GraphModel, replaced: Collection[str] = ()
    ) -> None:
        self._desired, self._live, self._replaced = desired, live, replaced

    def before(self, node: str) -> set[str]:
        """In the live graph."""
        return self._find(self._live, node)

    def after(self, node: str) -> set[str]:
        """In the desired graph."""
        return self._find(self._desired, node)

    def _find(self, graph: GraphModel, node: str) -> set[str]:
        """The nodes below that say what the data is: all but filters, which do not change it."""
        found, rest = set(), [node]
        while rest:
            name = rest.pop()
            options = graph.nodes.get(name)
            children = {} if options is None else children_of(options)
            if options is not None and options.is_filter:
                rest.append(children[options.main])
                continue
            found.add(name)
            rest.extend(self._shown(options, children.values()))
            if options is not None and options.only_reads:
                found.add(
                    children[options.main]
                )  # what a filter keeps, rather than what it passes on
        return found

    def _shown(self, options: BlockdevOptions | None, children: Iterable[str]) -> Iterable[str]:
        """Those whose data is seen."""
        if isinstance(options, BlkverifyOptions):
            return [options.test]
        if isinstance(options, QuorumOptions):
            return self._voters(options.node_name) or children
        return children

    def _voters(self, name: str) -> list[str]:
        """The disks of the children that stay, if they go on to decide; else none."""
        old, new = self._live.nodes.get(name), self._desired.nodes.get(name)
        if not isinstance(old, QuorumOptions) or not isinstance(new, QuorumOptions):
            return []
        before = [unfiltered(self._live, child) for child in old.children]
        after = [unfiltered(self._desired, child) for child in new.children]
        stay = [disk for disk in after if disk in before and disk not in self._replaced]
        if len(stay) < new.vote_threshold or 2 * len(stay) <= len(after):
            return []
        if new.read_pattern == "fifo" and after[0] not in stay:
            return []
        return stay


def unfiltered(graph: GraphModel, name: str) -> str:
    """The node below all filters."""
    while (options := graph.nodes.get(name)) is not None and options.is_filter:
        name = main_child(options)
    return name
