"""What is selected, as text to be copied: the file's table, or the QMP command that makes it."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import tomli_w

from blkrun.dashboard.model.snapshot import Export, Group, Node, Snapshot
from blkrun.dashboard.model.subject import Subject
from blkrun.options import DRIVERS, ThrottleLimits, by_key, extra_of, fields_of
from blkrun.units import format_bytes


def toml_of(snapshot: Snapshot, subject: Subject) -> str:
    """Its table, as it is in force; ``""`` if it is not there any more."""
    found = find(snapshot, subject)
    if isinstance(found, Node):
        if found.job is not None:
            return f"# the filter of job {json.dumps(found.job)}: it has no table\n"
        return _table(_section(found), found.node_name, _node_keys(found))
    if isinstance(found, Export):
        return _table("exports", found.id, _export_keys(found))
    if isinstance(found, Group):
        return _table("throttle-groups", found.id, _units(ThrottleLimits, _limits(found)))
    return ""


def qmp_of(snapshot: Snapshot, subject: Subject) -> str:
    """The command that makes it, in one line; ``""`` if it is not there any more."""
    found = find(snapshot, subject)
    if isinstance(found, Node):
        return _command("blockdev-add", found.options | by_key(found.children))
    if isinstance(found, Export):
        arguments = {"type": "nbd", "id": found.id, "node-name": found.node_name}
        described = {"description": found.description} if found.description else {}
        return _command("block-export-add", arguments | {"writable": found.writable} | described)
    if isinstance(found, Group):
        arguments = {"qom-type": "throttle-group", "id": found.id}
        return _command("object-add", arguments | {"limits": _limits(found)})
    return ""


def find(snapshot: Snapshot, subject: Subject) -> Node | Export | Group | None:
    """What a subject is about; None if it has gone."""
    match subject.kind:
        case "node":
            return next((x for x in snapshot.nodes if x.node_name == subject.name), None)
        case "export":
            return next((x for x in snapshot.exports if x.id == subject.name), None)
        case "group":
            return next((x for x in snapshot.throttle_groups if x.id == subject.name), None)


def _table(section: str, name: str, keys: dict[str, Any]) -> str:
    return tomli_w.dumps({section: {name: keys}})


def _command(name: str, arguments: Mapping[str, Any]) -> str:
    return json.dumps({"execute": name, "arguments": arguments})


def _section(node: Node) -> str:
    """Protocol ends have tables of their own kind; of an unknown driver those without children."""
    driver = DRIVERS.get(node.driver)
    is_backend = not node.children if driver is None else driver.is_backend
    return "backends" if is_backend else "nodes"


def _node_keys(node: Node) -> dict[str, Any]:
    keys = {key: value for key, value in node.options.items() if key != "node-name"}
    driver = DRIVERS.get(node.driver)
    keys |= by_key(node.children)
    return keys if driver is None else _units(driver, keys)


def _export_keys(export: Export) -> dict[str, Any]:
    keys: dict[str, Any] = {"node": export.node_name}
    keys |= {} if export.writable else {"read-only": True}
    return keys | ({"description": export.description} if export.description else {})


def _limits(group: Group) -> dict[str, int]:
    """Those that are not as they would be without a word."""
    default = {each.encode_name: each.default for each in fields_of(ThrottleLimits)}
    return {key: value for key, value in group.limits.items() if value != default.get(key)}


def _units(options: type[msgspec.Struct], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Values as people write them: ``"64KiB"``, ``"10s"``."""
    units = {each.encode_name: extra_of(each.type, "unit") for each in fields_of(options)}
    written = {key: _written(value, units.get(key)) for key, value in keys.items()}
    return {key: value for key, value in written.items() if value is not None}


def _written(value: Any, unit: str | None) -> Any:
    if unit == "bytes" and value and value % 1024 == 0:
        return format_bytes(value)
    return f"{value}s" if unit == "seconds" else value
