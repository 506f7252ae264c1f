"""The ``resolve`` pass: a draft without a mistake → the desired graph.

Paths become absolute; filters that are switched off are left out: whoever had one for a child
has the filter's own child instead; limits in an export's table become a throttle group and a
throttle node, as if the file had tables for them.
"""

from pathlib import Path

from msgspec import structs

from blkrun.config.graph import by_name, skip_disabled
from blkrun.config.tables import Draft, ExportTable, NodeTable
from blkrun.job_options import JobOptions, nodes_of
from blkrun.model import GraphModel
from blkrun.options import (
    BitmapOptions,
    BlockdevOptions,
    ExportOptions,
    FileOptions,
    ThrottleOptions,
    children_of,
    with_child,
)
from blkrun.toml.source import absolute


def resolve(draft: Draft) -> GraphModel:
    """The graph that the file asks for."""
    tables = by_name(draft)
    nodes = {
        table.name: _node(table.options, tables, draft.directories[table.path])
        for table in draft.nodes
        if table.enabled and table.options is not None
    }
    groups = {table.name: table.options for table in draft.groups if table.options is not None}
    exports = {
        table.name: _export(table.options, tables)
        for table in draft.exports
        if table.options is not None
    }
    for table in draft.exports:
        if table.throttled and table.limits is not None:
            export = exports[table.name]
            nodes[table.throttle_node] = _throttle(table, export.node)
            groups[table.throttle_group] = table.limits
            exports[table.name] = structs.replace(export, node=table.throttle_node)
    bitmaps = {
        table.name: _bitmap(table.options, tables)
        for table in draft.bitmaps
        if table.options is not None
    }
    jobs = {
        table.name: _job(table.options, tables)
        for table in draft.jobs
        if table.enabled and table.options is not None
    }
    resting = frozenset(table.name for table in draft.jobs if not table.enabled)
    return GraphModel(
        nodes=nodes, groups=groups, exports=exports, bitmaps=bitmaps, jobs=jobs, resting=resting
    )


def disabled(draft: Draft) -> dict[str, str]:
    """Nodes that are switched off → their drivers."""
    return {table.name: table.text("driver") or "" for table in draft.nodes if not table.enabled}


def _node(
    options: BlockdevOptions, tables: dict[str, NodeTable], directory: Path
) -> BlockdevOptions:
    if isinstance(options, FileOptions):
        return structs.replace(options, path=str(absolute(directory, options.path)))
    for role, child in children_of(options).items():
        below = skip_disabled(child, tables)
        if below != child:
            options = with_child(options, role, below)
    return options


def _export(options: ExportOptions, tables: dict[str, NodeTable]) -> ExportOptions:
    below = skip_disabled(options.node, tables)
    return options if below == options.node else structs.replace(options, node=below)


def _bitmap(options: BitmapOptions, tables: dict[str, NodeTable]) -> BitmapOptions:
    return structs.replace(options, node=skip_disabled(options.node, tables))


def _job(options: JobOptions, tables: dict[str, NodeTable]) -> JobOptions:
    nodes = {
        key.replace("-", "_"): skip_disabled(node, tables)
        for key, node in nodes_of(options).items()
    }
    return structs.replace(options, **nodes)


def _throttle(table: ExportTable, below: str) -> ThrottleOptions:
    return ThrottleOptions(
        node_name=table.throttle_node, file=below, throttle_group=table.throttle_group
    )
