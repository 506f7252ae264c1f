"""Every table of the file and every key in it, as ``blkrun schema`` and ``drivers`` tell of them.

Made from the option Structs alone, and from what the file has besides: ``driver``, ``type`` and
``enabled``.  Pure.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from blkrun import units
from blkrun.job_options import JOBS
from blkrun.options import (
    DRIVERS,
    EDGES,
    OPTIONAL_EDGES,
    BitmapOptions,
    BlockdevOptions,
    DashboardOptions,
    ExportOptions,
    RunnerOptions,
    ServerOptions,
    ThrottleLimits,
    choices_of,
    extra_of,
    fields_of,
    table_of,
    tables_of,
)

Value = dict[str, Any]
"""A JSON Schema (draft-07) of what may be written, with ``description`` and ``default``."""

_FORMATS = {"bytes": units.format_bytes, "ns": units.format_ns}

_NO_LONGER = "; this is its old name: write {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One key.  ``renamed`` is its new name where it is an old one that is still read."""

    name: str
    value: Value
    unit: str | None = None
    required: bool = False
    live: bool = False
    renamed: str | None = None

    @property
    def text(self) -> str:
        """What it means."""
        return str(self.value.get("description", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One driver, type of job or other table; ``otherwise``: a change that is not live."""

    name: str
    kind: str
    table: str
    text: str
    options: tuple[Option, ...]
    otherwise: str = ""


@cache
def catalogue() -> Mapping[str, Entry]:
    """Name → entry: drivers, then jobs, then the other tables."""
    entries = (*map(_driver, DRIVERS), *map(_job, JOBS), *_tables())
    return {entry.name: entry for entry in entries}


def _driver(name: str) -> Entry:
    struct = DRIVERS[name]
    live = struct.reopenable | (EDGES[struct].keys() - struct.fixed_edges)
    own = [Option(name="driver", value=_const(name, "what the node is"), required=True)]
    if struct.is_filter:
        text = "false takes it out of the graph: its parents get its child"
        own.append(_switch(text))
    return Entry(
        name=name,
        kind=_kind(struct),
        table="backends.NAME" if struct.is_backend else "nodes.NAME",
        text=_sentence(struct),
        options=(*own, *options_of(struct, live, elsewhere="node-name")),
        otherwise="a new node is put in the old one's place",
    )


def _kind(struct: type[BlockdevOptions]) -> str:
    if struct.is_backend:
        return "backend"
    return "filter" if struct.is_filter else "format"


def _job(name: str) -> Entry:
    struct = JOBS[name]
    own = (
        Option(name="type", value=_const(name, "what the job does"), required=True),
        _switch("false: the job is not started, and cancelled if it runs"),
    )
    return Entry(
        name=name,
        kind="job",
        table="jobs.NAME",
        text=_sentence(struct),
        options=(*own, *options_of(struct, struct.changeable, elsewhere="job-id")),
        otherwise="the job is cancelled and started again",
    )


def _tables() -> Iterator[Entry]:
    limits = options_of(ThrottleLimits, frozenset(ThrottleLimits.__struct_encode_fields__))
    yield _table("throttle-groups", ThrottleLimits, limits)
    own = options_of(ExportOptions, ExportOptions.changeable)
    anew = "the export is made anew, which takes the disk from its clients"
    yield _table("exports", ExportOptions, (*own, *limits), anew)
    bitmap = options_of(BitmapOptions, ())
    yield _table("bitmaps", BitmapOptions, bitmap, "the bitmap is made anew, and is all dirty")
    server = options_of(ServerOptions, ())
    yield _table("server", ServerOptions, server, "in force when the server is started anew")
    runner = options_of(RunnerOptions, frozenset(RunnerOptions.__struct_encode_fields__))
    yield _table("runner", RunnerOptions, runner)
    screen = options_of(DashboardOptions, ())
    yield _table("dashboard", DashboardOptions, screen, "in force when a dashboard is opened")


def _table(
    name: str, struct: type[Struct], options: tuple[Option, ...], otherwise: str = ""
) -> Entry:
    settings = name in ("server", "runner", "dashboard")
    return Entry(
        name=name,
        kind="settings" if settings else "table",
        table=name if settings else f"{name}.NAME",
        text=_sentence(struct),
        options=options,
        otherwise=otherwise,
    )


def _sentence(struct: type[Struct]) -> str:
    """The docstring's first paragraph, without markup and the table that it begins with."""
    text = " ".join((struct.__doc__ or "").split("\n\n")[0].split())
    text = re.sub(r"^``\[.*?\]``: ", "", text).replace("``", "")
    return text[:1].upper() + text[1:]


def _const(name: str, text: str) -> Value:
    return {"description": text, "const": name}


def _switch(text: str) -> Option:
    value = {"description": text, "type": "boolean", "default": True}
    return Option(name="enabled", value=value, live=True)


# ---- from a Struct ----------------------------------------------------------------------------


def options_of(
    struct: type[Struct], live: Collection[str], *, elsewhere: str | None = None
) -> tuple[Option, ...]:
    """Each field; ``elsewhere`` is the one that a file says by the table's name."""
    found = {
        field.encode_name: Option(
            name=field.encode_name,
            value=value,
            unit=extra_of(field.type, "unit"),
            required=field.required,
            live=field.encode_name in live,
        )
        for field, value in _values(struct)
        if field.encode_name != elsewhere
    }
    renamed: Mapping[str, str] = getattr(struct, "renamed", {})
    return (*found.values(), *(_old(old, found[new]) for old, new in renamed.items()))


def _old(name: str, option: Option) -> Option:
    """A key's old name: it is read, with a warning."""
    value = {key: each for key, each in option.value.items() if key != "default"}
    value |= {"deprecated": True, "x-taplo": {"hidden": True}}
    value["description"] = option.text + _NO_LONGER.format(option.name)
    return Option(name=name, value=value, unit=option.unit, live=option.live, renamed=option.name)


def _values(struct: type[Struct]) -> Iterator[tuple[msgspec.structs.FieldInfo, Value]]:
    """Each field with the schema that msgspec makes of its annotation, as it is in a file."""
    _, components = msgspec.json.schema_components([struct], ref_template="{name}")
    properties = components[struct.__name__]["properties"]
    for field in fields_of(struct):
        written = _as_written(field, properties[field.encode_name])
        if field.encode_name in OPTIONAL_EDGES.get(struct, ()):
            written = _or_nowhere(written)
        yield field, written


def _as_written(field: msgspec.structs.FieldInfo, made: Mapping[str, Any]) -> Value:
    """TOML has no null, declared order of choices, tables in place, and strings with a unit."""
    value = {key: each for key, each in made.items() if key != "anyOf"}
    for case in made.get("anyOf", ()):
        value |= case if case != {"type": "null"} else {}
    if choices := choices_of(field.type):
        value = {**value, "type": "string", "enum": list(choices)}
    if (inner := table_of(field.type)) is not None:
        del value["$ref"]
        value |= as_object(options_of(inner, ()))
    if (inner := tables_of(field.type)) is not None:
        value["items"] = as_object(options_of(inner, ()))
    if value.get("default", ...) is None:
        del value["default"]
    unit = extra_of(field.type, "unit")
    return value if unit is None else _with_unit(value, unit)


def _or_nowhere(value: Value) -> Value:
    """An edge that may lead nowhere is written as an empty string then."""
    rest = {key: each for key, each in value.items() if key != "minLength"}
    return {**rest, "description": f'{value.get("description", "")}; "": nothing'}


def _with_unit(value: Value, unit: str) -> Value:
    written = {**value, "type": ["integer", "string"], "pattern": units.pattern(unit)}
    if written.get("default") and unit in _FORMATS:
        written["default"] = _FORMATS[unit](written["default"])
    return written


def as_object(options: Collection[Option]) -> Value:
    """A table with these keys and no others; an old name does as well as the new one."""
    old = {option.renamed: option.name for option in options if option.renamed}
    names = [option.name for option in options if option.required]
    needed: Value = {"required": [name for name in names if name not in old]}
    either = [
        {"anyOf": [{"required": [name]}, {"required": [old[name]]}]}
        for name in names
        if name in old
    ]
    return {
        "type": "object",
        "properties": {option.name: option.value for option in options},
        **(needed if needed["required"] else {}),
        **({"allOf": either} if either else {}),
        "additionalProperties": False,
    }
