"""A job's events and its progress in words."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from blkrun.messages import (
    _WORDS,
    Level,
    at_stake,
    event_level,
    event_matters,
    event_text,
    job_progress,
    percent,
    report_text,
    seconds_left,
)

GIB = 2**30


def event(name: str, **data: Any) -> dict[str, Any]:
    """An event without its time."""
    return {"event": name, "data": data}


def job_event(name: str, **data: Any) -> dict[str, Any]:
    """One of those that carry the job's progress."""
    progress = {"device": "nightly", "type": "backup", "len": 10 * GIB, "offset": 10 * GIB}
    return event(name, **progress | {"speed": 0} | data)


DIFFERENT = "held: a {} does not end alike at both disks (test: {}, raw: {})"
SECTORS = {"sector-num": 2, "sectors-count": 8}


def mismatch(**data: Any) -> dict[str, Any]:
    """Of the node "held"."""
    place = {"node-name": "held", "offset": 4099, "length": 512}
    return event("X_BLKRUN_BLKVERIFY_MISMATCH", **place, **data)


@pytest.mark.parametrize(
    ("happened", "level", "text"),
    [
        (
            event("BLOCK_IMAGE_CORRUPTED", **{"node-name": "a", "msg": "no", "fatal": True}),
            Level.ERROR,
            "a: the image is damaged: no; end the server, and let qemu-img check look at it",
        ),
        (
            event("BLOCK_IMAGE_CORRUPTED", **{"node-name": "a", "msg": "no", "fatal": False}),
            Level.ERROR,
            "a: the image is damaged: no",
        ),
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
            event("QUORUM_REPORT_BAD", **SECTORS, **{"node-name": "c", "type": "read"}),
            Level.WARNING,
            "c, of a quorum: outvoted, it has other data than most in 4KiB at 1024",
        ),
        (
            event(
                "QUORUM_REPORT_BAD",
                **SECTORS,
                **{"node-name": "c", "type": "write", "error": "No space left on device"},
            ),
            Level.WARNING,
            "c, of a quorum: a write of 4KiB at 1024 fails: No space left on device",
        ),
        (
            event("QUORUM_REPORT_BAD", **{"node-name": "c", "type": "flush", "error": "it is out"}),
            Level.WARNING,
            "c, of a quorum: a flush fails: it is out",
        ),
        (
            event("QUORUM_FAILURE", reference="votes", **SECTORS),
            Level.ERROR,
            "votes: a request of 4KiB at 1024 fails: too few children could do it, or agree",
        ),
        (
            mismatch(operation="read"),
            Level.ERROR,
            "held: its two disks differ in 512B at 4099",
        ),
        (
            mismatch(operation="write", errors={"raw": "it is full"}),
            Level.ERROR,
            DIFFERENT.format("write of 512B at 4099", "no error", "it is full"),
        ),
        (
            mismatch(operation="flush", errors={"test": "no", "raw": "never"}),
            Level.ERROR,
            DIFFERENT.format("flush", "no", "never"),
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


def test_an_edit_is_told_by_who_made_it() -> None:
    """Every edit has a bare event, for programs; and what was asked for is told in words."""
    assert not event_matters(event("X_BLKRUN_GRAPH_CHANGED", revision=1))
    asked = event("X_BLKRUN_RUNNER_ASKED", kind="apply", digest="d")
    assert event_text(asked) == "somebody asks to apply what waits for a yes"


def test_news_is_whatever_is_not_known_to_be_none() -> None:
    """An event of a newer server is shown."""
    assert event_matters(event("NOVELTY"))


MOVED = [{"id": "move", "device": "old", "target": "new"}]


def test_a_file_that_has_followed_a_pivot() -> None:
    """What is so now, and what was written."""
    happened = event(
        "X_BLKRUN_CONFIG_FOLLOWED",
        file="vm.toml",
        jobs=MOVED,
        changes=['[exports.vda] node = "new"', "[jobs.move] enabled = false"],
    )
    assert event_level(happened) is Level.GOOD
    assert event_text(happened) == (
        "whoever used old uses new since move pivoted; vm.toml says so now: "
        '[exports.vda] node = "new"; [jobs.move] enabled = false'
    )


DATA_KEYS = "notes summary milliseconds file message problems operations why kind offset len id"
DATA = st.dictionaries(
    st.sampled_from([*DATA_KEYS.split(), "amount-exceeded", "write-threshold", "error", "action"]),
    st.none() | st.integers(-9, 9) | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
)


@given(st.sampled_from(sorted(_WORDS)), DATA)
@example("X_BLKRUN_CONFIG_APPLIED", {"notes": 5})
@example("BLOCK_JOB_COMPLETED", {"offset": "x"})
def test_whatever_was_reported_is_told_somehow(name: str, data: dict[str, Any]) -> None:
    """Anybody at the control socket may report anything, and every dashboard hears it."""
    assert event_text({"event": name, "data": data})


def test_a_file_that_could_not_follow() -> None:
    """Why; the place is left to those who show more than a line."""
    message = "vm.toml:3:1: error: unknown key\n  3 | sizes"
    happened = event("X_BLKRUN_CONFIG_FOLLOWED", file="vm.toml", jobs=MOVED, message=message)
    assert event_level(happened) is Level.WARNING
    assert event_text(happened) == (
        "whoever used old uses new since move pivoted; vm.toml does not say so and is "
        "left as it is: vm.toml:3:1: error: unknown key"
    )


def test_a_restart_says_what_is_lost() -> None:
    """A point in time lives with the server that keeps it."""
    happened = event(
        "X_BLKRUN_SERVER_RESTARTED", why="killed by SIGKILL", anew=["keep", "old"], jobs=["j"]
    )
    assert event_text(happened).endswith(
        "killed by SIGKILL; points in time that begin anew, the old ones are lost: keep, old; "
        "jobs that begin anew: j"
    )


def job(done: int, total: int, rate: int = 0, status: str = "running") -> dict[str, Any]:
    """As x-blkrun-query-graph has it."""
    return {"current-progress": done, "total-progress": total, "rate": rate, "status": status}


def test_progress() -> None:
    """Percent, bytes, rate, time left; the last two only when they are known."""
    assert job_progress(job(0, 2**30)) == "0%, 0B of 1GiB"
    assert job_progress(job(420 * 2**20, 2**30, 50 * 2**20)) == (
        "41%, 420MiB of 1GiB, 50MiB/s, 12s left"
    )


def test_a_job_is_done_only_when_all_is() -> None:
    """A byte that is missing is not rounded away; no length is not known, or nothing."""
    assert percent(job(10**9 - 1, 10**9)) == 99
    assert percent(job(10**9, 10**9)) == 100
    assert percent(job(0, 0)) == 0
    assert percent(job(0, 0, status="ready")) == 100


def test_time_left_is_not_guessed() -> None:
    """Of a job that rests, or whose rate nobody knows."""
    assert seconds_left(job(0, 100, 0)) is None
    assert seconds_left(job(0, 100, 10, status="paused")) is None
    assert seconds_left(job(0, 100, 10)) == 10.0


@pytest.mark.parametrize(
    ("clients", "jobs", "words"),
    [
        ({}, [], ""),
        ({"vda": 0}, [], ""),
        ({"vda": 1, "vdb": 0}, [], "1 client connected to vda"),
        ({"vda": 2, "vdb": 1}, [], "3 clients connected to vda, vdb"),
        ({}, ["n"], "job n not done"),
        ({"vda": 1}, ["n", "m"], "1 client connected to vda; jobs n, m not done"),
    ],
)
def test_what_a_stop_would_end(clients: dict[str, int], jobs: list[str], words: str) -> None:
    """Nothing at stake is no words, so nobody is asked."""
    assert at_stake(clients, jobs) == words


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"kind": "applied", "file": "a.toml", "summary": "~1"}, "applied a.toml: ~1"),
        ({"kind": "applied", "file": "a.toml", "summary": ""}, "applied a.toml: nothing to change"),
        (
            {"kind": "rejected", "message": "a.toml:9:1: error: no\n 9 | x", "problems": 1},
            "rejected, nothing changed: a.toml:9:1: error: no",
        ),
        (
            {"kind": "pending", "file": "a.toml", "why": "it takes a disk"},
            "waits for a yes (it takes a disk): blkrun apply a.toml",
        ),
    ],
)
def test_the_last_edit(report: dict[str, Any], words: str) -> None:
    """Whoever asks for the status reads the same as whoever reads the log."""
    assert report_text(report) == words


DRIFT = {"file": "vm.toml", "summary": "-1", "operations": ["- node mine (throttle)"]}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "; bring it back with: blkrun apply vm.toml"),
        (
            {"why": "vda (1)"},
            ", and is not brought back unasked (vda (1)): blkrun apply vm.toml",
        ),
        ({"message": "vm.toml: busy\nmore"}, ", and cannot be brought back: vm.toml: busy"),
    ],
)
def test_drift(more: dict[str, str], words: str) -> None:
    """What is not so any more, and what there is to do."""
    happened = event("X_BLKRUN_DRIFTED", **DRIFT, **more)
    assert event_level(happened) is Level.WARNING
    assert event_text(happened) == f"drift: the graph is not as vm.toml says any more{words}"


def test_the_end_of_drift() -> None:
    """By the runner, or by whoever did it."""
    done = event("X_BLKRUN_REVERTED", **DRIFT, milliseconds=1.5)
    assert event_text(done) == "brought back to what vm.toml says: -1 in 1.5 ms"
    ended = event("X_BLKRUN_DRIFT_ENDED", file="vm.toml")
    assert event_text(ended) == "the graph is as vm.toml says again"
    assert event_level(done) is event_level(ended) is Level.GOOD
