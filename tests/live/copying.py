"""Disks to copy while clients write, words for jobs over QMP, and for the instant they are of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.cut import BLOCK_BYTES, BLOCKS_EACH, Writers, parts
from tests.live.service import Qmp, Service, wait_for

MIB = 2**20
CLUSTER = 2**16
WRITERS = 4
SIZE = WRITERS * BLOCKS_EACH * BLOCK_BYTES
MARK = b"\xee" * CLUSTER
"""A cluster that nobody has copied to the target."""

Serve = Callable[[str], Service]

DISKS = f"""
[runner]
apply = "all"
[backends.disk]
driver = "file"
path = "disk.img"
size = {SIZE}
create = true
[backends.copy]
driver = "file"
path = "copy.img"
size = {SIZE}
create = true
"""
DIRECT = (
    DISKS
    + """
[throttle-groups.g]
[nodes.limit]
driver = "throttle"
throttle-group = "g"
file = "disk"
[exports.vda]
node = "disk"
"""
)
STOPPED = 1
"""A speed at which a job stands still after its first chunk."""

CALM = 16 * MIB
"""One at which a job is under way for some seconds."""


def image(service: Service, name: str = "disk") -> Path:
    """Where a backend of ``DISKS`` has its data."""
    return service.file.parent / f"{name}.img"


def start(qmp: Qmp, **options: Any) -> None:
    """A backup, named j, of disk to copy, if nothing else is said; names with underscores."""
    qmp.do("blockdev-backup", **job(**options))


def job(**options: Any) -> dict[str, Any]:
    """Its arguments."""
    given = {"job_id": "j", "device": "disk", "target": "copy", "sync": "full"} | options
    return {name.replace("_", "-"): value for name, value in given.items()}


def action(kind: str, **data: Any) -> dict[str, Any]:
    """Of a transaction."""
    return {"type": kind, "data": data}


def all_finished(qmp: Qmp, names: set[str]) -> list[dict[str, Any]]:
    """Wait until all these jobs are null: the BLOCK_JOB events that they told of themselves."""
    told: list[dict[str, Any]] = []
    left = set(names)
    while left:
        event = qmp.events.pop(0) if qmp.events else qmp.read()
        assert event, "the server went away"
        data = event["data"]
        if event["event"] == "JOB_STATUS_CHANGE" and data["status"] == "null":
            left.discard(data["id"])
        if event["event"].startswith("BLOCK_JOB_") and data.get("device") in names:
            told.append(event)
    return told


def finished(qmp: Qmp, name: str = "j") -> list[dict[str, Any]]:
    """Wait until a job is null: the BLOCK_JOB events it told of itself."""
    return all_finished(qmp, {name})


def succeeded(qmp: Qmp, name: str = "j") -> dict[str, Any]:
    """Wait for a job's end, which is a success: what it told of it."""
    (*_, done) = finished(qmp, name)
    assert done["event"] == "BLOCK_JOB_COMPLETED"
    data = dict(done["data"])
    assert "error" not in data, data
    assert data["len"] == data["offset"]
    return data


def full_speed(qmp: Qmp) -> None:
    """From here on the job goes as fast as it can."""
    reply = qmp.ask("block-job-set-speed", device="j", speed=0)
    if "error" in reply:  # writers had all of it copied by then
        assert reply["error"]["class"] == "DeviceNotActive", reply


@dataclass(frozen=True)
class Instant:
    """What a point in time has to be like: between two looks at what has been answered."""

    writers: Writers
    before: list[int]
    after: list[int]

    def check(self, copies: Sequence[bytes]) -> None:
        """They are one instant, and this one."""
        turns = self.writers.check(copies)
        bounds = zip(self.before, turns, self.after, strict=True)
        # One more each: written by then, and answered, but not yet counted here.
        assert all(low <= turn <= high + 1 for low, turn, high in bounds)


def instant(writers: Writers, command: Callable[[], object]) -> Instant:
    """Of a command that makes a point in time."""
    wait_for(lambda: all(writers.answered), "the writers")
    before = list(writers.answered)
    command()
    return Instant(writers, before, list(writers.answered))


def check_disk(writers: Writers, service: Service, name: str = "disk") -> None:
    """No error, no write lost: a backend is as the writers have left it."""
    assert not writers.errors
    assert writers.check(parts(image(service, name).read_bytes(), WRITERS)) == writers.answered
