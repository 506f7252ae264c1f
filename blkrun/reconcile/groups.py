"""Throttle groups: which to make, to change and to delete, and limits in words."""

from collections.abc import Iterator

from blkrun.model import GraphModel
from blkrun.options import ThrottleLimits, fields_of
from blkrun.reconcile.operation import Operation
from blkrun.units import format_bytes


def groups_needed(desired: GraphModel, live: GraphModel) -> Iterator[Operation]:
    """New and changed ones: first, as what adds needs them."""
    for name, limits in desired.groups.items():
        old = live.groups.get(name)
        if old is None:
            yield _add(name, limits)
        elif old != limits:
            yield _set(name, old, limits)


def groups_gone(desired: GraphModel, live: GraphModel) -> Iterator[Operation]:
    """Last, when no node is a member any more."""
    for name in live.groups:
        if name not in desired.groups:
            text, table = f"throttle group {name}", f"throttle-groups.{name}"
            yield Operation("object-del", {"id": name}, "-", text, table)


def _add(name: str, limits: ThrottleLimits) -> Operation:
    wire = _changed(ThrottleLimits(), limits)
    data = {"qom-type": "throttle-group", "id": name, "limits": wire}
    words = ", ".join(f"{key} {_value(key, value)}" for key, value in wire.items())
    text = f"throttle group {name}: {words}" if words else f"throttle group {name}"
    return Operation("object-add", data, "+", text, f"throttle-groups.{name}")


def _set(name: str, old: ThrottleLimits, new: ThrottleLimits) -> Operation:
    changed = _changed(old, new)
    data = {"path": name, "property": "limits", "value": changed}
    words = ", ".join(_change(old, key, value) for key, value in changed.items())
    text = f"throttle group {name}: {words}"
    return Operation("qom-set", data, "~", text, f"throttle-groups.{name}")


def _changed(old: ThrottleLimits, new: ThrottleLimits) -> dict[str, int]:
    return {
        each.encode_name: getattr(new, each.name)
        for each in fields_of(ThrottleLimits)
        if getattr(old, each.name) != getattr(new, each.name)
    }


def _change(old: ThrottleLimits, key: str, value: int) -> str:
    before = getattr(old, key.replace("-", "_"))
    return f"{key} {_value(key, before)} → {_value(key, value)}"


def _value(key: str, value: int) -> str:
    if key.endswith("-length"):
        return f"{value}s"
    if value == 0:
        return "none"
    return format_bytes(value) if key.startswith("bps") or key == "iops-size" else str(value)
