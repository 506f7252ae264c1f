"""Checks on exports: their names, and whether a client may write where it is let to."""

from collections.abc import Iterator

from blkrun.config.check_options import read_only
from blkrun.config.diagnostics import dotted
from blkrun.config.graph import by_name, main_chain
from blkrun.config.tables import Draft, NodeTable
from blkrun.decode import Kind, Problem

MAX_EXPORT_NAME_BYTES = 4096
"""NBD's bound on every string."""


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


def writable_exports(draft: Draft) -> Iterator[Problem]:
    """A client that may write needs a way down that lets it."""
    nodes = by_name(draft)
    known: dict[str, NodeTable | None] = {}
    for export in draft.exports:
        name = export.text("node")
        if name is None or export.raw.get("read-only") is True:
            continue
        blocker = _first_read_only(name, nodes, known)
        if blocker is not None:
            yield Problem(
                path=(*export.path, "node"),
                kind=Kind.REFERENCE,
                message=f"{dotted(export.path)} is writable, but {dotted(blocker.path)} is "
                f"read-only: set read-only = true in {dotted(export.path)}",
                related=(*blocker.path, "read-only"),
            )


def _first_read_only(
    name: str, nodes: dict[str, NodeTable], known: dict[str, NodeTable | None]
) -> NodeTable | None:
    passed, blocker = [], None
    for node in main_chain(name, nodes):
        if node.name in known:
            blocker = known[node.name]
            break
        passed.append(node.name)
        if read_only(node):
            blocker = node
            break
    known.update(dict.fromkeys(passed, blocker))
    return blocker
