"""Mirror: converging, pivoting, errors.  References are to qemu-semantics.

No test waits for time to pass, but for the tenth of a second between two looks of a mirror that
has nothing to do.
"""

import errno
import os
import random
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from blkrun.errors import CommandError
from blkrun.server import divergence
from blkrun.server.divergence import Divergence
from blkrun.server.jobs import job as job_module
from blkrun.server.jobs import mirror
from blkrun.server.jobs.job import Job
from tests.server.copy_server import CLUSTER, MIB, CopyServer, arguments
from tests.server.copying import SMALL, Stepped, client_does, finish, steps, unpaced
from tests.server.inprocess import PATIENCE_S, Worker, eventually
from tests.server.job_server import ended

READY = ["created", "running", "ready", "BLOCK_JOB_READY"]
DONE = ["waiting", "pending", "BLOCK_JOB_COMPLETED", "concluded", "null"]
RANGE = "Parameter 'granularity' expects a value in range [512B, 64MB]"
MODES = ["background", "write-blocking"]


pytestmark = pytest.mark.usefixtures("plain_threads")


@pytest.fixture
def server() -> Iterator[CopyServer]:
    """4 MiB with a pattern; in the end no job's thread is left, and no job's filter."""
    server = CopyServer()
    server.fill(1, 0, 3 * MIB)
    yield server
    finish(server)


def started(server: CopyServer, *, sync: str = "full", **options: Any) -> Job:
    """blockdev-mirror of disk to copy, which must not be refused."""
    return server.started("blockdev-mirror", sync=sync, **options)


def ready(server: CopyServer, **options: Any) -> Job:
    """One that is."""
    job = started(server, **options)
    eventually(lambda: job.is_ready)
    return job


# From start to pivot


@pytest.mark.parametrize("mode", MODES)
def test_pivot(server: CopyServer, mode: str) -> None:
    """§8.3, 8.6: ready, then everybody has the target, with all that was written; events."""
    server.add("throttle", "spare", file="disk", throttle_group="g")
    job = ready(server, copy_mode=mode, filter_node_name="top")
    assert server.edges() == {"vda": "limit", "limit": "top", "top": "disk"}
    assert (server.node("top")["job"], server.node("top")["options"]["driver"]) == (
        "j",
        "mirror_top",
    )
    server.fill(2, MIB + 5, 100)
    server.execute("job-complete", {"id": "j"})
    told = server.end(job)
    pivoted = [*DONE[:2], "X_BLKRUN_JOB_PIVOTED", *DONE[2:]]
    assert unpaced(told) == [*READY, *pivoted]
    assert server.edges() == {"vda": "limit", "limit": "copy"}
    assert server.node("spare")["children"] == {"file": "copy"}
    assert server.data("X_BLKRUN_JOB_PIVOTED") == [{"id": "j", "device": "disk", "target": "copy"}]
    (done,) = server.data("BLOCK_JOB_COMPLETED")
    assert (done["type"], done["offset"]) == ("mirror", done["len"])
    assert server.disk.content() == server.copy.content()
    server.fill(3, 0, 10)
    assert server.disk.content() != server.copy.content()
    server.execute("blockdev-del", {"node-name": "disk"})


def test_length_grows(server: CopyServer) -> None:
    """§8.6: by what is written and has to be copied again."""
    job = ready(server)
    assert (job.offset_bytes, job.len_bytes) == (4 * MIB, 4 * MIB)
    server.fill(2, MIB + 5, 100)
    eventually(lambda: job.offset_bytes == 4 * MIB + CLUSTER)
    assert job.len_bytes == 4 * MIB + CLUSTER


@pytest.mark.parametrize("mode", MODES)
def test_stopped_when_ready(server: CopyServer, mode: str) -> None:
    """§8.2: block-job-cancel of one that is ready leaves a copy of that time, and is a success."""
    job = ready(server, copy_mode=mode)
    server.fill(2, MIB + 5, 100)
    server.execute("block-job-cancel", {"device": "j"})
    told = server.end(job)
    assert unpaced(told) == [*READY, *DONE]
    assert server.disk.content() == server.copy.content()
    assert server.edges() == {"vda": "limit", "limit": "disk"}
    assert server.data("X_BLKRUN_JOB_PIVOTED") == []


@pytest.mark.parametrize("command", ["job-cancel", "block-job-cancel"])
def test_cancelled(server: CopyServer, command: str) -> None:
    """By force, or before it is ready: nothing has changed for anybody."""
    job = started(server, speed=1)
    key = "id" if command == "job-cancel" else "device"
    server.execute(command, {key: "j"})
    assert server.end(job)[-4:] == ["aborting", "BLOCK_JOB_CANCELLED", "concluded", "null"]
    assert server.edges() == {"vda": "limit", "limit": "disk"}


def test_none(server: CopyServer) -> None:
    """§8.6: ready at once with nothing to do; only what is written from then on is copied."""
    job = ready(server, sync="none")
    (told,) = server.data("BLOCK_JOB_READY")
    assert (told["len"], told["offset"]) == (0, 0)
    server.fill(2, MIB, 1)
    eventually(lambda: job.offset_bytes == CLUSTER)
    assert server.copy.content().strip(b"\0") == server.disk.content()[MIB : MIB + CLUSTER]


def test_top(server: CopyServer) -> None:
    """What is no hole at the start, and what is written."""
    ready(server, sync="top")
    (told,) = server.data("BLOCK_JOB_READY")
    assert told["offset"] == 3 * MIB
    assert server.disk.content() == server.copy.content()


def test_when_ready(server: CopyServer) -> None:
    """Ours: it pivots by itself, if told so at the start or later."""
    job = started(server, when_ready="pivot")
    ended(job)
    assert server.edges()["limit"] == "copy"


def test_when_ready_later(server: CopyServer) -> None:
    """Ours: a ready one pivots when that is what it is to do."""
    job = ready(server)
    assert server.entry()["ready"]
    for wrong in ({"when-ready": "now"}, {"copy-mode": "background"}):
        server.refused("x-blkrun-job-change", {"id": "j", **wrong})
    server.execute("x-blkrun-job-change", {"id": "j", "when-ready": "pivot"})
    assert job.describe()["options"]["when-ready"] == "pivot"
    ended(job)
    assert server.edges()["limit"] == "copy"


def test_listed_after_the_pivot(server: CopyServer) -> None:
    """With auto-dismiss off, for who keeps a file: it says that it has pivoted."""
    job = started(server, when_ready="pivot", auto_dismiss=False)
    ended(job)
    entry = server.entry()
    assert (entry["status"], entry["pivoted"], entry["filter"]) == ("concluded", True, None)
    assert entry["options"]["target"] == "copy"


def test_equal_while_pending(server: CopyServer) -> None:
    """With auto-finalize off nobody waits for job-finalize: writes go to both until then."""
    job = ready(server, auto_finalize=False)
    server.execute("job-complete", {"id": "j"})
    eventually(lambda: server.data("BLOCK_JOB_PENDING"))
    server.fill(5, 2 * MIB - 3, 1000)
    assert server.disk.content() == server.copy.content()
    server.execute("job-finalize", {"id": "j"})
    ended(job)
    assert server.edges()["limit"] == "copy"


def test_point_in_time_goes_on(server: CopyServer) -> None:
    """A copy-before-write filter above: its disk becomes the target, and the snapshot holds."""
    server.faulty("scratch")
    server.add("copy-before-write", "keep", file="disk", target="scratch")
    server.execute("block-insert-node", {"parent": "limit", "child": "disk", "node": "keep"})
    server.add("snapshot-access", "old", file="keep")
    was = server.disk.content()
    job = started(server, when_ready="pivot")
    ended(job)
    assert server.edges() == {"vda": "limit", "limit": "keep", "keep": "copy"}
    server.fill(9, 0, 2 * MIB)
    buf = bytearray(4 * MIB)
    server.graph.nodes["old"].pread(memoryview(buf), 0)
    assert bytes(buf) == was


@pytest.mark.parametrize("device", ["keep", "limit"])
def test_point_in_time_stays(server: CopyServer, device: str) -> None:
    """A copy-before-write filter that is the device, or beside it, is over the old disk still."""
    server.faulty("scratch")
    server.add("copy-before-write", "keep", file="disk", target="scratch")
    if device == "keep":
        server.execute("block-insert-node", {"parent": "limit", "child": "disk", "node": "keep"})
    job = started(server, device=device, when_ready="pivot")
    ended(job)
    assert (job.error, job.pivoted) == (None, True)
    assert server.node("keep")["children"]["file"] == "disk"


def test_removed_while_ready(server: CopyServer) -> None:
    """x-blkrun-job-remove: the filter is gone with that edit, and nobody has the target."""
    job = ready(server)
    server.transaction(
        ("x-blkrun-job-remove", {"id": "j"}), ("blockdev-del", {"node-name": "copy"})
    )
    ended(job)
    assert server.edges() == {"vda": "limit", "limit": "disk"}
    assert server.execute("query-jobs") == []


def test_removed_while_pending(server: CopyServer) -> None:
    """The pivot that would have followed does not."""
    job = ready(server, auto_finalize=False, auto_dismiss=False)
    server.execute("job-complete", {"id": "j"})
    eventually(lambda: server.data("BLOCK_JOB_PENDING"))
    server.execute("x-blkrun-job-remove", {"id": "j"})
    ended(job)
    assert server.edges() == {"vda": "limit", "limit": "disk"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"target": "disk"}, "Can't mirror node into itself"),
        ({"granularity": 256}, RANGE),
        ({"granularity": 128 * MIB}, RANGE),
        ({"granularity": 1000}, "Parameter 'granularity' expects a power of 2"),
        ({"sync": "incremental"}, "Parameter 'sync' does not accept value 'incremental'"),
        ({"copy-mode": "never"}, "Parameter 'copy-mode' does not accept value 'never'"),
        ({"target": "limit"}, "Source and target cannot be the same"),
    ],
)  # fmt: skip
def test_refused(server: CopyServer, options: Any, text: str) -> None:
    """§8.6, and as for backup."""
    before = server.picture()
    assert server.refused("blockdev-mirror", arguments("j", sync="full") | options)[1] == text
    assert server.picture() == before


def test_nobody_else_makes_its_filter(server: CopyServer) -> None:
    """As in QEMU: mirror_top is no driver for blockdev-add."""
    options = {"driver": "mirror_top", "node-name": "m", "file": "disk", "target": "copy"}
    text = server.refused("blockdev-add", options)[1]
    assert text == "Parameter 'driver' does not accept value 'mirror_top'"


# Under load


@pytest.mark.parametrize("mode", MODES)
def test_under_writers(server: CopyServer, mode: str) -> None:
    """Four threads write as fast as they can: it is ready, pivots, and both are equal then.

    Each writer knows what it wrote last to each place; after the pivot the target has it all.
    """
    stop = threading.Event()
    last: list[dict[int, int]] = [{} for _ in range(4)]

    def write(number: int) -> None:
        random_places = random.Random(number)
        while not stop.is_set():
            offset = number * MIB + random_places.randrange(MIB // 512) * 512
            pattern = random_places.randrange(256)
            server.fill(pattern, offset, 512)
            last[number][offset] = pattern

    writers = [Worker(partial(write, number)) for number in range(4)]
    job = ready(server, copy_mode=mode)
    server.execute("job-complete", {"id": "j"})
    ended(job)
    assert job.pivoted, job.error
    server.execute("block-remove-node", {"parent": "vda", "child": "copy", "node": "limit"})
    stop.set()
    for writer in writers:
        writer.finish()
    content = server.copy.content()
    for places in last:
        for offset, pattern in places.items():
            assert content[offset : offset + 512] == bytes([pattern]) * 512


def test_a_write_from_before_all_went_to_both(server: CopyServer) -> None:
    """The pivot waits for it, and copies it: it has ended at the device only.

    What the job says of itself has it, too: all that there was to do is done.
    """
    job = ready(server)
    inside, go_on = threading.Event(), threading.Event()

    def hold(offset: int, count: int) -> None:
        inside.set()
        assert go_on.wait(PATIENCE_S)

    server.disk.before_write = hold
    writer = Worker(lambda: server.fill(7, MIB, 10))
    assert inside.wait(PATIENCE_S)
    server.execute("job-complete", {"id": "j"})
    eventually(lambda: job.status == "pending")
    go_on.set()
    writer.finish()
    ended(job)
    assert server.copy.content()[MIB : MIB + 10] == bytes([7]) * 10
    (done,) = server.data("BLOCK_JOB_COMPLETED")
    assert done["offset"] == done["len"] == 4 * MIB + CLUSTER


@settings(deadline=None, max_examples=100)
@given(
    steps,
    st.sampled_from(MODES),
    st.sampled_from(["full", "top"]),
    st.sampled_from(["complete", "cancel"]),
)
def test_any_interleaving(
    sequence: list[tuple[str, int, int]], mode: str, sync: str, ending: str
) -> None:
    """Writes, chunks of the job, failures of it and edits of the chain, in any order."""
    server = CopyServer(SMALL)
    server.disk.poke(random.Random(3).randbytes(SMALL // 2), 300 * 1024)
    stepped = Stepped()
    server.copy.before_write = stepped.before_write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "await_pace", lambda job: stepped.await_pace(job))  # noqa: PLW0108
        patch.setattr(job_module, "_RETRY_NS", 0)
        patch.setattr(mirror, "_IDLE_S", 0.001)
        patch.setattr(divergence, "MOST_AT_ONCE_BYTES", 2 * CLUSTER)
        job = started(server, sync=sync, copy_mode=mode, on_target_error="ignore")
        eventually(stepped.waiting.is_set)
        for number, (what, offset, length) in enumerate(sequence):
            stepped.fails = what == "fail"
            if what in ("chunk", "fail"):
                stepped.chunk(job)
            else:
                client_does(server, number, what, offset, min(length, SMALL - offset))
        stepped.fails = False
        stepped.turns.release(100_000)
        eventually(lambda: job.is_ready)
        if ending == "complete":
            server.execute("job-complete", {"id": "j"})
        else:
            server.execute("block-job-cancel", {"device": "j"})
        ended(job)
    assert job.error is None
    assert server.disk.content() == server.copy.content()
    assert server.graph.exports["vda"].root.name in (
        "limit",
        "copy" if ending == "complete" else "disk",
    )
    finish(server)


# Errors


@pytest.mark.parametrize("operation", ["read", "write"])
@pytest.mark.parametrize("policy", ["report", "ignore", "stop"])
def test_error_policies(server: CopyServer, operation: str, policy: str) -> None:
    """As for backup; and what is stopped when ready stands by."""
    failures = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def fail(offset: int, count: int) -> None:
        if failures and offset == MIB:
            raise failures.pop()

    side = "source" if operation == "read" else "target"
    setattr(server.disk if operation == "read" else server.copy, f"before_{operation}", fail)
    job = started(server, **{f"on_{side}_error": policy})
    if policy == "stop":
        eventually(lambda: server.listed()["status"] == "paused")
        server.execute("job-resume", {"id": "j"})
    if policy == "report":
        ended(job)
        assert job.error == "Input/output error"
        assert server.edges() == {"vda": "limit", "limit": "disk"}
        return
    eventually(lambda: job.is_ready)
    assert server.data("BLOCK_JOB_ERROR") == [
        {"device": "j", "operation": operation, "action": policy}
    ]
    assert server.disk.content() == server.copy.content()


def test_target_fails_a_blocking_write(server: CopyServer) -> None:
    """The client's write is no failure: it is on the device, and copied again by the job."""
    job = ready(server, copy_mode="write-blocking", on_target_error="stop")
    failures = [1, 2]

    def fail(offset: int, count: int) -> None:
        if failures:
            failures.pop()
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    server.copy.before_write = fail
    server.fill(5, 2 * MIB, 100)
    eventually(lambda: server.listed()["status"] == "standby")
    server.execute("job-resume", {"id": "j"})
    eventually(lambda: server.disk.content() == server.copy.content())
    assert job.is_ready


def test_flush_error_at_the_end(server: CopyServer) -> None:
    """Iotest mirror-ready-cancel-error: it stands still; resumed, it comes to its end."""
    job = ready(server, on_target_error="stop")
    failures = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def fail() -> None:
        if failures:
            raise failures.pop()

    server.copy.before_flush = fail
    server.execute("block-job-cancel", {"device": "j"})
    eventually(lambda: server.listed()["status"] == "standby")
    server.execute("job-resume", {"id": "j"})
    ended(job)
    assert job.error is None


def test_the_last_of_it_fails(server: CopyServer) -> None:
    """In the very instant of the pivot: then there is none, and clients go on where they were."""
    job = ready(server)
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        if len(calls) == 2:  # the first is the job's, with its policy
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    server.copy.before_flush = fail
    server.execute("job-complete", {"id": "j"})
    ended(job)
    assert (job.error, job.pivoted) == ("Input/output error", False)
    assert server.edges() == {"vda": "limit", "limit": "disk"}
    server.fill(1, 0, 10)


@pytest.mark.parametrize("forced", [True, False])
def test_too_late_to_cancel(
    server: CopyServer,
    forced: bool,  # noqa: FBT001 - the case
) -> None:
    """Once everybody has the target: who is told that it was cancelled may throw that away."""
    job = ready(server, auto_dismiss=False)
    prepare = job.prepare
    refusals: list[str] = []

    def prepare_and_cancel() -> None:
        prepare()
        with pytest.raises(CommandError) as refusal:
            job.cancel(force=forced)
        refusals.append(str(refusal.value))

    job.prepare = prepare_and_cancel  # type: ignore[method-assign]  # the moment is what is tested
    server.execute("job-complete", {"id": "j"})
    ended(job)
    assert refusals == ["Job 'j' in state 'pending' cannot accept command verb 'cancel'"]
    assert (job.pivoted, job.error) == (True, None)
    assert server.edges()["limit"] == "copy"


def test_another_of_its_group_fails(server: CopyServer) -> None:
    """After the pivot, which nothing undoes: it is not said to have been cancelled."""
    job = ready(server, auto_dismiss=False)
    prepare = job.prepare

    def prepare_and_abort() -> None:
        prepare()
        with job._lock:
            job.be_cancelled()

    job.prepare = prepare_and_abort  # type: ignore[method-assign]  # the moment is what is tested
    server.execute("job-complete", {"id": "j"})
    ended(job)
    assert (job.pivoted, job.error) == (True, None)


def test_cancelled_in_the_last_instant(server: CopyServer) -> None:
    """While clients wait for the last of it to be copied: that is given up at once, no pivot."""
    job = ready(server)
    writing, written = threading.Event(), threading.Event()
    copying, copied = threading.Event(), threading.Event()
    chunks: list[int] = []

    def hold_client(offset: int, count: int) -> None:
        writing.set()
        assert written.wait(PATIENCE_S)

    def hold_job(offset: int, count: int) -> None:
        chunks.append(offset)
        copying.set()
        assert copied.wait(PATIENCE_S)

    server.disk.before_write = hold_client
    client = Worker(lambda: server.client.zero(3 * MIB, 0, 0))
    assert writing.wait(PATIENCE_S)
    server.execute("job-complete", {"id": "j"})
    eventually(lambda: job.status == "pending")
    server.copy.before_write = hold_job
    written.set()
    assert copying.wait(PATIENCE_S)
    server.execute("job-cancel", {"id": "j"})
    copied.set()
    ended(job)
    client.finish()
    assert (chunks, job.pivoted) == ([0], False)
    assert server.told()[-4:] == ["aborting", "BLOCK_JOB_CANCELLED", "concluded", "null"]
    assert server.edges()["limit"] == "disk"


# The bookkeeping


def test_claims() -> None:
    """A claim is cut where somebody writes, goes round them, and is the caller's alone."""
    state = Divergence(10 * CLUSTER, CLUSTER, blocking=True)
    state.mark(0, 10 * CLUSTER)
    with state.writing(3 * CLUSTER + 1, 1):
        assert state.claim(0) == (0, 3)
        assert state.claim(2) == (4, 10)
        assert state.claim(0) is None
    assert state.claim(0) == (3, 4)
    assert not state.is_clean()
    assert state.remaining_bytes() == 10 * CLUSTER
    for run, past in (((0, 3), 3), ((4, 10), 6), ((3, 4), 4)):
        state.copied(run, past)
    assert state.claim(0) == (6, 10)


def test_overlapping_writes_take_turns() -> None:
    """While one is written on both sides, another of the same cluster waits."""
    state = Divergence(10 * CLUSTER, CLUSTER, blocking=True)
    order: list[str] = []

    def second() -> None:
        with state.writing(CLUSTER + 100, 10):
            order.append("second")

    with state.writing(CLUSTER, 10):
        worker = Worker(second)
        worker.join(0.05)
        order.append("first")
    worker.finish()
    assert order == ["first", "second"]


def test_a_mark_of_one_that_has_not_claimed_stays() -> None:
    """After the switch: it may have come to the device last, and the target has the other one."""
    state = Divergence(10 * CLUSTER, CLUSTER, blocking=False)
    state.block()
    with state.writing(0, CLUSTER):
        state.mark(0, CLUSTER)  # a write from before the switch ends
        state.written(0, CLUSTER)
    assert state.claim(0) == (0, 1)


def test_a_trim_takes_its_turn(server: CopyServer) -> None:
    """Between the two sides of a blocking write it would be on one of them only, unmarked."""
    job = ready(server, copy_mode="write-blocking")
    inside, go_on = threading.Event(), threading.Event()

    def hold(offset: int, count: int) -> None:
        inside.set()
        assert go_on.wait(PATIENCE_S)

    server.copy.before_write = hold
    writer = Worker(lambda: server.fill(7, 0, CLUSTER))
    assert inside.wait(PATIENCE_S)
    trimmer = Worker(lambda: server.client.trim(CLUSTER, 0, 0))
    trimmer.join(0.05)
    go_on.set()
    writer.finish()
    trimmer.finish()
    server.execute("block-job-cancel", {"device": "j"})
    ended(job)
    assert server.copy.content() == server.disk.content()
