"""Mapping → option Struct, key by key, with everything that is wrong and not just the first.

Both edges use it: the file reader turns a :class:`Problem` into file, line and caret, the QMP
server into QEMU's words.  A problem's ``path`` leads to the key (or the table, when a key is
missing), as keys and list indices from the mapping that was given.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from blkrun import units
from blkrun.options import extra_of

S = TypeVar("S", bound=Struct)

Path = tuple[str | int, ...]

_PARSERS = {
    "bytes": units.parse_bytes,
    "count": units.parse_count,
    "ns": units.parse_ns,
    "seconds": units.parse_seconds,
}


class Kind(Enum):
    """What is wrong, for callers that word it themselves."""

    UNEXPECTED = "unexpected"
    MISSING = "missing"
    TYPE = "type"
    VALUE = "value"
    REFERENCE = "reference"
    SYNTAX = "syntax"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where.

    ``expected`` names the JSON type for Kind.TYPE (``integer``, ``string``, …); ``suggestion``
    is the nearest name that would have been right; ``related`` leads to where a thing that is
    referred to is defined.
    """

    path: Path
    kind: Kind
    message: str
    expected: str | None = None
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
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    found_before = len(problems)
    _report_unexpected(raw, fields, problems, path)
    values = {}
    for key, field in fields.items():
        if key in raw:
            problem, values[field.name] = _value(field.type, raw[key], (*path, key))
            if problem is not None:
                problems.append(problem)
        elif field.required:
            problems.append(
                Problem(path=path, kind=Kind.MISSING, message=f'"{key}" is missing', expected=key)
            )
    return struct(**values) if len(problems) == found_before else None


def _report_unexpected(
    raw: Mapping[str, Any], fields: Mapping[str, Any], problems: list[Problem], path: Path
) -> None:
    for key in raw:
        if key not in fields:
            problems.append(
                Problem(
                    path=(*path, key),
                    kind=Kind.UNEXPECTED,
                    message=f'unknown key "{key}"',
                    suggestion=nearest(key, fields),
                )
            )


def _value(field_type: Any, value: Any, path: Path) -> tuple[Problem | None, Any]:
    unit = extra_of(field_type, "unit")
    if unit is not None and isinstance(value, str):
        try:
            value = _PARSERS[unit](value)
        except ValueError as error:
            return Problem(path=path, kind=Kind.VALUE, message=str(error)), None
    try:
        return None, msgspec.convert(value, field_type)
    except msgspec.ValidationError as error:
        return _problem_of(str(error), value, path), None


_JSON_NAMES = {"int": "integer", "str": "string", "bool": "boolean", "float": "number"}


def _problem_of(text: str, value: Any, path: Path) -> Problem:
    """From msgspec's words to ours: ``Expected `int`, got `str``` → type, everything else → value."""
    reason = text.split(" - at ", maxsplit=1)[0]
    expected = reason.split("`")[1].split(" | ")[0] if "`" in reason else None
    if ", got `" in reason and expected is not None:
        name = _JSON_NAMES.get(expected, expected)
        article = "an" if name[0] in "aeiou" else "a"
        return Problem(
            path=path,
            kind=Kind.TYPE,
            message=f"{value!r} is not {article} {name}",
            expected=name,
        )
    if reason.startswith("Invalid enum value"):
        return Problem(path=path, kind=Kind.VALUE, message=f"{value!r} is not one of the choices")
    limit = reason.removeprefix("Expected ").replace("`", "")
    return Problem(path=path, kind=Kind.VALUE, message=f"{value!r} is out of range: needs {limit}")
