"""What an edit of the file can switch: jobs to start or cancel, and nodes that are off."""

from collections.abc import Iterable, Iterator

from blkrun.dashboard.model.choices import Choice
from blkrun.dashboard.model.jobs import JobRow, job_rows, share_text
from blkrun.dashboard.model.snapshot import Snapshot


def startable(snapshot: Snapshot) -> tuple[Choice, ...]:
    """Jobs of the file that are off, or have ended; after a pivot there is nothing left to do."""
    return tuple(_startable(snapshot))


def cancellable(snapshot: Snapshot) -> tuple[Choice, ...]:
    """Jobs of the file that have not ended."""
    return tuple(Choice(row.name, row.name, _how_far(row)) for row in _going(_of_file(snapshot)))


def cancellable_by_qmp(snapshot: Snapshot) -> tuple[Choice, ...]:
    """The same of those that somebody has made by QMP: no file can switch them off."""
    rows = job_rows(job for job in snapshot.jobs if not job.of_file)
    return tuple(
        Choice(row.name, row.name, f"made by QMP, {_how_far(row)}") for row in _going(rows)
    )


def disabled(snapshot: Snapshot) -> tuple[Choice, ...]:
    """Filters and other nodes that the file in force has switched off."""
    report = snapshot.reports.get("in-force") or {}
    off = report.get("disabled") or {}
    return tuple(Choice(str(name), str(name), str(driver)) for name, driver in off.items())


def resting(snapshot: Snapshot) -> tuple[str, ...]:
    """Jobs that the file in force has switched off, whether the server lists them or not."""
    report = snapshot.reports.get("in-force") or {}
    return tuple(map(str, report.get("resting") or ()))


def _startable(snapshot: Snapshot) -> Iterator[Choice]:
    rows = {row.name: row for row in _of_file(snapshot)}
    for row in rows.values():
        if row.ended and row.state != "pivoted":
            yield Choice(
                row.name, row.name, f"{row.state}: {row.error}" if row.error else row.state
            )
    for name in resting(snapshot):
        if name not in rows:
            yield Choice(name, name, "off")


def _going(rows: Iterable[JobRow]) -> Iterator[JobRow]:
    return (row for row in rows if not row.ended and row.state != "cancelling")


def _of_file(snapshot: Snapshot) -> tuple[JobRow, ...]:
    """Without those that somebody has made by QMP: the file has no table for them."""
    return job_rows(job for job in snapshot.jobs if job.of_file)


def _how_far(row: JobRow) -> str:
    return row.state if row.share is None else f"{row.state}, {share_text(row.share)}"
