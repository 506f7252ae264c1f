"""The poller against scripted servers: nothing missed, nothing twice, no end when they go."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import pytest

from blkrun.client import Client
from blkrun.dashboard import poller as module
from blkrun.dashboard.feed import Happened, Lost, Report, Seen
from blkrun.dashboard.poller import Poller
from blkrun.errors import NoServerError
from tests.dashboard.dashboard_samples import connected, lab


class Server:
    """One server process as a client sees it; ``gone`` ends it."""

    def __init__(self, pid: int = 42) -> None:
        self.pid = pid
        self.past: list[dict[str, Any]] = []
        self.queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.gone = False
        self.looks = 0
        self.busy = 0

    def emit(self, number: int) -> None:
        """An event happens."""
        self.past.append({"number": len(self.past) + 1, **connected(number)})
        self.queue.put_nowait(connected(number))

    def end(self) -> None:
        """It dies."""
        self.gone = True
        self.queue.put_nowait(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """Answer, one question at a time."""
        assert not self.busy
        self.busy += 1
        await asyncio.sleep(0)
        self.busy -= 1
        if self.gone:
            raise NoServerError("gone")
        if command == "x-blkrun-query-graph":
            self.looks += 1
            return lab(self.looks) | {"pid": self.pid}
        since = (arguments or {})["since"]
        return [event for event in self.past if event["number"] > since]

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The bell."""
        while (event := await self.queue.get()) is not None:
            yield event


class Audience:
    """Hears the reports, and can wait for what it expects."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self._news = asyncio.Event()

    def __call__(self, report: Report) -> None:
        """The poller tells."""
        self.reports.append(report)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for it."""
        async with asyncio.timeout(5):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def clients(self) -> list[int]:
        """Who connected, in the order told."""
        happened = [report for report in self.reports if isinstance(report, Happened)]
        return [event["data"]["id"] for report in happened for event in report.events]

    def count(self, kind: type[Report]) -> int:
        """Reports of a kind."""
        return sum(isinstance(report, kind) for report in self.reports)


def play(
    monkeypatch: pytest.MonkeyPatch,
    servers: list[Server | None],
    act: Callable[[Audience], Any],
    refresh_s: float = 0.001,
) -> Audience:
    """Run a poller that finds these servers one after the other; None is nobody there."""
    monkeypatch.setattr(module, "_FIRST_RETRY_S", 0)
    waiting = list(servers)

    async def connect(control: Path) -> Server:
        server = waiting.pop(0) if waiting else None
        if server is None:
            raise NoServerError(f"no server at {control}")
        return server

    monkeypatch.setattr(Client, "connect", connect)

    async def run() -> Audience:
        audience = Audience()
        poller = Poller(Path("lab.qmp"), refresh_s=refresh_s)
        task = asyncio.create_task(poller.run(audience))
        await act(audience)
        task.cancel()
        return audience

    return asyncio.run(run())


def test_looks_follow_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake fails if two questions overlap."""
    server = Server()

    async def act(audience: Audience) -> None:
        await audience.until(lambda: audience.count(Seen) > 5)

    assert play(monkeypatch, [server], act).count(Lost) == 0


def test_events_come_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those from before the connection, and each one since, at once and not at the next look."""
    server = Server()
    server.emit(1)

    async def act(audience: Audience) -> None:
        await audience.until(lambda: audience.clients() == [1])
        for number in (2, 3, 4):
            server.emit(number)
        await audience.until(lambda: audience.clients() == [1, 2, 3, 4])

    assert play(monkeypatch, [server], act, refresh_s=60).clients() == [1, 2, 3, 4]


def test_last_words_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that could not be fetched by number any more is shown from the wire."""
    server = Server()

    async def act(audience: Audience) -> None:
        await audience.until(lambda: audience.count(Seen) > 0)
        server.emit(9)
        server.end()
        await audience.until(lambda: audience.count(Lost) > 0)

    assert play(monkeypatch, [server], act, refresh_s=60).clients() == [9]


def test_loss_is_told_once_and_a_new_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its events begin at one again."""
    first, second = Server(), Server(pid=43)
    first.emit(1)
    second.emit(2)

    async def act(audience: Audience) -> None:
        await audience.until(lambda: audience.clients() == [1])
        first.end()
        await audience.until(lambda: audience.clients() == [1, 2])

    audience = play(monkeypatch, [None, first, None, None, second], act)
    assert audience.count(Lost) == 2


def test_same_server_after_a_lost_connection_repeats_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Events are known by number."""
    first, again = Server(), Server()
    first.emit(1)
    again.past = [*first.past, {"number": 2, **connected(2)}]

    async def act(audience: Audience) -> None:
        await audience.until(lambda: audience.clients() == [1])
        first.end()
        await audience.until(lambda: audience.clients() == [1, 2])

    assert play(monkeypatch, [first, again], act).clients() == [1, 2]


def test_reply_of_another_shape_is_a_loss_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of another version says so in the frame."""

    class Other(Server):
        async def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
            del command, arguments
            return {"pid": "many"}

    async def act(audience: Audience) -> None:
        await audience.until(lambda: audience.count(Lost) == 1)

    play(monkeypatch, [Other()], act)
