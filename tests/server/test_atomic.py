"""All or nothing: an edit that fails, at any action and after the last, leaves all as it was."""

import errno
import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from blkrun import config
from blkrun.errors import CommandError
from blkrun.model import EMPTY, GraphModel
from blkrun.reconcile.live import read_live
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.plan import plan
from blkrun.server import graph as server_graph
from blkrun.server.connection import Connection
from blkrun.server.drivers.file import File
from blkrun.server.graph import Graph
from blkrun.server.jobs.state import Status
from blkrun.server.node import Node, Parent
from blkrun.server.qmp.commands import transactions
from blkrun.server.staging import Staging
from tests.reconcile.configurations import FAST, FILE, SIZE, Written, files
from tests.server.inprocess import InProcess, Worker, eventually, ignore, leave_thread_states_alone
from tests.server.test_rehearsal import descriptors, still

BLOCK = 4096
WHY = "as the test says"
OPENERS = {"blockdev-add", "x-blkrun-replace-node", "blockdev-backup"}
PATIENT = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.fixture(autouse=True, scope="module")
def _plain_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        leave_thread_states_alone(patch)
        yield


# Files, with images, jobs and an export that is always there


@st.composite
def whole_files(draw: st.DrawFn) -> Written:
    """FOLDER is where the images are.  Export ``client`` is of one disk, by filters that differ."""
    tables = dict(draw(files()).tables)
    tables["backends.io"] = {"driver": "file", "path": "FOLDER/io", "size": SIZE, "create": True}
    tables["backends.io-copy"] = {"driver": "memory", "size": SIZE}
    for name, paths in (("x0", "ab"), ("x1", "cd")):
        if draw(st.booleans()):
            path = f"FOLDER/{draw(st.sampled_from(paths))}"
            table = {"driver": "file", "path": path, "size": SIZE, "create": True}
            tables[f"backends.{name}"] = table
    top = "io"
    for name in draw(st.lists(st.sampled_from(["io0", "io1"]), unique=True)):
        group = draw(st.sampled_from("gh"))
        tables[f"nodes.{name}"] = {"driver": "throttle", "file": top, "throttle-group": group}
        top = name
    tables["exports.client"] = {"node": top}
    if draw(st.booleans()):
        job = {"type": "backup", "device": "io", "target": "io-copy", "sync": "none"}
        tables["jobs.j"] = job | {"speed": draw(st.sampled_from([FAST, 2 * FAST]))}
    if draw(st.booleans()):
        tables["bitmaps.io-map"] = {"node": "io", "granularity": draw(st.sampled_from([512, 4096]))}
    return Written(tables)


class Place:
    """A server with a directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = InProcess()
        self.graph = self.server.graph

    def model(self) -> GraphModel:
        """What it has."""
        return read_live(self.server.execute("x-blkrun-query-graph")).graph

    def plan_to(self, written: Written) -> tuple[Operation, ...]:
        """What leads from there to a file."""
        text = written.text().replace("FOLDER", str(self.folder))
        live = self.model() if self.graph.nodes else EMPTY
        return plan(config.parse(text, FILE).graph, live)

    def perform(self, operations: tuple[Operation, ...]) -> None:
        """As one transaction."""
        self.server.transaction(*((each.type, each.data) for each in operations))
        self.settle()

    def refused(self, operations: tuple[Operation, ...]) -> dict[str, Any]:
        """The error of a transaction that fails."""
        arguments = {"actions": [each.action() for each in operations]}
        answer = self.server.say({"execute": "transaction", "arguments": arguments})
        assert "error" in answer, answer
        error = answer["error"]
        assert isinstance(error, dict)
        return error

    def settle(self) -> None:
        """Wait for jobs that run to come to where they wait, and for threads of others to end."""
        jobs = self.graph.jobs.listing
        eventually(lambda: all(job.status is Status.RUNNING and not job.busy for job in jobs()))
        eventually(lambda: len(job_threads()) == len(jobs()))

    def report(self) -> bytes:
        """What everybody is told of the graph, but for the time."""
        return still(self.server.execute("x-blkrun-query-graph"))

    def traces(self) -> Any:
        """What an edit could have touched: objects, which are equal only to themselves."""
        graph = self.graph
        parents: list[Parent] = [*graph.nodes.values(), *graph.exports.values()]
        return (
            dict(graph.nodes),
            dict(graph.exports),
            {group: group.limits for group in graph.groups.values()},
            dict(graph.memberships),
            dict(graph.spent),
            graph.revision,
            [(job, job.status, job.speed, job.pause_count) for job in graph.jobs.listing()],
            {parent: dict(parent.children) for parent in parents},
            {export: (export.route, export.options) for export in graph.exports.values()},
            [traces_of(node) for node in graph.nodes.values()],
            descriptors(),
            {each.name: each.stat().st_ino for each in self.folder.iterdir()},
        )

    def close(self) -> None:
        """The server's end."""
        self.graph.jobs.cancel_all()
        assert self.graph.jobs.join(10)
        self.graph.close()


def traces_of(node: Node[Any]) -> Any:
    """What is a node's own."""
    bitmaps = {name: (bitmap, bitmap.recording) for name, bitmap in node.bitmaps.items()}
    kept = dict(getattr(node, "_disks", {}))
    place = (node.route, set(node.parents), node.size_bytes, node.detached, node._drains)
    return node, node.options, bitmaps, kept, place


def job_threads() -> list[threading.Thread]:
    """Those that jobs have."""
    return [each for each in threading.enumerate() if each.name.startswith("blkrun-job-")]


@contextmanager
def place(written: Written) -> Iterator[Place]:
    """In a directory of its own."""
    with tempfile.TemporaryDirectory() as folder:
        found = Place(Path(folder))
        try:
            found.perform(found.plan_to(written))
            yield found
        finally:
            found.close()


# Faults


class Fault(NamedTuple):
    """What fails, and at which action; None: after the last."""

    kind: str
    action: int | None = None


def faults(operations: tuple[Operation, ...], *, drains: bool) -> Iterator[Fault]:
    """All that there can be of a transaction."""
    for index, operation in enumerate(operations):
        yield Fault("action", index)
        if operation.type in OPENERS:
            yield Fault("open", index)
        if operation.data.get("driver") == "file":
            yield Fault("measure", index)
        if operation.type == "blockdev-backup":
            yield Fault("thread", index)
    yield Fault("check")
    yield Fault("strays")
    if drains:
        yield Fault("rest")
    yield Fault("settle")


@contextmanager
def injected(fault: Fault) -> Iterator[None]:
    """One transaction fails so, and did get that far."""
    hits: list[None] = []

    def broken(*_: Any) -> None:
        hits.append(None)
        raise CommandError(WHY)

    with pytest.MonkeyPatch.context() as patch:
        if fault.kind == "check":
            patch.setattr(Staging, "check", then(Staging.check, broken))
        elif fault.kind == "strays":
            patch.setattr(Graph, "_await_strays", then(Graph._await_strays, broken))
        elif fault.kind == "rest":
            patch.setattr(server_graph, "_await_rest", then(server_graph._await_rest, broken))
        elif fault.kind == "settle":
            check = Staging.check
            patch.setattr(Staging, "check", lambda self: (check(self), self.settles.append(broken)))
        else:
            patch.setattr(transactions, "_stage", at_action(fault, broken, hits))
        yield
    assert hits


def then(first: Callable[..., Any], second: Callable[..., None]) -> Callable[..., None]:
    """Both, one after the other."""

    def both(*arguments: Any) -> None:
        first(*arguments)
        second()

    return both


def at_action(fault: Fault, broken: Callable[..., None], hits: list[None]) -> Callable[..., None]:
    """Actions, of which one fails while it is staged, or when it has been."""
    real, count = transactions._stage, itertools.count()

    def fails(*_: Any) -> None:
        hits.append(None)
        raise OSError(errno.EIO, WHY)

    def no_thread(*_: Any) -> None:
        hits.append(None)
        raise RuntimeError(WHY)

    def stage(stage_: Callable[..., None], parsed: Any, staging: Staging) -> None:
        if next(count) != fault.action:
            real(stage_, parsed, staging)
            return
        with pytest.MonkeyPatch.context() as patch:
            if fault.kind == "open":
                patch.setattr(Staging, "add_node", failing_to_open(fails))
            elif fault.kind == "measure":
                patch.setattr(File, "_measure", fails)
            elif fault.kind == "thread":
                patch.setattr(threading.Thread, "start", no_thread)
            real(stage_, parsed, staging)
        broken()

    return stage


def failing_to_open(fails: Callable[..., None]) -> Callable[..., None]:
    """``Staging.add_node`` of a node that cannot be opened."""
    add_node = Staging.add_node

    def add(staging: Staging, node: Node[Any], children: dict[str, Node[Any]]) -> None:
        vars(node)["open"] = fails
        add_node(staging, node, children)

    return add


def does_drain(here: Place, operations: tuple[Operation, ...]) -> bool:
    """Whether exports or jobs come to rest for an edit."""
    found: list[bool] = []
    disturbance = Graph._disturbance

    def look(graph: Graph, staging: Staging) -> Any:
        who = disturbance(graph, staging)
        found.append(bool(who.exports or who.jobs))
        return who

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Graph, "_disturbance", look)
        arguments = {"actions": [each.action() for each in operations]}
        answer = here.server.execute("x-blkrun-check-transaction", arguments)
    assert answer["refused"] is None
    return found[-1]


# Tests


@settings(PATIENT, max_examples=40)
@given(whole_files(), whole_files())
def test_a_fault_anywhere_leaves_everything_as_it_was(before: Written, after: Written) -> None:
    """The report byte for byte, and every object; the refusal names the action that failed.

    The very same transaction then succeeds.
    """
    with place(before) as here:
        use_all(here.graph)
        operations = here.plan_to(after)
        report, traces = here.report(), here.traces()
        for fault in faults(operations, drains=does_drain(here, operations)):
            with injected(fault):
                error = here.refused(operations)
            here.settle()
            assert WHY in error["desc"]
            assert error.get("data", {}).get("action") == fault.action
            assert here.traces() == traces, fault
            assert here.report() == report, fault
        here.perform(operations)
        eventually(lambda: here.plan_to(after) == ())


@settings(PATIENT, max_examples=15)
@given(whole_files(), whole_files())
def test_a_client_does_not_notice_faults(before: Written, after: Written) -> None:
    """What is written is read again while edits fail and the last one succeeds; none is refused."""
    with place(before) as here:
        connection = here.graph.connect("client", ignore)
        client = Client(connection)
        try:
            operations = here.plan_to(after)
            traces = here.traces()
            for fault in faults(operations, drains=does_drain(here, operations)):
                with injected(fault):
                    here.refused(operations)
                here.settle()
                assert here.traces() == traces, fault
                client.must_go_on()
            here.perform(operations)
            client.must_go_on()
        finally:
            client.finish()
            here.graph.disconnect(connection)


def test_what_cannot_be_undone_keeps_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image made for nothing that cannot be removed stays; the other goes, nothing is open.

    The refusal is that of the action.
    """
    server = InProcess()
    before, unlink = descriptors(), Path.unlink

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        if path.name == "kept":
            raise PermissionError(errno.EACCES, "not yours", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    options = {"driver": "file", "size": SIZE, "create": True}
    actions = [
        {
            "type": "blockdev-add",
            "data": options | {"node-name": name, "path": str(tmp_path / name)},
        }
        for name in ("gone", "kept")
    ]
    actions.append({"type": "blockdev-del", "data": {"node-name": "nobody"}})
    for command in ("transaction", "x-blkrun-check-transaction"):
        answer = server.say({"execute": command, "arguments": {"actions": actions}})
        assert "Failed to find node with node-name='nobody'" in str(answer)
        assert [each.name for each in tmp_path.iterdir()] == ["kept"]
        assert descriptors() == before
        unlink(tmp_path / "kept")


class Client:
    """A thread that reads what it has written, at places of its own choice, until ``finish``."""

    def __init__(self, connection: Connection) -> None:
        self.done = 0
        self._connection = connection
        self._ended = threading.Event()
        self._worker = Worker(self._work)

    def must_go_on(self) -> None:
        """It does requests, also from now on."""
        reached = self.done
        eventually(lambda: self.done > reached or self._worker.error)
        assert self._worker.error is None

    def finish(self) -> None:
        """All that it read was right."""
        self._ended.set()
        self._worker.finish()

    def _work(self) -> None:
        random, known = Random(0), dict[int, bytes]()
        while not self._ended.is_set():
            offset = random.randrange(SIZE // BLOCK) * BLOCK
            read = bytearray(BLOCK)
            self._connection.pread(memoryview(read), offset, 0)
            assert read == known.get(offset, bytes(BLOCK))
            known[offset] = random.randbytes(BLOCK)
            self._connection.pwrite(memoryview(bytearray(known[offset])), offset, 0)
            self.done += 1


def use_all(graph: Graph) -> None:
    """Some numbers at every node that an export leads to."""
    for name in graph.exports:
        connection = graph.connect(name, ignore)
        connection.pread(memoryview(bytearray(512)), 0, 0)
        graph.disconnect(connection)
