"""Options in words: ``size 1GiB → 2GiB, read-only false → true``."""

import shlex
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from blkrun.options import extra_of, fields_of
from blkrun.units import format_bytes


def change_words(old: Struct, new: Struct, names: Iterable[str]) -> str:
    """What options of one type were, and will be; by wire name, in their order."""
    units = {each.encode_name: extra_of(each.type, "unit") for each in fields_of(type(new))}
    fields = {each.encode_name: each.name for each in fields_of(type(new))}
    return ", ".join(
        f"{name} {value_words(getattr(old, fields[name]), units[name])}"
        f" → {value_words(getattr(new, fields[name]), units[name])}"
        for name in sorted(names)
    )


def value_words(value: Any, unit: str | None) -> str:
    """As it would be written in a file, or near enough."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{shlex.join(map(str, value))}]"
    if unit == "bytes":
        return format_bytes(value)
    return f"{value}s" if unit == "seconds" else str(value) or '""'
