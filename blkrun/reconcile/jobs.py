"""Which jobs to stop, to change and to start.

A job of a file runs once: what has ended stays listed, and is not started again, until its table
goes or says something else.  A running job takes some options anew; for any other it is cancelled.
A job's name, its disks and its bitmap are free when it has ended and is forgotten, which a plan can
only ask for: what needs them is done by the plan that is made then.  ``late`` are the bitmaps that
are changed by that plan (see ``blkrun.reconcile.bitmaps``).
"""

from collections.abc import Collection, Iterator
from typing import Any

from msgspec import structs

from blkrun.job_options import (
    JOBS,
    BackupOptions,
    CommitOptions,
    JobOptions,
    MirrorOptions,
    StreamOptions,
    job_to_wire,
    nodes_of,
    target_of,
)
from blkrun.model import GraphModel, JobState
from blkrun.options import fields_of
from blkrun.reconcile.operation import Operation
from blkrun.units import format_bytes


def jobs_removed(
    desired: GraphModel, live: GraphModel, late: Collection[str]
) -> Iterator[Operation]:
    """First of all: a node that a job uses can neither go nor be replaced."""
    for name, why in _removed(desired, live):
        old = live.jobs[name]
        done = "forgotten" if live.states[name].ended else "cancelled"
        later = [job for job in _waiting(desired, live, late) if _share(desired.jobs[job], old)]
        then = f"; {', '.join(later)}: started once it has ended" if later else ""
        if bitmap_of(old) in late and not live.states[name].ended:
            then += f"; bitmap {bitmap_of(old)}: changed once it has ended"
        text = f"{_words(old)}: {done}{why}{then}"
        yield Operation("x-blkrun-job-remove", {"id": name}, "-", text, f"jobs.{name}")


def jobs_started(
    desired: GraphModel, live: GraphModel, late: Collection[str]
) -> Iterator[Operation]:
    """Last of all, when all that it works on and all that is above is there."""
    waiting = set(_waiting(desired, live, late))
    for name, new in desired.jobs.items():
        old, state = live.jobs.get(name), live.states.get(name)
        if old is None or state is None:
            if name not in waiting:
                yield _start(new)
        elif not (state.ended or state.leaving or is_another(old, new, state)):
            yield from _change(old, new)


def started_by(operation: Operation) -> str | None:
    """The name of the job that an operation starts, if it does."""
    starts = operation.type in {kind.command for kind in JOBS.values()}
    return str(operation.data["job-id"]) if starts else None


def cancelled_by(operation: Operation) -> str | None:
    """The name of the job that an operation cancels: what has ended is forgotten, not cancelled."""
    if operation.type != "x-blkrun-job-remove":
        return None
    _, _, what = operation.text.partition(": ")  # no name has a colon
    return str(operation.data["id"]) if what.startswith("cancelled") else None


def without_job(graph: GraphModel, name: str) -> GraphModel:
    """The same, but for this job."""
    jobs = {other: options for other, options in graph.jobs.items() if other != name}
    return structs.replace(graph, jobs=jobs)


def is_due(operation: Operation, desired: GraphModel) -> bool:
    """Whether it is one that may have waited for a job to end."""
    section, _, name = operation.table.partition(".")
    return section == "bitmaps" or (section == "jobs" and name in desired.jobs)


def _removed(desired: GraphModel, live: GraphModel) -> Iterator[tuple[str, str]]:
    """Names, and why."""
    for name, state in live.states.items():
        why = None if state.leaving else _why_removed(name, desired, live)
        if why is not None:
            yield name, why


def leaving(desired: GraphModel, live: GraphModel) -> list[JobOptions]:
    """Jobs that are being cancelled, or will be."""
    gone = {name for name, _ in _removed(desired, live)}
    return [
        live.jobs[name]
        for name, state in live.states.items()
        if state.leaving or (name in gone and not state.ended)
    ]


def bitmap_of(job: JobOptions) -> str | None:
    """The name of its device's bitmap, if it uses one."""
    return job.bitmap if isinstance(job, BackupOptions) else None


def _waiting(desired: GraphModel, live: GraphModel, late: Collection[str]) -> Iterator[str]:
    """Jobs to start whose disks or bitmap a job has that is being cancelled, or will be."""
    busy = leaving(desired, live)
    for name, new in desired.jobs.items():
        if name not in live.jobs and (
            bitmap_of(new) in late or any(_share(new, old) for old in busy)
        ):
            yield name


def _share(one: JobOptions, other: JobOptions) -> bool:
    return bool({*nodes_of(one).values()} & {*nodes_of(other).values()})


def _why_removed(name: str, desired: GraphModel, live: GraphModel) -> str | None:
    """None if it stays; else the end of a sentence."""
    old, new, ended = live.jobs[name], desired.jobs.get(name), live.states[name].ended
    if new is None:
        return None if ended and name in desired.resting else ""
    if not is_another(old, new, live.states[old.job_id]):
        return None
    keys = ", ".join(sorted(_lasting(old, new))) or "another type"
    return f" ({keys}), and started again{'' if ended else ' once it has ended'}"


def is_another(old: JobOptions, new: JobOptions, state: JobState) -> bool:
    """Whether it has to be started again.  After a pivot it is not: the target is the disk now."""
    if state.pivoted and target_of(old) == target_of(new) is not None:
        return False
    return type(old) is not type(new) or bool(_lasting(old, new))


def _start(new: JobOptions) -> Operation:
    data = {key: value for key, value in job_to_wire(new).items() if key != "type"}
    if (sync := _sync(new)) is not None:
        data["sync"] = sync
    data |= {"auto-dismiss": False, "x-blkrun-of-file": True}
    how = ", ".join(_how(new))
    text = f"{_words(new)} ({how})" if how else _words(new)
    return Operation(new.command, data, "+", text, f"jobs.{new.job_id}")


def _change(old: JobOptions, new: JobOptions) -> Iterator[Operation]:
    if not (changed := _changed(old, new)):
        return
    words = ", ".join(f"{key} {_value(old, key)} → {_value(new, key)}" for key in sorted(changed))
    data: dict[str, Any] = {"id": new.job_id}
    data |= {key: getattr(new, field) for key, field in sorted(changed.items())}
    text, table = f"job {new.job_id}: {words}", f"jobs.{new.job_id}"
    yield Operation("x-blkrun-job-change", data, "~", text, table)


def _changed(old: JobOptions, new: JobOptions) -> dict[str, str]:
    """Wire name → field, of the options that differ."""
    if type(old) is not type(new):
        return {}
    return {
        each.encode_name: each.name
        for each in fields_of(type(new))
        if getattr(old, each.name) != getattr(new, each.name)
    }


def _lasting(old: JobOptions, new: JobOptions) -> set[str]:
    """Wire names of the options that differ and that a running job keeps."""
    return _changed(old, new).keys() - type(new).changeable


def _words(job: JobOptions) -> str:
    if isinstance(job, StreamOptions):
        return f"stream {job.job_id} into {job.device}"
    if isinstance(job, CommitOptions):
        return f"commit {job.job_id} of {job.top_node or job.device}"
    return f"{_type(job)} {job.job_id} of {job.device} to {target_of(job)}"


def _how(job: JobOptions) -> Iterator[str]:
    if (sync := _sync(job)) is not None:
        yield f"sync {sync}"
    if bitmap_of(job) is not None:
        yield f"bitmap {bitmap_of(job)}"
    if isinstance(job, StreamOptions):
        yield f"down to {job.bottom}" if job.bottom else f"base {job.base_node or 'none'}"
    if isinstance(job, CommitOptions):
        yield f"to {job.base_node or 'the last of its images'}"
    if isinstance(job, MirrorOptions):
        yield job.copy_mode
    if isinstance(job, (CommitOptions, MirrorOptions)) and job.when_ready != "wait":
        yield f"when ready: {job.when_ready}"
    if job.speed:
        yield f"speed {format_bytes(job.speed)}"


def _value(job: JobOptions, key: str) -> str:
    value = getattr(job, key.replace("-", "_"))
    if key == "speed":
        return format_bytes(value) if value else "none"
    return str(value)


def _sync(job: JobOptions) -> str | None:
    return job.sync if isinstance(job, (BackupOptions, MirrorOptions)) else None


def _type(job: JobOptions) -> str:
    return str(job.__struct_config__.tag)
