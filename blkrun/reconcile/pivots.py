"""Jobs that have led edges elsewhere, which stay there: mirrors that have pivoted, and streams.

After a pivot everybody who used the device has the target; after a stream the device has another
backing image, or none.

The file that asked for it still names the device, until the runner has edited it (see
``blkrun.reconcile.follow``).  Until then what it says of the device is read as the target, so that
no edit, and no runner that was away, leads clients back to the old disk.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from blkrun.job_options import JobOptions, StreamOptions, nodes_of, target_of
from blkrun.model import GraphModel, JobState
from blkrun.options import children_of, with_child
from blkrun.pivot_record import PivotRecord, read_records, remove_record
from blkrun.reconcile.nodes import unfiltered


def pivoted(desired: GraphModel, live: GraphModel) -> Iterator[JobOptions]:
    """The file's jobs that have led edges elsewhere, in the order in which they were started."""
    for name, old in live.jobs.items():
        new = desired.jobs.get(name)
        same = new is not None and nodes_of(new) == nodes_of(old)
        if same and live.states[name].pivoted:
            yield old


def with_recorded(live: GraphModel, desired: GraphModel, control: Path) -> GraphModel:
    """A live graph with the pivots that are written down beside a server's control socket.

    Those of jobs that the file still has; a server that was started since does not list them.
    """
    jobs, states = dict(live.jobs), dict(live.states)
    for record in read_records(control):
        job = desired.jobs.get(record.job_id)
        if job is not None and job.job_id not in jobs and _is_of(record, job):
            jobs[record.job_id] = job
            states[record.job_id] = JobState(status="concluded", pivoted=True)
    if len(jobs) == len(live.jobs):
        return live
    return msgspec.structs.replace(live, jobs=jobs, states=states)


def forget_recorded(desired: GraphModel, control: Path) -> None:
    """Remove the records of jobs that the file has no more, or not so, or switched off."""
    for record in read_records(control):
        job = desired.jobs.get(record.job_id)
        if job is None or not _is_of(record, job):
            remove_record(control, record.job_id)


def _is_of(record: PivotRecord, job: JobOptions) -> bool:
    return (record.device, record.target) == (job.device, target_of(job))


def with_pivots(desired: GraphModel, live: GraphModel) -> GraphModel:
    """The graph that a file asks for, with what it still says otherwise as it is now."""
    for job in pivoted(desired, live):
        desired = with_job_done(desired, job)
    return desired


def with_job_done(graph: GraphModel, job: JobOptions) -> GraphModel:
    """A graph as a job that has led edges elsewhere leaves it."""
    if isinstance(job, StreamOptions):
        return _streamed(graph, job)
    target = target_of(job)
    return graph if target is None else _moved(graph, job.device, target)


def _streamed(graph: GraphModel, job: StreamOptions) -> GraphModel:
    """The device's backing edge leads to where that of the last image does that was copied from."""
    device = graph.nodes.get(job.device)
    if device is None or "backing" not in children_of(device):
        return graph
    seen, name, below = set(), job.device, children_of(device).get("backing")
    while below is not None and name not in seen and name != job.bottom:
        seen.add(name)
        data = unfiltered(graph, below)
        if data == job.base_node:
            break
        name = data
        options = graph.nodes.get(name)
        below = None if options is None else children_of(options).get("backing")
    if below is None and (job.base_node or job.bottom) and name != job.bottom:
        return graph  # the file does not know of the base any more
    nodes = {**graph.nodes, job.device: with_child(device, "backing", below)}
    return msgspec.structs.replace(graph, nodes=nodes)


def _moved(graph: GraphModel, device: str, target: str) -> GraphModel:
    own = below(graph, target)  # the target itself may be over the device
    nodes = dict(graph.nodes)
    for name, options in graph.nodes.items():
        for role, child in children_of(options).items():
            if child == device and name not in own:
                nodes[name] = with_child(nodes[name], role, target)
    exports = {
        name: msgspec.structs.replace(export, node=target) if export.node == device else export
        for name, export in graph.exports.items()
    }
    return msgspec.structs.replace(graph, nodes=nodes, exports=exports)


def below(graph: GraphModel, name: str) -> set[str]:
    """A node's own tree."""
    found: set[str] = set()
    rest = [name]
    while rest:
        options = graph.nodes.get(rest.pop())
        if options is not None and options.node_name not in found:
            found.add(options.node_name)
            rest.extend(children_of(options).values())
    return found
