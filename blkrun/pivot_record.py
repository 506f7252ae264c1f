"""What is written down of a job's pivot until the file says so: a small file beside the socket.

Should server and runner both end in between, by a power cut too, the file would still name the old
disk, and the mirror would copy that over the new one.  The server writes the record when both disks
are equal and nobody can write, right before the pivot; so whether or not it comes to that, to go on
with the target is right.  The runner removes it when the file has followed.

A stream and a commit lead an image elsewhere in the same way, and the image says so itself; what
the file says of it would be an order to go back.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from blkrun.job_options import JobOptions, nodes_of

_SUFFIX = ".pivoted"


class PivotRecord(NamedTuple):
    """Who used ``device`` uses ``target`` now, by job ``job_id`` of the file.

    As the job's table names them; the target is empty where that names none.
    """

    job_id: str
    device: str
    target: str


def record_of(job: JobOptions) -> PivotRecord:
    """What is written down of a job: an image of a chain is its top, or what is below it then."""
    nodes = nodes_of(job)
    targets = (nodes.get(name) for name in ("target", "base-node", "bottom"))
    target = next((name for name in targets if name is not None), "")
    return PivotRecord(job.job_id, nodes.get("top-node", job.device), target)


def write_record(control: Path, record: PivotRecord) -> None:
    """Durable on return.  Raises OSError."""
    path = _path(control, record.job_id)
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, json.dumps(record._asdict()).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.replace(path)
    _sync_directory(path.parent)


def read_records(control: Path) -> list[PivotRecord]:
    """All of a server's, by its control socket.  One that says nothing is none."""
    found = []
    for path in sorted(control.parent.glob(f"{control.name}.*{_SUFFIX}")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            record = PivotRecord(**json.loads(path.read_bytes()))
            if path == _path(control, record.job_id):  # and not one of a longer-named socket's
                found.append(record)
    return found


def remove_record(control: Path, job_id: str) -> None:
    """If there is one.  Raises OSError."""
    path = _path(control, job_id)
    if path.exists():
        path.unlink()
        _sync_directory(path.parent)


def _path(control: Path, job_id: str) -> Path:
    return control.with_name(f"{control.name}.{job_id}{_SUFFIX}")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
