"""Which fields of which driver name children."""

from typing import Any, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType

from blkrun.options.drivers import DRIVERS
from blkrun.options.drivers.commit_top import CommitTopOptions
from blkrun.options.drivers.mirror_top import MirrorTopOptions
from blkrun.options.fields import extra_of
from blkrun.options.node import BlockdevOptions


def _edge_fields(options: type[BlockdevOptions]) -> dict[str, str]:
    roles = {}
    for field in msgspec.structs.fields(options):
        if extra_of(field.type, "edge"):
            roles[field.encode_name] = field.name
    return roles


_NODES: tuple[type[BlockdevOptions], ...] = (*DRIVERS.values(), CommitTopOptions, MirrorTopOptions)

EDGES = {options: _edge_fields(options) for options in _NODES}
"""Options type → {role: field name}: which fields name children."""


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
        for role, field in edges.items()
        if (child := getattr(options, field)) is not None and child is not UNSET
    }


def with_child(options: BlockdevOptions, role: str, child: str | None) -> BlockdevOptions:
    """The same options with one edge pointing elsewhere; None: nowhere."""
    return msgspec.structs.replace(options, **{EDGES[type(options)][role]: child})
