"""Checks on exports: their names, also of what their own limits make; who may write where."""

from collections.abc import Iterator
from typing import Any

from blkrun.config.check_options import first_read_only
from blkrun.config.graph import by_name
from blkrun.config.names import RULE, is_name
from blkrun.config.tables import Draft, ExportTable, NodeTable, Table
from blkrun.decode import Kind, Problem
from blkrun.toml.diagnostics import dotted

MAX_EXPORT_NAME_BYTES = 4096
"""NBD's bound on every string."""

_BY_HAND = "write the throttle group and the throttle node out yourself"


def export_names(draft: Draft) -> Iterator[Problem]:
    """What NBD can carry."""
    for export in draft.exports:
        size_bytes = len(export.name.encode())
        if not export.name or "\0" in export.name:
            message = "an export's name may not be empty or have a NUL character in it"
            yield Problem(path=export.path, kind=Kind.OTHER, message=message)
        if size_bytes > MAX_EXPORT_NAME_BYTES:
            message = (
                f"the export's name has {size_bytes} bytes; "
                f"NBD takes {MAX_EXPORT_NAME_BYTES} at most"
            )
            yield Problem(path=export.path, kind=Kind.OTHER, message=message)


def made_names(draft: Draft) -> Iterator[Problem]:
    """What an export's own limits make has names that there can be, and that are free."""
    groups, nodes = {group.name: group for group in draft.groups}, by_name(draft)
    for export in draft.exports:
        if not export.throttled:
            continue
        group, node = export.throttle_group, export.throttle_node
        if not is_name(node):
            message = (
                f'{dotted(export.path)} has limits, which make a throttle node "{node}", and '
                f"that cannot be a name: {RULE}; name the export otherwise, or {_BY_HAND}"
            )
            yield Problem(path=export.path, kind=Kind.OTHER, message=message)
        if group in groups:
            yield _taken(export, f'throttle group "{group}"', groups[group])
        if node in nodes:
            yield _taken(export, f'throttle node "{node}"', nodes[node])


def _taken(export: ExportTable, made: str, table: Table[Any]) -> Problem:
    message = (
        f"{dotted(export.path)} has limits, which make a {made}, and that name is taken: "
        f"name {dotted(table.path)} otherwise, or {_BY_HAND}"
    )
    return Problem(path=export.path, kind=Kind.OTHER, message=message, related=table.path)


def not_for_others(name: str, export: ExportTable) -> str:
    """Why no table may refer to what another export's limits make."""
    here = dotted(export.path)
    return (
        f'"{name}" is made of the limits in {here}, and no table can refer to it; '
        f"to share it, {_BY_HAND}"
    )


def writable_exports(draft: Draft) -> Iterator[Problem]:
    """A client that may write needs a way down that lets it."""
    nodes = by_name(draft)
    known: dict[str, NodeTable | None] = {}
    for export in draft.exports:
        name = export.text("node")
        if name is None or export.raw.get("read-only") is True:
            continue
        blocker = first_read_only(name, nodes, known)
        if blocker is not None:
            yield Problem(
                path=(*export.path, "node"),
                kind=Kind.REFERENCE,
                message=f"{dotted(export.path)} is writable, but {dotted(blocker.path)} is "
                f"read-only: set read-only = true in {dotted(export.path)}",
                related=(*blocker.path, "read-only"),
            )
