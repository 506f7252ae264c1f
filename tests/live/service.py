"""A ``blkrun run --headless`` under test, and the ways to look at it from outside."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blkrun.config import load
from blkrun.model import GraphModel
from blkrun.reconcile.live import read_live

PATIENCE_S = 20.0

DISK = """
[backends.disk]
driver = "memory"
size   = "64MiB"

[exports.vda]
node = "disk"
"""
THROTTLED = """\
[throttle-groups.g]
iops-total = 100000

[backends.disk]
driver = "memory"
size   = "64MiB"

[nodes.limit]
driver         = "throttle"
throttle-group = "g"
file           = "disk"

[exports.vda]
node = "limit"
"""
"""The same behind a limit that holds nobody up."""


def wait_for(done: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Poll until ``done`` gives something; fail with ``what`` when it does not come."""
    deadline = time.monotonic() + patience_s
    while not (result := done()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s} s in vain for {what}")
        time.sleep(0.01)
    return result


class Qmp:
    """A plain QMP client: what it reads and writes is what is on the wire."""

    def __init__(self, control: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        self._file = self.socket.makefile("rb")
        self.events: list[dict[str, Any]] = []
        try:
            self.socket.connect(str(control))
            self.greeting = self.read()
        except OSError:
            self.close()
            raise

    def read(self) -> dict[str, Any]:
        """The next message, or an empty dict at the end."""
        line = self._file.readline()
        return dict(json.loads(line)) if line else {}

    def negotiated(self) -> "Qmp":
        """Ready for commands."""
        reply = self.ask("qmp_capabilities")
        assert "return" in reply, reply
        return self

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The whole reply; events that come before it are kept."""
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            message = self.read()
            if "event" not in message:
                return message
            self.events.append(message)

    def do(self, command: str, **arguments: Any) -> Any:
        """What it returns; an error fails the test."""
        reply = self.ask(command, **arguments)
        assert "return" in reply, reply
        return reply["return"]

    def wait_event(self, name: str) -> dict[str, Any]:
        """The next event of that name, among those kept or to come."""
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            message = self.read()
            assert message, f"the conversation ended without {name}"
            self.events.append(message)

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self.socket.close()


class Service:
    """A file, the runner that serves it, and the server behind it."""

    def __init__(self, directory: Path, text: str, name: str = "vm") -> None:
        self.file = directory / f"{name}.toml"
        self.control = directory / f"{name}.qmp"
        self.socket = directory / f"{name}.sock"
        self.log = directory / "runner.log"
        self.log_of_server = directory / f"{name}.log"
        self.file.write_text(text)
        self.runner: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start (another) runner and wait until it has applied the file."""
        with self.log.open("ab") as output:
            begin = self.log.stat().st_size
            self.runner = subprocess.Popen(
                [sys.executable, "-m", "blkrun", "run", "--headless", str(self.file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_for(lambda: "serving " in self.said(begin) or self._ended(), "the runner to serve")
        assert not self._ended(), self.said()

    def _ended(self) -> bool:
        return self.runner is not None and self.runner.poll() is not None

    def said(self, begin: int = 0) -> str:
        """The headless log, from a position on."""
        return self.log.read_bytes()[begin:].decode()

    def uri(self, export: str = "vda") -> str:
        """The NBD URI of an export."""
        return f"nbd+unix:///{export}?socket={self.socket}"

    def edit(self, text: str) -> None:
        """Save the file as most editors do: a new file renamed over the old."""
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.file)

    def edit_and_wait(self, text: str) -> dict[str, Any]:
        """Save, and give the event that says what came of it."""
        with self.qmp() as qmp:
            self.edit(text)
            return self.next_report(qmp)

    def next_report(self, qmp: Qmp) -> dict[str, Any]:
        """The next event about the file."""
        while True:
            event = qmp.events.pop(0) if qmp.events else qmp.read()
            assert event, "the server went away"
            if event["event"].startswith("X_BLKRUN_CONFIG_"):
                return event

    @contextmanager
    def qmp(self) -> Iterator[Qmp]:
        """A conversation that is ready for commands."""
        qmp = Qmp(self.control)
        try:
            yield qmp.negotiated()
        finally:
            qmp.close()

    def graph(self) -> dict[str, Any]:
        """x-blkrun-query-graph."""
        with self.qmp() as qmp:
            return dict(qmp.do("x-blkrun-query-graph"))

    def live(self) -> GraphModel:
        """The graph in force."""
        return read_live(self.graph()).graph

    def desired(self) -> GraphModel:
        """The graph that the file describes."""
        return load(self.file).graph

    def server_pid(self) -> int:
        """The process id of nbdkit."""
        return int(self.graph()["pid"])

    def resident_kib(self) -> int:
        """VmRSS of the server."""
        status = Path(f"/proc/{self.server_pid()}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def kill_runner(self) -> None:
        """SIGKILL: it has no say in it."""
        assert self.runner is not None
        self.runner.kill()
        self.runner.wait()

    def blkrun(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Another command on the same file."""
        command, *options = words
        return subprocess.run(
            [sys.executable, "-m", "blkrun", command, str(self.file), *options],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def end(self) -> None:
        """End what is left, by process id."""
        pid = None
        if self.control.exists():
            try:
                pid = self.server_pid()
            except OSError:
                pid = None
        if self.runner is not None and self.runner.poll() is None:
            self.runner.kill()
            self.runner.wait()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


def tool(*command: str) -> str:
    """Run a client tool; its output.  A failure shows what it said.

    Without file(1) on the machine nbdinfo prints bytes that are no text as a disk's content.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=60, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
