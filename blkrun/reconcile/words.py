"""Options in words: ``size 1GiB → 2GiB, read-only false → true``."""

import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import UNSET, Struct

from blkrun.options import OPTIONAL_EDGES, extra_of, fields_of
from blkrun.units import format_bytes, format_errno

_UNITS: dict[str | None, Callable[[Any], str]] = {
    "bytes": format_bytes,
    "errno": format_errno,
    "seconds": lambda value: f"{value}s",
}


def change_words(old: Struct, new: Struct, names: Iterable[str]) -> str:
    """What options of one type were, and will be; by wire name, in their order."""
    units = {each.encode_name: extra_of(each.type, "unit") for each in fields_of(type(new))}
    fields = {each.encode_name: each.name for each in fields_of(type(new))}
    edges = OPTIONAL_EDGES.get(type(new), frozenset())

    def words(options: Struct, name: str) -> str:
        value = getattr(options, fields[name])
        return "none" if value is None and name in edges else value_words(value, units[name])

    return ", ".join(f"{name} {words(old, name)} → {words(new, name)}" for name in sorted(names))


def value_words(value: Any, unit: str | None) -> str:
    """As it would be written in a file, or near enough."""
    if value is None:
        return "unset"
    if value is UNSET:
        return "the default"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Struct):
        return "{" + ", ".join(f"{key} = {each}" for key, each in _written(value)) + "}"
    if isinstance(value, (tuple, list)):
        tables = any(isinstance(each, Struct) for each in value)
        words = [value_words(each, None) for each in value]
        return f"[{', '.join(words) if tables else shlex.join(words)}]"
    return _UNITS.get(unit, str)(value) or '""'


def _written(table: Struct) -> Iterator[tuple[str, str]]:
    """The keys of a table within the table that are not at their defaults."""
    for field in fields_of(type(table)):
        value = getattr(table, field.name)
        if field.required or value != field.default:
            yield field.encode_name, value_words(value, extra_of(field.type, "unit"))
