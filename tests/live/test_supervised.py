"""Under a supervisor such as systemd: readiness, and a socket that was there before the server."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.service import DISK, PATIENCE_S, Service, tool, wait_for

WITH_SOCKET = 'exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
"""What systemd does: the socket is descriptor 3, and the variables name the process."""

LINGERING = DISK + '[backends.far]\ndriver = "nbd"\nuri = "nbd+unix:///?socket=%s"\n'


class Supervisor:
    """Makes the sockets, starts a runner, hears what it tells.  ``listener``: for the clients."""

    def __init__(self, directory: Path, listener: socket.socket | None) -> None:
        self.service = Service(directory, DISK)
        self.listener = listener
        self.told: list[str] = []
        self._datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._datagrams.bind(str(directory / "notify"))
        self._datagrams.settimeout(0.05)

    def start(self) -> "subprocess.Popen[bytes]":
        """A runner, at its beginning."""
        command = [sys.executable, "-m", "blkrun", "run", "--headless", str(self.service.file)]
        if self.listener is not None:
            command = ["/bin/sh", "-c", WITH_SOCKET, "sh", *command]
        with self.service.log.open("ab") as output:
            self.service.runner = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if self.listener is None else self.listener.fileno(),
                stdout=output,
                stderr=output,
                env={**os.environ, "NOTIFY_SOCKET": str(self._datagrams.getsockname())},
            )
        return self.service.runner

    def has_told(self, assignment: str) -> bool:
        """Whether it has said this by now."""
        with contextlib.suppress(TimeoutError):
            while True:
                self.told += self._datagrams.recv(65536).decode().split("\n")
        return any(each.startswith(assignment) for each in self.told)

    def wait_told(self, assignment: str) -> None:
        """Until it has said this."""
        wait_for(lambda: self.has_told(assignment), assignment)

    def end(self) -> None:
        """What still runs, and the sockets."""
        self.service.end()
        self._datagrams.close()
        if self.listener is not None:
            self.listener.close()


Supervise = Callable[..., Supervisor]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """``supervise(activated=True)``: with a socket that listens where the file says."""
    made: list[Supervisor] = []

    def one(*, activated: bool, at: str = "vm.sock") -> Supervisor:
        listener = None
        if activated:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(tmp_path / at))
            listener.listen()
        made.append(Supervisor(tmp_path, listener))
        return made[-1]

    yield one
    for each in made:
        each.end()


@contextlib.contextmanager
def client(service: Service) -> Iterator["subprocess.Popen[str]"]:
    """Somebody who connects now, and asks for the size when he is let in."""
    process = subprocess.Popen(
        ["nbdinfo", "--size", service.uri()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert said == f"{64 * 2**20}\n"
    finally:
        process.kill()
        process.communicate()


def test_ready_is_when_the_file_is_in_force(supervise: Supervise) -> None:
    """Not while a backend is waited for; then the status follows edits, and the end is told."""
    supervisor = supervise(activated=False)
    service = supervisor.service
    with socket.socket(socket.AF_UNIX) as far:
        far.bind(str(service.file.parent / "far"))
        far.listen()
        service.file.write_text(LINGERING % far.getsockname())
        supervisor.start()
        far.accept()[0].close()  # it has connected: the transaction is under way
        assert not supervisor.has_told("READY=1")
        assert service.runner is not None
        assert service.runner.wait(PATIENCE_S) == 1
        assert not supervisor.has_told("READY=1")
    service.edit(DISK)
    supervisor.start()
    supervisor.wait_told("READY=1")
    assert service.live() == service.desired()
    service.edit(DISK.replace("memory", "memry"))
    supervisor.wait_told("STATUS=rejected, nothing changed: ")
    service.edit(DISK)
    os.kill(service.runner.pid, signal.SIGTERM)
    supervisor.wait_told("STOPPING=1")
    assert service.runner.wait(PATIENCE_S) == 0


def test_clients_come_before_the_server(supervise: Supervise) -> None:
    """They wait in the queue of the socket, and find the disk that they ask for."""
    supervisor = supervise(activated=True)
    with client(supervisor.service), client(supervisor.service):
        time.sleep(0.1)  # they connect; after the start, this holds too
        supervisor.start()
    supervisor.wait_told("READY=1")


def test_a_server_started_again_has_the_same_socket(supervise: Supervise) -> None:
    """Clients that come after a crash wait for it; a stop leaves the socket to its owner."""
    supervisor = supervise(activated=True)
    service = supervisor.service
    runner = supervisor.start()
    supervisor.wait_told("READY=1")
    file = service.socket.stat().st_ino
    for _ in range(3):
        pid = service.server_pid()
        os.kill(pid, signal.SIGKILL)
        with client(service):
            pass
        wait_for(lambda: supervisor.has_told("STATUS=the server died"), "the status")
        supervisor.told.clear()
        wait_for(service.control.exists, "the control socket")
    assert service.blkrun("stop").returncode == 0
    assert runner.wait(PATIENCE_S) == 0
    assert service.socket.stat().st_ino == file
    runner = supervisor.start()
    with client(service):
        pass


def test_what_was_handed_over_stays_here(supervise: Supervise) -> None:
    """The server has none of the supervisor's variables, nor other sockets than its own."""
    supervisor = supervise(activated=True)
    supervisor.start()
    supervisor.wait_told("READY=1")
    environment = Path(f"/proc/{supervisor.service.server_pid()}/environ").read_bytes()
    names = {each.split(b"=")[0] for each in environment.split(b"\0")}
    assert b"NOTIFY_SOCKET" not in names
    # nbdkit unsets the two that it was given, in its memory only


def test_a_socket_elsewhere_than_the_file_says(supervise: Supervise) -> None:
    """It is an error, with the line that would agree; nothing is started."""
    supervisor = supervise(activated=True, at="other.sock")
    assert supervisor.start().wait(PATIENCE_S) == 1
    other = supervisor.service.file.parent / "other.sock"
    assert f'set listen = "unix:{other}"' in supervisor.service.said()
    assert not supervisor.service.control.exists()


def test_a_tcp_socket(supervise: Supervise, tmp_path: Path) -> None:
    """The port is what has to agree; requests are served, and clients hung up on at a stop."""
    supervisor = supervise(activated=False)
    supervisor.listener = socket.create_server(("127.0.0.1", 0))
    port = supervisor.listener.getsockname()[1]
    supervisor.service.file.write_text(f'[server]\nlisten = "tcp:localhost:{port}"\n{DISK}')
    runner = supervisor.start()
    supervisor.wait_told("READY=1")
    assert int(tool("nbdinfo", "--size", f"nbd://127.0.0.1:{port}/vda")) == 64 * 2**20
    with socket.create_connection(("127.0.0.1", port)) as idle:
        idle.recv(18)
        assert supervisor.service.blkrun("stop", "--yes").returncode == 0
        assert runner.wait(PATIENCE_S) == 0
