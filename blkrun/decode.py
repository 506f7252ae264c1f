"""Mapping → option Struct, key by key, with everything that is wrong and not just the first.

Both edges use it: the file reader turns a :class:`Problem` into file, line and caret, the QMP
server into QEMU's words.  A problem's ``path`` leads to the key (or the table, when a key is
missing), as keys and list indices from the mapping that was given.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from blkrun import units
from blkrun.options import choices_of, extra_of, table_of, tables_of

S = TypeVar("S", bound=Struct)

Path = tuple[str | int, ...]

_PARSERS = {
    "bytes": units.parse_bytes,
    "count": units.parse_count,
    "errno": units.parse_errno,
    "ns": units.parse_ns,
    "seconds": units.parse_seconds,
}


_MOST_CHOICES = 10
"""That are listed to somebody who has written something else."""


class Kind(Enum):
    """What is wrong, for callers that word it themselves."""

    UNEXPECTED = "unexpected"
    MISSING = "missing"
    TYPE = "type"
    VALUE = "value"
    REFERENCE = "reference"
    SYNTAX = "syntax"
    RENAMED = "renamed"
    OTHER = "other"


WARNINGS = frozenset({Kind.RENAMED})
"""What is told, and does not keep a file from being used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where.

    ``expected`` names the JSON type for Kind.TYPE (``integer``, ``string``, …); ``value`` is
    what was written, for Kind.VALUE, and the name of now, for Kind.RENAMED; ``suggestion`` is
    the nearest name that would have been right; ``related`` leads to where a thing that is
    referred to is defined.
    """

    path: Path
    kind: Kind
    message: str
    expected: str | None = None
    value: Any = None
    suggestion: str | None = None
    related: Path | None = None


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that was probably meant, or None."""
    matches = get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return matches[0] if matches else None


def decode(
    struct: type[S], raw: Mapping[str, Any], problems: list[Problem], path: Path = ()
) -> S | None:
    """Decode one table.  Appends to ``problems`` and gives None where anything is wrong."""
    fields = _fields_of(struct)
    found_before = len(problems)
    _report_unexpected(raw, fields, problems, path)
    values = {}
    for key, field in fields.items():
        if key in raw and field.struct is not None and isinstance(raw[key], Mapping):
            values[field.name] = decode(field.struct, raw[key], problems, (*path, key))
        elif key in raw and field.structs is not None:
            values[field.name] = _tables(field, raw[key], problems, (*path, key))
        elif key in raw:
            problem, values[field.name] = _value(field, raw[key], (*path, key))
            if problem is not None:
                problems.append(problem)
        elif field.required:
            problems.append(
                Problem(path=path, kind=Kind.MISSING, message=f'"{key}" is missing', expected=key)
            )
    return struct(**values) if len(problems) == found_before else None


def with_current_names(
    struct: type[Struct], raw: Mapping[str, Any], problems: list[Problem], path: Path = ()
) -> Mapping[str, Any]:
    """The table with the names of now for keys that have another one since, each of them told.

    The problem, a warning, has the name of now as its ``value``.  A key that is written under both
    names is an error, and keeps the newer one's value.
    """
    renamed: Mapping[str, str] = getattr(struct, "renamed", {})
    if renamed.keys().isdisjoint(raw):
        return raw
    current: dict[str, Any] = {}
    for key, value in raw.items():
        new = renamed.get(key, key)
        if new == key or new not in raw:
            current[new] = value
        if new != key:
            problems.append(_renamed(path, key, new, twice=new in raw))
    return current


def _renamed(path: Path, old: str, new: str, *, twice: bool) -> Problem:
    words, where = f'"{old}" is an older name of "{new}"', (*path, old)
    if twice:
        message, related = f"{words}, which is written too: remove one of them", (*path, new)
        return Problem(path=where, kind=Kind.OTHER, message=message, related=related)
    return Problem(path=where, kind=Kind.RENAMED, message=f"{words}: write {new}", value=new)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    type: Any
    unit: str | None
    struct: Any
    structs: Any
    required: bool


@cache
def _fields_of(struct: type[Struct]) -> dict[str, _Field]:
    """By wire name.  Looking the annotations up again for each table took most of the time."""
    return {
        field.encode_name: _Field(
            field.name,
            field.type,
            extra_of(field.type, "unit"),
            table_of(field.type),
            tables_of(field.type),
            field.required,
        )
        for field in msgspec.structs.fields(struct)
    }


def _report_unexpected(
    raw: Mapping[str, Any], fields: Mapping[str, Any], problems: list[Problem], path: Path
) -> None:
    problems.extend(
        Problem(
            path=(*path, key),
            kind=Kind.UNEXPECTED,
            message=f'unknown key "{key}"',
            suggestion=nearest(key, fields),
        )
        for key in raw
        if key not in fields
    )


def _tables(
    field: _Field, written: Any, problems: list[Problem], path: Path
) -> tuple[Struct | None, ...]:
    """Each of several tables; problems have its index in their paths."""
    if not isinstance(written, list):
        problems.append(_wrong_type(written, path, "array", "array of tables"))
        return ()
    found: list[Struct | None] = []
    for index, table in enumerate(written):
        if isinstance(table, Mapping):
            found.append(decode(field.structs, table, problems, (*path, index)))
        else:
            problems.append(_wrong_type(table, (*path, index), "object", "table"))
    return tuple(found)


def _wrong_type(written: Any, path: Path, expected: str, what: str) -> Problem:
    shown = str(written).lower() if isinstance(written, bool) else repr(written)
    article = "an" if what[0] in "aeiou" else "a"
    message = f"{shown} is not {article} {what}"
    return Problem(path=path, kind=Kind.TYPE, message=message, expected=expected)


def _value(field: _Field, written: Any, path: Path) -> tuple[Problem | None, Any]:
    value = written
    if field.unit is not None and isinstance(written, str):
        try:
            value = _PARSERS[field.unit](written)
        except ValueError as error:
            return Problem(path=path, kind=Kind.VALUE, message=str(error), value=value), None
    try:
        return None, msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        return _problem_of(str(error), written, field, path), None


_JSON_NAMES = {"int": "integer", "str": "string", "bool": "boolean", "float": "number"}
_FORMATS = {"bytes": units.format_bytes, "ns": units.format_ns}


def _problem_of(text: str, value: Any, field: _Field, path: Path) -> Problem:
    """From msgspec's words to ours: ``Expected `int`, got `str``` → type, all else → value."""
    reason, _, where = text.partition(" - at ")
    if item := re.search(r"\[(\d+)\]", where):
        value, path = value[int(item[1])], (*path, int(item[1]))
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    expected = reason.split("`")[1].split(" | ")[0] if "`" in reason else None
    if ", got `" in reason and expected is not None:
        name = _JSON_NAMES.get(expected, expected)
        article = "an" if name[0] in "aeiou" else "a"
        message = f"{shown} is not {article} {name}"
        return Problem(path=path, kind=Kind.TYPE, message=message, expected=name)
    if reason.startswith("Invalid enum value"):
        return _problem_of_choice(value, field, path)
    limit = reason.removeprefix("Expected ").replace("`", "").replace("str of", "a")
    if field.unit in _FORMATS:
        written_out = _FORMATS[field.unit]
        limit = re.sub(r"\d+", lambda number: written_out(int(number[0])), limit)
    message = f"{shown} is out of range: needs {limit.removeprefix('int ')}"
    return Problem(path=path, kind=Kind.VALUE, message=message, value=value)


def _problem_of_choice(value: Any, field: _Field, path: Path) -> Problem:
    choices = choices_of(field.type)
    listed = ", ".join(f'"{choice}"' for choice in choices[:_MOST_CHOICES])
    if len(choices) > _MOST_CHOICES:
        listed += f", … ({len(choices)} in all)"
    return Problem(
        path=path,
        kind=Kind.VALUE,
        message=f"{value!r} is not one of {listed}",
        value=value,
        suggestion=nearest(str(value), choices),
    )
