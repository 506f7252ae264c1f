"""Which dirty bitmaps to make and to remove.

A bitmap keeps its node and its granularity for life: for another it is made anew.  So it is with a
new node in the place of its own, or with other data below: it would not know what is different
there, and an incremental copy would leave that out.

One that a job uses is free when the job has ended, which a plan can only ask for: what needs that
is ``late``, and done by the plan that is made then.
"""

from dataclasses import dataclass, field

from blkrun.model import GraphModel
from blkrun.options import BitmapOptions
from blkrun.reconcile.jobs import bitmap_of, leaving
from blkrun.reconcile.operation import Operation
from blkrun.units import format_bytes


@dataclass(slots=True)
class BitmapChanges:
    """Operations, ``added`` by the node that must be there; names of those that are ``late``."""

    removed: list[Operation] = field(default_factory=list)
    added: dict[str, list[Operation]] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)


def bitmap_changes(
    desired: GraphModel, live: GraphModel, lost: set[str], stale: set[str]
) -> BitmapChanges:
    """``lost``: nodes of the live graph that go or are replaced, and their bitmaps with them.

    ``stale``: others that get other data below.
    """
    changes = BitmapChanges()
    kept, unsound = set(), lost | stale
    for name, old in live.bitmaps.items():
        if old == desired.bitmaps.get(name) and old.node not in unsound:
            kept.add(name)
        elif old.node in lost:
            if not _in_use(name, old, live):
                changes.removed.append(_remove(name, old))
        elif old.node not in stale and _is_being_freed(name, old, desired, live):
            changes.late.add(name)
        else:  # if a job has it, that is the server's to say
            changes.removed.append(_remove(name, old))
    kept |= changes.late
    for name, new in desired.bitmaps.items():
        if name not in kept:
            changes.added.setdefault(new.node, []).append(_add(name, new))
    return changes


def _in_use(name: str, bitmap: BitmapOptions, live: GraphModel) -> bool:
    return any(
        bitmap_of(job) == name and job.device == bitmap.node and not live.states[job.job_id].ended
        for job in live.jobs.values()
    )


def _is_being_freed(
    name: str, bitmap: BitmapOptions, desired: GraphModel, live: GraphModel
) -> bool:
    return any(
        bitmap_of(job) == name and job.device == bitmap.node for job in leaving(desired, live)
    )


def _add(name: str, bitmap: BitmapOptions) -> Operation:
    data = {
        "node": bitmap.node,
        "name": name,
        "granularity": bitmap.granularity,
        "x-blkrun-of-file": True,
    }
    text = f"bitmap {name} of {bitmap.node} ({format_bytes(bitmap.granularity)}), all dirty"
    return Operation("block-dirty-bitmap-add", data, "+", text, f"bitmaps.{name}")


def _remove(name: str, bitmap: BitmapOptions) -> Operation:
    data = {"node": bitmap.node, "name": name}
    text = f"bitmap {name} of {bitmap.node}"
    return Operation("block-dirty-bitmap-remove", data, "-", text, f"bitmaps.{name}")
