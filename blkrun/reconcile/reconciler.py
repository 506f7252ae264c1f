"""Brings a server to what a file says, and tells what came of it.

What is *in force* is the text that was applied last, by this runner, by ``blkrun apply`` or by a
runner before: drift is what differs from that.  The file may say something else by now, which was
rejected, refused, or waits for a yes.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any

import msgspec

from blkrun.client import Client
from blkrun.config import EmptyFileError, Sources, parse, read
from blkrun.errors import FileError, NoServerError
from blkrun.model import Config, GraphModel
from blkrun.reconcile.apply import RefusedError, apply
from blkrun.reconcile.chronicle import Chronicle
from blkrun.reconcile.drift import DriftWatch, Step, drift_report
from blkrun.reconcile.due import BY, Due
from blkrun.reconcile.ended import EndedJobs
from blkrun.reconcile.follow import follow
from blkrun.reconcile.jobs import is_due, started_by, without_job
from blkrun.reconcile.live import Live, changed_by_itself, read_live
from blkrun.reconcile.marks import marks
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.pivots import forget_recorded, with_recorded
from blkrun.reconcile.plan import endangered, plan
from blkrun.reconcile.proposal import Proposal, proposed, rehearsed
from blkrun.reconcile.reports import (
    about,
    milliseconds_since,
    points_in_time,
    restart_notes,
    stakes,
    switched_off,
    warning_notes,
    why_not_now,
)
from blkrun.reconcile.text_diff import sources_diff


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that waits for a yes to this."""

    config: Config
    sources: Sources
    proposal: Proposal


class Reconciler:
    """``config`` was read from ``sources``; it is in force once it has been applied."""

    def __init__(
        self, config: Config, sources: Sources, shown: Path, note: Callable[[str], None]
    ) -> None:
        self.config = config
        self._sources = sources
        self._good: GraphModel = config.graph
        self._shown = shown
        self._note = note
        self._chronicle = Chronicle(config.address.control, BY, note)
        self._client: Client | None = None
        self._due = Due()
        self._ended = EndedJobs()
        self._drift = DriftWatch()
        self._moved_by_hand: str | None = None
        self._read: Sources | None = sources
        self._known: tuple[str, str] = ("", "")
        """Digest of the text that was dealt with last, and what became of it."""
        self._waiting: Waiting | None = None
        self._told: set[str] = set()

    @property
    def client(self) -> Client:
        """The conversation with the server."""
        if self._client is None:
            raise NoServerError(f"no server at {self.config.address.control}")
        return self._client

    def meet(self, client: Client) -> None:
        """From now on this is the server."""
        self._client = client

    def hear(self, event: dict[str, Any]) -> None:
        """An event of the server: what it asks for is done by ``do_due``."""
        self._ended.hear(event, self._good.jobs)
        self._due.hear(event)
        if event["event"] == "X_BLKRUN_JOB_PIVOTED" and event["data"]["id"] not in self._good.jobs:
            self._moved_by_hand = str(event["data"]["id"])

    async def do_due(self, is_settled: Callable[[], bool]) -> None:
        """The first of what events have asked for; some of it when nobody is saving just now."""
        due = self._due
        if due.applied is not None:
            data, due.applied = due.applied, None
            await self._take_over(str(data.get("digest", "")))
            await self._end_drift()
        elif due.yes is not None:
            data, due.yes = due.yes, None
            await self._hear_yes(str(data.get("digest", "")))
        elif due.revert:
            due.revert = False
            await self._revert_anyway()
        elif due.plan and is_settled():
            due.plan = False
            await self._look_again()
        elif due.file and is_settled():
            due.file = False
            await self._write_down()
        elif due.drift and not due.plan:
            due.drift = False
            await self._look_for_drift()

    # The server

    async def start(self) -> None:
        """Bring a new server to what the file says: that it was started is the yes to that.

        Raises RefusedError.
        """
        await self._converge(self.config, self._sources, yes=True)

    async def adopt(self) -> None:
        """Go on with a server that ran before: what is in force there is asked of it."""
        reply = await self.client.execute("x-blkrun-query-graph")
        await self._tell("adopted", {"pid": reply["pid"]})
        reports = reply["reports"]
        digest = str((reports.get("in-force") or {}).get("digest", ""))
        if reports.get("drift"):
            self._drift.recall()
        self._due.drift = self._due.file = True
        if digest != self._sources.digest:
            file = self.config, self._sources
            await self._take_over(digest)
            await self._follow(*file)
        elif operations := (await self._drifted())[0]:
            self._known = digest, "applied"
            self._due.plan = any(is_due(op, self._good) for op in operations)
        else:
            await self._follow(self.config, self._sources)

    async def bring_back(self, why: str) -> None:
        """To a server that was started anew: what is in force, or nothing at all.

        Its jobs apart: one that cannot be started now, such as a backup with a bitmap that the old
        server has taken with it, must not keep clients from their disks.  It is left out and told
        of, and tried again with the file's next save.
        """
        if (applied := self._due.applied) is not None:  # just before the old one went
            self._due.applied = None
            await self._take_over(str(applied.get("digest", "")))
        self._due.file = True  # the old one may have written down a pivot
        refusals = await self._without_refused_jobs()
        jobs = list((await self._ask(self._good)).graph.jobs)
        anew = {"anew": points_in_time(self._good), "jobs": jobs, **switched_off(self.config)}
        await self._tell("restarted", {"why": why, **anew}, self._sources)
        self._drift.ended()
        for message in refusals:
            await self._tell("failed", self._about_file({"message": message}), self._sources)
        self._told = set(refusals)

    async def _without_refused_jobs(self) -> list[str]:
        """What the server said of each that it does not start."""
        refusals: list[str] = []
        while True:
            operations = plan(self._good, (await self._ask(self._good)).graph)
            try:
                await apply(self.client, operations, self.config)
            except RefusedError as error:
                if error.operation is None or (job := started_by(error.operation)) is None:
                    raise
                refusals.append(str(error))
                self._good = without_job(self._good, job)
            else:
                return refusals

    async def _take_over(self, digest: str) -> None:
        """Somebody else has applied a text: it is in force, if it can still be found."""
        sources = await self._find(digest)
        config = None
        if sources is not None:
            with contextlib.suppress(FileError):
                config = parse(sources)
        if config is None or sources is None:
            self._good = (await self._ask(self._good)).graph
            return
        self._in_force(config, sources)
        if self._read is not None and self._read.digest == digest:
            self._known = digest, "applied"

    async def _find(self, digest: str) -> Sources | None:
        if self._read is not None and self._read.digest == digest:
            return self._read
        with contextlib.suppress(FileError):
            if (now := read(self._shown)).digest == digest:
                return now
        return await self._chronicle.recall(digest, self._shown)

    # The file

    async def edit(self, sources: Sources, *, asked: bool) -> None:
        """The file was saved.  One that says what it said is no edit, unless somebody asks."""
        self._read = sources
        is_news = self._known not in ((sources.digest, "applied"), (sources.digest, "rejected"))
        if not (is_news or asked):
            return
        if self._known[0] != sources.digest or asked:
            self._told = set()
        if asked:
            self._waiting = None  # who asks is told again what waits
        path = self._shown
        try:
            config = parse(sources)
        except EmptyFileError:
            message = f"{path.name}: the file describes nothing; what runs goes on"
            await self._reject(message, 1, sources)
        except FileError as error:
            await self._reject(str(error), max(len(error.problems), 1), sources, error.line)
        else:
            await self._follow(config, sources)

    async def missing(self, error: FileError) -> None:
        """The file cannot be read."""
        self._read = None
        await self._reject(str(error), 1, None)

    async def _follow(self, config: Config, sources: Sources, *, yes: bool = False) -> None:
        """Apply a good file, or say why not, but not twice; the server goes on as it was."""
        self._due.file = True  # it may be one that can follow a pivot
        told, self._told = self._told, set()
        begin_ns = monotonic_ns()
        try:
            await self._converge(config, sources, yes=yes)
        except RefusedError as error:
            self._known = sources.digest, "failed"
            if yes or str(error) not in told:
                data = {"message": str(error), "milliseconds": milliseconds_since(begin_ns)}
                await self._tell("failed", self._about_file(data), sources)

    async def _converge(self, config: Config, sources: Sources, *, yes: bool = False) -> None:
        """Apply at once, without a dry run: the transaction changes all or nothing, and tells."""
        begin_ns = monotonic_ns()
        live = await self._ask(config.graph)
        proposal = proposed(config, live)
        if proposal.why is not None and not yes:
            await self._wait_for_yes(Waiting(config, sources, proposal))
            return
        drains: dict[str, int] = {}
        if proposal.operations:
            try:
                hard = yes or config.runner.apply == "all"
                drains = await apply(self.client, proposal.operations, config, hard=hard)
            except RefusedError:
                if not changed_by_itself(live.graph, (await self._ask(config.graph)).graph):
                    raise
                # What the plan was made for was so no more.
                await self._converge(config, sources, yes=yes)
                return
        notes = restart_notes(config, self.config) + warning_notes(config)
        self._in_force(config, sources)
        self._known = sources.digest, "applied"
        done = about(config, proposal.operations) | stakes(drains, proposal.taken)
        done |= {"milliseconds": milliseconds_since(begin_ns), "notes": notes}
        await self._tell("applied", done, sources)
        await self._end_drift()

    def _in_force(self, config: Config, sources: Sources) -> None:
        self.config, self._sources, self._good = config, sources, config.graph
        self._waiting = self._moved_by_hand = None
        self._ended.applied(config.graph)
        forget_recorded(config.graph, config.address.control)

    async def _wait_for_yes(self, waiting: Waiting) -> None:
        """Told again only if it is something else that waits.

        Nobody is asked about what would be refused.  Raises RefusedError.
        """
        tried = await rehearsed(self.client, waiting.config, waiting.proposal)
        if tried.refused is not None:
            raise RefusedError(tried.refused, None)
        self._known = waiting.sources.digest, "pending"
        old, self._waiting = self._waiting, waiting
        if old is not None and _is_same(old, waiting):
            return
        data = about(waiting.config, tried.operations) | stakes(tried.drains, tried.taken)
        data |= marks(tried.operations) | {"diff": sources_diff(self._sources, waiting.sources)}
        await self._tell("pending", data | {"why": tried.why}, waiting.sources)

    async def _hear_yes(self, digest: str) -> None:
        """Do what waits, if it is what was shown, and if its plan is still what was shown."""
        waiting = self._waiting
        if waiting is None or waiting.sources.digest != digest:
            self._note("a yes was heard to something that does not wait any more: nothing was done")
            return
        proposal = proposed(waiting.config, await self._ask(waiting.config.graph))
        now = Waiting(waiting.config, waiting.sources, proposal)
        await self._follow(waiting.config, waiting.sources, yes=_is_same(now, waiting))

    async def _reject(
        self, message: str, problems: int, sources: Sources | None, line: int = 0
    ) -> None:
        self._waiting = None
        self._known = sources.digest if sources is not None else "", "rejected"
        data = self._about_file({"message": message, "problems": problems})
        data |= {"line": line} if line else {}
        await self._tell("rejected", data, sources)

    # Jobs

    async def _look_again(self) -> None:
        """A job has ended or gone: one of the file, or a bitmap, may be due, or an edit that waits.

        Otherwise what somebody does by QMP beside the file is drift.
        """
        if self._read is None:
            return
        with contextlib.suppress(FileError):  # told when it was saved; what runs goes on
            config = parse(self._read)
            operations = plan(config.graph, (await self._ask(config.graph)).graph)
            was_refused = self._known == (self._read.digest, "failed")
            if operations and (was_refused or any(is_due(op, config.graph) for op in operations)):
                await self._follow(config, self._read)

    async def _write_down(self) -> None:
        """Let the file say what a mirror's pivot has made of the graph."""
        live = (await self._query()).graph
        done = follow(self._shown, self.config, lambda graph: self._with_ended(live, graph))
        if done is not None:
            sources = None
            with contextlib.suppress(FileError):
                sources = read(self._shown)
            await self._tell("followed", done, sources)

    # Drift

    async def _look_for_drift(self) -> None:
        operations, live = await self._drifted()
        why = self._why_not_back(operations, live) or self._drift.why_not_again(monotonic_ns())
        step = self._drift.observe(operations, self.config.runner.on_drift, why)
        if step is Step.LOOK_AGAIN:
            self._due.drift = True
        elif step is Step.ENDED:
            await self._tell("drift-ended", self._about_file({}))
        elif step is Step.TELL:
            await self._tell_drift(drift_report(self.config, operations, why))
        elif step is Step.REVERT:
            await self._revert(operations, hard=self.config.runner.apply == "all")

    async def _drifted(self) -> tuple[tuple[Operation, ...], Live]:
        """What would bring the live graph back to what is in force."""
        live = await self._ask(self._good)
        return plan(self._good, live.graph), live

    def _why_not_back(self, operations: tuple[Operation, ...], live: Live) -> str | None:
        other = endangered(operations, self._good, live.graph)
        taken = {name: live.clients[name] for name in sorted(other) if live.clients.get(name)}
        if (why := why_not_now(self.config, operations, taken)) is not None:
            return why
        if self._moved_by_hand and other:
            return f"job {self._moved_by_hand} has moved its clients to another disk"
        return None

    async def _revert_anyway(self) -> None:
        """Somebody's yes: also what would take a disk from a client."""
        operations, _ = await self._drifted()
        if operations:
            await self._revert(operations, hard=True)
        else:
            self._note("the graph is as the file says: there is nothing to bring back")
            await self._end_drift()

    async def _revert(self, operations: tuple[Operation, ...], *, hard: bool) -> None:
        begin_ns = monotonic_ns()
        try:
            await apply(self.client, operations, self.config, hard=hard)
        except RefusedError as error:
            data = drift_report(self.config, operations, None) | {"message": str(error)}
            await self._tell_drift(data)
            return
        self._drift.reverted(monotonic_ns())
        self._moved_by_hand = None
        data = about(self.config, operations) | {"milliseconds": milliseconds_since(begin_ns)}
        await self._tell("reverted", data, self._sources)

    async def _tell_drift(self, data: dict[str, Any]) -> None:
        await self._tell("drifted", data, self._sources)

    async def _end_drift(self) -> None:
        """An edit, or somebody's ``blkrun apply``, has brought the graph back as well."""
        if self._drift.is_told:
            await self._tell("drift-ended", self._about_file({}))
        self._drift.ended()

    # Asking and telling

    async def _ask(self, desired: GraphModel) -> Live:
        """The graph in force, and the jobs that have ended with a server before."""
        live = await self._query()
        return msgspec.structs.replace(live, graph=self._with_ended(live.graph, desired))

    async def _query(self) -> Live:
        return read_live(await self.client.execute("x-blkrun-query-graph"))

    def _with_ended(self, live: GraphModel, desired: GraphModel) -> GraphModel:
        control = self.config.address.control
        return with_recorded(self._ended.added_to(live, desired), desired, control)

    def _about_file(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {"file": self.config.path.name, **data}

    async def _tell(self, kind: str, data: dict[str, Any], about: Sources | None = None) -> None:
        await self._chronicle.tell(self.client, kind, data, about)


def _is_same(one: Waiting, other: Waiting) -> bool:
    same_text = one.sources.digest == other.sources.digest
    return same_text and one.proposal.operations == other.proposal.operations
