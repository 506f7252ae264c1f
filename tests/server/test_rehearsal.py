"""Dry runs: they change nothing, anywhere, and say what the transaction then does."""

import contextlib
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from blkrun.server.export import Export
from tests.conformance.tools import DIST_PACKAGES, require_module, require_tool
from tests.server.copy_server import CopyServer, arguments
from tests.server.copying import finish
from tests.server.inprocess import InProcess, eventually, ignore, leave_thread_states_alone

SIZE = 2**16
JOBS = ("rehearsed0", "rehearsed1")
EXPORT = "block-export-add"

Action = tuple[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def _plain_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_thread_states_alone(monkeypatch)


def check(server: InProcess, *actions: Action, **properties: Any) -> dict[str, Any]:
    """The dry run's answer."""
    answer = server.execute("x-blkrun-check-transaction", steps(actions, **properties))
    assert isinstance(answer, dict)
    return answer


def steps(actions: tuple[Action, ...], **properties: Any) -> dict[str, Any]:
    """A transaction's arguments, with properties in Python's spelling."""
    names = {key.replace("_", "-"): value for key, value in properties.items()}
    listed = [{"type": kind, "data": data} for kind, data in actions]
    return {"actions": listed, "properties": names}


def add(driver: str, name: str, **options: Any) -> Action:
    """blockdev-add, with options in Python's spelling."""
    wire = {key.replace("_", "-"): value for key, value in options.items()}
    return "blockdev-add", {"driver": driver, "node-name": name, **wire}


# Any edits


class Place:
    """A server with a directory; all there is that an edit could leave a trace in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = InProcess()
        (folder / "old").write_bytes(b"x" * SIZE)
        self.server.execute("object-add", {"qom-type": "throttle-group", "id": "g"})
        self.server.add("memory", "n0", size=SIZE)
        self.server.add("throttle", "n1", file="n0", throttle_group="g")
        self.server.add("throttle", "n2", file="n0", throttle_group="g")
        self.server.add("memory", "n3", size=SIZE)
        self.server.execute(EXPORT, {"type": "nbd", "id": "e0", "node-name": "n1"})
        self.clients = [self.server.graph.connect("e0", ignore) for _ in range(2)]

    def traces(self) -> Any:
        """Everything, but for the time."""
        files = {
            each.name: (each.stat().st_ino, each.stat().st_mtime_ns, each.read_bytes())
            for each in self.folder.iterdir()
        }
        report = self.server.execute("x-blkrun-query-graph")
        events = len(self.server.execute("x-blkrun-query-events"))
        return still(report), files, job_threads(), descriptors(), events

    def settle(self) -> None:
        """Wait until no job moves any more, and what has ended is gone."""
        jobs = self.server.context.jobs
        eventually(lambda: not any(job.busy for job in jobs.listing()))
        eventually(lambda: len(job_threads()) == len(jobs.listing()))

    def close(self) -> None:
        """The server's end."""
        graph = self.server.graph
        for client in self.clients:
            graph.disconnect(client)
        graph.jobs.cancel_all()
        assert graph.jobs.join(10)
        graph.close()


def job_threads() -> list[str]:
    """Those that jobs have, of this test's."""
    return [each.name for each in threading.enumerate() if each.name.endswith(JOBS)]


def descriptors() -> dict[str, str]:
    """What is open, by number."""
    found = {}
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of this very look
            found[each.name] = str(each.readlink())
    return found


def still(report: dict[str, Any]) -> bytes:
    """A report of the graph without what time does to it."""
    for key in ("now-ns", "uptime-ns"):
        del report[key]
    for job in report["jobs"]:
        del job["running-ns"], job["rate"]
    for export in report["exports"]:
        for client in export["clients"]:
            del client["connected-seconds"]
    return msgspec.json.encode(report)


@contextmanager
def place() -> Iterator[Place]:
    """In a directory of its own."""
    with tempfile.TemporaryDirectory() as folder:
        found = Place(Path(folder))
        yield found
        found.close()


nodes = st.sampled_from([f"n{number}" for number in range(6)])
exports = st.sampled_from(["e0", "e1", "n0"])
groups = st.sampled_from(["g", "h"])
limits = st.fixed_dictionaries({"iops-total": st.sampled_from([0, 10])})
bitmaps = st.fixed_dictionaries({"node": nodes, "name": st.sampled_from(["m0", "m1"])})
edges = st.fixed_dictionaries({"parent": nodes | exports, "child": nodes, "node": nodes})


@st.composite
def node_options(draw: st.DrawFn) -> dict[str, Any]:
    """A node of any kind; FOLDER stands for the directory."""
    over = {"file": draw(nodes)}
    kinds: dict[str, dict[str, Any]] = {
        "memory": {"size": draw(st.sampled_from([SIZE, SIZE // 2]))},
        "null": {"size": SIZE, "read-only": draw(st.booleans())},
        "file": {"path": f"FOLDER/{draw(st.sampled_from(['old', 'new', 'other']))}"}
        | {"size": draw(st.sampled_from([SIZE, SIZE, 4096])), "create": draw(st.booleans())},
        "throttle": over | {"throttle-group": draw(groups)},
        "raw": over | {"offset": draw(st.sampled_from([0, 512]))},
        "write-threshold": over | {"write-threshold": draw(st.sampled_from([0, 512]))},
        "copy-before-write": over | {"target": draw(nodes)},
    }
    driver = draw(st.sampled_from(list(kinds)))
    return {"driver": driver, "node-name": draw(nodes), **kinds[driver]}


def action(kind: str, data: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Action]:
    """One of a type."""
    return st.tuples(st.just(kind), data)


def fixed(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Options in Python's spelling."""
    return st.fixed_dictionaries({key.replace("_", "-"): part for key, part in parts.items()})


backups = fixed(
    job_id=st.sampled_from(JOBS),
    device=nodes,
    target=nodes,
    sync=st.just("none"),
    filter_node_name=st.sampled_from(["n4", "f0", "f1"]),
)
actions = st.one_of(
    action("blockdev-add", node_options()),
    action("block-insert-node", edges),
    action("x-blkrun-replace-node", node_options()),
    action("blockdev-reopen", node_options().map(lambda options: {"options": [options]})),
    action("blockdev-del", fixed(node_name=nodes)),
    action("block-insert-node", edges),
    action("block-remove-node", edges),
    action(
        "x-blkrun-set-edge",
        fixed(parent=nodes | exports, role=st.sampled_from(["file", "root"]), child=nodes),
    ),
    action(EXPORT, fixed(type=st.just("nbd"), id=exports, node_name=nodes, writable=st.booleans())),
    action("block-export-del", fixed(id=exports, mode=st.sampled_from(["safe", "hard"]))),
    action("object-add", fixed(qom_type=st.just("throttle-group"), id=groups, limits=limits)),
    action("qom-set", fixed(path=groups, property=st.just("limits"), value=limits)),
    action("object-del", fixed(id=groups)),
    action("block-dirty-bitmap-add", bitmaps),
    action("block-dirty-bitmap-remove", bitmaps),
    action("blockdev-backup", backups),
    action("x-blkrun-job-change", fixed(id=st.sampled_from(JOBS), speed=st.just(512))),
    action("x-blkrun-job-remove", fixed(id=st.sampled_from(JOBS))),
    st.sampled_from([("abort", {}), ("nonsense", {}), ("blockdev-del", {"x": 1})]),
)


likely: list[Action] = [
    ("x-blkrun-replace-node", {"driver": "memory", "node-name": "n0", "size": SIZE}),
    ("x-blkrun-replace-node", {"driver": "null", "node-name": "n3", "size": SIZE}),
    ("qom-set", {"path": "g", "property": "limits", "value": {"iops-total": 10}}),
    ("block-insert-node", {"parent": "n1", "child": "n0", "node": "n2"}),
    ("block-remove-node", {"parent": "n1", "child": "n0", "node": "n2"}),
    ("block-dirty-bitmap-add", {"node": "n0", "name": "m0"}),
    ("block-dirty-bitmap-clear", {"node": "n0", "name": "m0"}),
    ("blockdev-backup", {"job-id": JOBS[0], "device": "n0", "target": "n3", "sync": "none"}),
    ("x-blkrun-job-remove", {"id": JOBS[0]}),
    (EXPORT, {"type": "nbd", "id": "e1", "node-name": "n2", "writable": True}),
    ("block-export-del", {"id": "e1", "mode": "hard"}),
    ("x-blkrun-set-edge", {"parent": "e0", "role": "root", "child": "n2"}),
    ("x-blkrun-set-edge", {"parent": "e0", "role": "root", "child": "n1"}),
    add("file", "n4", path="FOLDER/new", size=SIZE, create=True),
    ("x-blkrun-replace-node", {"driver": "file", "node-name": "n0", "path": "FOLDER/old"}),
    add("raw", "n5", file="n0"),
    ("blockdev-reopen", {"options": [{"driver": "raw", "node-name": "n5", "file": "n3"}]}),
    ("blockdev-del", {"node-name": "n5"}),
    ("blockdev-del", {"node-name": "n4"}),
]
"""Actions that are not refused as a rule, one after the other."""

half_likely = st.booleans().flatmap(lambda any_: actions if any_ else st.sampled_from(likely))
edits = st.lists(st.lists(half_likely, min_size=1, max_size=3), max_size=9)


def located(edit: list[Action], folder: Path) -> tuple[Action, ...]:
    """With paths in a directory."""
    text = msgspec.json.encode(edit).replace(b"FOLDER", str(folder).encode())
    return msgspec.json.decode(text, type=tuple[Action, ...])


@settings(deadline=None, max_examples=150)
@given(edits)
def test_any_edit_is_rehearsed_without_a_trace(sequence: list[list[Action]]) -> None:
    """The graph, files, threads, descriptors and events are as before; then it is as was said."""
    held: list[str] = []
    close_gate = Export.close_gate

    def close_and_note(export: Export) -> None:
        held.append(export.name)
        close_gate(export)

    with place() as here, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Export, "close_gate", close_and_note)
        for edit in sequence:
            transaction = steps(located(edit, here.folder))
            here.settle()
            before = here.traces()
            said = here.server.execute("x-blkrun-check-transaction", transaction)
            assert here.traces() == before
            assert held == []
            assert nameless(outcome_of(here, transaction, held)) == nameless(said)
            held.clear()


def nameless(outcome: dict[str, Any]) -> dict[str, Any]:
    """Without the numbers in generated names, which are never used twice."""
    return dict(msgspec.json.decode(re.sub(rb"#block\d+", b"#block", msgspec.json.encode(outcome))))


def outcome_of(here: Place, transaction: dict[str, Any], held: list[str]) -> dict[str, Any]:
    """What a transaction comes to, in the words of the dry run."""
    clients = {
        name: len(here.server.graph.clients_of(export))
        for name, export in here.server.graph.exports.items()
    }
    answer = here.server.say({"execute": "transaction", "arguments": transaction})
    if "error" in answer:
        error = answer["error"]
        refused = {"action": None, **error.get("data", {})}
        return {"drains": [], "refused": refused | {k: error[k] for k in ("class", "desc")}}
    return {"drains": [{"export": n, "clients": clients[n]} for n in held], "refused": None}


# Each of what could stay


def test_drains_name_exports_and_clients(tmp_path: Path) -> None:
    """A node that is replaced has its exports drained; a group's limits nobody's."""
    here = Place(tmp_path)
    replace = ("x-blkrun-replace-node", {"driver": "null", "node-name": "n0", "size": SIZE})
    retune = ("qom-set", {"path": "g", "property": "limits", "value": {"iops-total": 5}})
    assert check(here.server, replace) == {
        "drains": [{"export": "e0", "clients": 2}],
        "refused": None,
    }
    assert check(here.server, retune) == {"drains": [], "refused": None}
    done = here.server.execute("transaction", steps((replace,), x_blkrun_of_file=True))
    assert done == {"drains": [{"export": "e0", "clients": 2}]}
    assert here.server.execute("transaction", steps((retune,))) == {}
    here.close()


def test_whom_a_refused_graph_is_about(tmp_path: Path) -> None:
    """No action is to blame: the place is told instead, by both."""
    here = Place(tmp_path)
    cut = ("x-blkrun-replace-node", {"driver": "null", "node-name": "n0", "size": 512})
    refused = check(here.server, cut)["refused"]
    assert refused["desc"].startswith("Export 'e0' has 2 client(s), who were told a size of")
    assert (refused["action"], refused["export"]) == (None, "e0")
    error = here.server.say({"execute": "transaction", "arguments": steps((cut,))})["error"]
    assert error["data"] == {"export": "e0"}
    here.server.add("raw", "window", file="n0", offset=512)
    cut[1]["size"] = 256
    assert check(here.server, cut)["refused"]["node-name"] == "window"
    here.close()


def test_a_made_file_goes_and_one_that_was_there_stays(tmp_path: Path) -> None:
    """Also when another action is refused; nothing is truncated."""
    server = InProcess()
    (tmp_path / "old").write_bytes(b"precious")
    made = add("file", "new", path=str(tmp_path / "new"), size=SIZE, create=True)
    kept = add("file", "old", path=str(tmp_path / "old"), create=True)
    assert check(server, made, kept)["refused"] is None
    assert check(server, made, kept, ("abort", {}))["refused"]["action"] == 2
    assert [each.name for each in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"precious"


def test_the_locks_of_a_node_to_be_replaced_stay(tmp_path: Path) -> None:
    """Its heir opened the image too, for the trial only: another writer is still refused."""
    server = InProcess()
    path = tmp_path / "image"
    path.write_bytes(bytes(SIZE))
    server.add("file", "disk", path=str(path))
    for read_only in (True, False):
        options = {"driver": "file", "node-name": "disk", "path": str(path)}
        heir = ("x-blkrun-replace-node", options | {"read-only": read_only})
        assert check(server, heir)["refused"] is None
    _, text = server.refused(*add("file", "other", path=str(path)))
    assert "lock" in text


@pytest.mark.parametrize("kind", ["blockdev-backup", "blockdev-mirror"])
def test_no_job_is_created(kind: str) -> None:
    """No event tells of one; its name is free, and in one transaction it is taken."""
    server = CopyServer()
    before = server.picture(), len(server.sent)
    job = (kind, arguments("j", sync="full"))
    assert check(server, job, completion_mode="grouped")["refused"] is None
    assert check(server, job, job)["refused"]["action"] == 1
    with_change = check(server, job, ("x-blkrun-job-change", {"id": "j", "speed": 512}))
    assert with_change["refused"] is None
    assert [message for message in server.sent[before[1] :] if "event" in message] == []
    assert server.picture() == before[0]
    assert server.context.jobs.listing() == []
    server.execute(*job)
    finish(server)


def test_no_command_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """An NBD server that is started for the trial has ended when the answer comes."""
    monkeypatch.setattr(sys, "path", [*sys.path, DIST_PACKAGES])
    require_module("nbd")
    server = InProcess()
    before = children()
    command = [require_tool("nbdkit"), "-f", "memory", "1M"]
    assert check(server, add("nbd", "remote", command=command))["refused"] is None
    assert children() == before


def children() -> set[str]:
    """Processes that this one has started."""
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}


# The events of edits


def test_every_edit_is_numbered_and_told(tmp_path: Path) -> None:
    """Single commands, a file's transactions, what the server does by itself; not what is refused.

    The graph's report has the number, too.
    """
    here = Place(tmp_path)
    server, graph = here.server, here.server.graph
    number = server.execute("x-blkrun-query-graph")["revision"]
    server.add("null", "x", size=SIZE)
    server.refused("blockdev-del", {"node-name": "nobody"})
    check(server, add("null", "y", size=SIZE))
    edit = steps((add("null", "y"), ("blockdev-del", {"node-name": "y"})), x_blkrun_of_file=True)
    server.execute("transaction", edit)
    graph.transaction([])
    changes = [
        event["data"]
        for event in server.execute("x-blkrun-query-events")
        if event["event"] == "X_BLKRUN_GRAPH_CHANGED"
    ]
    assert changes[-3:] == [
        {"revision": number + 1, "of-file": False, "operations": ["blockdev-add"]},
        {"revision": number + 2, "of-file": True, "operations": ["blockdev-add", "blockdev-del"]},
        {"revision": number + 3, "of-file": False, "operations": []},
    ]
    assert server.execute("x-blkrun-query-graph")["revision"] == number + 3
    here.close()


@pytest.mark.parametrize(
    ("arguments_", "text"),
    [
        ({}, "Parameter 'actions' is missing"),
        ({"actions": [], "x": 1}, "Parameter 'x' is unexpected"),
        (
            {"actions": [], "properties": {"x-blkrun-of-file": 1}},
            "Invalid parameter type for 'properties.x-blkrun-of-file', expected: boolean",
        ),
    ],
)
def test_a_check_that_is_none(arguments_: dict[str, Any], text: str) -> None:
    """What is no transaction is an error, as there; what is wrong with an action is an answer."""
    server = InProcess()
    assert server.refused("x-blkrun-check-transaction", arguments_) == ("GenericError", text)
    answer = check(server, ("nonsense", {}))["refused"]
    assert (answer["action"], answer["class"]) == (0, "GenericError")


def test_the_runner_is_asked_by_an_event() -> None:
    """Everybody hears of it, with its data; what no runner knows is refused."""
    server = InProcess()
    server.execute("x-blkrun-ask-runner", {"kind": "apply", "data": {"digest": "d", "kind": "x"}})
    server.execute("x-blkrun-ask-runner", {"kind": "reload"})
    asked = server.execute("x-blkrun-query-events")
    assert [(event["event"], event["data"]) for event in asked] == [
        ("X_BLKRUN_RUNNER_ASKED", {"digest": "d", "kind": "apply"}),
        ("X_BLKRUN_RUNNER_ASKED", {"kind": "reload"}),
    ]
    kind, text = server.refused("x-blkrun-ask-runner", {"kind": "bogus"})
    assert (kind, text) == (
        "GenericError",
        "Parameter 'kind' does not accept value 'bogus'",
    )
