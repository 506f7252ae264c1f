"""A live graph as a file that asks for just that: a plan made of it is empty.  Pure.

What only a file knows is not in it: filters that are switched off, comments, included files.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import tomli_w

from blkrun.errors import BlkrunError
from blkrun.job_options import CommitOptions, JobOptions, StreamOptions, job_to_wire, nodes_of
from blkrun.limits import any_average
from blkrun.model import GraphModel, JobState
from blkrun.options import (
    OPTIONAL_EDGES,
    BlockdevOptions,
    ExportOptions,
    ThrottleLimits,
    ThrottleOptions,
    children_of,
    extra_of,
    fields_of,
    to_wire,
)
from blkrun.units import format_bytes

Tables = Iterator[tuple[str, str, dict[str, Any], str]]
"""Section, name, keys, and a comment or ``""``."""

_SPENT = "has done its work and left by itself: the table keeps it from coming back"
_PIVOTED = "has pivoted: who used the device uses the target"
_STREAMED = "has ended: the device does without what was streamed into it"
_COMMITTED = "has ended: who used what was committed uses the base"
_LEAVING = "is being cancelled"


def dump(graph: GraphModel, settings: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """The text; ``settings`` are [server], [runner] and [dashboard], ``title`` is its first line.

    Raises BlkrunError for a node with a child that has no name a file could use.
    """
    _check_names(graph)
    parts = [f"# {title}\n", *(tomli_w.dumps({name: dict(settings[name])}) for name in settings)]
    for section, name, table, comment in _tables(graph):
        head = f"# {name} {comment}.\n" if comment else ""
        parts.append(head + tomli_w.dumps({section: {name: table}}))
    return "\n".join(parts)


def _check_names(graph: GraphModel) -> None:
    for name, options in graph.nodes.items():
        for child in children_of(options).values():
            if child not in graph.nodes:
                raise BlkrunError(
                    f"node {name} has a child that was given in its blockdev-add, without a name; "
                    "a file cannot say that: add the child by itself, with a node-name"
                )


def _tables(graph: GraphModel) -> Tables:
    own = {name: export for name, export in graph.exports.items() if _has_limits(name, graph)}
    made = {_throttle_of(name) for name in own}
    for name, limits in graph.groups.items():
        if name not in own:
            yield "throttle-groups", name, _written(limits), ""
    for section, is_backend in (("backends", True), ("nodes", False)):
        for name, options in graph.nodes.items():
            if options.is_backend is is_backend and name not in made:
                yield section, name, _node(options), ""
    for name, options in graph.spent.items():
        yield "nodes", name, _over_something(options, graph), _SPENT
    for name, export in graph.exports.items():
        yield "exports", name, _export(name, export, graph, limited=name in own), ""
    for name, bitmap in graph.bitmaps.items():
        yield "bitmaps", name, _written(bitmap), ""
    for name, job in graph.jobs.items():
        yield "jobs", name, *_job(name, job, graph)


def _throttle_of(export: str) -> str:
    """As ``ExportTable.throttle_node``."""
    return f"{export}-throttle"


def _has_limits(name: str, graph: GraphModel) -> bool:
    """Whether its throttle is what limits in an export's table make, and nobody else's."""
    node, limits = _throttle_of(name), graph.groups.get(name)
    options = graph.nodes.get(node)
    if limits is None or not any_average(limits) or not isinstance(options, ThrottleOptions):
        return False
    as_made = ThrottleOptions(node_name=node, file=options.file, throttle_group=name)
    members = [
        each
        for each in graph.nodes.values()
        if isinstance(each, ThrottleOptions) and each.throttle_group == name
    ]
    return options == as_made and members == [options] and list(_users(node, graph)) == [name]


def _users(node: str, graph: GraphModel) -> Iterator[str]:
    """Exports by name, and everything else that leads there."""
    yield from (name for name, export in graph.exports.items() if export.node == node)
    for options in graph.nodes.values():
        yield from ("node" for child in children_of(options).values() if child == node)
    yield from ("bitmap" for bitmap in graph.bitmaps.values() if bitmap.node == node)
    yield from ("job" for job in graph.jobs.values() if node in nodes_of(job).values())


def _node(options: BlockdevOptions) -> dict[str, Any]:
    return _keys(options, to_wire(options), "node-name")


def _over_something(options: BlockdevOptions, graph: GraphModel) -> dict[str, Any]:
    """What it was over may have gone since; which node it names means nothing while it is spent."""
    table = _node(options)
    if table["file"] not in graph.nodes:
        table["file"] = next(iter(graph.nodes))
    return table


def _export(
    name: str, export: ExportOptions, graph: GraphModel, *, limited: bool
) -> dict[str, Any]:
    if not limited:
        return _written(export)
    below = children_of(graph.nodes[export.node])["file"]
    return _written(msgspec.structs.replace(export, node=below)) | _written(graph.groups[name])


def _job(name: str, job: JobOptions, graph: GraphModel) -> tuple[dict[str, Any], str]:
    table = _keys(job, job_to_wire(job), "job-id")
    if table.get("filter-node-name") == f"{name}-filter":
        del table["filter-node-name"]
    state = graph.states[name]
    if state.pivoted or state.leaving:
        return {**table, "enabled": False}, _end_words(job, state)
    return table, ""


def _end_words(job: JobOptions, state: JobState) -> str:
    if state.leaving:
        return _LEAVING
    if isinstance(job, CommitOptions):
        return _COMMITTED
    return _STREAMED if isinstance(job, StreamOptions) else _PIVOTED


def _written(options: ThrottleLimits | msgspec.Struct) -> dict[str, Any]:
    """Keys that are not at their defaults."""
    wire = {
        field.encode_name: getattr(options, field.name)
        for field in fields_of(type(options))
        if field.required or getattr(options, field.name) != field.default
    }
    return _keys(options, wire)


def _keys(options: msgspec.Struct, wire: Mapping[str, Any], *but: str) -> dict[str, Any]:
    units = {field.encode_name: extra_of(field.type, "unit") for field in fields_of(type(options))}
    nowhere = OPTIONAL_EDGES.get(type(options), frozenset())
    return {
        key: "" if value is None else _value(value, units.get(key))
        for key, value in wire.items()
        if key not in but and (value is not None or key in nowhere)
    }


def _value(value: Any, unit: str | None) -> Any:
    if unit == "bytes" and value and value % 1024 == 0:
        return format_bytes(value)
    return f"{value}s" if unit == "seconds" else msgspec.to_builtins(value)
