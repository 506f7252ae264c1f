"""Which jobs are offered to be started and cancelled."""

from blkrun.dashboard.model.choices import Choice
from blkrun.dashboard.model.switching import cancellable, disabled, startable
from tests.dashboard.dashboard_samples import job, reply, snapshot

JOBS = [
    job("busy"),
    job("leaving", cancelled=True),
    job("done", "concluded", current_progress=10 * 2**30),
    job("broken", "concluded", error="No space left on device"),
    job("stopped", "concluded", cancelled=True, error="Operation canceled"),
    job("moved", "concluded", pivoted=True),
    job("qmp", of_file=False),
    job("qmp-done", "concluded", of_file=False),
]


def test_what_can_be_started() -> None:
    """What has ended and what is off; neither a pivot nor what the file has no table for."""
    seen = snapshot(reply(jobs=JOBS, reports={"in-force": {"resting": ["nightly", "stopped"]}}))
    assert startable(seen) == (
        Choice("done", "done", "done"),
        Choice("broken", "broken", "FAILED: No space left on device"),
        Choice("stopped", "stopped", "cancelled"),
        Choice("nightly", "nightly", "off"),
    )


def test_what_can_be_cancelled() -> None:
    """What is at work, and not being cancelled already."""
    assert cancellable(snapshot(reply(jobs=JOBS))) == (Choice("busy", "busy", "running, 60%"),)


def test_no_report() -> None:
    """A server that an older runner serves says nothing of jobs that are off."""
    assert startable(snapshot(reply())) == ()
    assert startable(snapshot(reply(reports={"in-force": None}))) == ()


def test_nodes_that_are_off_are_named_with_their_driver() -> None:
    """From the report about the file in force; there are none without one."""
    report = {"kind": "applied", "disabled": {"limit": "throttle"}}
    seen = snapshot(reply(reports={"in-force": report}))
    assert [(each.value, each.hint) for each in disabled(seen)] == [("limit", "throttle")]
    assert disabled(snapshot(reply())) == ()
