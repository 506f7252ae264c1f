"""Checks on what options hold, within a table and between two of the same kind."""

from collections.abc import Iterator
from typing import Any

from blkrun.config.graph import by_name
from blkrun.config.tables import Draft, NodeTable, Table
from blkrun.decode import Kind, Problem
from blkrun.image_options import check_image_options
from blkrun.limits import check_limits
from blkrun.options import FileOptions, NbdOptions, Qcow2Options
from blkrun.toml.diagnostics import dotted
from blkrun.toml.source import absolute


def limits(draft: Draft) -> Iterator[Problem]:
    """QEMU's rules for throttle limits, of groups and in exports."""
    written = [(group.path, group.options) for group in draft.groups]
    written += [(export.path, export.limits) for export in draft.exports]
    for table, values in written:
        broken = check_limits(values) if values is not None else None
        if broken is not None:
            path = (*table, broken.option)
            message = f"{dotted(path)}: {broken.message}"
            yield Problem(path=path, kind=Kind.OTHER, message=message)


def images(draft: Draft) -> Iterator[Problem]:
    """What can be said of images without looking at them."""
    for node in draft.nodes:
        if not isinstance(node.options, Qcow2Options):
            continue
        if (broken := check_image_options(node.options)) is not None:
            path = (*node.path, broken.option if broken.option in node.raw else "driver")
            message = f"{dotted(node.path)}: {broken.message}"
            yield Problem(path=path, kind=Kind.OTHER, message=message)


def nbd_source(draft: Draft) -> Iterator[Problem]:
    """An nbd backend has a server to go to, and only one."""
    for node in draft.nodes:
        if node.driver is not NbdOptions:
            continue
        here, command = dotted(node.path), (*node.path, "command")
        if "uri" not in node.raw and "command" not in node.raw:
            message = f'"uri" or "command" is missing in {here}: where is the NBD server?'
            yield Problem(path=node.path, kind=Kind.MISSING, message=message, expected="uri")
        elif "uri" in node.raw and "command" in node.raw:
            message = f"{here} takes uri or command, not both"
            related = (*node.path, "uri")
            yield Problem(path=command, kind=Kind.OTHER, message=message, related=related)
        elif node.raw.get("command") == []:
            message = f'{dotted(command)} is empty: write ["nbdkit", "memory", "64M"] or the like'
            yield Problem(path=command, kind=Kind.VALUE, message=message)


def bottoms(draft: Draft) -> Iterator[Problem]:
    """A copy-on-read's bottom has data of its own: it is no filter."""
    nodes = by_name(draft)
    for node in draft.nodes:
        bottom = nodes.get(node.bottom or "")
        if bottom is not None and bottom.driver is not None and bottom.driver.is_filter:
            path = (*node.path, "bottom")
            words = f'"{bottom.name}" is a filter: name the node with the data, below it'
            message = f"{dotted(path)}: {words}"
            yield Problem(path=path, kind=Kind.VALUE, message=message, related=bottom.path)


def files_used_twice(draft: Draft) -> Iterator[Problem]:
    """Two writers would spoil one image; any number may read it."""
    first: dict[str, NodeTable] = {}
    for node in draft.nodes:
        written = node.text("path") if node.driver is FileOptions else None
        if written is None:
            continue
        path = str(absolute(draft.directories[node.path], written))
        other = first.setdefault(path, node)
        if other is not node and not (read_only(node) and read_only(other)):
            yield Problem(
                path=(*node.path, "path"),
                kind=Kind.VALUE,
                message=f"{dotted(node.path)} and {dotted(other.path)} are one file, {path}: "
                "use one backend for both, or set read-only = true in each",
                related=(*other.path, "path"),
            )


def read_only(node: NodeTable) -> bool:
    """Whether the table says so, or the driver never writes."""
    return node.raw.get("read-only") is True or (node.driver is not None and node.driver.only_reads)


def nul_characters(draft: Draft) -> Iterator[Problem]:
    r"""TOML can write "\u0000"; no path, word or name can hold it."""
    tables: tuple[Table[Any], ...] = (
        draft.server,
        *draft.nodes,
        *draft.exports,
        *draft.bitmaps,
        *draft.jobs,
    )
    for table in tables:
        for key, value in table.raw.items():
            words = value if isinstance(value, list) else [value]
            if any(isinstance(word, str) and "\0" in word for word in words):
                path = (*table.path, key)
                message = f"{dotted(path)} has a NUL character in it"
                yield Problem(path=path, kind=Kind.VALUE, message=message)
