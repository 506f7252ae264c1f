"""Commands that only look, in QEMU's shapes (qemu-semantics §9.8), and ours with everything."""

import os
from time import monotonic_ns
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from blkrun.options import EDGES, by_key, key_of, to_wire
from blkrun.server.connection import describe as describe_connection
from blkrun.server.context import Context
from blkrun.server.dirty import DirtyBitmap
from blkrun.server.export import Export
from blkrun.server.jobs.job import Job
from blkrun.server.node import Node
from blkrun.server.qmp.dispatch import Command, NoArguments, arguments
from blkrun.server.stats import (
    IN_FLIGHT,
    Tally,
    buckets_of,
    merge,
    qemu_counters,
    qemu_histogram,
    row_of,
)
from blkrun.server.throttle.group import ThrottleGroup


class FlatArguments(Struct, frozen=True):
    """query-named-block-nodes: ``flat`` leaves out ``backing-image``."""

    flat: bool = False


class BlockstatsArguments(Struct, frozen=True, rename="kebab"):
    """query-blockstats: without ``query-nodes`` QEMU lists devices; we have none."""

    query_nodes: bool = False


class SinceArguments(Struct, frozen=True):
    """x-blkrun-query-events: those with a number above ``since``."""

    since: int = 0


_NO_LIMITS = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
_CACHE = {"writeback": True, "direct": False, "no-flush": False}


def children_names(node: Node[Any]) -> dict[str, str]:
    """Role → child's name, as the edges are now."""
    return {role: child.name for role, child in node.children.items()}


def options_in_force(node: Node[Any]) -> dict[str, Any]:
    """What would make the node as it is now; children that are a driver's own choice stay so."""
    wire = to_wire(node.options)
    fields = EDGES.get(type(node.options), {})
    said: dict[str, str] = {}
    for role, child in node.children.items():
        field = fields.get(key_of(role))
        unset = field is not None and getattr(node.options, field) is UNSET
        if not unset or _without_jobs(child).monitor_owned:
            said[role] = child.name
    return wire | by_key(said)


def _without_jobs(node: Node[Any]) -> Node[Any]:
    while node.job_id is not None:
        node = node.children["file"]
    return node


def _filename(node: Node[Any]) -> str:
    """A plain path when that says it all, else QEMU's json: form with the tree of options."""
    path = getattr(node.options, "path", None)
    if isinstance(path, str):
        return path
    return "json:" + msgspec.json.encode(_option_tree(node)).decode()


def _option_tree(node: Node[Any]) -> dict[str, Any]:
    tree = to_wire(node.options)
    del tree["node-name"]
    below = {role: _option_tree(child) for role, child in node.children.items()}
    return tree | by_key(below)


def _image(node: Node[Any], *, flat: bool) -> dict[str, Any]:
    image: dict[str, Any] = {
        "filename": _filename(node),
        "format": node.driver,
        "virtual-size": node.size_bytes,
    }
    backing = node.children.get("backing")
    if backing is not None:
        name = _filename(backing)
        image |= {
            "backing-filename": name,
            "full-backing-filename": name,
            "backing-filename-format": backing.driver,
        }
    if (below := _below(node)) is not None and not flat:
        image["backing-image"] = _image(below, flat=False)
    return image


def _below(node: Node[Any]) -> Node[Any] | None:
    """A filter's child or an overlay's backing image: QEMU counts both."""
    return node.children.get(node.main if node.is_filter else "backing")


def _depth(node: Node[Any], *, flat: bool) -> int:
    """How many images are below; in 7.2, filters are at 0 if it is to be flat."""
    depth = 0
    if flat and node.is_filter:
        return 0
    while (below := _below(node)) is not None:
        node = below
        depth += 1
    return depth


def _named_nodes(context: Context, args: FlatArguments) -> list[dict[str, Any]]:
    with context.graph.swapping:  # half an edit may have a cycle
        nodes = reversed(context.graph.nodes.values())
        return [_named_node(node, flat=args.flat) for node in nodes]


def _named_node(node: Node[Any], *, flat: bool) -> dict[str, Any]:
    bitmaps = [info for each in reversed(node.bitmaps.values()) for info in each.describe()]
    return {
        "node-name": node.name,
        "drv": node.driver,
        "file": _filename(node),
        "ro": node.options.read_only,
        "encrypted": False,
        "backing_file_depth": _depth(node, flat=flat),
        "detect_zeroes": "off",
        "write_threshold": node.write_threshold(),
        "cache": _CACHE,
        **_NO_LIMITS,
        "image": _image(node, flat=flat),
        **_backing_file(node),
        **({"dirty-bitmaps": bitmaps} if bitmaps else {}),
    }


def _backing_file(node: Node[Any]) -> dict[str, str]:
    backing = node.children.get("backing")
    return {} if backing is None else {"backing_file": _filename(backing)}


_QEMU_ONLY = dict.fromkeys(
    (
        "wr_highest_offset",
        "rd_merged",
        "wr_merged",
        "unmap_merged",
        "invalid_rd_operations",
        "invalid_wr_operations",
        "invalid_flush_operations",
        "invalid_unmap_operations",
    ),
    0,
)


_CONSTANT = {"account_invalid": True, "account_failed": True, "timed_stats": []}


def _block_stats(tally: Tally) -> dict[str, Any]:
    histograms = {
        "rd_latency_histogram": qemu_histogram(tally.reads.latency),
        "wr_latency_histogram": qemu_histogram(write_latency(tally)),
        "flush_latency_histogram": qemu_histogram(tally.flushes.latency),
    }
    return qemu_counters(row_of(tally)) | _QEMU_ONLY | _CONSTANT | histograms


def write_latency(tally: Tally) -> dict[int, int]:
    """Of writes and zeroes together, as QEMU counts them."""
    both = tally.writes.latency.copy()
    merge(both, tally.zeroes.latency)
    return both


def _node_stats(node: Node[Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"node-name": node.name, "stats": _block_stats(node.stats)}
    if (below := node.children.get(node.main)) is not None:
        entry["parent"] = _node_stats(below)
    if "backing" in node.children:
        entry["backing"] = _node_stats(node.children["backing"])
    return entry


def _blockstats(context: Context, args: BlockstatsArguments) -> list[dict[str, Any]]:
    if not args.query_nodes:
        return []
    with context.graph.swapping:
        return [_node_stats(node) for node in reversed(context.graph.nodes.values())]


def _exports(context: Context, args: NoArguments) -> list[dict[str, Any]]:
    del args
    return [
        {
            "node-name": export.root.name,
            "shutting-down": export.shutting_down,
            "type": "nbd",
            "id": export.name,
        }
        for export in context.graph.exports.values()
    ]


def _debug_graph(context: Context, args: NoArguments) -> dict[str, Any]:
    del args
    graph = context.graph
    with graph.swapping:  # an edit in between would make edges to nodes without a number
        parents: list[Export | Node[Any]] = [*graph.exports.values(), *graph.nodes.values()]
        ids = {parent: number for number, parent in enumerate(parents, 1)}
        edges = [
            _debug_edge(ids[parent], ids[child], role, writable=not parent.options.read_only)
            for parent in parents
            for role, child in parent.children.items()
        ]
    return {"nodes": [_debug_node(ids[parent], parent) for parent in parents], "edges": edges}


def _debug_node(number: int, parent: Export | Node[Any]) -> dict[str, Any]:
    """An export is a block-backend without a name, as in qemu-storage-daemon."""
    if isinstance(parent, Export):
        return {"id": number, "type": "block-backend", "name": ""}
    return {"id": number, "type": "block-driver", "name": parent.name}


_ALL_PERMISSIONS = ["consistent-read", "write", "write-unchanged", "resize"]


def _debug_edge(parent: int, child: int, role: str, *, writable: bool) -> dict[str, Any]:
    permissions = ["consistent-read", "write"] if writable else ["consistent-read"]
    return {
        "parent": parent,
        "child": child,
        "name": role,
        "perm": permissions,
        "shared-perm": _ALL_PERMISSIONS,
    }


def _query_graph(context: Context, args: NoArguments) -> dict[str, Any]:
    """Everything at one instant: configuration as it is in force, and all numbers."""
    del args
    graph = context.graph
    with graph.swapping:  # not the edits' lock: looking must not wait for a drain
        return {
            "pid": os.getpid(),
            "now-ns": monotonic_ns(),
            "uptime-ns": monotonic_ns() - context.started_ns,
            "threads": context.threads,
            "revision": graph.revision,
            "nodes": [_node(node) for node in graph.nodes.values()],
            "throttle-groups": [_group(group) for group in graph.groups.values()],
            "exports": [_export(context, export) for export in graph.exports.values()],
            "jobs": [describe_job(job) for job in graph.jobs.listing()],
            "spent": [to_wire(options) for options in graph.spent.values()],
            "reports": context.reports,
        }


def _node(node: Node[Any]) -> dict[str, Any]:
    row = node.row()
    return {
        "node-name": node.name,
        "options": options_in_force(node),
        "children": children_names(node),
        "is-filter": node.is_filter,
        "monitor-owned": node.monitor_owned,
        "job": node.job_id,
        "attached": not node.detached,
        "size": node.size_bytes,
        "in-flight": row[IN_FLIGHT],
        "stats": qemu_counters(row),
        "bitmaps": [_bitmap(bitmap) for bitmap in node.bitmaps.values()],
        "driver-specific": node.describe(),
    }


def _bitmap(bitmap: DirtyBitmap) -> dict[str, Any]:
    return {
        "name": bitmap.name,
        "granularity": bitmap.granularity_bytes,
        "recording": bitmap.recording,
        "busy": bitmap.busy,
        "of-file": bitmap.of_file,
    }


def describe_job(job: Job) -> dict[str, Any]:
    """For ``x-blkrun-query-graph`` and ``x-blkrun-stats``."""
    return {
        "id": job.id,
        "type": job.type,
        "status": job.status.value,
        "current-progress": job.offset_bytes,
        "total-progress": job.len_bytes,
        "rate": job.rate if job.in_run else 0,
        "busy": job.busy,
        "paused": job.pause_count > 0,
        "ready": job.is_ready,
        "io-status": job.io_status,
        "cancelled": job.cancelled,
        "pivoted": job.pivoted,
        "of-file": job.options.of_file,
        "running-ns": job.running_ns,
        **job.describe(),
        **({} if job.error is None else {"error": job.error}),
    }


def _group(group: ThrottleGroup) -> dict[str, Any]:
    return {
        "id": group.name,
        "limits": msgspec.to_builtins(group.limits),
        **group.describe(),
    }


def _export(context: Context, export: Export) -> dict[str, Any]:
    tally = export.stats
    return {
        "id": export.name,
        "node-name": export.root.name,
        "writable": not export.options.read_only,
        "description": export.options.description,
        "size": export.root.size_bytes,
        "in-flight": tally.in_flight,
        "stats": qemu_counters(row_of(tally)),
        "read-latency": buckets_of(tally.reads.latency),
        "write-latency": buckets_of(write_latency(tally)),
        "clients": [describe_connection(c) for c in context.graph.clients_of(export)],
    }


def _events(context: Context, args: SinceArguments) -> list[dict[str, Any]]:
    return context.events.since(args.since)


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="query-named-block-nodes",
        doc="All nodes with size, driver and filename.",
        parse=arguments(FlatArguments),
        run=_named_nodes,
    ),
    Command(
        name="query-blockstats",
        doc="Operations, bytes, errors and times; with query-nodes true, of every node.",
        parse=arguments(BlockstatsArguments),
        run=_blockstats,
    ),
    Command(
        name="query-block-exports",
        doc="The exports and the nodes they show.",
        parse=arguments(NoArguments),
        run=_exports,
    ),
    Command(
        name="x-debug-query-block-graph",
        doc="Nodes and edges, numbered, with permissions.",
        parse=arguments(NoArguments),
        run=_debug_graph,
    ),
    Command(
        name="x-blkrun-query-graph",
        doc="Nodes, groups, exports and clients with all their numbers, at one instant.",
        parse=arguments(NoArguments),
        run=_query_graph,
    ),
    Command(
        name="x-blkrun-query-events",
        doc="The last events, numbered, for those who came later.",
        parse=arguments(SinceArguments),
        run=_events,
    ),
)
