"""The server without nbdkit: a graph, its QMP session, and threads that do I/O through it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from blkrun.server import connection
from blkrun.server.context import Context
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.qmp.session import Session
from blkrun.server.threads import KeptState

PATIENCE_S = 10.0
"""No test takes this long: it is when waiting for another thread is given up."""


class InProcess:
    """One negotiated client; ``sent`` has everything that it was told."""

    def __init__(self) -> None:
        self.events = Events(clock=lambda: 1_700_000_000.25)
        self.graph = Graph(self.events)
        self.shut_down = threading.Event()
        self.context = Context(
            graph=self.graph,
            events=self.events,
            shutdown=self.shut_down.set,
            threads=4,
            started_ns=0,
        )
        self.sent: list[dict[str, Any]] = []
        self.session = Session(self.context, lambda data: self.sent.append(decode(data)))
        self.execute("qmp_capabilities")

    def say(self, request: Any) -> dict[str, Any]:
        """Send one JSON value, and give the answer."""
        before = len(self.sent)
        assert self.session.feed(msgspec.json.encode(request))
        (answer,) = [m for m in self.sent[before:] if "event" not in m]
        return answer

    def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """The command's return value; it must not be refused."""
        request: dict[str, Any] = {"execute": command}
        if arguments is not None:
            request["arguments"] = arguments
        answer = self.say(request)
        assert "return" in answer, answer
        return answer["return"]

    def refused(self, command: str, arguments: dict[str, Any] | None = None) -> tuple[str, str]:
        """The class and the text with which the command is refused."""
        answer = self.say({"execute": command, "arguments": arguments or {}})
        assert "error" in answer, answer
        return answer["error"]["class"], answer["error"]["desc"]

    def transaction(self, *actions: tuple[str, dict[str, Any]]) -> None:
        """Several edits, which must not be refused."""
        steps = [{"type": kind, "data": data} for kind, data in actions]
        self.execute("transaction", {"actions": steps})

    def add(self, driver: str, name: str, **options: Any) -> None:
        """blockdev-add, with options in Python's spelling."""
        wire = {key.replace("_", "-"): value for key, value in options.items()}
        self.execute("blockdev-add", {"driver": driver, "node-name": name, **wire})

    def node(self, name: str) -> dict[str, Any]:
        """What x-blkrun-query-graph says of a node."""
        nodes = self.execute("x-blkrun-query-graph")["nodes"]
        (found,) = [node for node in nodes if node["node-name"] == name]
        assert isinstance(found, dict)
        return found

    def picture(self) -> bytes:
        """x-blkrun-query-graph, byte for byte, but for the time and how many edits it took."""
        reply = self.execute("x-blkrun-query-graph")
        for key in ("now-ns", "uptime-ns", "revision"):
            del reply[key]
        for export in reply["exports"]:
            for client in export["clients"]:
                del client["connected-seconds"]
        return msgspec.json.encode(reply)


def decode(data: bytes) -> dict[str, Any]:
    """One message as it goes over the wire: a line, ended by CRLF (§9.1)."""
    assert data.endswith(b"\r\n")
    assert b"\n" not in data[:-2]
    return msgspec.json.decode(data, type=dict[str, Any])


def ignore(error: BaseException) -> None:
    """For a connection's ``report_error``."""


def eventually(true: Callable[[], object]) -> None:
    """Let other threads run until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while not true():
        assert time.monotonic() < deadline, "it never came to be"
        pause.wait(0.0005)


class Worker(threading.Thread):
    """A thread whose exception is raised again by ``finish``."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Work, and keep what goes wrong for the main thread."""
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - raised in finish
            self.error = error

    def finish(self) -> None:
        """It must have ended, and well."""
        self.join(PATIENCE_S)
        assert not self.is_alive(), "a thread hangs"
        if self.error is not None:
            raise self.error


@contextmanager
def workers(works: list[Callable[[], object]]) -> Iterator[list[Worker]]:
    """Threads that end before the block does."""
    threads = [Worker(work) for work in works]
    yield threads
    for thread in threads:
        thread.finish()


def leave_thread_states_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plain Python threads be a connection's workers.

    Their states end with them, so that freeing them in ``close`` would be freeing them twice;
    nbdkit's threads have none of their own.
    """

    def keep() -> KeptState:
        return KeptState(0, 0)

    monkeypatch.setattr(connection, "keep_thread_state", keep)
    monkeypatch.setattr(connection, "release_thread_states", list)
