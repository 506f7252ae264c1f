"""A server ends while clients write: what was acknowledged is there, and was flushed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blkrun.reconcile.nbdkit import alive
from tests.live.service import PATIENCE_S, Service, wait_for

Serve = Callable[[str], Service]

DEPTH = 16
BLOCK = 4096
BLOCKS = 4096
LEAST_DONE = 40
"""Writes before it ends, so that it is in the middle of it."""


def slow_disk(directory: Path) -> str:
    """Another server of 20 ms a write, which logs what it is asked for."""
    (directory / "slow.img").touch()
    os.truncate(directory / "slow.img", BLOCK * BLOCKS)
    nbdkit = shutil.which("nbdkit", path=f"{os.environ['PATH']}:/usr/sbin")
    command = f'"{nbdkit}", "-f", "--filter=log", "--filter=delay", "file", '
    command += f'"{directory}/slow.img", "wdelay=20ms", "logfile={directory}/slow.log"'
    return f'[backends.slow]\ndriver = "nbd"\ncommand = [{command}]\n[exports.vda]\nnode = "slow"\n'


def content(number: int) -> bytes:
    """Of a block: like no other's, and not what was there before."""
    return (number + 1).to_bytes(8, "big") * (BLOCK // 8)


Ending = subprocess.Popen[bytes] | None
"""What is to be waited for, with exit code 0."""


class Writer:
    """Writes one block after another, sixteen at once, and notes what became of each."""

    def __init__(self, uri: str) -> None:
        import nbd  # noqa: PLC0415 - the distribution's, see conftest

        self._nbd = nbd
        self._handle = nbd.NBD()
        self._handle.connect_uri(uri)
        self._buffers: list[Any] = []
        self.answers: dict[int, list[int]] = {}
        """Block → the errors it was answered with: 0 for none."""

    def _issue(self) -> None:
        number = len(self._buffers)
        buffer = self._nbd.Buffer.from_bytearray(bytearray(content(number)))
        answers: list[int] = []

        def done(error: Any) -> int:
            answers.append(int(getattr(error, "value", error)))
            return 1

        self._handle.aio_pwrite(buffer, number * BLOCK, completion=done)
        self._buffers.append(buffer)  # from here on it is under way
        self.answers[number] = answers

    def run(self, end: Callable[[], Ending]) -> None:
        """Until the connection ends; ``end`` is called when enough has been written."""
        ending: Ending = None
        begun = False
        try:
            while len(self._buffers) < BLOCKS:
                while self._handle.aio_in_flight() < DEPTH:
                    self._issue()
                self._handle.poll(-1)
                if not begun and self._done() >= LEAST_DONE:
                    begun, ending = True, end()
        except self._nbd.Error:
            pass  # the connection has ended
        assert begun
        assert ending is None or ending.wait(PATIENCE_S) == 0

    def _done(self) -> int:
        return sum(bool(each) for each in self.answers.values())


def stop_by_command(service: Service) -> Ending:
    """``blkrun stop``, while the client goes on."""
    return subprocess.Popen(
        [sys.executable, "-m", "blkrun", "stop", str(service.file), "--yes"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def sigterm_to_server(service: Service) -> Ending:
    """The runner must not start it again: it goes first."""
    pid = service.server_pid()
    service.kill_runner()
    os.kill(pid, signal.SIGTERM)
    return None


def sigterm_to_runner(service: Service) -> Ending:
    """As systemd does."""
    assert service.runner is not None
    service.runner.terminate()
    return service.runner


def ctrl_c_twice(service: Service) -> Ending:
    """The first one asks, since somebody is connected."""
    assert service.runner is not None
    service.runner.send_signal(signal.SIGINT)
    wait_for(lambda: "Ctrl-C again" in service.said(), "the question")
    service.runner.send_signal(signal.SIGINT)
    return service.runner


@pytest.mark.parametrize(
    "end", [stop_by_command, sigterm_to_server, sigterm_to_runner, ctrl_c_twice]
)
def test_no_acknowledged_write_is_lost(
    serve: Serve, tmp_path: Path, end: Callable[[Service], Ending]
) -> None:
    """Each write was answered once; those done are in the image, flushed after the last of them."""
    service = serve(slow_disk(tmp_path))
    pid = service.server_pid()
    writer = Writer(service.uri())
    writer.run(lambda: end(service))
    wait_for(lambda: not alive(pid), "the server to end")
    assert {len(answers) for answers in writer.answers.values()} == {1}
    done = [number for number, (error,) in writer.answers.items() if error == 0]
    assert LEAST_DONE <= len(done) < BLOCKS
    image = (tmp_path / "slow.img").read_bytes()
    for number in done:
        assert image[number * BLOCK :][:BLOCK] == content(number)
    requests = re.findall(r"connection=\d+ (Write|Flush) ", (tmp_path / "slow.log").read_text())
    assert requests.count("Write") >= len(done)
    assert requests[-1] == "Flush"


@pytest.mark.parametrize("how", ["stop", "SIGTERM"])
def test_a_request_that_hangs_elsewhere_is_given_up(serve: Serve, tmp_path: Path, how: str) -> None:
    """The other server was stopped by SIGSTOP: the client has an error, and ours ends by itself."""
    service = serve(slow_disk(tmp_path))
    pid = service.server_pid()
    children = Path(f"/proc/{pid}/task").glob("*/children")
    (other,) = [int(number) for each in children for number in each.read_text().split()]
    writer = Writer(service.uri())

    def end() -> Ending:
        os.kill(other, signal.SIGSTOP)
        time.sleep(0.1)
        return stop_by_command(service) if how == "stop" else sigterm_to_server(service)

    try:
        writer.run(end)
        wait_for(lambda: not alive(pid), "the server to end")
    finally:
        if alive(other):
            os.kill(other, signal.SIGKILL)
    assert {len(answers) for answers in writer.answers.values()} == {1}
    assert any(error for (error,) in writer.answers.values())
    assert "last flush of slow: " in service.log_of_server.read_text()
