"""Options in words: ``size 1GiB → 2GiB, read-only false → true``."""

import shlex
from collections.abc import Iterable
from typing import Any

from msgspec import UNSET, Struct

from blkrun.options import OPTIONAL_EDGES, extra_of, fields_of
from blkrun.units import format_bytes


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
    if isinstance(value, (tuple, list)):
        return f"[{shlex.join(map(str, value))}]"
    if unit == "bytes":
        return format_bytes(value)
    return f"{value}s" if unit == "seconds" else str(value) or '""'
