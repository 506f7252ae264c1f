"""Checks on nodes whose children have to be equal: enough of them, none of them twice."""

from collections.abc import Iterator

from blkrun.config.graph import by_name, skip_disabled
from blkrun.config.tables import Draft
from blkrun.decode import Kind, Path, Problem
from blkrun.options import QuorumOptions
from blkrun.toml.diagnostics import dotted


def votes(draft: Draft) -> Iterator[Problem]:
    """A quorum has children that can reach its threshold; QEMU's rules."""
    for node in draft.nodes:
        if node.driver is QuorumOptions and isinstance(node.options, QuorumOptions):
            yield from _threshold_problems(node.path, node.options)
            yield from _verify_problems(node.path, node.options)


def twice(draft: Draft) -> Iterator[Problem]:
    """One node cannot stand for two copies, nor two filters that are off for the same."""
    nodes = by_name(draft)
    for node in draft.nodes:
        if node.driver is None or not node.driver.fans_out:
            continue
        first: dict[str, Path] = {}
        for place, child in node.edges():
            below = skip_disabled(child, nodes)
            other = first.setdefault(below, place)
            if other != place:
                yield _again((*node.path, *place), (*node.path, *other), child, below)


def _again(path: Path, other: Path, child: str, below: str) -> Problem:
    through = "" if child == below else f' (through "{child}", which is switched off)'
    message = f'{dotted(path)}: "{below}"{through} is {dotted(other)} already: a copy counts once'
    return Problem(path=path, kind=Kind.OTHER, message=message, related=other)


def _threshold_problems(path: Path, options: QuorumOptions) -> Iterator[Problem]:
    children, threshold = len(options.children), options.vote_threshold
    where = (*path, "vote-threshold")
    if not children:
        where = (*path, "children")
        message = f"{dotted(where)} is empty: a quorum has one child or more"
        yield Problem(path=where, kind=Kind.VALUE, message=message)
    elif threshold < 1:
        message = f"{dotted(where)}: {threshold} is out of range: needs int >= 1"
        yield Problem(path=where, kind=Kind.VALUE, message=message)
    elif threshold > children:
        some = "is 1 child" if children == 1 else f"are {children} children"
        message = f"{dotted(where)}: {threshold} can never agree, as there {some}"
        yield Problem(path=where, kind=Kind.VALUE, message=message, related=(*path, "children"))


def _verify_problems(path: Path, options: QuorumOptions) -> Iterator[Problem]:
    """QEMU looks at none of this where children are read one after the other."""
    if not options.blkverify or options.read_pattern == "fifo":
        return
    where = (*path, "blkverify")
    if (len(options.children), options.vote_threshold) != (2, 2):
        message = f"{dotted(where)} needs exactly two children and vote-threshold = 2"
        yield Problem(path=where, kind=Kind.OTHER, message=message, related=(*path, "children"))
    elif options.rewrite_corrupted:
        message = f"{dotted(where)}: of two that differ neither is right: no rewrite-corrupted"
        related = (*path, "rewrite-corrupted")
        yield Problem(path=where, kind=Kind.OTHER, message=message, related=related)
