"""The runner: keeps a server equal to a file, for as long as it runs.

One loop, one thing at a time: the file has changed → ``_edit``; the server has gone → ``_recover``;
a job has ended → ``_look_again``.
What it did it reports through the server, so that every watcher sees one stream of events.  Its
own death touches nothing: the next runner finds the server and goes on.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns
from typing import Any

import msgspec

from blkrun.client import Client
from blkrun.config import EmptyFileError, load, parse, read
from blkrun.errors import BlkrunError, CommandError, FileError, NoServerError, WaitError
from blkrun.messages import event_text
from blkrun.model import Config, GraphModel
from blkrun.reconcile import nbdkit
from blkrun.reconcile.apply import RefusedError, apply, ask_live
from blkrun.reconcile.control import stop_server, wait_until_ready
from blkrun.reconcile.ended import EndedJobs, asks_for_a_plan
from blkrun.reconcile.follow import follow
from blkrun.reconcile.jobs import is_due, started_by, without_job
from blkrun.reconcile.live import Live, changed_by_itself
from blkrun.reconcile.outcome import OUTCOMES
from blkrun.reconcile.pivots import forget_recorded, with_recorded
from blkrun.reconcile.plan import plan
from blkrun.reconcile.proposal import Proposal, proposed, rehearsed
from blkrun.reconcile.reports import (
    about,
    milliseconds_since,
    points_in_time,
    restart_notes,
    stakes,
    warning_notes,
)
from blkrun.reconcile.watch import LOOK_INTERVAL_S, Look, Settler, look

_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 5.0

OnEvent = Callable[[dict[str, Any]], None]


class Runner:
    """``on_event`` hears every event of the server; ``note`` what no server can tell.

    ``server`` is the one just started for this file, or None if one was there already;
    ``shown`` is the file's path as the user wrote it, for messages; ``seen`` is what the file
    looked like before ``config`` was read from it.
    """

    def __init__(  # noqa: PLR0913 - all by name, and one caller
        self,
        config: Config,
        server: nbdkit.Server | None,
        *,
        shown: Path,
        seen: Look | None,
        on_event: OnEvent,
        note: Callable[[str], None],
        start_server: Callable[[Config], nbdkit.Server] = nbdkit.start,
    ) -> None:
        self.config = config
        self._start_server = start_server
        self._shown = shown
        self.started_server = server is not None
        self._on_event = on_event
        self._note = note
        self._good: GraphModel = config.graph
        self._good_is_stale = False
        self._ended = EndedJobs()
        self._plan_is_due = False
        self._was_refused = False
        self._told: set[str] = set()
        self._digest = ""
        """Of the text that is being, or was last, applied or rejected."""
        self._file_is_due = True  # a pivot from before this runner may not be in the file yet
        self._settler = Settler(seen)
        self._server = server
        self._client: Client | None = None
        self._listening: asyncio.Task[None] | None = None
        self._retry_s = _FIRST_RETRY_S
        self._death: str | None = None
        self._stop = asyncio.Event()

    @property
    def client(self) -> Client:
        """The conversation with the server."""
        if self._client is None:
            raise NoServerError(f"no server at {self.config.address.control}")
        return self._client

    # Life

    async def start(self) -> None:
        """Meet the server and bring it to what the file says.

        Raises BlkrunError: then nothing runs that did not run before.
        """
        if self._server is None:
            await self._adopt()
            return
        try:
            await self._meet(self._server)
            await self._converge(self.config)
        except BlkrunError:
            self._server.end()
            raise

    async def run(self) -> None:
        """Keep server and file equal until ``stop``, which does not wait for the step at hand."""
        stopped = asyncio.ensure_future(self._stop.wait())
        while not self._stop.is_set():
            step = asyncio.ensure_future(self._step())
            await asyncio.wait((step, stopped), return_when=asyncio.FIRST_COMPLETED)
            if step.done():
                step.result()
            else:
                step.cancel()
                with contextlib.suppress(asyncio.CancelledError, BlkrunError):
                    await step

    async def _step(self) -> None:
        """One look at everything, and what follows from it."""
        try:
            if self._listening is None or self._listening.done():
                await self._recover()
            elif self._good_is_stale:
                self._good_is_stale = False
                self._good = (await ask_live(self.client)).graph
            elif self._settler.observe(look(self.config.path), monotonic_ns()):
                await self._edit()
            elif self._plan_is_due and self._settler.settled:
                self._plan_is_due = False
                await self._look_again()
            elif self._file_is_due and self._settler.settled:
                self._file_is_due = False
                await self._write_down()
        except NoServerError:
            self._settler.forget()  # the next step recovers, and then this edit is due again
        except WaitError as error:
            self._note(f"{error}")
        await asyncio.sleep(LOOK_INTERVAL_S)

    def stop(self) -> None:
        """Let ``run`` return; the server goes on."""
        self._stop.set()

    async def stop_server(self) -> None:
        """End the server."""
        self.stop()
        # Our own child's number is known; a server that hangs would not tell it.
        pid = self._server.pid if self._server is not None else (await ask_live(self.client)).pid
        await stop_server(self.client, pid, self.config.address)

    async def close(self) -> None:
        """Hang up; the server goes on."""
        if self._listening is not None:
            self._listening.cancel()
        if self._client is not None:
            await self._client.close()

    # The server

    async def _adopt(self) -> None:
        """Go on with a server that ran before.  Raises NoServerError."""
        self._client = await Client.connect(self.config.address.control)
        self._listen()
        live = await ask_live(self._client)
        await self._report("adopted", {"pid": live.pid})
        await self._follow(self.config)

    async def _meet(self, server: nbdkit.Server) -> None:
        self._client = await wait_until_ready(server, self.config.address)
        self._listen()

    def _listen(self) -> None:
        self._listening = asyncio.create_task(self._pass_events(self.client))

    async def _pass_events(self, client: Client) -> None:
        async for event in client.events():
            if event["event"] == "SHUTDOWN":
                self.stop()
            elif event["event"] == "X_BLKRUN_CONFIG_APPLIED":
                self._good_is_stale = True  # by us, or by ``blkrun apply``
            self._ended.hear(event, self._good.jobs)
            if asks_for_a_plan(event):
                self._plan_is_due = self._file_is_due = True
            self._on_event(event)

    async def _recover(self) -> None:
        """The conversation has ended: go on with the server if it is there, else start another.

        One attempt a step; the time between attempts grows.
        """
        if self._client is not None:
            await self._client.close()
        try:
            if nbdkit.answers(self.config.address):
                await self._adopt()
            else:
                await self._start_again()
        except (BlkrunError, OSError) as error:
            self._note(f"no server, trying again: {error}")
            await asyncio.sleep(self._retry_s)
            self._retry_s = min(self._retry_s * 2, _LAST_RETRY_S)
        else:
            self._retry_s = _FIRST_RETRY_S
            self._settler.forget()  # what was pending for a client's sake may be due now

    async def _start_again(self) -> None:
        """A new server with the last good graph, or none at all.

        Its jobs apart: one that cannot be started now, such as a backup with a bitmap that the old
        server has taken with it, must not keep clients from their disks.  It is left out and told
        of, and tried again with the file's next save.
        """
        if self._death is None:
            how = self._server.ended() if self._server is not None else None
            self._death = how or "it went away"
        server = self._server = self._start_server(self.config)
        try:
            await self._meet(server)
            good = self._last_good()
            refusals = await self._bring_back(good)
            jobs = list((await ask_live(self.client)).graph.jobs)
        except BlkrunError:
            if self._listening is not None:
                self._listening.cancel()
            server.end()
            raise
        self.started_server = True
        anew = {"anew": points_in_time(good), "jobs": jobs}
        await self._report("restarted", {"why": self._death, **anew})
        self._death = None
        for message in refusals:
            await self._report("failed", {"file": self.config.path.name, "message": message})
        self._told = set(refusals)

    async def _bring_back(self, good: GraphModel) -> list[str]:
        """A graph, less the jobs that the server refuses to start: what it said of each."""
        refusals: list[str] = []
        while True:
            operations = plan(good, (await self._ask(good)).graph)
            try:
                await apply(self.client, operations, self.config)
            except RefusedError as error:
                if error.operation is None or (job := started_by(error.operation)) is None:
                    raise
                refusals.append(str(error))
                good = without_job(good, job)
            else:
                return refusals

    def _last_good(self) -> GraphModel:
        """What was in force; just after somebody's ``blkrun apply`` that is what the file says."""
        if self._good_is_stale:
            with contextlib.suppress(FileError):
                return load(self._shown).graph
        return self._good

    # The file

    async def _edit(self) -> None:
        """The file was saved."""
        path = self._shown
        self._digest = ""
        try:
            sources = read(path)
            self._digest = sources.digest
            config = parse(sources)
        except EmptyFileError:
            await self._reject(f"{path.name}: the file describes nothing; what runs goes on", 1)
        except FileError as error:
            await self._reject(str(error), max(len(error.problems), 1))
        else:
            await self._follow(config)

    async def _follow(self, config: Config) -> None:
        """Apply a good file, or say why not, but not twice; the server goes on as it was."""
        self._file_is_due = True  # it may be one that can follow a pivot
        told, self._told = self._told, set()
        try:
            await self._converge(config)
            self._was_refused = False
        except RefusedError as error:
            self._was_refused = True
            if str(error) not in told:
                await self._report("failed", {"file": config.path.name, "message": str(error)})

    async def _converge(self, config: Config) -> None:
        """Apply at once, without a dry run: the transaction changes all or nothing, and tells."""
        begin_ns = monotonic_ns()
        live = await self._ask(config.graph)
        proposal = proposed(config, live)
        operations = proposal.operations
        if proposal.why is not None:
            await self._ask_for_yes(config, proposal)
            return
        drains: dict[str, int] = {}
        if operations:
            try:
                drains = await apply(
                    self.client, operations, config, hard=config.runner.apply == "all"
                )
            except RefusedError:
                if not changed_by_itself(live.graph, (await self._ask(config.graph)).graph):
                    raise
                await self._converge(config)  # what the plan was made for was so no more
                return
        notes = restart_notes(config, self.config) + warning_notes(config)
        self.config, self._good = config, config.graph
        self._ended.applied(config.graph)
        forget_recorded(config.graph, config.address.control)
        done = about(config, operations) | stakes(drains, proposal.taken)
        done |= {"milliseconds": milliseconds_since(begin_ns), "notes": notes}
        await self._report("applied", done)

    async def _ask_for_yes(self, config: Config, proposal: Proposal) -> None:
        """Nobody is asked about what would be refused.  Raises RefusedError."""
        tried = await rehearsed(self.client, config, proposal)
        if tried.refused is not None:
            raise RefusedError(tried.refused, None)
        data = about(config, tried.operations) | stakes(tried.drains, tried.taken)
        await self._report("pending", data | {"why": tried.why})

    async def _reject(self, message: str, problems: int) -> None:
        data = {"file": self.config.path.name, "message": message, "problems": problems}
        await self._report("rejected", data)

    async def _report(self, kind: str, data: dict[str, Any]) -> None:
        """Tell every watcher; a server that goes away meanwhile is noticed by the loop."""
        if kind in OUTCOMES:
            data = data | {"digest": self._digest}
        with contextlib.suppress(NoServerError):
            await self.client.execute("x-blkrun-report", {"kind": kind, "data": data})

    # Jobs

    async def _look_again(self) -> None:
        """A job has ended or gone: one of the file, or a bitmap, may be due, or an edit that waits.

        Otherwise what somebody does by QMP beside the file is left until the next edit.
        """
        with contextlib.suppress(FileError):  # told when it was saved; what runs goes on
            config = load(self._shown)
            operations = plan(config.graph, (await self._ask(config.graph)).graph)
            if operations and (
                self._was_refused or any(is_due(op, config.graph) for op in operations)
            ):
                await self._follow(config)

    async def _write_down(self) -> None:
        """Let the file say what a mirror's pivot has made of the graph."""
        live = await ask_live(self.client)
        done = follow(self._shown, self.config, lambda graph: self._with_ended(live.graph, graph))
        if done is None:
            return
        try:
            await self._report("followed", done)
        except CommandError:  # a server that was started by an older blkrun
            self._note(event_text({"event": "X_BLKRUN_CONFIG_FOLLOWED", "data": done}))

    async def _ask(self, desired: GraphModel) -> Live:
        """The graph in force, and the jobs that have ended with a server before."""
        live = await ask_live(self.client)
        return msgspec.structs.replace(live, graph=self._with_ended(live.graph, desired))

    def _with_ended(self, live: GraphModel, desired: GraphModel) -> GraphModel:
        control = self.config.address.control
        return with_recorded(self._ended.added_to(live, desired), desired, control)
