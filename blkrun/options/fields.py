"""What is declared of a field."""

from functools import cache
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from blkrun.options.node import BlockdevOptions


def extra_of(field_type: Any, key: str) -> Any:
    """Metadata anywhere in an annotation: ``extra_of(Bytes | None, "unit")`` → "bytes"."""
    for part in getattr(field_type, "__metadata__", ()):
        if isinstance(part, Meta) and part.extra and key in part.extra:
            return part.extra[key]
    inner = getattr(field_type, "__origin__", None)
    candidates = (inner, *getattr(field_type, "__args__", ()))
    for candidate in candidates:
        if candidate is not None and candidate is not field_type:
            found = extra_of(candidate, key)
            if found is not None:
                return found
    return None


def choices_of(field_type: Any) -> tuple[str, ...]:
    """A Literal's values, in the order in which they are declared; () where there is none."""
    if get_origin(field_type) is Literal:
        return get_args(field_type)
    inner = get_args(field_type)
    return next((found for part in inner if (found := choices_of(part))), ())


def table_of(field_type: Any) -> type[Struct] | None:
    """The Struct whose fields are a table within the table, or None."""
    if isinstance(field_type, type):
        return field_type if issubclass(field_type, Struct) else None
    if get_origin(field_type) is tuple:
        return None
    return next((found for part in get_args(field_type) if (found := table_of(part))), None)


def tables_of(field_type: Any) -> type[Struct] | None:
    """The Struct of each of several tables within the table, TOML's ``[[…]]``, or None.

    None as well where each may be a name instead, as in QEMU's block-dirty-bitmap-merge.
    """
    if get_origin(field_type) is tuple:
        each = get_args(field_type)[0]
        return each if isinstance(each, type) and issubclass(each, Struct) else None
    return next((found for part in get_args(field_type) if (found := tables_of(part))), None)


fields_of = cache(msgspec.structs.fields)
"""Looking them up again for each node took most of the time of a large plan."""


def to_wire(options: "BlockdevOptions") -> dict[str, Any]:
    """Options as blockdev-add takes them, without what is at its default."""
    wire: dict[str, Any] = {"driver": options.__struct_config__.tag}
    for field in fields_of(type(options)):
        value = getattr(options, field.name)
        if field.required or value != field.default:
            wire[field.encode_name] = _plain(value)
    return wire


def _plain(value: Any) -> Any:
    """Without Structs: the wire is JSON, by whichever encoder."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return msgspec.to_builtins(value) if isinstance(value, Struct) else value
