"""The ``refer`` pass: what each table says against what the others say.

A check takes the draft and yields problems; it looks at what is written and not at options, so
that a table with a typing error is checked as far as it goes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from blkrun.config.check_bitmaps import (
    bitmap_granularities,
    bitmap_names,
    bitmaps_of_devices,
)
from blkrun.config.check_exports import (
    export_names,
    made_names,
    not_for_others,
    writable_exports,
)
from blkrun.config.check_jobs import (
    bitmaps,
    chains,
    copied_onto_itself,
    filter_names,
    granularities,
    job_names,
    taken_twice,
    targets_in_use,
)
from blkrun.config.check_options import (
    bottoms,
    files_used_twice,
    images,
    limits,
    nbd_source,
    nul_characters,
)
from blkrun.config.graph import by_name, cycles, role_of
from blkrun.config.names import RULE, is_name
from blkrun.config.tables import Draft, ExportTable, Table
from blkrun.decode import Kind, Path, Problem, nearest
from blkrun.options import ThrottleOptions
from blkrun.toml.diagnostics import dotted

MAX_GUESSES = 50


def refer(draft: Draft) -> Iterator[Problem]:
    """Everything that is wrong between tables."""
    for check in CHECKS:
        yield from check(draft)


def names(draft: Draft) -> Iterator[Problem]:
    """QEMU's syntax for the names of nodes and groups."""
    tables: tuple[Table[Any], ...] = (*draft.groups, *draft.nodes)
    for table in tables:
        if not is_name(table.name):
            message = f'"{table.name}" cannot be a name: {RULE}'
            yield Problem(path=table.path, kind=Kind.OTHER, message=message)


def duplicates(draft: Draft) -> Iterator[Problem]:
    """Backends and nodes share one name space."""
    first = by_name(draft)
    for node in draft.nodes:
        other = first[node.name]
        if other is not node:
            yield Problem(
                path=node.path,
                kind=Kind.OTHER,
                message=f'the name "{node.name}" is taken: nodes and backends share their names',
                related=other.path,
            )


def references(draft: Draft) -> Iterator[Problem]:
    """Edges, exports, bitmaps and jobs name what there is."""
    nodes = by_name(draft)
    others: tuple[Table[Any], ...] = (*draft.groups, *draft.exports, *draft.bitmaps, *draft.jobs)
    names = Names("node or backend", "backends", nodes, made=_made_nodes(draft), others=others)
    for node in draft.nodes:
        for role, child in node.edges():
            if child not in nodes:
                yield names.unknown((*node.path, role), child, but=node.name)
        if node.bottom and node.bottom not in nodes:
            yield names.unknown((*node.path, "bottom"), node.bottom, but=node.name)
    users: tuple[Table[Any], ...] = (*draft.exports, *draft.bitmaps)
    for table in users:
        name = table.text("node")
        if name is not None and name not in nodes:
            yield names.unknown((*table.path, "node"), name)
    for job in draft.jobs:
        for key, name in job.nodes():
            if name not in nodes:
                yield names.unknown((*job.path, key), name)


def groups(draft: Draft) -> Iterator[Problem]:
    """Throttle nodes name a group that there is."""
    known = {group.name: group for group in draft.groups}
    made = {export.throttle_group: export for export in draft.exports if export.throttled}
    others: tuple[Table[Any], ...] = (*draft.nodes, *draft.exports, *draft.bitmaps, *draft.jobs)
    names = Names("throttle group", "throttle-groups", known, made=made, others=others)
    for node in draft.nodes:
        name = node.text("throttle-group") if node.driver is ThrottleOptions else None
        if name is not None and name not in known:
            yield names.unknown((*node.path, "throttle-group"), name)


def _made_nodes(draft: Draft) -> dict[str, ExportTable]:
    return {export.throttle_node: export for export in draft.exports if export.throttled}


class Names:
    """What a reference of one kind may name, and what to say of one that names nothing.

    ``known`` can be named; ``made``, of exports' limits, cannot; ``others`` are things that are
    something else; ``section`` is where what is missing would be defined.
    """

    def __init__(
        self,
        what: str,
        section: str,
        known: Mapping[str, Table[Any]],
        *,
        made: Mapping[str, ExportTable],
        others: Iterable[Table[Any]],
    ) -> None:
        self._what = what
        self._section = section
        self._known = known
        self._made = made
        self._others = {table.name: table for table in others}
        self._guesses: dict[str, str | None] = {}

    def unknown(self, path: Path, name: str, but: str | None = None) -> Problem:
        """The problem with ``name`` at ``path``; ``but`` cannot have been meant."""
        if (owner := self._made.get(name)) is not None:
            message = f"{dotted(path)}: {not_for_others(name, owner)}"
            return Problem(path=path, kind=Kind.REFERENCE, message=message, related=owner.path)
        meant = self._meant(name)
        near = self._known[meant] if meant is not None and meant != but else None
        related = near or self._others.get(name)
        remedy = ""
        if near is None:
            there = f"; {dotted(related.path)} is not one" if related is not None else ""
            remedy = there or f"; [{dotted((self._section, name))}] would define it"
        return Problem(
            path=path,
            kind=Kind.REFERENCE,
            message=f'{dotted(path)}: there is no {self._what} "{name}"{remedy}',
            suggestion=near.name if near is not None else None,
            related=related.path if related is not None else None,
        )

    def _meant(self, name: str) -> str | None:
        """The nearest, for the first so many: a thousand against a thousand takes seconds."""
        if name not in self._guesses and len(self._guesses) < MAX_GUESSES:
            self._guesses[name] = nearest(name, self._known)
        return self._guesses.get(name)


def acyclic(draft: Draft) -> Iterator[Problem]:
    """No node is below itself."""
    nodes = by_name(draft)
    for ring in cycles(nodes):
        first, second = nodes[ring[0]], nodes[ring[1 % len(ring)]]
        path = (*first.path, role_of(first, second.name))
        message = f"{dotted(path)} closes a cycle: {' -> '.join((*ring, ring[0]))}"
        related = None if first is second else second.path
        yield Problem(path=path, kind=Kind.REFERENCE, message=message, related=related)


CHECKS: tuple[Callable[[Draft], Iterator[Problem]], ...] = (
    names,
    duplicates,
    references,
    groups,
    acyclic,
    limits,
    images,
    nbd_source,
    bottoms,
    files_used_twice,
    export_names,
    made_names,
    writable_exports,
    bitmap_names,
    bitmap_granularities,
    job_names,
    filter_names,
    granularities,
    bitmaps,
    bitmaps_of_devices,
    copied_onto_itself,
    taken_twice,
    chains,
    targets_in_use,
    nul_characters,
)
