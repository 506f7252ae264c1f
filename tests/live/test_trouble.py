"""What an operator meets on a bad day: each of these once went wrong."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.live.service import DISK, Service, wait_for

Serve = Callable[[str], Service]


def on_file(service: Service) -> str:
    """A disk on an image beside the file."""
    image = service.file.parent / "disk.img"
    return f'[backends.disk]\ndriver="file"\npath="{image}"\n[exports.vda]\nnode="disk"\n'


def ended(pid: int) -> bool:
    """Whether a process has gone, or is a zombie that nobody has looked at."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("how", ["stop", "SIGTERM"])
def test_an_idle_client_does_not_keep_the_server(serve: Serve, how: str) -> None:
    """A client that only sits there, and one whose request waits in a throttle, are hung up on."""
    import nbd  # noqa: PLC0415 - the distribution's, see conftest

    text = DISK.replace('node = "disk"', 'node = "t"')
    text += '[throttle-groups.g]\nbps-total = 1\n[nodes.t]\ndriver="throttle"\n'
    service = serve(text + 'throttle-group="g"\nfile="disk"\n')
    pid = service.server_pid()
    idle, waiting = nbd.NBD(), nbd.NBD()
    for handle in (idle, waiting):
        handle.connect_uri(service.uri())
    cookies = [waiting.aio_pread(nbd.Buffer(4096), 0) for _ in range(3)]
    wait_for(
        lambda: sum(m["waiting"] for g in service.graph()["throttle-groups"] for m in g["members"]),
        "requests to wait",
    )
    service.kill_runner()  # else it would start the server again
    if how == "stop":
        assert service.blkrun("stop", "--yes").returncode == 0
    else:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: ended(pid), "the server to end", 8)
    assert cookies


def test_a_server_that_cannot_start_again_does_when_it_can(serve: Serve) -> None:
    """The image is away when the server dies: the runner tries until it is back."""
    service = serve(DISK)
    image = service.file.parent / "disk.img"
    image.write_bytes(bytes(2**20))
    service.edit_and_wait(on_file(service))
    pid = service.server_pid()
    image.rename(image.with_suffix(".away"))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: service.said().count("trying again") > 1, "two attempts")
    image.with_suffix(".away").rename(image)
    wait_for(lambda: "was restarted" in service.said(), "the server to be back")
    assert "killed by SIGKILL" in service.said()
    assert service.live() == service.desired()


def test_what_apply_did_survives_the_server(serve: Serve) -> None:
    """After ``blkrun apply`` took a disk, a crash does not bring it back."""
    import nbd  # noqa: PLC0415 - the distribution's, see conftest

    more = DISK + '[backends.b]\ndriver="null"\n[exports.vdb]\nnode="b"\n'
    service = serve(more)
    handle = nbd.NBD()
    handle.connect_uri(service.uri("vdb"))
    assert service.edit_and_wait(DISK)["event"] == "X_BLKRUN_CONFIG_PENDING"
    assert service.blkrun("apply", "--yes").returncode == 0
    os.kill(service.server_pid(), signal.SIGKILL)
    wait_for(lambda: "was restarted" in service.said(), "the server to be back")
    wait_for(lambda: set(service.live().exports) == {"vda"}, "the disk to be gone again")


def test_the_server_dies_during_an_edit(serve: Serve) -> None:
    """Killed between a save and its transaction, the server comes back with the edit."""
    service = serve(DISK)
    for number in range(5):
        pid = service.server_pid()
        service.edit(DISK + f'[backends.n{number}]\ndriver="null"\n')
        time.sleep(0.03 * number)
        os.kill(pid, signal.SIGKILL)
        wait_for(partial(_in_force, service, number), f"edit {number}")
    assert service.runner is not None
    assert service.runner.poll() is None


def _in_force(service: Service, number: int) -> bool:
    try:
        return f"n{number}" in service.live().nodes
    except (OSError, AssertionError):
        return False  # no server at this moment


def test_a_hung_server_does_not_hang_the_commands(serve: Serve) -> None:
    """With the server stopped by SIGSTOP, status says so, and SIGTERM still ends the runner."""
    service = serve(DISK)
    pid = service.server_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        status = service.blkrun("status")
        assert status.returncode == 4
        assert "does not answer" in status.stderr
    finally:
        os.kill(pid, signal.SIGCONT)
    assert service.blkrun("status").returncode == 0
