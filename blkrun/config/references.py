"""Who names what in a document, as it is written: pure, and whatever is wrong with it elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from blkrun.config.tables import written_edges
from blkrun.decode import Path
from blkrun.options import DRIVERS, BlockdevOptions

Document = Mapping[str, Any]

Edge = Path
"""Section, parent, key: ``("exports", "vda", "node")``; in a list also the place in it."""

NODE_SECTIONS = ("backends", "nodes")
"""Their tables share one name space."""


def edges(document: Document) -> Iterator[tuple[Edge, str]]:
    """Every edge as written, exports' among them, also of filters that are switched off."""
    for section in NODE_SECTIONS:
        for name, table in section_of(document, section).items():
            for place, child in written_edges(driver_of(document, (section, name)), table):
                yield (section, name, *place), child
    for name, table in section_of(document, "exports").items():
        if isinstance(node := table.get("node"), str):
            yield ("exports", name, "node"), node


def edges_to(document: Document, node: str) -> Iterator[Path]:
    """Those that lead to one node."""
    return (path for path, child in edges(document) if child == node)


def led_elsewhere(document: Document, changes: Mapping[Edge, str]) -> dict[Path, str | list[str]]:
    """Key → what to write there, for edges to lead to these children: of a list all of it."""
    values: dict[Path, str | list[str]] = {}
    for path, child in changes.items():
        *_, key, index = path
        if not isinstance(index, int):
            values[path] = child
            continue
        names = list(table_at(document, path[:2])[str(key)])
        written = values.setdefault(path[:-1], names)
        if isinstance(written, list):
            written[index] = child
    return values


def users_of(document: Document, table: Path) -> Iterator[Path]:
    """Keys that name what a table describes."""
    section, name = table
    if section in NODE_SECTIONS:
        yield from edges_to(document, str(name))
        yield from _naming(document, "nodes", ("bottom",), name)
        yield from _naming(document, "bitmaps", ("node",), name)
        yield from _naming(
            document, "jobs", ("device", "target", "base-node", "bottom", "top-node"), name
        )
    elif section == "throttle-groups":
        yield from _naming(document, "nodes", ("throttle-group",), name)
    elif section == "bitmaps":
        yield from _naming(document, "jobs", ("bitmap",), name)


def keeps(document: Document, edge: Path) -> bool:
    """Whether it leads to a node for what that keeps, rather than for what it passes on."""
    driver = driver_of(document, edge[:2])
    return driver is not None and driver.only_reads


def driver_of(document: Document, table: Path) -> type[BlockdevOptions] | None:
    """Of a node or backend; None if it names none that there is."""
    written = table_at(document, table).get("driver")
    return DRIVERS.get(written) if isinstance(written, str) else None


def table_at(document: Document, path: Path) -> Mapping[str, Any]:
    """Empty if there is none."""
    table: Any = document
    for key in path:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    return table if isinstance(table, dict) else {}


def section_of(document: Document, section: str) -> dict[str, dict[str, Any]]:
    """Its tables."""
    members = document.get(section, {})
    if not isinstance(members, dict):
        return {}
    return {name: table for name, table in members.items() if isinstance(table, dict)}


def _naming(
    document: Document, section: str, keys: Sequence[str], name: str | int
) -> Iterator[Path]:
    for owner, table in section_of(document, section).items():
        for key in keys:
            if table.get(key) == name:
                yield section, owner, key
