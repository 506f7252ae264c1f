"""Mirrors that have pivoted: everybody who used the device has the target now, and stays there.

The file that asked for it still names the device, until the runner has edited it (see
``blkrun.reconcile.follow``).  Until then what it says of the device is read as the target, so that
no edit, and no runner that was away, leads clients back to the old disk.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from blkrun.job_options import JobOptions
from blkrun.model import GraphModel, JobState
from blkrun.options import children_of, with_child
from blkrun.pivot_record import PivotRecord, read_records, remove_record


def pivoted(desired: GraphModel, live: GraphModel) -> Iterator[JobOptions]:
    """The file's mirrors that have pivoted, in the order in which they were started."""
    for name, old in live.jobs.items():
        new = desired.jobs.get(name)
        same = new is not None and (new.device, new.target) == (old.device, old.target)
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
    return (record.device, record.target) == (job.device, job.target)


def with_pivots(desired: GraphModel, live: GraphModel) -> GraphModel:
    """The graph that a file asks for, with the target wherever it still says the device."""
    for job in pivoted(desired, live):
        desired = _moved(desired, job.device, job.target)
    return desired


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
