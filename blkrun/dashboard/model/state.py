"""The state of a node or export, in a word where somebody should look, and in none where not."""

from typing import Any, NamedTuple

from blkrun.dashboard.lines import Tone
from blkrun.dashboard.model.jobs import share_text
from blkrun.dashboard.model.rates import Rate
from blkrun.dashboard.model.snapshot import Node
from blkrun.units import format_short


class State(NamedTuple):
    """``words`` say it ever more briefly, for ever less room.  ``urgency`` 0: nothing to see."""

    words: tuple[str, ...] = ("",)
    tone: Tone = "plain"
    urgency: int = 0

    def __bool__(self) -> bool:
        return self.urgency > 0


QUIET = State()
ALARM = 2
"""From this urgency on somebody should see it, wherever there is room for a word."""


def export_state(rate: Rate | None, failed: int) -> State:
    """Errors now, or before."""
    return _errors_now(rate) or _errors_before(failed)


def node_state(
    node: Node, rate: Rate | None, held: int = 0, job_share: float | None = None
) -> State:
    """The most urgent thing that there is to say."""
    return (
        _errors_now(rate)
        or _told(node.driver_specific)
        or _held(held)
        or _errors_before(node.stats.failed)
        or _job(node.job, job_share)
        or _at_work(node.driver_specific)
    )


def _errors_now(rate: Rate | None) -> State:
    """FAILED: nothing else happens there any more."""
    if rate is None or not rate.errors:
        return QUIET
    per_s = format_short(rate.errors)
    if rate.operations or rate.trims:
        return State((f"ERR {per_s}/s", f"ERR {per_s}"), "bad", 6)
    return State((f"FAILED {per_s}/s", "FAILED"), "bad", 6)


def _told(specific: dict[str, Any]) -> State:
    """What a driver says once, and for good."""
    if specific.get("snapshot") == "broken":
        return State(("BROKEN",), "bad", 5)
    if specific.get("state") == "spent":
        return State(("SPENT",), "warn", 4)
    return QUIET


def _held(held: int) -> State:
    return State((f"HELD {held}", f"HELD {format_short(held)}"), "warn", 4) if held else QUIET


def _errors_before(failed: int) -> State:
    return State((f"{format_short(failed)} err",), "bad", ALARM) if failed else QUIET


def _job(job: str | None, share: float | None) -> State:
    if job is None:
        return QUIET
    if share is None:
        return State((f"job {job}", "job"), "good", 1)
    percent = share_text(share)
    return State((f"job {job} {percent}", f"job {percent}", percent), "good", 1)


def _at_work(specific: dict[str, Any]) -> State:
    """A point in time is kept for those who read it."""
    return State(("FLEECING",), "good", 1) if specific.get("snapshot") == "intact" else QUIET
