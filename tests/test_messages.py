"""A job's events in words."""

from typing import Any

import pytest

from blkrun.messages import Level, event_level, event_matters, event_text

GIB = 2**30


def event(name: str, **data: Any) -> dict[str, Any]:
    """An event without its time."""
    return {"event": name, "data": data}


def job_event(name: str, **data: Any) -> dict[str, Any]:
    """One of those that carry the job's progress."""
    progress = {"device": "nightly", "type": "backup", "len": 10 * GIB, "offset": 10 * GIB}
    return event(name, **progress | {"speed": 0} | data)


@pytest.mark.parametrize(
    ("happened", "level", "text"),
    [
        (
            event("JOB_STATUS_CHANGE", id="nightly", status="running"),
            Level.INFO,
            "job nightly runs",
        ),
        (
            event("JOB_STATUS_CHANGE", id="nightly", status="standby"),
            Level.INFO,
            "job nightly is paused",
        ),
        (
            job_event("BLOCK_JOB_READY"),
            Level.INFO,
            "job nightly is ready: its target has caught up",
        ),
        (job_event("BLOCK_JOB_COMPLETED"), Level.GOOD, "job nightly is done (10GiB)"),
        (
            job_event("BLOCK_JOB_COMPLETED", offset=6 * GIB, error="No space left on device"),
            Level.ERROR,
            "job nightly failed at 60%: No space left on device",
        ),
        (
            job_event("BLOCK_JOB_CANCELLED", offset=GIB),
            Level.WARNING,
            "job nightly was cancelled at 10%",
        ),
        (
            job_event("BLOCK_JOB_CANCELLED", len=0, offset=0),
            Level.WARNING,
            "job nightly was cancelled",
        ),
        (
            event("BLOCK_JOB_ERROR", device="nightly", operation="write", action="stop"),
            Level.WARNING,
            "job nightly: a write to its target fails, and it stands still until job-resume",
        ),
        (
            event("BLOCK_JOB_PENDING", type="backup", id="nightly"),
            Level.WARNING,
            "job nightly waits for job-finalize",
        ),
        (
            event("X_BLKRUN_JOB_PIVOTED", id="move", device="disk", target="copy"),
            Level.GOOD,
            "job move: whoever used disk uses copy now",
        ),
    ],
)
def test_job_events_are_sentences(happened: dict[str, Any], level: Level, text: str) -> None:
    """With the job's name, and how far it came when it did not come to its end."""
    assert event_level(happened) is level
    assert event_text(happened) == text
    assert event_matters(happened)


@pytest.mark.parametrize(
    "status", ["created", "ready", "waiting", "pending", "aborting", "concluded", "null"]
)
def test_steps_that_another_event_tells_better_are_no_news(status: str) -> None:
    """Nine status changes of one backup would push everything else out of sight."""
    assert not event_matters(event("JOB_STATUS_CHANGE", id="nightly", status=status))


def test_news_is_whatever_is_not_known_to_be_none() -> None:
    """An event of a newer server is shown."""
    assert event_matters(event("NOVELTY"))
