"""A live graph with jobs that do nothing: what the server has to do with them by the contract."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

import msgspec

from blkrun.decode import Problem, decode
from blkrun.errors import CommandError
from blkrun.job_options import JOBS, JobOptions, job_to_wire, nodes_of, target_of
from blkrun.model import EMPTY, GraphModel, JobState
from blkrun.reconcile.jobs import bitmap_of
from blkrun.reconcile.operation import Operation
from tests.reconcile.live_graph import LiveGraph


@dataclass
class FakeJob:
    """One that is listed; ``removed``: it is forgotten when it has ended.

    ``of_file``: by a runner.
    """

    options: JobOptions
    state: JobState = field(default_factory=JobState)
    removed: bool = False
    of_file: bool = True


class LiveWithJobs:
    """The real graph, and jobs beside it."""

    def __init__(self, model: GraphModel) -> None:
        self.server = LiveGraph(msgspec.structs.replace(model, jobs={}, resting=frozenset()))
        self.jobs = {
            name: FakeJob(options, model.states.get(name, JobState()))
            for name, options in model.jobs.items()
        }

    def model(self) -> GraphModel:
        """As the runner reads it."""
        return msgspec.structs.replace(
            self.server.model(),
            jobs={name: job.options for name, job in self._of_file()},
            states={name: job.state for name, job in self._of_file()},
        )

    def _of_file(self) -> list[tuple[str, FakeJob]]:
        return [(name, job) for name, job in self.jobs.items() if job.of_file]

    def perform(self, operations: Iterable[Operation]) -> None:
        """All of them, each of which must be possible; those on the real graph together."""
        rest = list(operations)
        while rest:
            count = 1
            if rest[0].table.startswith("jobs."):
                self._perform(rest[0])
            else:
                count = len(list(takewhile(lambda op: not op.table.startswith("jobs."), rest)))
                self._check_bitmaps(rest[:count])
                self.server.perform(rest[:count])
            del rest[:count]

    def _check_bitmaps(self, operations: Iterable[Operation]) -> None:
        for each in operations:
            if each.type == "block-dirty-bitmap-remove":
                used = {(job.options.device, bitmap_of(job.options)) for job in self._at_work()}
                assert (each.data["node"], each.data["name"]) not in used, "it is in use"

    def _at_work(self) -> list[FakeJob]:
        return [job for job in self.jobs.values() if not job.state.ended]

    def _perform(self, operation: Operation) -> None:
        data = dict(operation.data)
        if operation.type == "x-blkrun-job-remove":
            self._remove(data["id"])
        elif operation.type == "x-blkrun-job-change":
            self._change(data)
        else:
            self._start(operation.type.rpartition("-")[2], data)

    def end(self) -> None:
        """Let everything end that is being cancelled."""
        for name, job in list(self.jobs.items()):
            if job.removed:
                del self.jobs[name]
            elif job.state.leaving:
                job.state = JobState(status="concluded", cancelled=True)

    def _start(self, kind: str, data: dict[str, Any]) -> None:
        assert data.pop("auto-dismiss") is False
        assert data.pop("x-blkrun-of-file") is True
        assert ("sync" in data) == (kind != "stream")
        problems: list[Problem] = []
        options = decode(JOBS[kind], data, problems)
        assert options is not None, problems
        assert options.job_id not in self.jobs
        names = {*nodes_of(options).values()}
        assert names <= self.server.model().nodes.keys()
        for other in self._at_work():
            assert names.isdisjoint(nodes_of(other.options).values()), "the node is busy"
        if (bitmap := bitmap_of(options)) is not None:
            assert options.device == self.server.model().bitmaps[bitmap].node
        self.jobs[options.job_id] = FakeJob(options)

    def _remove(self, name: str) -> None:
        job = self.jobs[name]
        assert not job.state.leaving
        if job.state.ended:
            del self.jobs[name]
        else:
            job.state, job.removed = JobState(status="aborting", cancelled=True), True

    def _change(self, data: dict[str, Any]) -> None:
        job = self.jobs[data.pop("id")]
        assert not job.state.ended
        assert not job.state.leaving
        assert data
        assert data.keys() <= type(job.options).changeable
        values = {key.replace("-", "_"): value for key, value in data.items()}
        self.jobs[job.options.job_id] = replace(
            job, options=msgspec.structs.replace(job.options, **values)
        )


JOB_ACTIONS = {
    "blockdev-backup",
    "blockdev-mirror",
    "block-stream",
    "x-blkrun-job-remove",
    "x-blkrun-job-change",
}


class JobClient:
    """A conversation with a server that has jobs; ``reports`` has what the runner told."""

    def __init__(self, *, old: bool = False) -> None:
        self.live = LiveWithJobs(EMPTY)
        self.reports: list[tuple[str, dict[str, Any]]] = []
        self.refuse = False
        self.refused_jobs: set[str] = set()
        """Names of those that it does not start."""
        self._old = old
        self._events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def execute(
        self, command: str, arguments: dict[str, Any] | None = None, **_: object
    ) -> Any:
        """What a runner says."""
        if command == "x-blkrun-report":
            assert arguments is not None
            if self._old and arguments["kind"] == "followed":
                raise CommandError("Parameter 'kind' does not accept value 'followed'")
            self.reports.append((arguments["kind"], arguments["data"]))
            return self.live.server.execute(command, arguments)
        if command == "x-blkrun-check-transaction":
            return {"drains": [], "refused": None}
        if command == "transaction":
            assert arguments is not None
            if self.refuse:
                raise CommandError("Node 'new' is busy: block device is in use by block job")
            self._check_jobs(arguments["actions"])
            self.live.perform(map(_operation, arguments["actions"]))
            return {}
        assert command == "x-blkrun-query-graph"
        reply = self.live.server.execute(command, {})
        return {**reply, "jobs": [_entry(job) for job in self.live.jobs.values()]}

    def _check_jobs(self, actions: list[dict[str, Any]]) -> None:
        for index, action in enumerate(actions):
            if action["data"].get("job-id") in self.refused_jobs:
                raise CommandError("Bitmap 'b0' could not be found", action=index)

    def pivot(self, name: str) -> None:
        """End a mirror as the server does: its device's exports get the target."""
        job = self.live.jobs[name]
        target = target_of(job.options)
        assert target is not None
        for export, options in self.live.model().exports.items():
            if options.node == job.options.device:
                data = {"parent": export, "role": "root", "child": target}
                self.live.server.execute("x-blkrun-set-edge", data)
        job.state = JobState(status="concluded", pivoted=True)
        disks = {"device": job.options.device, "target": target}
        self.emit("X_BLKRUN_JOB_PIVOTED", id=name, **disks)
        self.emit("JOB_STATUS_CHANGE", id=name, status="concluded")

    def emit(self, name: str, **data: Any) -> None:
        """Send an event."""
        self._events.put_nowait({"event": name, "data": data})

    def die(self) -> None:
        """Nothing comes any more."""
        self._events.put_nowait(None)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Until it dies."""
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> None:
        """Nothing."""


def _operation(action: dict[str, Any]) -> Operation:
    table = "jobs." if action["type"] in JOB_ACTIONS else ""
    return Operation(action["type"], action["data"], "", "", table)


def _entry(job: FakeJob) -> dict[str, Any]:
    wire = job_to_wire(job.options)
    state = {"cancelled": job.state.cancelled, "pivoted": job.state.pivoted}
    state["of-file"] = job.of_file
    return {"id": job.options.job_id, "type": wire["type"], "options": wire, **state} | {
        "status": job.state.status
    }
