"""Which fields of which driver name children."""

import msgspec
from msgspec import UNSET

from blkrun.options.drivers import DRIVERS
from blkrun.options.drivers.mirror_top import MirrorTopOptions
from blkrun.options.fields import extra_of
from blkrun.options.node import BlockdevOptions


def _edge_fields(options: type[BlockdevOptions]) -> dict[str, str]:
    roles = {}
    for field in msgspec.structs.fields(options):
        if extra_of(field.type, "edge"):
            roles[field.encode_name] = field.name
    return roles


_NODES: tuple[type[BlockdevOptions], ...] = (*DRIVERS.values(), MirrorTopOptions)

EDGES = {options: _edge_fields(options) for options in _NODES}
"""Options type → {role: field name}: which fields name children."""


def children_of(options: BlockdevOptions) -> dict[str, str]:
    """Role → child's node-name, for the edges that are set."""
    edges = EDGES[type(options)]
    return {
        role: child
        for role, field in edges.items()
        if (child := getattr(options, field)) is not None and child is not UNSET
    }


def with_child(options: BlockdevOptions, role: str, child: str) -> BlockdevOptions:
    """The same options with one edge pointing elsewhere."""
    return msgspec.structs.replace(options, **{EDGES[type(options)][role]: child})
