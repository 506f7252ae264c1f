"""What a server reports, as the same frozen types that a file is read into."""

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import Struct

from blkrun.decode import Problem, decode
from blkrun.errors import BlkrunError
from blkrun.job_options import JOBS, JobOptions
from blkrun.model import GraphModel, JobState
from blkrun.options import (
    DRIVERS,
    BitmapOptions,
    BlockdevOptions,
    ExportOptions,
    ThrottleLimits,
    children_of,
    lists_of,
    with_child,
)

S = TypeVar("S", bound=Struct)


class Live(Struct, frozen=True, kw_only=True):
    """The graph in force and who uses it: export → number of clients."""

    graph: GraphModel
    clients: dict[str, int]
    pid: int


def read_live(reply: Mapping[str, Any]) -> Live:
    """From ``x-blkrun-query-graph``.

    Inline children belong to their parents and a job's filter to its job, not to a file: an edge
    that leads to a job's filter is read as leading to what is under it.  Bitmaps and jobs that no
    file has a table for belong to whoever made them, by QMP: they are left out.
    """
    under = _under_job_filters(reply)
    nodes = {
        node["node-name"]: _over(_node(node["options"]), under)
        for node in reply["nodes"]
        if node["monitor-owned"]
    }
    groups = {
        group["id"]: _decode(ThrottleLimits, group["limits"]) for group in reply["throttle-groups"]
    }
    exports = {
        export["id"]: ExportOptions(
            node=_through(export["node-name"], under),
            read_only=not export["writable"],
            description=export["description"],
        )
        for export in reply["exports"]
    }
    clients = {export["id"]: len(export["clients"]) for export in reply["exports"]}
    spent = {options["node-name"]: _node(options) for options in reply.get("spent", ())}
    # A server that was started by an older blkrun does not say which jobs are a file's.
    jobs = [job for job in reply.get("jobs", ()) if job.get("of-file", True)]
    graph = GraphModel(
        nodes=nodes,
        groups=groups,
        exports=exports,
        spent=spent,
        bitmaps=_bitmaps(reply),
        gaps=_gaps(reply, nodes),
        jobs={job["id"]: _job(job) for job in jobs},
        states={job["id"]: _state(job) for job in jobs},
    )
    return Live(graph=graph, clients=clients, pid=reply["pid"])


def changed_by_itself(before: GraphModel, after: GraphModel) -> bool:
    """Whether a filter has left, or a job has gone on, since a plan was made."""
    return (before.spent, before.states) != (after.spent, after.states)


def _under_job_filters(reply: Mapping[str, Any]) -> dict[str, str]:
    return {
        node["node-name"]: node["children"]["file"]
        for node in reply["nodes"]
        if node.get("job") is not None
    }


def _gaps(
    reply: Mapping[str, Any], nodes: Mapping[str, BlockdevOptions]
) -> dict[str, tuple[str, ...]]:
    """What ``children_of`` does not say of the roles that a node has."""
    found = {}
    for node in reply["nodes"]:
        options = nodes.get(node["node-name"])
        if options is not None and lists_of(type(options)):
            roles = tuple(node["children"])
            if roles != tuple(children_of(options)):
                found[options.node_name] = roles
    return found


def _through(name: str, under: Mapping[str, str]) -> str:
    while name in under:
        name = under[name]
    return name


def _over(options: BlockdevOptions, under: Mapping[str, str]) -> BlockdevOptions:
    for role, child in children_of(options).items() if under else ():
        if child in under:
            options = with_child(options, role, _through(child, under))
    return options


def _bitmaps(reply: Mapping[str, Any]) -> dict[str, BitmapOptions]:
    return {
        bitmap["name"]: BitmapOptions(node=node["node-name"], granularity=bitmap["granularity"])
        for node in reply["nodes"]
        for bitmap in node.get("bitmaps", ())
        if bitmap.get("of-file", False)
    }


def _job(job: Mapping[str, Any]) -> JobOptions:
    kind = JOBS.get(job["type"])
    if kind is None:
        raise BlkrunError(
            f"the server runs a job of type {job['type']!r} that this blkrun does not know; "
            "stop it with the blkrun that started it"
        )
    return _decode(kind, {key: value for key, value in job["options"].items() if key != "type"})


def _state(job: Mapping[str, Any]) -> JobState:
    return JobState(
        status=job["status"],
        cancelled=job["cancelled"],
        pivoted=job["pivoted"],
        error=job.get("error"),
    )


def _node(wire: Mapping[str, Any]) -> BlockdevOptions:
    options = DRIVERS.get(wire["driver"])
    if options is None:
        raise BlkrunError(
            f"the server has a driver {wire['driver']!r} that this blkrun does not know; "
            "stop it with the blkrun that started it"
        )
    return _decode(options, {key: value for key, value in wire.items() if key != "driver"})


def _decode(struct: type[S], wire: Mapping[str, Any]) -> S:
    problems: list[Problem] = []
    decoded = decode(struct, wire, problems)
    if decoded is None:
        raise BlkrunError(f"the server speaks of options unknown here: {problems[0].message}")
    return decoded
