"""The one task that talks to the server: looks at it regularly and tells what it saw.

A look never begins before the last one has ended.  It asks for the numbers, which are cheap, and
for the whole graph only when that may be another one: when an edit or an event has come since, and
every few seconds in any case.  An event is only a bell: what is shown is
fetched by number (``x-blkrun-query-events``), so that nothing is missed or shown twice, also over
a lost connection.  When the server goes, connecting is tried again, ever less often.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from time import monotonic, time
from typing import Any

import msgspec
from msgspec.structs import replace

from blkrun.client import Client
from blkrun.dashboard.feed import Happened, Lost, Report, Seen
from blkrun.dashboard.model.numbers import Numbers, Reading, fits
from blkrun.dashboard.model.snapshot import Snapshot, read_snapshot
from blkrun.errors import BlkrunError, NoServerError

_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 2.0
_LAST_WORDS_S = 0.2
_GRAPH_AGE_S = 5.0
"""Whatever the server says, the graph is looked at after this long."""

_GRAPH_TRIES = 3
"""Edits may come between the graph and its numbers."""


class Poller:
    """The feed from a real server.  ``runner_of`` finds who follows its file, cheaply."""

    def __init__(
        self,
        control: Path,
        *,
        refresh_s: float,
        runner_of: Callable[[Path], int | None] | None = None,
    ) -> None:
        self._control = control
        self._runner_of = runner_of
        self._refresh_s = refresh_s
        self._bell = asyncio.Event()
        self._rung: list[dict[str, Any]] = []
        self._pid: int | None = None
        self._number = 0
        self._told = (0, 0)
        self._lost = False
        self._reading = Reading()
        self._graph: Snapshot | None = None
        self._graph_event = 0  # the last one that the graph is known to have seen
        self._graph_s = 0.0

    def now_s(self) -> float:
        """Monotonic."""
        return monotonic()

    def wall_s(self, at_s: float) -> float:
        """By how long ago it was."""
        return time() - (self.now_s() - at_s)

    @property
    def refresh_s(self) -> float:
        """Time between two looks."""
        return self._refresh_s

    def set_refresh(self, refresh_s: float) -> None:
        """Change it, from now on."""
        self._refresh_s = refresh_s
        self._bell.set()

    async def run(self, tell: Callable[[Report], object]) -> None:
        """Look and tell, until cancelled."""
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                async with await Client.connect(self._control) as client:
                    retry_s = _FIRST_RETRY_S
                    await self._follow(client, tell)
            except (BlkrunError, msgspec.ValidationError) as error:
                self._tell_lost(tell, str(error))
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, _LAST_RETRY_S)

    async def ask_runner(self, kind: str, data: dict[str, Any]) -> None:
        """In a conversation of its own: a look may be under way."""
        async with await Client.connect(self._control) as client:
            await client.execute("x-blkrun-ask-runner", {"kind": kind, "data": data})

    async def ask_server(self, command: str, arguments: dict[str, Any]) -> None:
        """The same."""
        async with await Client.connect(self._control) as client:
            await client.execute(command, arguments)

    def _tell_lost(self, tell: Callable[[Report], object], why: str) -> None:
        """With the server's last words, which could not be fetched by number any more."""
        words = tuple(event for event in self._rung if _stamp(event) > self._told)
        self._rung.clear()
        if words:
            tell(Happened(words))
        if not self._lost:
            self._lost = True
            tell(Lost(why))

    async def _follow(self, client: Client, tell: Callable[[Report], object]) -> None:
        self._graph = None  # there may be another server behind the same address
        listening = asyncio.create_task(self._listen(client))
        try:
            self._bell.set()  # for what happened before this connection
            while True:
                begin_s = asyncio.get_running_loop().time()
                await self._look(client, tell)
                await self._wait(client, tell, begin_s)
        except NoServerError:
            await asyncio.wait((listening,), timeout=_LAST_WORDS_S)
            raise
        finally:
            listening.cancel()

    async def _wait(self, client: Client, tell: Callable[[Report], object], begin_s: float) -> None:
        """Until the next look is due; answer the bell meanwhile."""
        loop = asyncio.get_running_loop()
        while (rest_s := begin_s + self._refresh_s - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):  # wait_for may swallow being cancelled
                    await self._bell.wait()
            if self._bell.is_set():
                self._bell.clear()
                await self._fetch_events(client, tell)

    async def _listen(self, client: Client) -> None:
        async with contextlib.aclosing(client.events()) as events:  # type: ignore[type-var]
            async for event in events:
                self._rung.append(event)
                self._bell.set()
        self._bell.set()

    async def _look(self, client: Client, tell: Callable[[Report], object]) -> None:
        numbers = self._reading.numbers(await client.execute("x-blkrun-stats"))
        graph = self._graph
        if graph is None or self._is_old(graph, numbers):
            graph, numbers = await self._look_at_graph(client, numbers)
        if graph.pid != self._pid:
            self._pid, self._number = graph.pid, 0
        self._lost = False
        snapshot = self._reading.snapshot(graph, numbers)
        if self._runner_of is not None:
            snapshot = replace(snapshot, runner=self._runner_of(self._control) or 0)
        tell(Seen(snapshot, self.now_s()))

    def _is_old(self, graph: Snapshot, numbers: Numbers) -> bool:
        return (
            not fits(graph, numbers)
            or numbers.last_event != self._graph_event
            or self.now_s() - self._graph_s >= _GRAPH_AGE_S
        )

    async def _look_at_graph(self, client: Client, numbers: Numbers) -> tuple[Snapshot, Numbers]:
        """The graph, and numbers that are of it, unless edits come faster than one can look."""
        for _ in range(_GRAPH_TRIES):
            graph = read_snapshot(await client.execute("x-blkrun-query-graph"))
            self._graph, self._graph_s, self._graph_event = graph, self.now_s(), numbers.last_event
            numbers = self._reading.numbers(await client.execute("x-blkrun-stats"))
            if fits(graph, numbers):
                break
        return graph, numbers

    async def _fetch_events(self, client: Client, tell: Callable[[Report], object]) -> None:
        known = len(self._rung)
        events = await client.execute("x-blkrun-query-events", {"since": self._number})
        del self._rung[:known]
        if events:
            self._number, self._told = events[-1]["number"], _stamp(events[-1])
            tell(Happened(tuple(events)))


def _stamp(event: dict[str, Any]) -> tuple[int, int]:
    stamp = event["timestamp"]
    return stamp["seconds"], stamp["microseconds"]
