"""Which fields of which driver name children.

A field holds the name of a child, and its key is the role; or names, and the roles are
``children.0``, ``children.1``, … in their order, as in QEMU.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct, UnsetType

from blkrun.options.drivers import DRIVERS
from blkrun.options.drivers.commit_top import CommitTopOptions
from blkrun.options.drivers.mirror_top import MirrorTopOptions
from blkrun.options.fields import extra_of
from blkrun.options.node import BlockdevOptions

T = TypeVar("T")


def _edge_fields(options: type[BlockdevOptions]) -> dict[str, str]:
    roles = {}
    for field in msgspec.structs.fields(options):
        if extra_of(field.type, "edge"):
            roles[field.encode_name] = field.name
    return roles


_NODES: tuple[type[BlockdevOptions], ...] = (*DRIVERS.values(), CommitTopOptions, MirrorTopOptions)

EDGES = {options: _edge_fields(options) for options in _NODES}
"""Options type → {key: field name}: which fields name children."""


@cache
def lists_of(options: type[BlockdevOptions]) -> frozenset[str]:
    """Those of the keys that name children which have a list of them."""
    return frozenset(
        field.encode_name
        for field in msgspec.structs.fields(options)
        if extra_of(field.type, "edge") and get_origin(_bare(field.type)) is tuple
    )


def _bare(field_type: Any) -> Any:
    return field_type.__origin__ if hasattr(field_type, "__metadata__") else field_type


def _optional_roles(options: type[BlockdevOptions]) -> frozenset[str]:
    return frozenset(
        field.encode_name
        for field in msgspec.structs.fields(options)
        if extra_of(field.type, "edge") and may_be_unset(field.type)
    )


def may_be_unset(field_type: Any) -> bool:
    """Whether a field tells "nothing was said" from "none": ``X | UnsetType | None``."""
    return any(part is UnsetType or may_be_unset(part) for part in get_args(field_type))


OPTIONAL_EDGES: dict[type[Struct], frozenset[str]] = {
    options: _optional_roles(options) for options in _NODES
}
"""Options type → roles that may lead nowhere.

UNSET is the driver's default, which may be a child of its own; None is no child.
"""


def children_of(options: BlockdevOptions) -> dict[str, str]:
    """Role → child's node-name, for the edges that are set."""
    edges = EDGES[type(options)]
    return {
        role: child
        for key, field in edges.items()
        for role, child in _roles(key, getattr(options, field))
    }


def main_child(options: BlockdevOptions) -> str:
    """The node-name of the main child: of a filter the one that has its data."""
    return children_of(options)[options.main]


def _roles(key: str, value: str | tuple[str, ...] | UnsetType | None) -> Iterator[tuple[str, str]]:
    if isinstance(value, tuple):
        yield from ((f"{key}.{index}", child) for index, child in enumerate(value))
    elif isinstance(value, str):
        yield key, value


def with_child(options: BlockdevOptions, role: str, child: str | None) -> BlockdevOptions:
    """The same options with one edge pointing elsewhere; None: nowhere."""
    key, index = _place(role)
    field = EDGES[type(options)][key]
    value = child if index is None else _with_member(getattr(options, field), index, child)
    return msgspec.structs.replace(options, **{field: value})


def _with_member(names: tuple[str, ...], index: int, name: str | None) -> tuple[str, ...]:
    return (*names[:index], *(() if name is None else (name,)), *names[index + 1 :])


def key_of(role: str) -> str:
    """The key of the options that has an edge: ``children`` for ``children.1``."""
    return _place(role)[0]


def by_key(children: Mapping[str, T]) -> dict[str, T | list[T]]:
    """From roles to the keys of options: those of a list, which may have gaps, in their order."""
    found: dict[str, T | list[T]] = {}
    lists: dict[str, list[tuple[int, T]]] = {}
    for role, child in children.items():
        key, index = _place(role)
        if index is None:
            found[key] = child
        else:
            lists.setdefault(key, []).append((index, child))
    for key, members in lists.items():
        found[key] = [child for _, child in sorted(members, key=lambda member: member[0])]
    return found


def _place(role: str) -> tuple[str, int | None]:
    key, dot, index = role.rpartition(".")
    return (key, int(index)) if dot else (role, None)
