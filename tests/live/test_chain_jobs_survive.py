"""A server killed during a stream and a commit, as a power cut ends it, with clients that write.

The runner starts another one: what clients were answered is there, a job that had not ended is done
again, and what had led edges elsewhere stays so.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from blkrun.pivot_record import read_records
from tests.live.copying import CALM, MIB, STOPPED, Serve
from tests.live.cut import BLOCK_BYTES, BLOCKS_EACH, Writers, parts, read_all
from tests.live.service import Service, wait_for
from tests.live.test_qcow2 import as_raw

WRITERS = 2
OLD = WRITERS * BLOCKS_EACH * BLOCK_BYTES
"""Where their parts end; from here on each image has something of its own, which stays."""

SIZE = OLD + 24 * MIB
_LEAKS = 3
"""qemu-img check: clusters that belong to nobody, and no other fault."""


def layer(name: str, backing: str) -> str:
    """A qcow2 image that says where it leads."""
    return f"""
[backends.{name}-file]
driver = "file"
path = "{name}.qcow2"
create = true
[nodes.{name}]
driver = "qcow2"
file = "{name}-file"
backing = "{backing}"
create = true
size = {SIZE}
"""


CHAIN = (
    '[runner]\napply = "all"\n'
    + layer("top", "mid")
    + layer("mid", "base")
    + layer("base", "")
    + '[exports.vda]\nnode = "top"\n'
)
JOBS = {
    "stream": 'type = "stream"\ndevice = "top"\n',
    "stream-to-base": 'type = "stream"\ndevice = "top"\nbase-node = "base"\n',
    "commit": 'type = "commit"\ndevice = "top"\ntop-node = "mid"\n',
    "active-commit": 'type = "commit"\ndevice = "top"\nwhen-ready = "pivot"\n',
}
ENDS = {
    "stream": ("top", 'backing = ""'),
    "stream-to-base": ("top", 'backing = "base"'),
    "commit": ("top", 'backing = "base"'),
    "active-commit": ("base", 'node = "base"'),
}
"""The image that clients have at the end, and what the file says then."""

EACH = pytest.mark.parametrize("kind", JOBS)


def filled(serve: Serve) -> Service:
    """Each image of the chain has something of its own, all through the disk."""
    service = serve(CHAIN)
    stop(service)
    for number, name in enumerate(("base", "mid", "top")):
        path = service.file.parent / f"{name}.qcow2"
        command = ["qemu-io", "-f", "qcow2", str(path)]
        for at in range(OLD + number * MIB, SIZE, 3 * MIB):
            command += ["-c", f"write -P {number + 1} {at} {MIB}"]
        subprocess.run(command, check=True, capture_output=True)
    service.start()
    return service


def stop(service: Service) -> None:
    """Server and runner have ended."""
    stopped = service.blkrun("stop", "--yes")
    assert stopped.returncode == 0, stopped.stderr
    assert service.runner is not None
    service.runner.wait()


def kill_server(service: Service) -> int:
    """As a power cut does it."""
    pid = service.server_pid()
    os.kill(pid, signal.SIGKILL)
    return pid


def is_back(service: Service, killed: int) -> bool:
    """Another server has all of the file."""
    try:
        graph = service.graph()
    except (OSError, AssertionError):
        return False
    return graph["pid"] != killed and bool(graph["exports"])


def check_written(service: Service, writers: Writers) -> bytes:
    """All that was answered is there; the very last may be, that was not."""
    disk = read_all(service.uri(), SIZE)
    check_parts(disk, writers)
    assert disk[OLD:] == b"".join(bytes([n % 3 + 1]) * MIB for n in range((SIZE - OLD) // MIB))
    return disk


def check_parts(disk: bytes, writers: Writers) -> None:
    """The writers' parts of it."""
    found = writers.check(parts(disk, WRITERS))
    for answered, there in zip(writers.answered, found, strict=True):
        assert answered <= there <= answered + 1


def follows(service: Service, kind: str) -> bool:
    """The file says how the job has left it, and nothing is written down beside it."""
    text = service.file.read_text()
    control = service.file.with_suffix(".qmp")
    return ENDS[kind][1] in text and "enabled = false" in text and not read_records(control)


def check_end(service: Service, kind: str, disk: bytes) -> None:
    """Clients have the same disk, in the image that it is in now; none has a fault."""
    wait_for(lambda: follows(service, kind), "the file to follow")
    assert service.live().nodes == service.desired().nodes
    assert read_all(service.uri(), SIZE) == disk
    stop(service)
    directory = service.file.parent
    for name in ("top", "mid", "base"):
        check_image(directory / f"{name}.qcow2")
    assert as_raw(directory / f"{ENDS[kind][0]}.qcow2") == disk


def check_image(path: Path) -> None:
    """Leaks at worst."""
    command = ["qemu-img", "check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, _LEAKS), done.stdout


def killed_when(service: Service, text: str, moment: Callable[[Service], bool]) -> Writers:
    """The server is killed at a moment of the job in ``text``, and its successor is there."""
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work():
        wait_for(lambda: all(turn > 50 for turn in writers.answered), "the writers")
        service.edit(text)
        wait_for(lambda: moment(service), "the moment")
        pid = kill_server(service)
        wait_for(lambda: len(writers.errors) == WRITERS, "the end of the connections")
    wait_for(lambda: is_back(service, pid), "another server")
    return writers


def is_under_way(service: Service) -> bool:
    """Some has been copied, and some has not."""
    jobs = service.graph()["jobs"]
    return bool(jobs) and jobs[0]["current-progress"] > 8 * MIB


@EACH
def test_in_the_middle(serve: Serve, kind: str) -> None:
    """The job is begun anew, and comes to its end."""
    service = filled(serve)
    slow = CHAIN + f"[jobs.j]\n{JOBS[kind]}speed = {CALM}\n"
    disk = check_written(service, killed_when(service, slow, is_under_way))
    assert [job["id"] for job in service.graph()["jobs"]] == ["j"]
    check_end(service, kind, disk)


def is_written_down(service: Service) -> bool:
    """The pivot, which is about to be, or has just been."""
    return bool(read_records(service.file.with_suffix(".qmp")))


def has_pivoted(service: Service) -> bool:
    """The server says so, or the file already."""
    jobs = service.graph()["jobs"]
    return bool(jobs) and bool(jobs[0]["pivoted"])


def is_in_the_file(service: Service) -> bool:
    """The runner has just saved it."""
    return "enabled = false" in service.file.read_text()


@EACH
@pytest.mark.parametrize("moment", [is_written_down, has_pivoted, is_in_the_file])
def test_around_its_end(serve: Serve, kind: str, moment: Callable[[Service], bool]) -> None:
    """Nobody is led back, or the job is done again: either way all is there."""
    service = filled(serve)
    writers = killed_when(service, CHAIN + f"[jobs.j]\n{JOBS[kind]}", moment)
    check_end(service, kind, check_written(service, writers))


@EACH
def test_with_nobody_to_edit_the_file(serve: Serve, kind: str) -> None:
    """The runner is killed first: the next one goes on with what the job has made, at once."""
    service = filled(serve)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        wait_for(lambda: all(turn > 50 for turn in writers.answered), "the writers")
        service.edit_and_wait(CHAIN + f"[jobs.j]\n{JOBS[kind]}speed = {STOPPED}\n")
        service.kill_runner()
        qmp.do("block-job-set-speed", device="j", speed=0)
        qmp.wait_event("BLOCK_JOB_COMPLETED")
        before = list(writers.answered)
        wait_for(lambda: all(map(int.__gt__, writers.answered, before)), "writes")
        pid = kill_server(service)
        wait_for(lambda: len(writers.errors) == WRITERS, "the end of the connections")
    assert is_written_down(service)
    service.start()
    assert is_back(service, pid)
    assert service.graph()["jobs"] == []
    check_end(service, kind, check_written(service, writers))


def test_a_smaller_base(serve: Serve, tmp_path: Path) -> None:
    """It has been made larger when the server is killed: the commit is begun anew, and pivots."""
    base = tmp_path / "base.img"
    base.write_bytes(bytes(MIB))
    text = CHAIN.replace(layer("base", ""), f'[backends.base]\ndriver = "file"\npath = "{base}"\n')
    service = serve(text)
    slow = text + f"[jobs.j]\n{JOBS['active-commit']}speed = {CALM}\n"
    writers = killed_when(service, slow, is_under_way)
    assert base.stat().st_size == SIZE
    disk = read_all(service.uri(), SIZE)
    check_parts(disk, writers)
    wait_for(lambda: follows(service, "active-commit"), "the file to follow")
    assert read_all(service.uri(), SIZE) == disk
    stop(service)
    assert base.read_bytes() == disk
