"""The poller against scripted servers: nothing missed, nothing twice, no end when they go."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import pytest

from blkrun.client import Client
from blkrun.dashboard import poller as module
from blkrun.dashboard.feed import Happened, Lost, Report, Seen
from blkrun.dashboard.model.rates import NOTHING, interval
from blkrun.dashboard.model.snapshot import Snapshot
from blkrun.dashboard.poller import Poller
from blkrun.errors import NoServerError
from tests.dashboard.dashboard_samples import connected, group, lab, numbers


class Server:
    """One server process as a client sees it; ``gone`` ends it."""

    def __init__(self, pid: int = 42) -> None:
        self.pid = pid
        self.past: list[dict[str, Any]] = []
        self.queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.gone = False
        self.looks = 0
        self.graphs = 0
        self.graph: dict[str, Any] = {}
        self.edits = 0  # as many come after each look at the graph
        self.busy = 0

    def emit(self, number: int) -> None:
        """An event happens."""
        self.past.append({"number": len(self.past) + 1, **connected(number)})
        self.queue.put_nowait(connected(number))

    def edit(self, **changes: Any) -> None:
        """The graph changes, and the event that says so is still on its way."""
        self.graph |= {"revision": self.graph.get("revision", 0) + 1, **changes}

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
        now = lab(self.looks) | {"pid": self.pid} | self.graph
        if command == "x-blkrun-stats":
            self.looks += 1
            return numbers(now, len(self.past))
        if command == "x-blkrun-query-graph":
            self.graphs += 1
            if self.edits:
                self.edits -= 1
                self.edit()
            return now
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

    def seen(self) -> list[Snapshot]:
        """The looks."""
        return [report.snapshot for report in self.reports if isinstance(report, Seen)]

    def count(self, kind: type[Report]) -> int:
        """Reports of a kind."""
        return sum(isinstance(report, kind) for report in self.reports)


def play(
    monkeypatch: pytest.MonkeyPatch,
    servers: list[Server | None],
    act: Callable[[Audience], Any],
    refresh_s: float = 0.001,
    runner_of: Callable[[Path], int | None] | None = None,
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
        poller = Poller(Path("lab.qmp"), refresh_s=refresh_s, runner_of=runner_of)
        task = asyncio.create_task(poller.run(audience))
        await act(audience)
        task.cancel()
        return audience

    return asyncio.run(run())


async def another_look(audience: Audience) -> None:
    """One that began after now."""
    seen = audience.count(Seen)
    await audience.until(lambda: audience.count(Seen) > seen)


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


def test_the_graph_is_looked_at_once_while_nothing_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Numbers are enough, and they are new with each look."""
    server = Server()

    async def act(audience: Audience) -> None:
        await audience.until(lambda: audience.count(Seen) > 9)

    seen = play(monkeypatch, [server], act).seen()
    assert server.graphs == 1
    done = [each.exports[0].stats.rd_operations for each in seen]
    assert done == sorted(set(done))
    assert interval(seen[3], seen[4]).exports["vda"].reads == 1000


def test_the_graph_is_looked_at_every_few_seconds_in_any_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here every time."""
    monkeypatch.setattr(module, "_GRAPH_AGE_S", 0)
    server = Server()

    async def act(audience: Audience) -> None:
        await audience.until(lambda: audience.count(Seen) > 5)

    play(monkeypatch, [server], act)
    assert server.graphs >= 5


def test_an_edit_shows_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before its event has come."""
    server = Server()

    async def act(audience: Audience) -> None:
        await audience.until(lambda: audience.count(Seen) > 2)
        server.edit(**{"throttle-groups": [group("gold", ("limit", 0), iops_total=77)]})
        await another_look(audience)

    last = play(monkeypatch, [server], act).seen()[-1]
    assert last.throttle_groups[0].limits == {"iops-total": 77}
    assert server.graphs == 2


def test_what_an_event_is_about_shows_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of the runner is no edit."""
    server = Server()

    async def act(audience: Audience) -> None:
        await audience.until(lambda: audience.count(Seen) > 2)
        server.graph["reports"] = {"config": {"kind": "applied"}}
        server.emit(1)
        await another_look(audience)

    last = play(monkeypatch, [server], act).seen()[-1]
    assert last.reports == {"config": {"kind": "applied"}}
    assert server.graphs == 2


@pytest.mark.parametrize(("edits", "graphs"), [(1, 2), (10**6, 3)])
def test_edits_while_looking_do_not_hold_up_the_look(
    monkeypatch: pytest.MonkeyPatch, edits: int, graphs: int
) -> None:
    """The graph is asked for again, but not for ever."""
    server = Server()
    server.edits = edits

    async def act(audience: Audience) -> None:
        await audience.until(lambda: audience.count(Seen) > 0)

    seen = play(monkeypatch, [server], act, refresh_s=60).seen()
    assert server.graphs == graphs
    assert seen[0].exports[0].stats.rd_operations > 0


def test_a_restarted_server_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never zero, nor less than nothing, though its counters and its clock have begun anew."""
    first, second = Server(), Server(pid=43)
    first.looks = 1000

    async def act(audience: Audience) -> None:
        await audience.until(lambda: audience.count(Seen) > 2)
        first.end()
        await audience.until(lambda: audience.seen()[-1].pid == 43)
        await another_look(audience)

    seen = play(monkeypatch, [first, second], act).seen()
    gaps = [interval(*pair) is NOTHING for pair in pairwise(seen)]
    assert gaps.count(True) == 1
    assert second.graphs == 1


def test_a_runner_that_comes_shows_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that goes, of which no event tells; without a way to find it, it is not known."""
    holders: dict[Path, int | None] = {Path("lab.qmp"): None}

    async def act(audience: Audience) -> None:
        for pid in (None, 77, None):
            holders[Path("lab.qmp")] = pid
            await another_look(audience)
            assert audience.seen()[-1].runner == (pid or 0)

    play(monkeypatch, [Server()], act, runner_of=holders.get)

    async def once(audience: Audience) -> None:
        await audience.until(lambda: audience.count(Seen) > 0)

    assert play(monkeypatch, [Server()], once).seen()[0].runner is None


def test_being_cancelled_while_the_bell_rings_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first look it does: whoever leaves then would wait for ever."""

    async def connect(control: Path) -> Server:
        return Server()

    monkeypatch.setattr(Client, "connect", connect)

    async def run() -> None:
        seen = asyncio.Event()
        task = asyncio.create_task(Poller(Path("lab.qmp"), refresh_s=60).run(lambda _: seen.set()))
        await seen.wait()
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=2)
        assert done

    asyncio.run(run())
