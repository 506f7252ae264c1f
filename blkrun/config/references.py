"""Who names what in a document, as it is written: pure, and whatever is wrong with it elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from blkrun.decode import Path
from blkrun.options import DRIVERS, EDGES, BlockdevOptions

Document = Mapping[str, Any]

Edge = tuple[str, str, str]
"""Section, parent, role: ``("exports", "vda", "node")``."""

NODE_SECTIONS = ("backends", "nodes")
"""Their tables share one name space."""


def edges(document: Document) -> Iterator[tuple[Edge, str]]:
    """Every edge as written, exports' among them, also of filters that are switched off."""
    for section in NODE_SECTIONS:
        for name, table in section_of(document, section).items():
            driver = driver_of(document, (section, name))
            for role in EDGES[driver] if driver is not None else ():
                if isinstance(child := table.get(role), str) and child:
                    yield (section, name, role), child
    for name, table in section_of(document, "exports").items():
        if isinstance(child := table.get("node"), str):
            yield ("exports", name, "node"), child


def edges_to(document: Document, node: str) -> Iterator[Path]:
    """Those that lead to one node."""
    return (path for path, child in edges(document) if child == node)


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
