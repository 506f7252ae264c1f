"""Filters that have done their work and left by themselves: the file still has their tables.

The server remembers them.  While a table says the same as then, its filter is as if switched off;
once it says something else, the filter is new.  Which node it is over says nothing about the
filter: that may change by an edit elsewhere (a filter below that is switched off, for example).
"""

import msgspec

from blkrun.model import GraphModel
from blkrun.options import EDGES, BlockdevOptions, children_of, main_child, with_child


def without_spent(desired: GraphModel, live: GraphModel) -> GraphModel:
    """The graph that a file asks for, less what has left since its table was written."""
    gone = {
        name: main_child(new)
        for name, new in desired.nodes.items()
        if name in live.spent and _is_same(new, live.spent[name])
    }
    if not gone:
        return desired
    nodes = {
        name: _over(options, gone) for name, options in desired.nodes.items() if name not in gone
    }
    exports = {
        name: msgspec.structs.replace(export, node=_below(export.node, gone))
        for name, export in desired.exports.items()
    }
    bitmaps = {
        name: msgspec.structs.replace(bitmap, node=_below(bitmap.node, gone))
        for name, bitmap in desired.bitmaps.items()
    }
    return msgspec.structs.replace(desired, nodes=nodes, exports=exports, bitmaps=bitmaps)


def _is_same(new: BlockdevOptions, old: BlockdevOptions) -> bool:
    """Whether they say the same, edges apart."""
    if type(new) is not type(old):
        return False
    edges = {field: getattr(old, field) for field in EDGES[type(old)].values()}
    return msgspec.structs.replace(new, **edges) == old


def _over(options: BlockdevOptions, gone: dict[str, str]) -> BlockdevOptions:
    for role, child in children_of(options).items():
        if child in gone:
            options = with_child(options, role, _below(child, gone))
    return options


def _below(name: str, gone: dict[str, str]) -> str:
    while name in gone:
        name = gone[name]
    return name
