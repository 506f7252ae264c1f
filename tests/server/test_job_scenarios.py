"""iotests 185 and 219 over real jobs: verbs, event lists, the end of the server.

The disk has 4 MiB, and a job with speed 1 stands still after its first chunk.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from blkrun.server.jobs.job import Job
from tests.server.copy_server import CLUSTER, MIB, CopyServer
from tests.server.copying import finish, unpaced
from tests.server.inprocess import PATIENCE_S, eventually
from tests.server.job_server import ended

COMMANDS = ["blockdev-backup", "blockdev-mirror"]
FAMILIES = [("job-pause", "job-resume", "id"), ("block-job-pause", "block-job-resume", "device")]


pytestmark = pytest.mark.usefixtures("plain_threads")


@pytest.fixture
def server() -> Iterator[CopyServer]:
    """4 MiB with a pattern."""
    server = CopyServer()
    server.fill(0x5A, 0, 4 * MIB)
    yield server
    finish(server)


def begin(server: CopyServer, command: str, **options: Any) -> Job:
    """A job of either type, of which one chunk is done."""
    job = server.started(command, sync="full", speed=1, **options)
    eventually(lambda: job.offset_bytes == MIB)
    return job


def cannot(state: str, *verbs: str) -> dict[str, str]:
    """QEMU's words (§8.1)."""
    text = f"Job 'j' in state '{state}' cannot accept command verb"
    return {verb: f"{text} '{verb}'" for verb in verbs}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("pause", "resume", "key"), FAMILIES)
def test_pause(server: CopyServer, command: str, pause: str, resume: str, key: str) -> None:
    """219: while it is paused nothing is copied, whatever the speed; then it goes on."""
    job = begin(server, command)
    server.execute(pause, {key: "j"})
    eventually(lambda: server.listed()["status"] == "paused")
    server.execute("block-job-set-speed", {"device": "j", "speed": 0})
    eventually(job.at_rest)
    offset = server.listed()["offset"]
    assert offset % CLUSTER == 0
    server.execute(resume, {key: "j"})
    eventually(lambda: job.is_ready or not job.in_run)
    assert server.copy.content() == server.disk.content()


def test_verbs_when_ready(server: CopyServer) -> None:
    """219: pause and complete are accepted, in standby too."""
    job = server.started("blockdev-mirror", sync="full")
    eventually(lambda: job.is_ready)
    server.execute("job-pause", {"id": "j"})
    eventually(lambda: server.listed()["status"] == "standby")
    assert refusals_of(server, "pause", "finalize", "dismiss") == {
        "pause": "Job is already paused",
        **cannot("standby", "finalize", "dismiss"),
    }
    server.execute("job-complete", {"id": "j"})
    assert server.listed()["status"] == "standby"
    server.execute("job-resume", {"id": "j"})
    ended(job)
    assert job.pivoted


def refusals_of(server: CopyServer, *verbs: str) -> dict[str, str]:
    """Of verbs that are all refused."""
    return {verb: server.refused(f"job-{verb}", {"id": "j"})[1] for verb in verbs}


@pytest.mark.parametrize("command", COMMANDS)
def test_verbs_when_it_is_over(server: CopyServer, command: str) -> None:
    """219: pending takes finalize only, concluded dismiss only."""
    job = server.started(command, sync="full", auto_finalize=False, auto_dismiss=False)
    if command == "blockdev-mirror":
        eventually(lambda: job.is_ready)
        server.execute("job-complete", {"id": "j"})
    eventually(lambda: server.listed()["status"] == "pending")
    expected = cannot("pending", "pause", "complete", "dismiss")
    assert refusals_of(server, "pause", "complete", "dismiss") == expected
    server.execute("block-job-finalize", {"device": "j"})
    eventually(lambda: server.listed()["status"] == "concluded")
    expected = cannot("concluded", "pause", "complete", "finalize", "cancel")
    assert refusals_of(server, "pause", "complete", "finalize", "cancel") == expected
    server.execute("block-job-dismiss", {"device": "j"})
    assert server.execute("query-block-jobs") == []


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("auto_finalize", [True, False])
@pytest.mark.parametrize("auto_dismiss", [True, False])
def test_event_lists(
    server: CopyServer, command: str, *, auto_finalize: bool, auto_dismiss: bool
) -> None:
    """219: all that is told, with finalizing and dismissing by itself or by command."""
    job = server.started(
        command, sync="full", auto_finalize=auto_finalize, auto_dismiss=auto_dismiss
    )
    middle = []
    if command == "blockdev-mirror":
        middle = ["ready", "BLOCK_JOB_READY"]
        eventually(lambda: job.is_ready)
        server.execute("block-job-cancel", {"device": "j"})
    if not auto_finalize:
        eventually(lambda: server.data("BLOCK_JOB_PENDING"))
        server.execute("job-finalize", {"id": "j"})
    if not auto_dismiss:
        eventually(lambda: job.status == "concluded")
        server.execute("job-dismiss", {"id": "j"})
    ended(job)
    pending = ["waiting", "pending", *([] if auto_finalize else ["BLOCK_JOB_PENDING"])]
    end = ["BLOCK_JOB_COMPLETED", "concluded", "null"]
    assert unpaced(server.told()) == ["created", "running", *middle, *pending, *end]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_server_ends(server: CopyServer, command: str) -> None:
    """185: what runs is cancelled, having copied one buffer at this speed."""
    job = begin(server, command)
    server.context.jobs.cancel_all()
    assert server.context.jobs.join(PATIENCE_S)
    (told,) = server.data("BLOCK_JOB_CANCELLED")
    assert (told["offset"], told["len"], told["speed"]) == (MIB, 4 * MIB, 1)
    assert job.error == "Operation canceled"
    assert server.edges() == {"vda": "limit", "limit": "disk"}
