"""A list of children that differs: which stay, which come, which go.  Pure.

A child that stays keeps its place in the list and its role at the server; a filter that comes over
it or leaves is a change of that edge.  One that others come for is replaced where it is.  What goes
leaves a gap, and what comes is put at the end: QEMU's x-blockdev-change knows no other way.  Where
the new list is not to be had by that, its places are filled one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from blkrun.model import GraphModel
from blkrun.options import BlockdevOptions, children_of, key_of, lists_of
from blkrun.reconcile.disks import unfiltered
from blkrun.reconcile.edges import Edge, Edges
from blkrun.reconcile.operation import Operation

_NOT_FILLED = "what it has differs until it is written: reads report that"


def others(old: BlockdevOptions, new: BlockdevOptions) -> bool:
    """Whether a list of children has others, or as many in another order."""
    return any(_members(old, key) != _members(new, key) for key in lists_of(type(new)))


def changes(
    old: BlockdevOptions,
    new: BlockdevOptions,
    desired: GraphModel,
    live: GraphModel,
    edges: Edges,
) -> Iterator[Operation]:
    """What leads from one list to the other; children that come are there already."""
    for key in lists_of(type(new)):
        roles = live.gaps.get(new.node_name, tuple(children_of(old)))
        yield from _List(
            name=new.node_name,
            key=key,
            before=_members(old, key),
            roles=[role for role in roles if key_of(role) == key],
            after=_members(new, key),
            desired=desired,
            live=live,
            edges=edges,
        ).operations()


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    name: str
    key: str
    before: list[str]
    roles: list[str]
    after: list[str]
    desired: GraphModel
    live: GraphModel
    edges: Edges

    def operations(self) -> Iterator[Operation]:
        """In an order in which there are never fewer children than in the end, or before."""
        pairs = self._pairs()
        going = [place for place in range(len(self.before)) if place not in dict(pairs)]
        coming = self.after[len(pairs) :]
        for old, new in pairs:
            if self.before[old] != self.after[new]:
                edge = Edge(self.name, self.roles[old], self.before[old])
                yield self.edges.lead(edge, self.after[new])
        last = int(self.roles[-1].rpartition(".")[2])
        for number, child in enumerate(coming, last + 1):
            yield self._add(f"{self.key}.{number}", child)
        for place in going:
            yield self._remove(place)

    def _pairs(self) -> list[tuple[int, int]]:
        """Place before → place after, for the edges that stay, in order; the rest goes or comes.

        The places after are the first ones, without a gap.
        """
        before = [unfiltered(self.live, child) for child in self.before]
        after = [unfiltered(self.desired, child) for child in self.after]
        pairs: list[tuple[int, int]] = []
        matcher = SequenceMatcher(None, before, after, autojunk=False)
        for _, start, end, first, past in matcher.get_opcodes():
            pairs += zip(range(start, end), range(first, past), strict=False)
        if [new for _, new in pairs] != [*range(len(pairs))]:  # something comes in between
            count = min(len(before), len(after))
            return list(zip(range(count), range(count), strict=True))
        return pairs

    def _add(self, role: str, child: str) -> Operation:
        text = f"add {child} to the {self.key} of {self.name}: {_NOT_FILLED}"
        if self._has_parent(child):  # QEMU's command does not take such a one
            data = {"parent": self.name, "role": role, "child": child}
            return Operation("x-blkrun-set-edge", data, "+", text, self._table)
        data = {"parent": self.name, "node": child}
        return Operation("x-blockdev-change", data, "+", text, self._table)

    def _remove(self, place: int) -> Operation:
        text = f"take {self.before[place]} out of the {self.key} of {self.name}"
        data = {"parent": self.name, "child": self.roles[place]}
        return Operation("x-blockdev-change", data, "-", text, self._table)

    @property
    def _table(self) -> str:
        return f"nodes.{self.name}"

    def _has_parent(self, child: str) -> bool:
        """Whether anything else leads there, before or after: during the plan it may be either."""
        for graph in (self.live, self.desired):
            if any(export.node == child for export in graph.exports.values()):
                return True
            for name, options in graph.nodes.items():
                if child in children_of(options).values() and (
                    name != self.name or graph is self.live
                ):
                    return True
        return False


def _members(options: BlockdevOptions, key: str) -> list[str]:
    return [child for role, child in children_of(options).items() if key_of(role) == key]
