"""The ``refer`` pass: what each table says against what the others say.

A check takes the draft and yields problems; it looks at what is written and not at options, so
that a table with a typing error is checked as far as it goes.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
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
    copied_onto_itself,
    filter_names,
    granularities,
    job_names,
    taken_twice,
    targets_in_use,
)
from blkrun.config.check_options import files_used_twice, limits, nbd_source, nul_characters
from blkrun.config.diagnostics import dotted
from blkrun.config.graph import by_name, cycles, role_of
from blkrun.config.names import RULE, is_name
from blkrun.config.tables import Draft, ExportTable, Table
from blkrun.decode import Kind, Path, Problem, nearest
from blkrun.options import ThrottleOptions

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
    made = {export.throttle_node: export for export in draft.exports if export.throttled}
    meant = _guesser(nodes)
    for node in draft.nodes:
        for role, child in node.edges():
            if child not in nodes:
                suggestion = meant(child) if meant(child) != node.name else None
                yield _unknown((*node.path, role), child, suggestion, made)
    others: tuple[Table[Any], ...] = (*draft.exports, *draft.bitmaps)
    for table in others:
        name = table.text("node")
        if name is not None and name not in nodes:
            yield _unknown((*table.path, "node"), name, meant(name), made)
    for job in draft.jobs:
        for key, name in job.nodes():
            if name not in nodes:
                yield _unknown((*job.path, key), name, meant(name), made)


def groups(draft: Draft) -> Iterator[Problem]:
    """Throttle nodes name a group that there is."""
    known = {group.name for group in draft.groups}
    made = {export.throttle_group: export for export in draft.exports if export.throttled}
    meant = _guesser(known)
    for node in draft.nodes:
        name = node.text("throttle-group") if node.driver is ThrottleOptions else None
        if name is not None and name not in known:
            path = (*node.path, "throttle-group")
            yield _unknown(path, name, meant(name), made)


def _guesser(valid: Collection[str]) -> Callable[[str], str | None]:
    """Nearest names, for the first so many: a thousand against a thousand takes seconds."""
    guesses: dict[str, str | None] = {}

    def meant(name: str) -> str | None:
        if name not in guesses and len(guesses) < MAX_GUESSES:
            guesses[name] = nearest(name, valid)
        return guesses.get(name)

    return meant


def _unknown(
    path: Path, name: str, suggestion: str | None, made: Mapping[str, ExportTable]
) -> Problem:
    if (owner := made.get(name)) is not None:
        message = f"{dotted(path)}: {not_for_others(name, owner)}"
        return Problem(path=path, kind=Kind.REFERENCE, message=message, related=owner.path)
    is_group = path[-1] == "throttle-group"
    what, section = (
        ("throttle group", "throttle-groups") if is_group else ("node or backend", "backends")
    )
    remedy = "" if suggestion else f"; [{dotted((section, name))}] would define it"
    message = f'{dotted(path)}: there is no {what} "{name}"{remedy}'
    return Problem(path=path, kind=Kind.REFERENCE, message=message, suggestion=suggestion)


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
    nbd_source,
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
    targets_in_use,
    nul_characters,
)
