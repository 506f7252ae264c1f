"""Jobs that have led edges elsewhere, which stay there: mirrors that have pivoted, and streams.

After a pivot everybody who used the device has the target; after a stream the device has another
backing image, or none.

The file that asked for it still names the device, until the runner has edited it (see
``blkrun.reconcile.follow``).  Until then what it says of the device is read as the target, so that
no edit, and no runner that was away, leads clients back to the old disk.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from blkrun.job_options import CommitOptions, JobOptions, StreamOptions, nodes_of, target_of
from blkrun.model import GraphModel, JobState
from blkrun.options import children_of, to_wire, with_child
from blkrun.pivot_record import read_records, record_of, remove_record
from blkrun.reconcile.disks import unfiltered


def pivoted(desired: GraphModel, live: GraphModel) -> Iterator[JobOptions]:
    """The file's jobs that have led edges elsewhere, in the order in which they were started."""
    for name, old in live.jobs.items():
        new = desired.jobs.get(name)
        same = new is not None and nodes_of(new) == nodes_of(old)
        if same and live.states[name].pivoted:
            yield old


def with_recorded(live: GraphModel, desired: GraphModel, control: Path) -> GraphModel:
    """A live graph with the pivots that are written down beside a server's control socket.

    Those of jobs that the file still has; a server that was started since does not list them, and
    who has only heard that they ended does not know how.
    """
    jobs, states = dict(live.jobs), dict(live.states)
    for record in read_records(control):
        name, job = record.job_id, desired.jobs.get(record.job_id)
        if job is not None and record == record_of(job) and not _is_told(live.states.get(name)):
            jobs[name] = job
            states[name] = JobState(status="concluded", pivoted=True)
    return msgspec.structs.replace(live, jobs=jobs, states=states)


def _is_told(state: JobState | None) -> bool:
    """It is at work, or known to have pivoted."""
    return state is not None and (state.pivoted or not state.ended)


def forget_recorded(desired: GraphModel, control: Path) -> None:
    """Remove the records of jobs that the file has no more, or not so, or switched off."""
    for record in read_records(control):
        job = desired.jobs.get(record.job_id)
        if job is None or record != record_of(job):
            remove_record(control, record.job_id)


def with_pivots(desired: GraphModel, live: GraphModel) -> GraphModel:
    """The graph that a file asks for, with what it still says otherwise as it is now."""
    for job in pivoted(desired, live):
        desired = with_job_done(desired, job)
    return desired


def with_job_done(graph: GraphModel, job: JobOptions) -> GraphModel:
    """A graph as a job that has led edges elsewhere leaves it."""
    if isinstance(job, StreamOptions):
        return _streamed(graph, job)
    move = move_of(graph, job)
    return graph if move is None else _moved(graph, *move)


def move_of(graph: GraphModel, job: JobOptions) -> tuple[str, str] | None:
    """Which node such a job has led everybody away from, and to which; None: a stream nobody."""
    target = target_of(job)
    if target is not None:
        return job.device, target
    if not isinstance(job, CommitOptions):
        return None
    images = _images(graph, job.device)
    places = {image.data: at for at, image in enumerate(images)}
    top = places.get(job.top_node or images[0].data)
    base = places.get(job.base_node or images[-1].data)
    if top is None or base is None or base <= top:
        return None  # the file does not know of them any more
    if top == 0:
        return images[0].data, images[base].data
    return images[top].data, images[base].name


class _Image(NamedTuple):
    """In a chain: as the edge above names it, and below the filters there."""

    name: str
    data: str


def _images(graph: GraphModel, top: str) -> list[_Image]:
    """A chain as far as a graph tells it, from the top down; bounded where there is a cycle."""
    found: list[_Image] = []
    name: str | None = top
    while name is not None and len(found) <= len(graph.nodes):
        data = unfiltered(graph, name)
        found.append(_Image(name, data))
        options = graph.nodes.get(data)
        name = None if options is None else children_of(options).get("backing")
    return found


def _streamed(graph: GraphModel, job: StreamOptions) -> GraphModel:
    """The device's backing edge leads to where that of the last image does that was copied from."""
    images = _images(graph, job.device)
    device = graph.nodes.get(images[0].data)
    if device is None or "backing" not in children_of(device):
        return graph
    places = {image.data: at for at, image in enumerate(images)}
    below: str | None = None
    if job.base_node is not None or job.bottom is not None:
        at = places.get(job.base_node or job.bottom or "")
        if at is None:
            return graph  # the file does not know of it any more
        rest = images[at if job.bottom is None else at + 1 :]
        if not rest and "backing" not in to_wire(graph.nodes[images[-1].data]):
            return graph  # nor of this: only the image says what is below
        below = rest[0].name if rest else None
    nodes = {**graph.nodes, device.node_name: with_child(device, "backing", below)}
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
