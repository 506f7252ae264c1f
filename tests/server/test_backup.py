"""Backup: points in time, errors, bitmaps and groups.  References are to qemu-semantics.

No test waits for time to pass: a job with speed 1 stands still after its first chunk.
"""

import errno
import os
import random
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from blkrun.server import point_in_time
from blkrun.server.jobs import job as job_module
from blkrun.server.jobs.job import Job
from tests.server.copy_server import CLUSTER, KIB, MIB, CopyServer, arguments
from tests.server.copying import SMALL, Stepped, client_does, finish, steps, unpaced
from tests.server.inprocess import PATIENCE_S, Worker, eventually
from tests.server.job_server import ended

pytestmark = pytest.mark.usefixtures("plain_threads")

FINISHED = ["running", "waiting", "pending", "BLOCK_JOB_COMPLETED", "concluded", "null"]


@pytest.fixture
def server() -> Iterator[CopyServer]:
    """4 MiB with a pattern; in the end no job's thread is left, and no job's filter."""
    server = CopyServer()
    for chunk in range(8):
        server.fill(chunk + 1, chunk * 512 * KIB, 512 * KIB)
    yield server
    finish(server)


# The point in time


def test_full(server: CopyServer) -> None:
    """The target is the disk at the start, whatever was written meanwhile; events as in §8.3."""
    was = server.disk.content()
    job = server.backup(speed=1)
    eventually(lambda: job.offset_bytes >= MIB)
    server.fill(0xAA, 3 * MIB + 17, 100)
    server.fill(0xBB, 0, MIB)
    server.execute("block-job-set-speed", {"device": "j", "speed": 0})
    told = server.end(job)
    assert unpaced(told) == ["created", *FINISHED]
    assert server.copy.content() == was
    assert server.disk.content() != was
    (done,) = server.data("BLOCK_JOB_COMPLETED")
    assert (done["len"], done["offset"], done["type"]) == (4 * MIB, 4 * MIB, "backup")


def test_one_chunk_at_once(server: CopyServer) -> None:
    """§6.3: the first MiB goes at once, whatever the speed; a disk of 1 MiB is done by then."""
    job = server.backup(speed=1)
    eventually(lambda: job.offset_bytes == MIB)
    assert server.listed()["offset"] == MIB


def test_top(server: CopyServer) -> None:
    """§6.3: what is a hole in the device is not copied, nor counted."""
    server.client.zero(4 * MIB, 0, 0)
    server.fill(7, 128 * KIB, 1)
    server.fill(8, 2 * MIB, CLUSTER)
    server.copy.poke(b"x" * MIB, 3 * MIB)
    server.end(server.backup(sync="top"))
    (done,) = server.data("BLOCK_JOB_COMPLETED")
    assert (done["len"], done["offset"]) == (131072, 131072)
    copied = server.copy.content()
    assert copied[128 * KIB : 192 * KIB] == b"\x07".ljust(CLUSTER, b"\0")
    assert copied[2 * MIB : 2 * MIB + CLUSTER] == b"\x08" * CLUSTER
    assert copied[3 * MIB :] == b"x" * MIB


def test_none(server: CopyServer) -> None:
    """§6.3: only what writes are about to change; it goes on until it is cancelled."""
    was = server.disk.content()
    job = server.backup(sync="none")
    server.fill(0xAA, MIB, 1)
    server.fill(0xBB, 2 * MIB - 1, 2)
    copied = server.copy.content()
    assert copied[MIB : MIB + CLUSTER] == was[MIB : MIB + CLUSTER]
    assert (
        copied[2 * MIB - CLUSTER : 2 * MIB + CLUSTER] == was[2 * MIB - CLUSTER : 2 * MIB + CLUSTER]
    )
    assert server.listed()["status"] == "running"
    assert job.offset_bytes == 3 * CLUSTER
    server.execute("job-cancel", {"id": "j"})
    assert server.end(job)[-4:] == ["aborting", "BLOCK_JOB_CANCELLED", "concluded", "null"]


@settings(deadline=None, max_examples=150)
@given(steps, st.sampled_from(["full", "top", "bitmap"]))
def test_any_interleaving(sequence: list[tuple[str, int, int]], sync: str) -> None:
    """Writes, chunks of the job, failures of it and edits of the chain, in any order."""
    server = CopyServer(SMALL)
    server.disk.poke(random.Random(3).randbytes(SMALL // 2), 300 * KIB)
    options = prepare_bitmap(server) if sync == "bitmap" else {}
    was = server.disk.content()
    stepped = Stepped()
    server.copy.before_write = stepped.before_write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "await_pace", lambda job: stepped.await_pace(job))  # noqa: PLW0108 - a method
        patch.setattr(job_module, "_RETRY_NS", 0)
        patch.setattr(point_in_time, "MOST_AT_ONCE_BYTES", 2 * CLUSTER)
        job = server.backup(sync=sync, on_target_error="ignore", **options)
        eventually(lambda: stepped.waiting.is_set() or not job.in_run)
        for number, (what, offset, length) in enumerate(sequence):
            stepped.fails = what == "fail"
            if what in ("chunk", "fail"):
                stepped.chunk(job)
            else:
                client_does(server, number, what, offset, min(length, SMALL - offset))
        stepped.finish(job)
    assert job.error is None
    assert server.copy.content() == was
    finish(server)


def prepare_bitmap(server: CopyServer) -> dict[str, str]:
    """The target is as the disk was when the bitmap was added; since then there were writes."""
    server.copy.poke(server.disk.content(), 0)
    server.execute("block-dirty-bitmap-add", {"node": "disk", "name": "b"})
    server.fill(8, 400 * KIB, 5)
    server.fill(7, 100 * KIB, 300 * KIB)
    return {"bitmap": "b", "bitmap_mode": "on-success"}


# The filter, and edits around it


def test_filter_in_the_graph(server: CopyServer) -> None:
    """It is over the device under a name, for all its users; and gone before the job tells."""
    server.add("throttle", "spare", file="disk", throttle_group="g")
    job = server.backup(speed=1, filter_node_name="keeper")
    assert server.edges() == {"vda": "limit", "limit": "keeper", "keeper": "disk"}
    assert server.node("spare")["children"] == {"file": "keeper"}
    keeper = server.node("keeper")
    assert (keeper["job"], keeper["monitor-owned"]) == ("j", False)
    assert keeper["options"]["driver"] == "copy-before-write"
    gone: list[bool] = []

    def watch(message: dict[str, Any]) -> None:
        if message["event"] == "BLOCK_JOB_COMPLETED":
            gone.append("keeper" not in server.graph.nodes)

    server.events.subscribe(watch)
    server.execute("block-job-set-speed", {"device": "j", "speed": 0})
    ended(job)
    assert gone == [True]
    assert server.edges() == {"vda": "limit", "limit": "disk"}
    assert server.node("spare")["children"] == {"file": "disk"}


def test_pending_keeps_the_filter(server: CopyServer) -> None:
    """Iotest 283: until job-finalize it is there, then it is gone."""
    job = server.backup(auto_finalize=False, filter_node_name="keeper")
    eventually(lambda: server.data("BLOCK_JOB_PENDING"))
    assert "keeper" in server.edges()
    server.execute("job-finalize", {"id": "j"})
    ended(job)
    assert server.edges() == {"vda": "limit", "limit": "disk"}


def test_edits_as_if_it_were_not_there(server: CopyServer) -> None:
    """Filters come and go between a device and its users, who never get past the job's."""
    was = server.disk.content()
    server.backup(speed=1, filter_node_name="keeper")
    server.execute("block-remove-node", {"parent": "vda", "child": "disk", "node": "limit"})
    assert server.edges() == {"vda": "keeper", "keeper": "disk"}
    server.fill(0xCC, 3 * MIB, 10)
    server.add("throttle", "other", file="disk", throttle_group="g")
    assert server.node("other")["children"] == {"file": "keeper"}
    server.execute("block-insert-node", {"parent": "vda", "child": "disk", "node": "other"})
    assert server.edges() == {"vda": "other", "other": "keeper", "keeper": "disk"}
    server.execute("x-blkrun-set-edge", {"parent": "vda", "role": "root", "child": "disk"})
    assert server.edges() == {"vda": "keeper", "keeper": "disk"}
    server.execute("block-export-add", {"type": "nbd", "id": "vdb", "node-name": "disk"})
    server.fill(0xDD, 3 * MIB + CLUSTER, 10)
    assert (
        server.copy.content()[3 * MIB : 3 * MIB + 2 * CLUSTER]
        == was[3 * MIB : 3 * MIB + 2 * CLUSTER]
    )


def busy(name: str) -> str:
    """The refusal of an edit that would take a node from the job."""
    return (
        f"Node '{name}' is busy: block device is in use by block job: backup; cancel job 'j' first"
    )


NOT_OWNED = "Node 'keeper' is not owned by the monitor"
TAKEN = "Duplicate nodes with node-name='keeper'"
ITS_OWN = "Node 'keeper' belongs to job 'j', which needs it as it is"
IN_USE = "Bitmap 'b' is currently in use by another operation and cannot be used"
KEEPER = {"driver": "copy-before-write", "node-name": "keeper", "file": "disk", "target": "copy"}
EDGE = {"parent": "limit", "child": "disk"}
EDGE_TO_TARGET = {"parent": "keeper", "role": "target", "child": "spare"}
OTHER = {"driver": "memory", "size": 4 * MIB}


@pytest.mark.parametrize(
    ("command", "options", "text"),
    [
        ("blockdev-del", {"node-name": "copy"}, busy("copy")),
        ("blockdev-del", {"node-name": "disk"}, busy("disk")),
        ("blockdev-del", {"node-name": "keeper"}, "Node keeper is not owned by the monitor"),
        ("x-blkrun-replace-node", OTHER | {"node-name": "disk"}, busy("disk")),
        ("x-blkrun-replace-node", OTHER | {"node-name": "copy"}, busy("copy")),
        ("block-remove-node", EDGE | {"node": "keeper"}, NOT_OWNED),
        ("block-insert-node", EDGE | {"parent": "keeper", "node": "spare"}, ITS_OWN),
        ("x-blkrun-set-edge", EDGE_TO_TARGET, ITS_OWN),
        ("blockdev-reopen", {"options": [KEEPER]}, ITS_OWN),
        ("blockdev-add", {"driver": "null", "node-name": "keeper"}, TAKEN),
        ("block-dirty-bitmap-remove", {"node": "disk", "name": "b"}, IN_USE),
    ],
)  # fmt: skip
def test_edits_refused(server: CopyServer, command: str, options: Any, text: str) -> None:
    """What a running job needs cannot be taken away, and it goes on."""
    server.add("throttle", "spare", file="disk", throttle_group="g")
    server.execute("block-dirty-bitmap-add", {"node": "disk", "name": "b"})
    mode = {"bitmap": "b", "bitmap_mode": "on-success"}
    job = server.backup(speed=1, filter_node_name="keeper", **mode)
    before = server.edges()
    assert server.refused(command, options)[1] == text
    assert server.edges() == before
    assert job.in_run


def test_remove_with_its_target(server: CopyServer) -> None:
    """One transaction cancels a job and deletes what it copied to; clients notice nothing."""
    job = server.backup(speed=1, filter_node_name="keeper", auto_dismiss=False)
    eventually(lambda: job.offset_bytes >= MIB)
    server.transaction(
        ("x-blkrun-job-remove", {"id": "j"}), ("blockdev-del", {"node-name": "copy"})
    )
    assert server.edges() == {"vda": "limit", "limit": "disk"}
    assert server.end(job)[-4:] == ["aborting", "BLOCK_JOB_CANCELLED", "concluded", "null"]


def test_remove_in_the_middle_of_a_chunk(server: CopyServer) -> None:
    """The edit waits until the job has come to rest; then its target is free at once."""
    inside = threading.Event()
    go_on = threading.Event()

    def hold(offset: int, count: int) -> None:
        inside.set()
        assert go_on.wait(PATIENCE_S)

    server.copy.before_write = hold
    job = server.backup()
    assert inside.wait(PATIENCE_S)
    steps = ("x-blkrun-job-remove", {"id": "j"}), ("blockdev-del", {"node-name": "copy"})
    remover = Worker(lambda: server.transaction(*steps))
    eventually(lambda: job.pause_count)
    go_on.set()
    remover.finish()
    ended(job)
    assert job.cancelled
    assert server.edges() == {"vda": "limit", "limit": "disk"}


def test_remove_what_has_ended(server: CopyServer) -> None:
    """It is forgotten; what does not exist is not found."""
    job = server.backup(auto_dismiss=False)
    ended(job)
    assert server.entry()["status"] == "concluded"
    server.execute("x-blkrun-job-remove", {"id": "j"})
    assert server.execute("query-jobs") == []
    assert server.refused("x-blkrun-job-remove", {"id": "j"}) == ("GenericError", "Job not found")


def test_change(server: CopyServer) -> None:
    """The speed, in a transaction; nothing else of a backup can change."""
    job = server.backup(speed=1)
    server.execute("x-blkrun-job-change", {"id": "j", "speed": 2})
    assert job.speed == 2
    assert server.entry()["options"]["speed"] == 2
    text = "Cannot change the option 'sync'"
    assert server.refused("x-blkrun-job-change", {"id": "j", "sync": "top"})[1] == text
    server.refused("x-blkrun-job-change", {"id": "j", "speed": -1})
    assert job.speed == 2


def test_job_in_the_graph(server: CopyServer) -> None:
    """x-blkrun-query-graph has the options, the filter and how far it is."""
    job = server.backup(speed=1, filter_node_name="keeper")
    eventually(lambda: job.offset_bytes == MIB)
    entry = server.entry()
    assert entry["options"] == {
        "type": "backup", "job-id": "j", "device": "disk", "target": "copy", "speed": 1,
        "filter-node-name": "keeper",
    }  # fmt: skip
    progress = entry["current-progress"], entry["total-progress"]
    assert (entry["filter"], *progress) == ("keeper", MIB, 4 * MIB)
    assert entry["rate"] >= 0
    assert entry["running-ns"] > 0
    assert (entry["cancelled"], entry["pivoted"], entry["ready"]) == (False, False, False)


def test_drained_section_stops_it(server: CopyServer) -> None:
    """A node that the job reads is reopened only when the job does no I/O on it."""
    inside, go_on = threading.Event(), threading.Event()
    busy_at_reopen: list[bool] = []

    def hold(offset: int, count: int) -> None:
        inside.set()
        assert go_on.wait(PATIENCE_S)

    server.disk.before_read = hold
    job = server.backup()
    assert inside.wait(PATIENCE_S)
    prepare = server.disk.prepare_reopen

    def prepare_and_look(options: Any, staging: Any) -> Callable[[], None]:
        commit = prepare(options, staging)

        def look() -> None:
            busy_at_reopen.append(not job.at_rest())
            commit()

        return look

    server.disk.prepare_reopen = prepare_and_look  # type: ignore[method-assign]  # to look in
    options = {"driver": "memory", "node-name": "disk", "size": 4 * MIB, "discard": "ignore"}
    reopener = Worker(lambda: server.execute("blockdev-reopen", {"options": [options]}))
    eventually(lambda: job.pause_count)
    go_on.set()
    reopener.finish()
    assert busy_at_reopen == [False]
    ended(job)
    assert job.error is None


# Starting

PART = "Node 'window' cannot be copied to 'disk': one is a part of the other"
MODE = "Bitmap sync mode must be given when providing a bitmap"
ON_SUCCESS = "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'"
NO_OUTPUT = "sync mode 'none' does not produce meaningful bitmap outputs"
SIZES = "Source and target image have different sizes: 'disk' has 4194304 bytes and 'small' 512"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"device": "x"}, "Cannot find device='x' nor node-name='x'"),
        ({"target": "x"}, "Cannot find device='x' nor node-name='x'"),
        ({"target": "disk"}, "Source and target cannot be the same"),
        ({"target": "limit"}, "Source and target cannot be the same"),
        ({"device": "window", "target": "disk"}, PART),
        ({"job-id": ""}, "Invalid job ID ''"),
        ({"job-id": "0j"}, "Invalid job ID '0j'"),
        ({"speed": -1}, "Parameter 'speed' expects a non-negative value"),
        ({"sync": "bogus"}, "Parameter 'sync' does not accept value 'bogus'"),
        ({"sync": "incremental"}, "must provide a valid bitmap name for 'incremental' sync mode"),
        ({"sync": "bitmap"}, "must provide a valid bitmap name for 'bitmap' sync mode"),
        ({"sync": "bitmap", "bitmap": "no"}, "Bitmap 'no' could not be found"),
        ({"sync": "bitmap", "bitmap": "b"}, MODE),
        ({"sync": "incremental", "bitmap": "b", "bitmap-mode": "never"}, ON_SUCCESS),
        ({"bitmap-mode": "never"}, "Cannot specify bitmap sync mode without a bitmap"),
        ({"sync": "none", "bitmap": "b", "bitmap-mode": "never"}, NO_OUTPUT),
        ({"target": "small"}, SIZES),
        ({"target": "locked"}, "Node '#block': the target 'locked' is read-only"),
        ({"filter-node-name": "0"}, "Invalid node-name: '0'"),
        ({"filter-node-name": "copy"}, "Duplicate nodes with node-name='copy'"),
        ({"compress": True}, "Parameter 'compress' is unexpected"),
    ],
)  # fmt: skip
def test_refused(server: CopyServer, options: Any, text: str) -> None:
    """§6.3: QEMU's words; no job and no filter is left, at most it was created and is null."""
    server.execute("block-dirty-bitmap-add", {"node": "disk", "name": "b"})
    server.add("memory", "small", size=512)
    server.add("memory", "locked", size=4 * MIB, read_only=True)
    server.add("raw", "window", file="disk", offset=0)
    before = server.picture()
    said = server.refused("blockdev-backup", arguments("j", sync="full") | options)[1]
    assert re.sub(r"#block\d+", "#block", said) == text
    assert server.picture() == before
    assert server.told() in ([], ["created", "null"])


def test_sync_is_needed(server: CopyServer) -> None:
    """QEMU has no default for it."""
    assert server.refused("blockdev-backup", arguments("j"))[1] == "Parameter 'sync' is missing"


def test_nobody_writes_past_it(server: CopyServer) -> None:
    """Neither clients nor another job, also if the device is in nobody's use: it would be torn."""
    server.faulty("raw")
    server.add("throttle", "top", file="raw", throttle_group="g")
    job = server.backup(device="top", speed=1)
    export = {"type": "nbd", "id": "vdb", "node-name": "raw", "writable": True}
    assert "Export 'vdb' writes to 'top' past" in server.refused("block-export-add", export)[1]
    server.execute("job-cancel", {"id": "j"})
    ended(job)
    server.started("blockdev-mirror", sync="full", target="raw", speed=1)
    text = server.refused("blockdev-backup", arguments("k", sync="full", device="top"))[1]
    assert "writes to 'top' past node" in text


def test_the_target_stays_the_disk_it_is(server: CopyServer) -> None:
    """What has been copied is on that disk: another below the target would lack it."""
    server.faulty("raw")
    server.faulty("other")
    server.add("throttle", "top", file="raw", throttle_group="g")
    server.backup(target="top", speed=1)
    options = {"driver": "throttle", "node-name": "top", "file": "other", "throttle-group": "g"}
    text = server.refused("blockdev-reopen", {"options": [options]})[1]
    assert "has its copies on 'raw'" in text


def test_busy(server: CopyServer) -> None:
    """§6.3: a node is one job's, as source or target."""
    server.faulty("third")
    server.backup(speed=1)
    for options in ({"target": "third"}, {"device": "third"}):
        text = server.refused("blockdev-backup", arguments("k", sync="full") | options)[1]
        busy = "copy" if "device" in options else "disk"
        assert text.startswith(
            f"Node '{busy}' is busy: block device is in use by block job: backup"
        )
    server.refused("blockdev-backup", arguments("j", sync="full"))


@pytest.mark.parametrize("command", ["blockdev-backup", "blockdev-mirror"])
@pytest.mark.parametrize(("of_file", "device"), [(True, "disk"), (False, "other")])
def test_an_export_named_like_another_disk(
    server: CopyServer, command: str, device: str, *, of_file: bool
) -> None:
    """QEMU takes a device's name for the export's first; a file's job copies the node."""
    server.faulty("other")
    server.execute("block-export-add", {"type": "nbd", "id": "disk", "node-name": "other"})
    server.execute(command, arguments("j", sync="none", **{"x-blkrun-of-file": of_file}))
    job = server.context.jobs.find("j")
    (top,) = job.nodes()
    assert top.children["file"].name == device


def test_device_by_export(server: CopyServer) -> None:
    """As QEMU takes a device's name, also while another job's filter is below."""
    server.end(server.backup(device="vda"))
    assert server.copy.content() == server.disk.content()


# Errors


@pytest.mark.parametrize("operation", ["read", "write"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("policy", ["report", "ignore", "stop", "enospc"])
def test_error_policies(server: CopyServer, operation: str, number: int, policy: str) -> None:
    """§6.3: what QEMU does about an error of the job's own copying; nothing copied is lost."""
    was = server.disk.content()
    failures = [number]

    def fail(offset: int, count: int) -> None:
        if failures and offset == MIB:
            raise OSError(failures.pop(), os.strerror(number))

    side = "source" if operation == "read" else "target"
    node = server.disk if operation == "read" else server.copy
    setattr(node, f"before_{operation}", fail)
    job = server.backup(**{f"on_{side}_error": policy})
    enospc_stops = policy == "enospc" and number == errno.ENOSPC
    action = "stop" if enospc_stops else "report" if policy == "enospc" else policy
    if action == "stop":
        eventually(lambda: server.listed()["status"] == "paused")
        expected = "nospace" if number == errno.ENOSPC else "failed"
        assert server.listed()["io-status"] == expected
        server.execute("job-resume", {"id": "j"})
    told = server.end(job)
    data = {"device": "j", "operation": operation, "action": action}
    assert server.data("BLOCK_JOB_ERROR") == [data]
    (done,) = server.data("BLOCK_JOB_COMPLETED")
    if action == "report":
        assert done["error"] == os.strerror(number)
        assert told[-4:] == ["aborting", "BLOCK_JOB_COMPLETED", "concluded", "null"]
    else:
        assert "error" not in done
        assert server.copy.content() == was


def test_target_fails_a_write(server: CopyServer) -> None:
    """§6.3: then it is the client's write that fails, not the job; a later one tries again."""
    job = server.backup(speed=1, on_target_error="stop")
    eventually(lambda: job.offset_bytes == MIB)
    full = threading.Event()
    full.set()

    def fail(offset: int, count: int) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, "full")

    server.copy.before_write = fail
    was = server.disk.content()
    with pytest.raises(OSError, match="full") as caught:
        server.fill(1, 2 * MIB, 100)
    assert caught.value.errno == errno.ENOSPC
    assert server.disk.content() == was
    assert server.data("BLOCK_JOB_ERROR") == []
    assert server.listed()["status"] == "running"
    full.clear()
    server.fill(1, 2 * MIB, 100)
    server.execute("block-job-set-speed", {"device": "j", "speed": 0})
    ended(job)
    assert server.copy.content() == was


def test_flush_at_the_end(server: CopyServer) -> None:
    """What is presented as complete is on the target's disk: its flush is the job's last write."""

    def fail() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    server.copy.before_flush = fail
    job = server.backup()
    ended(job)
    assert job.error == os.strerror(errno.EIO)


# Bitmaps: iotest 257 (64 MiB, clusters of 64 KiB)

LAST = 64 * MIB - CLUSTER
BATCH_0 = [(0x49, 0), (0x6C, MIB), (0x6F, 32 * MIB), (0x76, LAST)]
BATCH_1 = [(0x65, 0), (0x77, MIB - 32 * KIB), (0x72, 32 * MIB + 32 * KIB), (0x69, LAST - CLUSTER)]
BATCH_2 = [(0x74, CLUSTER), (0x69, 0xE8000), (0x6E, 0x2018000)]


def batch(server: CopyServer, writes: list[tuple[int, int]]) -> None:
    """A cluster's length of each pattern."""
    for pattern, offset in writes:
        server.fill(pattern, offset, CLUSTER)


def clusters(server: CopyServer, name: str = "b") -> list[int]:
    """The counts of a node's bitmaps: first what is recorded now, if the bitmap is busy."""
    del name
    (node,) = [
        node
        for node in server.execute("query-named-block-nodes", {"flat": True})
        if node["node-name"] == "disk"
    ]
    return [info["count"] // CLUSTER for info in node["dirty-bitmaps"]]


@pytest.fixture
def large() -> Iterator[CopyServer]:
    """257's disk, after the first two batches: the second is in the bitmap."""
    server = CopyServer(64 * MIB)
    batch(server, BATCH_0)
    server.execute("block-dirty-bitmap-add", {"node": "disk", "name": "b"})
    batch(server, BATCH_1)
    yield server
    finish(server)


@pytest.mark.parametrize("sync", ["bitmap", "full", "top"])
@pytest.mark.parametrize(
    ("mode", "after_success", "after_failure"),
    [("on-success", 7, 10), ("never", 10, 10), ("always", 7, 7)],
)
@pytest.mark.parametrize("fails", [False, True])
def test_bitmap_modes(
    large: CopyServer, sync: str, mode: str, after_success: int, after_failure: int, *, fails: bool
) -> None:
    """257: what is dirty afterwards; cancelled while pending is its simulated failure."""
    assert clusters(large) == [6]
    job = large.backup(sync=sync, bitmap="b", bitmap_mode=mode, auto_finalize=False)
    eventually(lambda: large.data("BLOCK_JOB_PENDING"))
    batch(large, BATCH_2)
    large.fill(0x67, 64 * MIB - 2 * CLUSTER, 2 * CLUSTER)
    assert clusters(large) == [7, 6]
    large.execute("job-cancel" if fails else "job-finalize", {"id": "j"})
    ended(job)
    assert clusters(large) == [after_failure if fails else after_success]


@pytest.mark.parametrize("sync", ["bitmap", "full", "top"])
@pytest.mark.parametrize("mode", ["on-success", "never", "always"])
def test_bitmap_after_an_error(large: CopyServer, sync: str, mode: str) -> None:
    """257's intermediate failure: a read error in the middle; what was copied counts, or not."""
    reads: list[int] = []

    def fail(offset: int, count: int) -> None:
        del count
        reads.append(offset)
        if offset >= MIB - CLUSTER:
            raise OSError(errno.EIO, "as told")

    large.disk.before_read = fail
    job = large.backup(sync=sync, bitmap="b", bitmap_mode=mode)
    ended(job)
    assert job.error == "as told"
    if mode != "always":
        assert clusters(large) == [6]
    else:
        left = {"bitmap": 5, "top": 6, "full": 1009}[sync]
        assert clusters(large) == [left]


def test_incremental_chain(large: CopyServer) -> None:
    """124: each incremental, laid over the one before, is the disk at its time."""
    large.end(large.backup("full"))
    large.execute("block-dirty-bitmap-clear", {"node": "disk", "name": "b"})
    for number, writes in enumerate((BATCH_2, BATCH_0, [])):
        batch(large, writes)
        # One with nothing to do may have ended before it is looked for: it stays listed.
        name = f"i{number}"
        job = large.backup(name, sync="incremental", bitmap="b", auto_dismiss=False)
        ended(job)
        assert job.len_bytes == {0: 5, 1: 4, 2: 0}[number] * CLUSTER
        assert large.copy.content() == large.disk.content()
        assert clusters(large) == [0]


def test_failed_incremental_is_made_good(large: CopyServer) -> None:
    """124: after a failure, and more writes, the next one has it all."""
    large.end(large.backup("full"))
    large.execute("block-dirty-bitmap-clear", {"node": "disk", "name": "b"})
    batch(large, BATCH_1)
    failures = [OSError(errno.EIO, "as told")]

    def fail(offset: int, count: int) -> None:
        if failures and offset >= 32 * MIB:
            raise failures.pop()

    large.disk.before_read = fail
    job = large.backup("first", sync="incremental", bitmap="b")
    ended(job)
    assert job.error == "as told"
    batch(large, BATCH_2)
    job = large.backup("second", sync="incremental", bitmap="b")
    ended(job)
    assert large.copy.content() == large.disk.content()


# Groups


def two_disks(server: CopyServer) -> list[dict[str, Any]]:
    """A second pair; the actions that back up both."""
    server.faulty("disk2").poke(b"2" * 4 * MIB, 0)
    server.faulty("copy2")
    second = {"device": "disk2", "target": "copy2"}
    return [
        {"type": "blockdev-backup", "data": arguments("j", sync="full")},
        {"type": "blockdev-backup", "data": arguments("k", sync="full") | second},
    ]


GROUPED = {"completion-mode": "grouped"}


def test_grouped_success(server: CopyServer) -> None:
    """§6.5: both wait for each other, then both are done."""
    actions = two_disks(server)
    server.execute("transaction", {"actions": actions, "properties": GROUPED})
    eventually(lambda: not server.context.jobs.listing())
    assert [each["device"] for each in server.data("BLOCK_JOB_COMPLETED")].count("j") == 1
    assert len(server.data("BLOCK_JOB_COMPLETED")) == 2
    assert server.copy.content() == server.disk.content()


def test_grouped_failure(server: CopyServer) -> None:
    """§6.5: one fails, the other is cancelled, though its copy is done."""
    actions = two_disks(server)

    def fail(offset: int, count: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    server.disk.before_read = fail
    server.execute("transaction", {"actions": actions, "properties": GROUPED})
    eventually(lambda: not server.context.jobs.listing())
    (done,) = server.data("BLOCK_JOB_COMPLETED")
    assert (done["device"], done["error"]) == ("j", "Input/output error")
    assert [each["device"] for each in server.data("BLOCK_JOB_CANCELLED")] == ["k"]


def test_rolled_back(server: CopyServer) -> None:
    """§6.5: created, aborting, concluded, null; nothing else is told, and nothing is left."""
    actions = two_disks(server)
    before = server.picture()
    text = server.refused("transaction", {"actions": [*actions, {"type": "abort", "data": {}}]})[1]
    assert text == "Transaction aborted using Abort action"
    for name in ("j", "k"):
        assert server.told(name) == ["created", "aborting", "concluded", "null"]
    assert server.picture() == before
