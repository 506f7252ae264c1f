"""Throttle groups as QOM objects (qemu-semantics §2.10)."""

from typing import Any

import msgspec
from msgspec import Struct

from blkrun.decode import Problem, decode
from blkrun.errors import CommandError, DeviceNotFound
from blkrun.options import ThrottleLimits
from blkrun.server import actions
from blkrun.server.context import Context
from blkrun.server.qmp.dispatch import Command, arguments, qemu_words
from blkrun.server.staging import Staging

_LIMITS = {field.encode_name for field in msgspec.structs.fields(ThrottleLimits)}


class ObjectAddArguments(Struct, frozen=True):
    """object-add, for the one type there is."""

    id: str
    limits: ThrottleLimits


class ObjectId(Struct, frozen=True):
    """An object."""

    id: str


class PathArguments(Struct, frozen=True):
    """qom-list."""

    path: str


class PropertyArguments(Struct, frozen=True):
    """qom-get."""

    path: str
    property: str


class SetArguments(Struct, frozen=True):
    """qom-set: the limits that are mentioned."""

    path: str
    limits: dict[str, int]


def _parse_add(raw: dict[str, Any]) -> ObjectAddArguments:
    """``limits`` as a struct, or single limits as ``x-`` properties."""
    for key in ("qom-type", "id"):
        if key not in raw:
            raise CommandError(f"Parameter '{key}' is missing")
    if raw["qom-type"] != "throttle-group":
        raise CommandError(f"Parameter 'qom-type' does not accept value '{raw['qom-type']}'")
    if not isinstance(raw["id"], str):
        raise CommandError("Invalid parameter type for 'id', expected: string")
    single = {}
    for key, value in raw.items():
        if key.startswith("x-") and key.removeprefix("x-") in _LIMITS:
            if isinstance(value, int) and value < 0:
                raise CommandError("Property values cannot be negative")
            single[key.removeprefix("x-")] = value
        elif key not in ("qom-type", "id", "limits"):
            raise CommandError(f"Parameter '{key}' is unexpected")
    return ObjectAddArguments(raw["id"], _limits(single | _struct(raw.get("limits", {}))))


def _parse_set(raw: dict[str, Any]) -> SetArguments:
    args = arguments(PropertyArguments)({k: v for k, v in raw.items() if k != "value"})
    if "value" not in raw:
        raise CommandError("Parameter 'value' is missing")
    _check_property(args.property)
    if args.property != "limits":
        raise CommandError("Property cannot be set after initialization")
    values = _struct(raw["value"])
    checked = _limits(values)
    return SetArguments(
        args.path, {name: getattr(checked, name.replace("-", "_")) for name in values}
    )


def _struct(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CommandError("Invalid parameter type for 'limits', expected: object")
    return value


def _limits(values: dict[str, Any]) -> ThrottleLimits:
    problems: list[Problem] = []
    limits = decode(ThrottleLimits, values, problems, ("limits",))
    if limits is None:
        raise CommandError(qemu_words(problems[0]))
    return limits


def _check_property(name: str) -> None:
    if name != "limits" and name.removeprefix("x-") not in _LIMITS:
        raise CommandError(f"Property 'throttle-group.{name}' not found")


def _get(context: Context, args: PropertyArguments) -> Any:
    group = actions.find_group(context.graph.groups, args.path)
    _check_property(args.property)
    limits = msgspec.to_builtins(group.limits)
    return limits if args.property == "limits" else limits[args.property.removeprefix("x-")]


def _list(context: Context, args: PathArguments) -> Any:
    if args.path.rstrip("/") == "/objects":
        kind = "child<throttle-group>"
        children = [{"name": name, "type": kind} for name in context.graph.groups]
        return [{"name": "type", "type": "string"}, *children]
    if args.path.rstrip("/") == "":
        return [{"name": "objects", "type": "child<container>"}]
    try:
        actions.find_group(context.graph.groups, args.path)
    except DeviceNotFound:
        raise DeviceNotFound(f"Device '{args.path}' not found") from None
    properties = [{"name": f"x-{name}", "type": "int"} for name in sorted(_LIMITS)]
    return [{"name": "limits", "type": "ThrottleLimits"}, *properties]


def _add(staging: Staging, args: ObjectAddArguments) -> None:
    actions.group_add(staging, args.id, args.limits)


COMMANDS: tuple[Command[Any], ...] = (
    Command(name="object-add", doc="Make a throttle group.", parse=_parse_add, stage=_add),
    Command(
        name="object-del",
        doc="Delete a throttle group that has no members.",
        parse=arguments(ObjectId),
        stage=lambda staging, args: actions.group_del(staging, args.id),
    ),
    Command(
        name="qom-set",
        doc="Change limits of a throttle group; what is not mentioned stays.",
        parse=_parse_set,
        stage=lambda staging, args: actions.group_set(staging, args.path, args.limits),
    ),
    Command(
        name="qom-get",
        doc="The limits of a throttle group.",
        parse=arguments(PropertyArguments),
        run=_get,
    ),
    Command(
        name="qom-list",
        doc="Objects, or the properties of one.",
        parse=arguments(PathArguments),
        run=_list,
    ),
)
