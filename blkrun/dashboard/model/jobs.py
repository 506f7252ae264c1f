"""Rows of the jobs: what each copies, how far it is, and what it waits for."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from blkrun.dashboard.model.snapshot import Job

Mood = Literal["works", "waits", "needs", "done", "failed", "gone"]
"""``needs``: it goes on only when somebody does something.  ``gone``: cancelled."""

_LONGEST_LEFT_S = 99 * 86400
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job.  None is what is not known, or has no meaning in its state.

    ``share`` is 0 to 1, and 1 only when everything is done; ``ran_s`` is given once it has ended.
    """

    name: str
    type: str
    device: str
    target: str
    state: str
    mood: Mood
    share: float | None
    done_bytes: int
    total_bytes: int
    rate: float | None = None
    left_s: float | None = None
    ran_s: float | None = None
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether it has come to an end, whichever."""
        return self.mood in ("done", "failed", "gone")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCount:
    """All jobs in a few words.  ``alarms``: how many are in a state that somebody should see."""

    live: int = 0
    share: float | None = None
    ended: int = 0
    alarms: tuple[tuple[str, int], ...] = ()


def job_rows(jobs: Iterable[Job]) -> tuple[JobRow, ...]:
    """All jobs, in order of creation."""
    return tuple(_row(job) for job in jobs)


def job_count(rows: Iterable[JobRow]) -> JobCount:
    """Over all rows.  The common share is weighted by bytes, of those whose total is known."""
    rows = tuple(rows)
    live = [row for row in rows if not row.ended]
    known = [row for row in live if row.share is not None]
    total = sum(row.total_bytes for row in known)
    done = sum(min(row.done_bytes, row.total_bytes) for row in known)
    alarms = Counter(row.state.split()[0] for row in rows if row.mood in ("needs", "failed"))
    return JobCount(
        live=len(live),
        share=done / total if total else None,
        ended=len(rows) - len(live),
        alarms=tuple(sorted(alarms.items())),
    )


def share_text(share: float) -> str:
    """``42%``, rounded down: 100% is all of it."""
    return f"{int(share * 100)}%"


def job_share(job: Job) -> float | None:
    """None when it is not known how much there is to do; a job of nothing is done at its end."""
    if job.total_progress <= 0:
        return 1.0 if job.status == "concluded" and not _failed(job) else None
    return min(max(job.current_progress / job.total_progress, 0.0), 1.0)


def _row(job: Job) -> JobRow:
    state, mood = _state(job)
    ended = mood in ("done", "failed", "gone")
    return JobRow(
        name=job.id,
        type=job.type,
        device=str(job.options.get("device", "?")),
        target=_target(job),
        state=state,
        mood=mood,
        share=job_share(job),
        done_bytes=job.current_progress,
        total_bytes=job.total_progress,
        rate=job.rate if job.rate > 0 and job.status in ("running", "ready") else None,
        left_s=_left_s(job) if mood == "works" else None,
        ran_s=job.running_ns / _NS_PER_S if ended else None,
        error="" if job.cancelled else job.error or "",
    )


def _target(job: Job) -> str:
    """Where it ends: a stream with what stays below the device."""
    if job.type == "stream":
        return str(job.options.get("base-node") or "alone")
    if job.type == "commit":
        return str(job.options.get("base-node") or "the last image")
    return str(job.options.get("target", "?"))


def _failed(job: Job) -> bool:
    return job.error is not None or job.cancelled


def _state(job: Job) -> tuple[str, Mood]:
    """What the job is about, in a word or two; capitals where somebody should look."""
    if job.status == "concluded":
        return _end(job)
    if job.status == "aborting" or job.cancelled:
        return ("cancelling" if job.cancelled else "failing"), "waits"
    if job.status in ("paused", "standby"):
        return _standing(job)
    if job.paused:
        return "pausing", "waits"
    if job.status == "ready" and job.options.get("when-ready") == "pivot":
        return "pivoting", "works"
    return _STATES.get(job.status, (job.status, "waits"))


def _end(job: Job) -> tuple[str, Mood]:
    if job.cancelled:
        return "cancelled", "gone"
    if job.error is not None:
        return "FAILED", "failed"
    return ("pivoted" if job.pivoted and job.type != "stream" else "done"), "done"


def _standing(job: Job) -> tuple[str, Mood]:
    """An error that stops a job pauses it, too."""
    if job.io_status == "nospace":
        return "STOPPED no space", "needs"
    if job.io_status != "ok":
        return "STOPPED I/O error", "needs"
    return ("paused, ready" if job.status == "standby" else "paused"), "waits"


_STATES: dict[str, tuple[str, Mood]] = {
    "created": ("starting", "waits"),
    "running": ("running", "works"),
    "ready": ("READY to complete", "needs"),
    "waiting": ("waits for others", "waits"),
    "pending": ("READY to finalize", "needs"),
}


def _left_s(job: Job) -> float | None:
    """Only of one that copies at a known rate, and not when it is longer than anybody waits."""
    rest = job.total_progress - job.current_progress
    if job.status != "running" or job.rate <= 0 or rest <= 0:
        return None
    left_s = rest / job.rate
    return left_s if left_s <= _LONGEST_LEFT_S else None
