"""Jobs: their threads, verbs, events, groups, and the commands for them.

References are to qemu-semantics.  No test waits for time to pass: a job with speed 1 stands still
after its first chunk, until the test changes its speed.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blkrun.errors import CommandError
from blkrun.server.graph import Graph
from blkrun.server.jobs.policy import Conduct
from blkrun.server.jobs.state import Status
from blkrun.server.jobs.transaction import JobTransaction
from blkrun.server.shutdown import Shutdown
from blkrun.server.staging import Staging
from tests.server.counting_job import CHUNK_BYTES, LENGTH_BYTES, CountingJob, MirroringJob
from tests.server.inprocess import PATIENCE_S, eventually
from tests.server.job_server import JobServer, ended

GENERIC = "GenericError"
SUCCESS = ["prepare", "commit", "clean"]
FAILURE = ["abort", "clean"]


@pytest.fixture
def server() -> Iterator[JobServer]:
    """One client, no nodes; in the end no job's thread is left."""
    server = JobServer()
    yield server
    server.context.jobs.cancel_all()
    assert server.context.jobs.join(PATIENCE_S)


def failed(number: int = errno.EIO) -> OSError:
    """What a disk says."""
    return OSError(number, os.strerror(number))


# The way through, §8.3


def test_a_job_that_succeeds(server: JobServer) -> None:
    """§8.3: the events of a success, their payload, and the order of calls, in its thread."""
    job = server.begin()
    ended(job)
    assert server.told() == [
        "created", "running", "waiting", "pending", "BLOCK_JOB_COMPLETED", "concluded", "null",
    ]  # fmt: skip
    (data,) = server.data("BLOCK_JOB_COMPLETED")
    numbers = {"len": LENGTH_BYTES, "offset": LENGTH_BYTES, "speed": 0}
    assert data == {"device": "j", "type": "backup", **numbers}
    assert job.calls == SUCCESS
    assert job.threads == {"blkrun-job-j"}
    assert server.execute("query-jobs") == []


def test_a_job_that_fails(server: JobServer) -> None:
    """§8.3: BLOCK_JOB_ERROR, aborting, BLOCK_JOB_COMPLETED with the error, concluded, null."""
    job = server.make()
    job.failures.append(("read", failed()))
    job.start()
    ended(job)
    assert server.told() == [
        "created", "running", "BLOCK_JOB_ERROR", "aborting", "BLOCK_JOB_COMPLETED", "concluded",
        "null",
    ]  # fmt: skip
    error = {"device": "j", "operation": "read", "action": "report"}
    assert server.data("BLOCK_JOB_ERROR") == [error]
    assert server.data("BLOCK_JOB_COMPLETED")[0]["error"] == "Input/output error"
    assert job.calls == FAILURE


def test_a_job_that_cannot_prepare(server: JobServer) -> None:
    """§8.1: pending → aborting; what was prepared is aborted."""
    job = server.make()
    job.prepare_fails = CommandError("no way to pivot")
    job.start()
    ended(job)
    assert server.told()[-5:] == ["pending", "aborting", "BLOCK_JOB_COMPLETED", "concluded", "null"]
    assert server.data("BLOCK_JOB_COMPLETED")[0]["error"] == "no way to pivot"
    assert job.calls == ["prepare", *FAILURE]


def test_a_defect_fails_the_job(server: JobServer, capfd: pytest.CaptureFixture[str]) -> None:
    """A job that falls over ends as failed and cleans up, and the log has where."""
    job = server.make()
    job.at_prepare = lambda: 1 // 0
    job.start()
    ended(job)
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert server.data("BLOCK_JOB_COMPLETED")[0]["error"].startswith("internal error")
    assert job.calls == FAILURE


def test_cancel(server: JobServer) -> None:
    """§8.3: aborting, BLOCK_JOB_CANCELLED, concluded, null; §8.7: after one chunk."""
    job = server.begin(speed=1)
    eventually(lambda: job.offset_bytes)
    server.execute("job-cancel", {"id": "j"})
    ended(job)
    assert server.told()[2:] == ["aborting", "BLOCK_JOB_CANCELLED", "concluded", "null"]
    (data,) = server.data("BLOCK_JOB_CANCELLED")
    numbers = {"len": LENGTH_BYTES, "offset": CHUNK_BYTES, "speed": 1}
    assert data == {"device": "j", "type": "backup", **numbers}
    assert job.calls == FAILURE


def test_cancel_before_start(server: JobServer) -> None:
    """§8.1: created takes cancel; the job then ends without doing anything."""
    job = server.make()
    server.execute("job-cancel", {"id": "j"})
    job.start()
    ended(job)
    assert "BLOCK_JOB_CANCELLED" in server.told()
    assert job.offset_bytes == 0


@pytest.mark.parametrize("family", ["job", "block-job"])
def test_finalize_by_hand(server: JobServer, family: str) -> None:
    """§8.3: BLOCK_JOB_PENDING, and no further than pending until finalize is asked for."""
    job = server.begin(auto_finalize=False)
    eventually(lambda: job.status is Status.PENDING)
    assert server.told()[-2:] == ["pending", "BLOCK_JOB_PENDING"]
    assert server.data("BLOCK_JOB_PENDING") == [{"type": "backup", "id": "j"}]
    assert job.calls == []
    server.execute(f"{family}-finalize", {"id" if family == "job" else "device": "j"})
    ended(job)
    assert server.told()[-3:] == ["BLOCK_JOB_COMPLETED", "concluded", "null"]
    assert job.calls == SUCCESS


@pytest.mark.parametrize("family", ["job", "block-job"])
def test_dismiss_by_hand(server: JobServer, family: str) -> None:
    """§8.3: a job without auto-dismiss stays listed, its id in use, until dismissed."""
    job = server.begin(auto_dismiss=False)
    ended(job)
    (listed,) = server.execute("query-jobs")
    progress = {"current-progress": LENGTH_BYTES, "total-progress": LENGTH_BYTES}
    assert listed == {"id": "j", "type": "backup", "status": "concluded", **progress}
    with pytest.raises(CommandError, match="Job ID 'j' already in use"):
        server.make()
    server.execute(f"{family}-dismiss", {"id" if family == "job" else "device": "j"})
    assert server.told()[-2:] == ["concluded", "null"]
    assert server.execute("query-jobs") == []
    server.begin()


def test_a_cancelled_job_says_so(server: JobServer) -> None:
    """§8.3: query-jobs has the error "Operation canceled"."""
    job = server.begin(auto_finalize=False, auto_dismiss=False)
    eventually(lambda: job.status is Status.PENDING)
    server.execute("job-cancel", {"id": "j"})
    ended(job)
    assert server.execute("query-jobs")[0]["error"] == "Operation canceled"
    assert server.listed()["error"] == "Operation canceled"
    assert server.told()[-3:] == ["aborting", "BLOCK_JOB_CANCELLED", "concluded"]
    assert job.calls == FAILURE


def test_too_late_to_cancel(server: JobServer) -> None:
    """Between the decision to commit and concluded, cancel is refused: it is never both."""
    job = server.make()
    refusals = []

    def commit() -> None:
        with pytest.raises(CommandError) as refusal:
            job.cancel()
        refusals.append(str(refusal.value))

    job.commit = commit  # type: ignore[method-assign]  # the moment is what is tested
    job.start()
    ended(job)
    assert refusals == ["Job 'j' in state 'pending' cannot accept command verb 'cancel'"]
    assert "BLOCK_JOB_COMPLETED" in server.told()


def test_cancel_while_preparing(server: JobServer) -> None:
    """Before that decision it counts: what was prepared is aborted."""
    job = server.make()
    job.at_prepare = job.cancel
    job.start()
    ended(job)
    assert job.calls == ["prepare", *FAILURE]
    assert "BLOCK_JOB_CANCELLED" in server.told()


# Pause and resume, §10.4 (219)


@pytest.mark.parametrize("by", ["job", "block-job"])
@pytest.mark.parametrize("back", ["job", "block-job"])
@pytest.mark.parametrize("kind", [CountingJob, MirroringJob])
def test_pause_and_resume(server: JobServer, by: str, back: str, kind: type[CountingJob]) -> None:
    """219: with both families, running and ready; progress stands still at a whole chunk."""
    keys = {"job": {"id": "j"}, "block-job": {"device": "j"}}
    mirror = kind is MirroringJob
    job = server.begin(kind=kind, speed=0 if mirror else 1)
    eventually(lambda: job.is_ready or (job.offset_bytes and not job.busy))
    server.execute(f"{by}-pause", keys[by])
    eventually(job.at_rest)
    listed = server.listed()
    assert listed["status"] == ("standby" if mirror else "paused")
    assert (listed["paused"], listed["busy"], listed["ready"]) == (True, False, mirror)
    assert listed["offset"] == (LENGTH_BYTES if mirror else CHUNK_BYTES)
    server.execute("block-job-set-speed", {"device": "j", "speed": 0})
    assert server.listed()["status"] == listed["status"]  # a new speed does not resume it
    assert server.listed()["offset"] == listed["offset"]
    server.execute(f"{back}-resume", keys[back])
    if mirror:
        eventually(lambda: job.status is Status.READY)
        server.execute("job-complete", {"id": "j"})
    ended(job)
    assert job.offset_bytes == LENGTH_BYTES
    pair = ["standby", "ready"] if mirror else ["paused", "running"]
    at = server.told().index(pair[0])
    assert server.told()[at : at + 2] == pair


def test_pause_before_start(server: JobServer) -> None:
    """A job that is paused when it is created does nothing before it is resumed."""
    job = server.make()
    server.execute("job-pause", {"id": "j"})
    job.start()
    eventually(lambda: job.status is Status.PAUSED)
    assert job.offset_bytes == 0
    server.execute("job-resume", {"id": "j"})
    ended(job)
    assert job.offset_bytes == LENGTH_BYTES


def test_cancelling_a_paused_job(server: JobServer) -> None:
    """§8.2: it is resumed first; block-job-cancel wants force for that, as QEMU 7.2 does."""
    job = server.begin(speed=1)
    server.execute("job-pause", {"id": "j"})
    eventually(job.at_rest)
    text = "The block job for device 'j' is currently paused"
    assert server.refused("block-job-cancel", {"device": "j"}) == (GENERIC, text)
    server.execute("block-job-cancel", {"device": "j", "force": True})
    ended(job)
    assert server.told()[2:] == [
        "paused", "running", "aborting", "BLOCK_JOB_CANCELLED", "concluded", "null",
    ]  # fmt: skip


def test_drained_sections_and_users_pause_apart(server: JobServer) -> None:
    """A drained job is at rest until the last section ends, and a user's pause outlasts it."""
    job = server.begin(speed=1)
    job.drain_begin()
    eventually(job.at_rest)
    job.drain_begin()
    server.execute("job-pause", {"id": "j"})
    job.drain_end()
    server.execute("job-resume", {"id": "j"})
    assert job.at_rest()
    server.execute("job-pause", {"id": "j"})
    job.drain_end()
    assert job.at_rest()
    server.execute("job-resume", {"id": "j"})
    eventually(lambda: not job.at_rest())


def test_resume_in_a_drained_section(server: JobServer) -> None:
    """A job that only a drained section holds was not paused by anybody (§8.1, a)."""
    job = server.begin(speed=1)
    job.drain_begin()
    eventually(job.at_rest)
    text = "Can't resume a job that was not paused"
    assert server.refused("job-resume", {"id": "j"}) == (GENERIC, text)
    job.drain_end()


def test_a_cancelled_job_ends_in_a_drained_section(server: JobServer) -> None:
    """Cancel does not wait for the section to end, and nothing more is copied."""
    job = server.begin(speed=1)
    eventually(lambda: job.offset_bytes)
    job.drain_begin()
    eventually(job.at_rest)
    job.cancel()
    ended(job)
    assert job.offset_bytes == CHUNK_BYTES


def test_drain_needs_no_lock_of_the_graph(server: JobServer) -> None:
    """A job comes to rest and is cancelled up to its clean-up while a command edits the graph."""
    job = server.make(speed=1)
    reached = threading.Event()

    def edit() -> None:
        reached.set()
        with server.graph.lock:
            pass

    job.at_abort = edit
    job.start()
    with server.graph.lock:
        job.drain_begin()
        eventually(job.at_rest)
        job.cancel()
        assert reached.wait(PATIENCE_S)
        assert job.at_rest()
        assert job.calls == []
    ended(job)
    assert job.calls == FAILURE


# Speed


def test_a_new_speed_wakes_the_job(server: JobServer) -> None:
    """§8.2, 055: speed 1 lets one chunk through; no limit at all lets it end at once."""
    job = server.begin(speed=1)
    eventually(lambda: job.offset_bytes and not job.busy)
    assert server.listed()["speed"] == 1
    server.execute("block-job-set-speed", {"device": "j", "speed": 8 * 2**20})
    assert server.listed()["speed"] == 8 * 2**20
    server.execute("block-job-set-speed", {"device": "j", "speed": 0})
    ended(job)
    assert job.offset_bytes == LENGTH_BYTES


def test_bad_speeds(server: JobServer) -> None:
    """055: -1 is refused, at the start and later, and the job stays as it was."""
    text = "Parameter 'speed' expects a non-negative value"
    with pytest.raises(CommandError, match=text):
        server.make(speed=-1)
    assert server.execute("query-jobs") == []
    server.begin(speed=1)
    assert server.refused("block-job-set-speed", {"device": "j", "speed": -1}) == (GENERIC, text)
    assert server.listed()["speed"] == 1


# Errors, §6.3


@pytest.mark.parametrize(
    ("policy", "number", "io_status"),
    [
        ("stop", errno.EIO, "failed"),
        ("stop", errno.ENOSPC, "nospace"),
        ("enospc", errno.ENOSPC, "nospace"),
    ],
)
def test_stop(server: JobServer, policy: str, number: int, io_status: str) -> None:
    """§6.3: the job is paused with its io-status; resumed, it tries the same chunk again."""
    job = server.make(on_target_error=policy)
    job.failures.append(("write", failed(number)))
    job.start()
    eventually(lambda: job.status is Status.PAUSED)
    assert server.told()[-2:] == ["BLOCK_JOB_ERROR", "paused"]
    assert server.data("BLOCK_JOB_ERROR")[0]["action"] == "stop"
    assert server.listed()["io-status"] == io_status
    assert job.offset_bytes == 0
    server.execute("block-job-resume", {"device": "j"})
    assert job.io_status == "ok"
    ended(job)
    assert job.offset_bytes == LENGTH_BYTES
    assert job.calls == SUCCESS


def test_cancel_after_stop(server: JobServer) -> None:
    """§8.2: a job that an error has stopped can be cancelled."""
    job = server.make(on_source_error="stop")
    job.failures.append(("read", failed()))
    job.start()
    eventually(lambda: job.status is Status.PAUSED)
    server.execute("job-cancel", {"id": "j"})
    ended(job)
    assert "BLOCK_JOB_CANCELLED" in server.told()


def test_ignore(server: JobServer) -> None:
    """§6.3: an event for each error, and the same chunk again."""
    job = server.make(on_source_error="ignore")
    job.failures.extend([("read", failed())] * 2)
    job.start()
    ended(job)
    assert [data["action"] for data in server.data("BLOCK_JOB_ERROR")] == ["ignore", "ignore"]
    assert job.offset_bytes == LENGTH_BYTES
    assert "error" not in server.data("BLOCK_JOB_COMPLETED")[0]


def test_enospc_reports_other_errors(server: JobServer) -> None:
    """§6.3: enospc stops on ENOSPC only."""
    job = server.make(on_target_error="enospc")
    job.failures.append(("write", failed()))
    job.start()
    ended(job)
    assert server.data("BLOCK_JOB_ERROR")[0]["action"] == "report"
    assert server.data("BLOCK_JOB_COMPLETED")[0]["error"] == "Input/output error"


# Every verb in every state, §8.1


def running(server: JobServer) -> CountingJob:
    """Waiting for its pace."""
    job = server.begin(speed=1)
    eventually(lambda: job.offset_bytes and not job.busy)
    return job


def paused(server: JobServer) -> CountingJob:
    """By the user."""
    job = running(server)
    job.pause()
    eventually(job.at_rest)
    return job


def ready(server: JobServer) -> CountingJob:
    """All copied."""
    job = server.begin(kind=MirroringJob)
    eventually(lambda: job.status is Status.READY)
    return job


def standby(server: JobServer) -> CountingJob:
    """Ready and paused."""
    job = ready(server)
    job.pause()
    eventually(job.at_rest)
    return job


def waiting(server: JobServer) -> CountingJob:
    """For another that is not done."""
    group = JobTransaction()
    server.begin("other", transaction=group, speed=1)
    job = server.begin(transaction=group)
    eventually(lambda: job.status is Status.WAITING)
    return job


def pending(server: JobServer) -> CountingJob:
    """For finalize."""
    job = server.begin(auto_finalize=False, auto_dismiss=False)
    eventually(lambda: job.status is Status.PENDING)
    return job


def concluded(server: JobServer) -> CountingJob:
    """For dismiss."""
    job = server.begin(auto_dismiss=False)
    ended(job)
    return job


NO = "Job 'j' in state '{}' cannot accept command verb '{}'"
MARKS = {"a": "Can't resume a job that was not paused", "b": "Job is already paused", "-": NO}


@pytest.mark.parametrize("family", ["job", "block-job"])
@pytest.mark.parametrize(
    ("enter", "marks"),
    [
        (running, "✓ a ✓ - - - ✓"),
        (paused, "b ✓ ✓ - - - ✓"),
        (ready, "✓ a ✓ ✓ - - ✓"),
        (standby, "b ✓ ✓ ✓ - - ✓"),
        (waiting, "- a - - - - ✓"),
        (pending, "- a - - ✓ - ✓"),
        (concluded, "- a - - - ✓ -"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_every_verb_in_every_state(
    enter: Callable[[JobServer], CountingJob], marks: str, family: str
) -> None:
    """§8.1, 219: the measured table, over QMP, with both families of commands."""
    verbs = ["pause", "resume", "set-speed", "complete", "finalize", "dismiss", "cancel"]
    for verb, mark in zip(verbs, marks.split(), strict=True):
        server = JobServer()
        job = enter(server)
        full = "block-job" if verb == "set-speed" else family
        arguments: dict[str, Any] = {"id" if full == "job" else "device": "j"}
        if verb == "set-speed":
            arguments["speed"] = 1
        if full == "block-job" and verb == "cancel":
            arguments["force"] = True
        if mark == "✓":
            server.execute(f"{full}-{verb}", arguments)
        else:
            text = MARKS[mark].format(job.status, verb)
            assert server.refused(f"{full}-{verb}", arguments) == (GENERIC, text)
        server.context.jobs.cancel_all()
        assert server.context.jobs.join(PATIENCE_S)


# Ready, §8.2, 8.3


def test_complete(server: JobServer) -> None:
    """§8.3: ready, BLOCK_JOB_READY, and after complete as every success."""
    job = ready(server)
    server.execute("block-job-complete", {"device": "j"})
    ended(job)
    assert server.told() == [
        "created", "running", "ready", "BLOCK_JOB_READY", "waiting", "pending",
        "BLOCK_JOB_COMPLETED", "concluded", "null",
    ]  # fmt: skip
    assert job.pivots
    assert server.data("BLOCK_JOB_READY")[0]["offset"] == LENGTH_BYTES


def test_complete_in_standby(server: JobServer) -> None:
    """As measured of QEMU 7.2: accepted, twice too, and done when the job is resumed."""
    job = standby(server)
    server.execute("job-complete", {"id": "j"})
    server.execute("job-complete", {"id": "j"})
    assert job.at_rest()
    server.execute("job-resume", {"id": "j"})
    ended(job)
    assert job.calls == SUCCESS


@pytest.mark.parametrize("force", [False, True])
def test_cancel_when_ready(server: JobServer, force: bool) -> None:  # noqa: FBT001 - the case
    """§8.2: unforced it is a success without pivot, forced it is cancelled."""
    job = ready(server)
    server.execute("block-job-cancel", {"device": "j", "force": force})
    ended(job)
    assert not job.pivots
    assert job.calls == (FAILURE if force else SUCCESS)
    assert ("BLOCK_JOB_CANCELLED" if force else "BLOCK_JOB_COMPLETED") in server.told()


def test_complete_after_cancel(server: JobServer) -> None:
    """§8.1 [B]: what is being cancelled cannot be completed."""
    job = ready(server)
    job.drain_begin()  # so that it stays
    eventually(job.at_rest)
    server.execute("block-job-cancel", {"device": "j"})
    text = "The active block job 'j' cannot be completed"
    assert server.refused("job-complete", {"id": "j"}) == (GENERIC, text)
    job.drain_end()
    ended(job)
    assert not job.pivots


# Groups, §6.5 and test-blockjob-txn


def test_group_of_successes(server: JobServer) -> None:
    """All wait for the last; no one commits before all have prepared."""
    group = JobTransaction()
    two = server.begin("two", transaction=group, speed=1)
    one = server.begin("one", transaction=group)
    eventually(lambda: one.status is Status.WAITING)
    assert one.calls == []
    seen: list[list[str]] = []
    two.at_prepare = lambda: seen.append([*one.calls])
    two.set_speed(0)
    ended(one)
    ended(two)
    assert one.calls == two.calls == SUCCESS
    assert "commit" not in seen[0]
    for name in ("one", "two"):
        assert server.told(name)[-3:] == ["BLOCK_JOB_COMPLETED", "concluded", "null"]


def test_group_with_one_that_fails(server: JobServer) -> None:
    """124: one is completed with its error, the other cancelled though its copying was done."""
    group = JobTransaction()
    bad = server.make("bad", transaction=group)
    good = server.begin("good", transaction=group)
    eventually(lambda: good.status is Status.WAITING)
    bad.failures.append(("read", failed()))
    bad.start()
    ended(good)
    ended(bad)
    assert server.told("good")[2:] == [
        "waiting", "aborting", "BLOCK_JOB_CANCELLED", "concluded", "null",
    ]  # fmt: skip
    assert server.told("bad")[-5:] == [
        "BLOCK_JOB_ERROR", "aborting", "BLOCK_JOB_COMPLETED", "concluded", "null",
    ]  # fmt: skip
    assert good.calls == bad.calls == FAILURE


def test_group_with_one_that_cannot_prepare(server: JobServer) -> None:
    """All or none: the others are cancelled, whether they have prepared or not."""
    group = JobTransaction()
    good = server.make("good", transaction=group)
    bad = server.make("bad", transaction=group)
    bad.prepare_fails = failed()
    good.start()
    bad.start()
    ended(good)
    ended(bad)
    assert good.calls[-2:] == bad.calls[-2:] == FAILURE
    assert "BLOCK_JOB_CANCELLED" in server.told("good")
    assert server.data("BLOCK_JOB_COMPLETED")[0]["device"] == "bad"


@pytest.mark.parametrize("which", ["done", "busy"])
def test_group_with_one_cancelled(server: JobServer, which: str) -> None:
    """test-blockjob-txn: cancel one, waiting or still at work, and both are cancelled."""
    group = JobTransaction()
    busy = server.begin("busy", transaction=group, speed=1)
    done = server.begin("done", transaction=group)
    eventually(lambda: done.status is Status.WAITING)
    server.execute("block-job-cancel", {"device": which})
    ended(done)
    ended(busy)
    assert [data["device"] for data in server.data("BLOCK_JOB_CANCELLED")] in (
        ["done", "busy"],
        ["busy", "done"],
    )
    assert done.calls == busy.calls == FAILURE


def test_group_race_of_failure_and_cancel(server: JobServer) -> None:
    """test-blockjob-txn: at the same moment one fails and another is cancelled: none commits."""
    for round_number in range(50):
        group = JobTransaction()
        names = [f"{kind}{round_number}" for kind in ("a", "b")]
        bad, good = (server.make(name, transaction=group) for name in names)
        bad.failures.append(("read", failed()))
        good.start()
        bad.start()
        with contextlib.suppress(CommandError):  # it may be over already
            good.cancel()
        ended(bad)
        ended(good)
        assert "commit" not in bad.calls + good.calls


def test_group_race_of_cancel_and_commit(server: JobServer) -> None:
    """Cancelled at any moment, both commit or both abort, and the answer says which."""
    for round_number in range(100):
        group = JobTransaction()
        names = [f"{kind}{round_number}" for kind in ("a", "b")]
        one, two = (server.make(name, transaction=group) for name in names)
        one.start()
        two.start()
        for _ in range(round_number):
            pass
        try:
            one.cancel()
            accepted = True
        except CommandError:
            accepted = False
        ended(one)
        ended(two)
        assert ("abort" in one.calls) == ("abort" in two.calls) == accepted


def test_too_late_for_a_group(server: JobServer) -> None:
    """A job cannot join others that have gone their way: that is a defect of whoever made it."""
    group = JobTransaction()
    ended(server.begin("one", transaction=group))
    with pytest.raises(AssertionError, match="have ended"):
        server.make("two", transaction=group)
    assert server.execute("query-jobs") == []


def test_group_is_finalized_at_once(server: JobServer) -> None:
    """§8.3: one without auto-finalize holds all back, and finalize of any lets all go."""
    group = JobTransaction()
    hand = server.make("hand", transaction=group, auto_finalize=False)
    auto = server.begin("auto", transaction=group)
    hand.start()
    eventually(lambda: hand.status is auto.status is Status.PENDING)
    server.execute("job-finalize", {"id": "auto"})
    ended(hand)
    ended(auto)
    assert hand.calls == auto.calls == SUCCESS


# In a transaction of edits, §6.5


def adding(job: CountingJob) -> Callable[[Staging], None]:
    """An action that makes a job."""
    return lambda staging: staging.add_job(job)


def refusing(staging: Staging) -> None:
    """An action that fails."""
    raise CommandError("no")


def test_started_by_an_edit(server: JobServer) -> None:
    """The job runs when the edit is true: whoever waits for its thread has no lock in the way."""
    job = CountingJob(Conduct(id="j"), server.events)
    server.graph.transaction([adding(job)])
    ended(job)
    assert job.calls == SUCCESS


def test_rolled_back(server: JobServer) -> None:
    """§6.5: created → aborting → concluded → null, no BLOCK_JOB_*; and the id is free again."""
    job = CountingJob(Conduct(id="j", auto_dismiss=False), server.events)
    with pytest.raises(CommandError, match="no"):
        server.graph.transaction([adding(job), refusing])
    ended(job)
    assert server.told() == ["created", "aborting", "concluded", "null"]
    assert job.calls == []
    assert server.execute("query-jobs") == []
    ended(server.begin())


def test_given_up(server: JobServer) -> None:
    """§8.1: created → null if the start failed."""
    job = server.make()
    job.give_up()
    ended(job)
    assert server.told() == ["created", "null"]


@pytest.mark.parametrize("mode", [None, "individual", "grouped"])
def test_completion_mode(
    server: JobServer, monkeypatch: pytest.MonkeyPatch, mode: str | None
) -> None:
    """§6.5: the jobs of a transaction are grouped when completion-mode says so."""
    groups: list[JobTransaction | None] = []

    def transaction(graph: Graph, *args: Any, grouped: bool, **about: Any) -> None:
        del args, about
        groups.append(Staging(graph, grouped=grouped).job_transaction)

    monkeypatch.setattr(Graph, "transaction", transaction)
    properties = {} if mode is None else {"properties": {"completion-mode": mode}}
    server.execute("transaction", {"actions": [], **properties})
    assert (groups[0] is not None) == (mode == "grouped")


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"completion-mode": "x"}, "Parameter 'completion-mode' does not accept value 'x'"),
        ({"x": 1}, "Parameter 'properties.x' is unexpected"),
        (1, "Invalid parameter type for 'properties', expected: object"),
        (
            {"completion-mode": 1},
            "Invalid parameter type for 'properties.completion-mode', expected: string",
        ),
    ],
)
def test_bad_properties(server: JobServer, properties: object, text: str) -> None:
    """§9.2: refused in QEMU's words."""
    arguments = {"actions": [], "properties": properties}
    assert server.refused("transaction", arguments) == (GENERIC, text)


# The registry


@pytest.mark.parametrize("name", ["", "0j", "a b", "j\n", "é"])
def test_bad_ids(server: JobServer, name: str) -> None:
    """§6.3: refused before there is any job."""
    with pytest.raises(CommandError) as refusal:
        server.make(name)
    assert str(refusal.value) == f"Invalid job ID '{name}'"
    assert server.execute("query-jobs") == []


@pytest.mark.parametrize(
    "command",
    ["job-pause", "job-resume", "job-cancel", "job-complete", "job-finalize", "job-dismiss"],
)
def test_unknown_job(server: JobServer, command: str) -> None:
    """§8.1: job-* answer with a GenericError."""
    assert server.refused(command, {"id": "zz"}) == (GENERIC, "Job not found")


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("block-job-pause", {}),
        ("block-job-resume", {}),
        ("block-job-cancel", {}),
        ("block-job-complete", {}),
        ("block-job-finalize", {}),
        ("block-job-dismiss", {}),
        ("block-job-set-speed", {"speed": 0}),
    ],
)
def test_unknown_block_job(server: JobServer, command: str, more: dict[str, int]) -> None:
    """§8.1: block-job-* have words and a class of their own."""
    refused = server.refused(command, {"device": "zz", **more})
    assert refused == ("DeviceNotActive", "Block job 'zz' not found")


def test_query_shapes(server: JobServer) -> None:
    """§9.8: the keys of both queries."""
    running(server)
    progress = {"current-progress": CHUNK_BYTES, "total-progress": LENGTH_BYTES}
    assert server.execute("query-jobs") == [
        {"id": "j", "type": "backup", "status": "running", **progress}
    ]
    assert server.listed() == {
        "device": "j",
        "type": "backup",
        "len": LENGTH_BYTES,
        "offset": CHUNK_BYTES,
        "speed": 1,
        "busy": False,
        "paused": False,
        "ready": False,
        "io-status": "ok",
        "status": "running",
        "auto-finalize": True,
        "auto-dismiss": True,
    }


def test_progress_from_many_threads(server: JobServer) -> None:
    """Clients' threads add to it too: nothing is lost."""
    job = server.make()

    def add() -> None:
        for _ in range(2000):
            job.progress(1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert job.offset_bytes == 8000
    job.give_up()


# The end of the server, §8.7


def test_the_end_cancels_jobs(server: JobServer) -> None:
    """§8.7: all are cancelled, in whatever state, and their threads have ended before nbdkit's."""
    jobs = [server.begin("a", speed=1), server.begin("b", kind=MirroringJob)]
    jobs.append(server.begin("c", auto_finalize=False))
    stopped = server.begin("d", speed=1)
    stopped.pause()
    eventually(stopped.at_rest)
    over = threading.Event()
    alive: list[bool] = []

    def end_nbdkit() -> None:
        alive.extend(job._thread.is_alive() for job in [*jobs, stopped])
        over.set()

    Shutdown(server.graph, "unix:/nonexistent", end_nbdkit).begin()
    assert over.wait(PATIENCE_S)
    assert alive == [False] * 4
    assert {data["device"] for data in server.data("BLOCK_JOB_CANCELLED")} == {"a", "b", "c", "d"}


def test_no_job_starts_at_the_end(server: JobServer) -> None:
    """Once the server is ending, a new job is refused."""
    server.context.jobs.cancel_all()
    with pytest.raises(CommandError, match="the server is ending"):
        server.make()


def test_the_end_does_not_wait_for_ever(server: JobServer) -> None:
    """A job whose I/O hangs is left behind when the time is up."""
    job = server.make()
    hangs = threading.Event()
    job.at_prepare = hangs.wait
    job.start()
    eventually(lambda: job.status is Status.PENDING)
    server.context.jobs.cancel_all()
    assert not server.context.jobs.join(0)
    hangs.set()


def test_no_thread_to_be_had(server: JobServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a refusal when the job is made, not half a start, and the id stays free."""

    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(CommandError, match="could not be given a thread"):
            server.make()
    assert server.told() == []
    ended(server.begin())
