"""Backups of a disk that clients write to at full speed: what is on the target is one instant.

Writers' blocks tell of each other (see ``cut``).  Targets are read past the server: image files.
"""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.live.copying import (
    CALM,
    CLUSTER,
    DIRECT,
    DISKS,
    MARK,
    SIZE,
    STOPPED,
    WRITERS,
    Instant,
    Serve,
    action,
    check_disk,
    finished,
    full_speed,
    image,
    instant,
    job,
    start,
    succeeded,
)
from tests.live.cut import Writers, parts, read_all
from tests.live.service import Qmp, Service, wait_for


def check_copy(now: Instant, service: Service) -> None:
    """The target is that instant of the disk."""
    now.check(parts(image(service, "copy").read_bytes(), WRITERS))


def check_there(now: Instant, service: Service) -> None:
    """So is one that is exported."""
    now.check(parts(read_all(service.uri("there"), SIZE), WRITERS))


# Sync modes


def edit_above(qmp: Qmp, times: int = 3) -> None:
    """A throttle goes into the way of the clients and out of it again."""
    edge = {"parent": "vda", "child": "disk", "node": "limit"}
    for _ in range(times):
        qmp.do("block-insert-node", **edge)
        qmp.do("block-remove-node", **edge)


@pytest.mark.parametrize("sync", ["full", "top"])
def test_whole_disk(serve: Serve, sync: str) -> None:
    """The target is the disk at the start of the job, with filters coming and going meanwhile."""
    service = serve(DIRECT)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        now = instant(writers, lambda: start(qmp, sync=sync, speed=STOPPED))
        edit_above(qmp)
        full_speed(qmp)
        edit_above(qmp, 1)
        succeeded(qmp)
        edit_above(qmp, 1)
    check_copy(now, service)
    check_disk(writers, service)


def test_none(serve: Serve) -> None:
    """What is on the target, and for the rest the disk, is the disk at the start of the job."""
    service = serve(DIRECT)
    image(service, "copy").write_bytes(MARK * (SIZE // CLUSTER))
    writers = Writers([service.uri()] * WRITERS)
    with service.qmp() as qmp:
        with writers.at_work():
            now = instant(writers, lambda: start(qmp, sync="none"))
            edit_above(qmp)
            edges = list(writers.answered)
            wait_for(lambda: all(map(int.__gt__, writers.answered, edges)), "more writes")
        new, old = image(service).read_bytes(), image(service, "copy").read_bytes()
        clusters = range(0, SIZE, CLUSTER)
        copied = [at for at in clusters if old[at : at + CLUSTER] != MARK]
        assert 0 < len(copied) < len(clusters)
        both = b"".join((old if at in copied else new)[at : at + CLUSTER] for at in clusters)
        now.check(parts(both, WRITERS))
        qmp.do("job-cancel", id="j")
        (done,) = finished(qmp)
        assert (done["event"], done["data"]["offset"]) == (
            "BLOCK_JOB_CANCELLED",
            len(copied) * CLUSTER,
        )
    check_disk(writers, service)


@pytest.mark.parametrize(
    ("sync", "mode"),
    [
        ("incremental", "on-success"),
        ("bitmap", "on-success"),
        ("bitmap", "always"),
        ("bitmap", "never"),
    ],
)
def test_changes_laid_over(serve: Serve, sync: str, mode: str) -> None:
    """A full backup, with a bitmap from the same instant on, and over it twice what has changed."""
    service = serve(DIRECT)
    writers = Writers([service.uri()] * WRITERS)
    bitmap = {"node": "disk", "name": "b"}
    with service.qmp() as qmp:
        with writers.at_work():
            actions = [
                action("block-dirty-bitmap-add", **bitmap),
                action("blockdev-backup", **job()),
            ]
            now = instant(writers, lambda: qmp.do("transaction", actions=actions))
            succeeded(qmp)
            check_copy(now, service)
            for _ in range(2):
                changes = {"sync": sync, "bitmap": "b", "bitmap_mode": mode, "speed": STOPPED}
                now = instant(writers, lambda given=changes: start(qmp, **given))  # type: ignore[misc]
                edit_above(qmp, 1)
                full_speed(qmp)
                succeeded(qmp)
                check_copy(now, service)
        start(qmp, sync=sync, bitmap="b", bitmap_mode=mode)
        succeeded(qmp)
        assert image(service, "copy").read_bytes() == image(service).read_bytes()
        start(qmp, sync=sync, bitmap="b", bitmap_mode=mode)
        assert (succeeded(qmp)["len"] == 0) == (mode != "never")
    check_disk(writers, service)


# Targets that are slow, and that fail


def there(*words: str) -> str:
    """A target that is an nbdkit in memory, with filters and their parameters."""
    filters = [word for word in words if word.startswith("--")]
    rest = [word for word in words if not word.startswith("--")]
    command = ["nbdkit", *filters, "memory", str(SIZE), *rest]
    return (
        f"{DIRECT}[backends.there]\ndriver = 'nbd'\ncommand = {command}\n"
        "[exports.there]\nnode = 'there'\nread-only = true\n"
    )


THROTTLED = f"""{DIRECT}
[throttle-groups.slow]
bps-write = "{CALM}B"
[nodes.there]
driver = "throttle"
throttle-group = "slow"
file = "copy"
[exports.there]
node = "there"
read-only = true
"""


@pytest.mark.parametrize("kind", ["throttled", "delayed"])
def test_slow_target(serve: Serve, kind: str) -> None:
    """Clients wait for their old data to be kept, and the copy is one instant."""
    service = serve(THROTTLED if kind == "throttled" else there("--filter=delay", "wdelay=5ms"))
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        now = instant(writers, lambda: start(qmp, target="there"))
        succeeded(qmp)
    check_there(now, service)
    check_disk(writers, service)


FAILING = ("--filter=error", "error-pwrite-rate=100%", "error-zero-rate=100%")


@pytest.mark.parametrize(
    ("policy", "error"), [("stop", "EIO"), ("stop", "ENOSPC"), ("ignore", "EIO")]
)
def test_failing_target(serve: Serve, tmp_path: Path, policy: str, error: str) -> None:
    """A write whose old data cannot be kept fails and has not happened; the copy is one instant."""
    fails = tmp_path / "fail"
    service = serve(there(*FAILING, f"error={error}", f"error-file={fails}"))
    writers = Writers([service.uri()] * WRITERS, retried={error})
    with writers.at_work(), service.qmp() as qmp:
        options = {"target": "there", "on_target_error": policy, "speed": CALM}
        now = instant(writers, lambda: start(qmp, **options))
        fails.touch()
        assert qmp.wait_event("BLOCK_JOB_ERROR")["data"] == {
            "device": "j", "operation": "write", "action": policy,
        }  # fmt: skip
        wait_for(lambda: all(writers.failed), "every writer to fail")
        if policy == "stop":
            wait_for(lambda: qmp.do("query-jobs")[0]["status"] == "paused", "the job to stop")
            (shown,) = qmp.do("query-block-jobs")
            assert shown["io-status"] == {"EIO": "failed", "ENOSPC": "nospace"}[error]
        else:
            assert qmp.wait_event("BLOCK_JOB_ERROR")["data"]["action"] == "ignore"
        fails.unlink()
        full_speed(qmp)
        if policy == "stop":
            qmp.do("job-resume", id="j")
        succeeded(qmp)
    check_there(now, service)
    check_disk(writers, service)


# Two disks


TWO = DISKS.replace("backends.", "backends.second-").replace('path = "', 'path = "second-')
BOTH = (
    f"{DIRECT}{TWO.partition('[runner]')[2].partition(chr(10))[2].partition(chr(10))[2]}"
    '[exports.vdb]\nnode = "second-disk"\n'
)


@pytest.mark.parametrize("mode", ["grouped", "individual"])
def test_two_disks_at_one_instant(serve: Serve, mode: str) -> None:
    """Backups that one transaction starts are of one instant, whichever way they end."""
    service = serve(BOTH)
    half = WRITERS // 2
    writers = Writers([service.uri()] * half + [service.uri("vdb")] * half)
    second = {"job_id": "k", "device": "second-disk", "target": "second-copy"}
    actions = [
        action("blockdev-backup", **job(speed=STOPPED)),
        action("blockdev-backup", **job(**second)),
    ]
    properties = {"completion-mode": mode}

    def both(name: str) -> list[bytes]:
        images = (image(service, prefix + name).read_bytes() for prefix in ("", "second-"))
        first, other = (parts(each, WRITERS) for each in images)
        return first[:half] + other[half:]

    with writers.at_work(), service.qmp() as qmp:
        now = instant(
            writers, lambda: qmp.do("transaction", actions=actions, properties=properties)
        )
        if mode == "grouped":
            wait_for(
                lambda: "waiting" in [each["status"] for each in qmp.do("query-jobs")],
                "one to wait for the other",
            )
        else:
            succeeded(qmp, "k")
        full_speed(qmp)
        wait_for(lambda: not qmp.do("query-jobs"), "the jobs to end")
    done = [event for event in qmp.events if event["event"] == "BLOCK_JOB_COMPLETED"]
    ended = ["j"] if mode == "individual" else ["j", "k"]
    assert sorted(event["data"]["device"] for event in done) == ended
    assert not any("error" in event["data"] for event in done)
    now.check(both("copy"))
    assert not writers.errors
    assert writers.check(both("disk")) == writers.answered


# Ends that come early


def used(pid: int) -> tuple[int, int]:
    """How many threads a process has, and how many open files."""
    threads, files = (len(list(Path(f"/proc/{pid}/{what}").iterdir())) for what in ("task", "fd"))
    return threads, files


def settled(pid: int) -> tuple[int, int]:
    """The same, without conversations that are just ending."""
    found: list[tuple[int, int]] = []
    while len(found) < 10:
        if found and used(pid) != found[0]:
            found.clear()
        found.append(used(pid))
        time.sleep(0.02)
    return found[0]


def add_scratch(qmp: Qmp, service: Service) -> None:
    """A target that is not the file's."""
    node = {"driver": "file", "node-name": "scratch", "path": str(image(service, "scratch"))}
    qmp.do("blockdev-add", **node, size=SIZE, create=True)


def cancel(qmp: Qmp, service: Service, how: str) -> None:
    """One of the ways."""
    match how:
        case "job-cancel":
            qmp.do("job-cancel", id="j")
        case "block-job-cancel":
            qmp.do("block-job-cancel", device="j")
        case "remove":
            gone = [
                action("x-blkrun-job-remove", id="j"),
                action("blockdev-del", **{"node-name": "scratch"}),
            ]
            qmp.do("transaction", actions=gone)
            add_scratch(qmp, service)


def test_cancelled_at_any_moment(serve: Serve) -> None:
    """Twenty times, in each of the ways: it says so, nobody notices, and nothing is left."""
    service = serve(DIRECT)
    chance = random.Random(20)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        wait_for(lambda: all(writers.answered), "the writers")
        pid = service.server_pid()
        add_scratch(qmp, service)
        graph, before = service.live(), settled(pid)
        for number in range(20):
            speed = chance.choice([0, CALM, STOPPED])
            start(qmp, target="scratch", sync=chance.choice(["full", "none"]), speed=speed)
            time.sleep(chance.uniform(0, 0.03))
            cancel(qmp, service, ("job-cancel", "block-job-cancel", "remove")[number % 3])
            (done,) = finished(qmp)
            assert done["event"] == "BLOCK_JOB_CANCELLED"
            assert service.live() == graph
        assert qmp.do("query-jobs") == []
        wait_for(lambda: used(pid) == before, f"threads and files to be {before} again")
    check_disk(writers, service)


def runs(pid: int) -> bool:
    """Whether a process is there and is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def check_answered(writers: Writers, service: Service) -> None:
    """After the server went away: all that was answered is there; what was under way may be."""
    turns = writers.check(parts(image(service).read_bytes(), WRITERS))
    written = zip(writers.answered, turns, strict=True)
    assert all(answered <= turn <= answered + 1 for answered, turn in written), (
        writers.answered,
        turns,
    )


def hung_up(writers: Writers) -> None:
    """Wait until all of them have seen the server go."""
    wait_for(lambda: len(writers.errors) == WRITERS, "the writers to be hung up on")


@pytest.mark.parametrize("how", ["quit", "SIGTERM"])
def test_the_server_ends(serve: Serve, how: str) -> None:
    """The job is cancelled, and says so while it can be heard; what was answered is kept."""
    service = serve(THROTTLED)
    pid = service.server_pid()
    service.kill_runner()  # else it would start the server again
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        instant(writers, lambda: start(qmp, target="there"))
        if how == "quit":
            qmp.do("quit")
        else:
            os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(ConnectionResetError):
            while message := qmp.read():
                qmp.events.append(message)
        told = [event for event in qmp.events if event["event"].startswith("BLOCK_JOB_")]
        assert [(each["event"], each["data"]["device"]) for each in told] == [
            ("BLOCK_JOB_CANCELLED", "j")
        ]
        wait_for(lambda: not runs(pid), "the server to end", 12)
        hung_up(writers)
    check_answered(writers, service)


def test_stop_with_a_target_that_hangs(serve: Serve) -> None:
    """Clients wait for the target, and the job does; the stop waits its time, and no longer."""
    service = serve(there("--filter=delay", "delay-write=100", "delay-zero=100"))
    pid = service.server_pid()
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        instant(writers, lambda: start(qmp, target="there"))
        assert service.blkrun("stop", "--yes").returncode == 0
        assert not runs(pid)
        hung_up(writers)
    check_answered(writers, service)


def test_the_server_is_killed(serve: Serve) -> None:
    """Another one serves the disk as the clients had it answered, and has no job."""
    service = serve(THROTTLED)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        instant(writers, lambda: start(qmp, target="there"))
        pid = service.server_pid()
        os.kill(pid, signal.SIGKILL)
        hung_up(writers)

    wait_for(lambda: "the server died and was restarted" in service.said(), "another server")
    assert service.live() == service.desired()
    with service.qmp() as qmp:
        assert qmp.do("query-jobs") == []
    check_answered(writers, service)
