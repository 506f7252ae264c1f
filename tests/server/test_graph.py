"""Edits while threads read and write (design §5): nothing lost, nothing closed too early.

Requests go through real connections; only the time at which a backend answers is the test's.
"""

import errno
import itertools
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blkrun.errors import CommandError
from blkrun.options import MemoryOptions, ThrottleOptions
from blkrun.server import graph as graph_module
from blkrun.server.connection import Connection
from blkrun.server.drivers.memory import Memory
from blkrun.server.drivers.throttle import Throttle
from blkrun.server.node import Node
from blkrun.server.staging import MAX_DEPTH, Staging
from blkrun.server.way import Late, Way
from tests.server.inprocess import (
    PATIENCE_S,
    InProcess,
    Worker,
    eventually,
    ignore,
    leave_thread_states_alone,
    workers,
)

SIZE = 2**20
GROUP = "throttle-group"


@pytest.fixture(autouse=True)
def _plain_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_thread_states_alone(monkeypatch)
    monkeypatch.setattr(graph_module, "_GRACE_IN_COMMAND_S", 0.0)


@pytest.fixture
def _often() -> Iterator[None]:
    """Switch threads as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture
def server() -> InProcess:
    """Writable export vda over ``disk``, a Held backend; groups ``slow`` (1/s) and ``free``."""
    server = InProcess()
    for name, limits in (("slow", {"iops-total": 1}), ("free", {})):
        server.execute("object-add", {"qom-type": GROUP, "id": name, "limits": limits})
    add_held(server, "disk")
    export(server, "vda", "disk")
    return server


class Held(Memory):
    """A RAM disk that can hold its requests, and knows what happens to it."""

    def __init__(self, name: str) -> None:
        super().__init__(MemoryOptions(node_name=name, size=SIZE))
        self.go = threading.Event()
        self.go.set()
        self.inside = 0
        self.closed_with: list[int] = []

    def close(self) -> None:
        """Note how many requests were inside."""
        self.closed_with.append(self.inside)

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Wait until it may go on, then read."""
        self.inside += 1
        self.go.wait(20)
        super().do_pread(buf, offset)
        self.inside -= 1


def add_held(server: InProcess, name: str) -> Held:
    """A Held backend, by a transaction as for any other."""
    node = Held(name)
    server.graph.transaction([lambda staging: staging.add_node(node, {})])
    return node


def export(server: InProcess, name: str, node: str) -> None:
    """A writable export."""
    arguments = {"type": "nbd", "id": name, "node-name": node, "writable": True}
    server.execute("block-export-add", arguments)


def add_throttle(server: InProcess, name: str, file: str, group: str = "free") -> None:
    """A throttle that is nobody's child yet."""
    server.add("throttle", name, file=file, throttle_group=group)


def insert(parent: str, child: str, node: str) -> tuple[str, dict[str, Any]]:
    """As an action."""
    return "block-insert-node", {"parent": parent, "child": child, "node": node}


def remove(parent: str, child: str, node: str) -> tuple[str, dict[str, Any]]:
    """As an action."""
    return "block-remove-node", {"parent": parent, "child": child, "node": node}


def set_edge(parent: str, role: str, child: str) -> tuple[str, dict[str, Any]]:
    """As an action."""
    return "x-blkrun-set-edge", {"parent": parent, "role": role, "child": child}


class Scene:
    """The server, its held backend, and clients' requests under way."""

    def __init__(self, server: InProcess) -> None:
        self.server = server
        self.graph = server.graph
        disk = server.graph.nodes["disk"]
        assert isinstance(disk, Held)
        self.disk = disk
        self.client = server.graph.connect("vda", ignore)
        self.threads: list[Worker] = []

    def start(self, request: Callable[[Connection], object] | None = None) -> Worker:
        """A request on a thread of its own."""
        work = request or (lambda client: client.pread(memoryview(bytearray(512)), 0, 0))
        thread = Worker(lambda: work(self.client))
        self.threads.append(thread)
        return thread

    def hold(self, count: int = 1) -> None:
        """That many requests inside the backend, and staying there."""
        self.disk.go.clear()
        for _ in range(count):
            self.start()
        eventually(lambda: self.disk.inside == count)

    def edit(self, *actions: tuple[str, dict[str, Any]]) -> Worker:
        """A transaction on a thread of its own, for those that have to wait."""
        return Worker(lambda: self.server.transaction(*actions))

    def end(self) -> None:
        """Let everything go on, and see that it ends."""
        self.disk.go.set()
        for thread in self.threads:
            thread.finish()
        self.graph.disconnect(self.client)


def gate_is_closed(scene: Scene) -> bool:
    """Whether new requests are held at the export."""
    return scene.client.export.gate is not None


# Rule 5: what stops and what does not


@pytest.mark.parametrize("held", [0, 1, 3])
def test_one_edge_never_closes_the_gate(server: InProcess, held: int) -> None:
    """Insert, several filters at one edge, retune, remove: done while requests are inside."""
    scene = Scene(server)
    scene.hold(held)
    add_throttle(server, "a", "disk")
    server.execute(*insert("vda", "disk", "a"))
    server.transaction(
        ("blockdev-add", throttle("b", "a")),
        ("blockdev-add", throttle("c", "b")),
        insert("vda", "a", "b"),
        insert("vda", "b", "c"),
    )
    assert server.node("c")["children"] == {"file": "b"}
    server.execute("qom-set", {"path": "free", "property": "limits", "value": {"iops-total": 9}})
    for above, below in (("c", "b"), ("b", "a"), ("a", "disk")):
        server.transaction(remove("vda", below, above), ("blockdev-del", {"node-name": above}))
    assert scene.client.export.root is scene.disk
    assert scene.client.export.stats.in_flight == held
    scene.end()


def throttle(name: str, file: str, group: str = "free") -> dict[str, Any]:
    """Options as blockdev-add takes them."""
    return {"driver": "throttle", "node-name": name, "file": file, GROUP: group}


@pytest.mark.parametrize("held", [0, 3])
def test_several_edges_of_one_route_are_one_store(server: InProcess, held: int) -> None:
    """A reorder is done while requests are inside: those end where they began, new ones do not."""
    add_throttle(server, "b", "disk")
    add_throttle(server, "a", "b")
    server.execute(*set_edge("vda", "root", "a"))
    scene = Scene(server)
    scene.hold(held)
    server.transaction(
        set_edge("vda", "root", "b"), set_edge("b", "file", "a"), set_edge("a", "file", "disk")
    )
    assert [server.node(name)["children"] for name in "ba"] == [{"file": "a"}, {"file": "disk"}]
    assert not gate_is_closed(scene)
    assert scene.client.export.stats.in_flight == held
    scene.start(lambda client: client.pwrite(memoryview(b"x"), 0, 0)).finish()
    assert scene.disk.stats.writes.done == 1
    scene.end()
    assert scene.disk.stats.reads.done == held


MULTI: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "reopen": [("blockdev-reopen", {"options": [throttle("a", "disk", "slow")]})],
    "replace": [("x-blkrun-replace-node", throttle("b", "disk"))],
}


@pytest.mark.parametrize("what", MULTI)
def test_disturbed_nodes_close_the_gate(server: InProcess, what: str) -> None:
    """What is more than one store waits for rest, and new requests wait for it."""
    add_throttle(server, "b", "disk")
    add_throttle(server, "a", "b")
    server.execute(*set_edge("vda", "root", "a"))
    scene = Scene(server)
    scene.hold()
    before = server.graph.nodes
    edit = scene.edit(*MULTI[what])
    eventually(lambda: gate_is_closed(scene))
    late = scene.start()
    assert server.graph.nodes is before
    assert (late.is_alive(), edit.is_alive(), scene.disk.inside) == (True, True, 1)
    scene.disk.go.set()
    edit.finish()
    assert not gate_is_closed(scene)
    assert server.graph.nodes is not before
    scene.end()


def test_edits_elsewhere_do_not_close_the_gate(server: InProcess) -> None:
    """Only exports below which the edit takes place are drained."""
    scene = Scene(server)
    server.add("memory", "other", size=SIZE)
    export(server, "vdb", "other")
    scene.hold()
    add_throttle(server, "b", "other")
    add_throttle(server, "a", "b")
    server.execute(*set_edge("vdb", "root", "a"))
    server.transaction(
        set_edge("vdb", "root", "b"), set_edge("b", "file", "a"), set_edge("a", "file", "other")
    )
    assert scene.disk.inside == 1
    scene.end()


def test_drain_that_takes_too_long_changes_nothing(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edit is refused, the picture is the same, and requests go on."""
    monkeypatch.setattr(graph_module, "DRAIN_TIMEOUT_S", 0.02)
    scene = Scene(server)
    scene.hold()
    before, nodes = server.picture(), server.graph.nodes
    replacement = {"driver": "memory", "node-name": "disk", "size": SIZE}
    expected = "Export 'vda' did not come to rest within 0 s; nothing was changed"
    assert server.refused("x-blkrun-replace-node", replacement) == ("GenericError", expected)
    assert server.picture() == before
    assert server.graph.nodes is nodes
    assert not gate_is_closed(scene)
    scene.start()
    eventually(lambda: scene.disk.inside == 2)
    scene.end()
    assert scene.disk.closed_with == []


# Throttles that go let everybody go (§2.9)


@pytest.mark.parametrize(
    "edit",
    [
        remove("vda", "disk", "t"),
        ("blockdev-reopen", {"options": [throttle("t", "disk", "free")]}),
        ("x-blkrun-replace-node", throttle("t", "disk", "free")),
        ("qom-set", {"path": "slow", "property": "limits", "value": {"iops-total": 0}}),
        ("block-export-del", {"id": "vda", "mode": "hard"}),
        ("quit", {}),
    ],
    ids=["remove", "another group", "replace", "lift the limit", "delete the export", "quit"],
)
def test_waiting_requests_go(server: InProcess, edit: tuple[str, dict[str, Any]]) -> None:
    """Requests that wait at 1/s go when the node, its group or the limit does; none fails."""
    add_throttle(server, "t", "disk", "slow")
    server.execute(*insert("vda", "disk", "t"))
    scene = Scene(server)
    for _ in range(4):
        scene.start()
    eventually(lambda: waiting(server) == 3)
    server.execute(*edit)
    scene.end()
    assert scene.disk.stats.reads.done == 4


def waiting(server: InProcess) -> int:
    """Requests waiting in all groups."""
    groups = server.execute("x-blkrun-query-graph")["throttle-groups"]
    return sum(member["waiting"] for group in groups for member in group["members"])


def test_a_removed_throttle_throttles_again_when_it_is_back(server: InProcess) -> None:
    """Out of the graph it holds nobody back, in it it does."""
    add_throttle(server, "t", "disk", "slow")
    server.execute(*insert("vda", "disk", "t"))
    server.execute(*remove("vda", "disk", "t"))
    scene = Scene(server)
    for _ in range(3):
        scene.start().finish()
    server.execute(*insert("vda", "disk", "t"))
    for _ in range(3):
        scene.start()
    eventually(lambda: waiting(server) == 2)
    assert server.node("t")["driver-specific"] == {
        "waiting": 2,
        "waited-ns": 0,
        "waited-operations": 0,
    }
    server.execute(*remove("vda", "disk", "t"))
    scene.end()
    assert server.node("t")["driver-specific"]["waited-operations"] == 2


# Grace: nodes are closed when nobody is inside


def test_a_removed_node_is_closed_when_its_last_request_has_left(server: InProcess) -> None:
    """The edit is done at once; the close waits for the request, and new ones do not delay it."""
    scene = Scene(server)
    scene.hold(2)
    add_held(server, "new")
    server.transaction(set_edge("vda", "root", "new"), ("blockdev-del", {"node-name": "disk"}))
    assert "disk" not in server.graph.nodes
    scene.start().finish()
    assert scene.disk.closed_with == []
    scene.disk.go.set()
    eventually(lambda: scene.disk.closed_with)
    assert scene.disk.closed_with == [0]
    scene.end()


def test_a_deleted_exports_requests_hold_the_node_open(server: InProcess) -> None:
    """A request of an export that was deleted before is still inside, and is waited for."""
    scene = Scene(server)
    scene.hold()
    server.execute("block-export-del", {"id": "vda", "mode": "hard"})
    server.execute("blockdev-del", {"node-name": "disk"})
    assert scene.disk.closed_with == []
    scene.disk.go.set()
    eventually(lambda: scene.disk.closed_with)
    assert scene.disk.closed_with == [0]
    scene.end()


def test_an_idle_node_is_closed_at_once(server: InProcess) -> None:
    """Nobody is inside, so there is nothing to wait for."""
    node = add_held(server, "idle")
    server.execute("blockdev-del", {"node-name": "idle"})
    assert node.closed_with == [0]


def test_a_failed_transaction_closes_what_it_opened(server: InProcess) -> None:
    """Last first, and nothing else."""
    first, second = Held("first"), Held("second")
    order: list[str] = []
    for node in (first, second):
        node.close = lambda name=node.name: order.append(name)  # type: ignore[method-assign, misc]

    def fail(staging: Staging) -> None:
        raise CommandError("no")

    steps = [lambda s: s.add_node(first, {}), lambda s: s.add_node(second, {}), fail]
    with pytest.raises(CommandError) as caught:
        server.graph.transaction(steps)
    assert caught.value.action == 2
    assert order == ["second", "first"]


def test_deleted_export(server: InProcess) -> None:
    """Rule 7: who has it open hears ESHUTDOWN from then on, whatever is asked."""
    scene = Scene(server)
    server.execute("block-export-del", {"id": "vda", "mode": "hard"})
    buffer = memoryview(bytearray(512))
    requests: list[Callable[[Connection], object]] = [
        lambda client: client.pread(buffer, 0, 0),
        lambda client: client.pwrite(buffer, 0, 0),
        lambda client: client.zero(512, 0, 0),
        lambda client: client.trim(512, 0, 0),
        lambda client: client.flush(0),
        lambda client: client.extents(512, 0, 0),
    ]
    for request in requests:
        with pytest.raises(OSError, match="deleted") as caught:
            scene.start(request).finish()
        assert caught.value.errno == errno.ESHUTDOWN
    scene.threads.clear()
    scene.end()
    with pytest.raises(CommandError, match="Export 'vda' is not found"):
        server.graph.connect("vda", ignore)


# Rule 7: sizes


@pytest.mark.parametrize("connected", [False, True])
def test_size_of_a_connected_export_stays(server: InProcess, *, connected: bool) -> None:
    """A client keeps the size that it was told; without one, the size may change."""
    server.add("raw", "half", file="disk", size=SIZE // 2)
    client = server.graph.connect("vda", ignore) if connected else None
    action = set_edge("vda", "root", "half")
    if client is None:
        server.execute(*action)
        assert server.graph.connect("vda", ignore).size_bytes == SIZE // 2
        return
    before = server.picture()
    told = f"Export 'vda' has 1 client(s), who were told a size of {SIZE} bytes; it would become"
    assert server.refused(*action) == ("GenericError", f"{told} {SIZE // 2}")
    assert server.picture() == before
    server.graph.disconnect(client)
    server.execute(*action)


def test_sizes_follow_the_children(server: InProcess) -> None:
    """A window to the child's end is as long as the child lets it, at every level."""
    server.add("raw", "r", file="disk", offset=4096)
    add_throttle(server, "t", "r")
    server.add("memory", "small", size=8192)
    server.execute(*set_edge("r", "file", "small"))
    assert (server.node("r")["size"], server.node("t")["size"]) == (4096, 4096)
    server.add("memory", "tiny", size=4095)
    before = server.picture()
    kind, text = server.refused(*set_edge("r", "file", "tiny"))
    assert (kind, text[:42]) == ("GenericError", "Node 'r': offset 4096 is past the end of '")
    assert server.picture() == before


# The shape of the graph


def test_depth_is_limited(server: InProcess) -> None:
    """A request's way down must fit the stack: 200 nodes do, with I/O through them, 201 do not."""
    below = "disk"
    for number in range(MAX_DEPTH - 1):
        add_throttle(server, f"t{number}", below)
        below = f"t{number}"
    kind, text = server.refused("blockdev-add", throttle("top", below))
    assert (kind, text) == (
        "GenericError",
        "Node 'top' would be the top of 201 nodes; the limit is 200",
    )
    server.execute(*set_edge("vda", "root", below))
    scene = Scene(server)
    scene.start().finish()
    scene.end()


def test_cycles_are_refused(server: InProcess) -> None:
    """§10.2: in all forms, and without a trace."""
    for name, file in (("a", "disk"), ("b", "a"), ("c", "b")):
        add_throttle(server, name, file)
    server.execute(*set_edge("vda", "root", "c"))
    before = server.picture()
    cycles = [
        set_edge("a", "file", "a"),
        set_edge("a", "file", "c"),
        insert("a", "disk", "a"),
        ("x-blkrun-replace-node", throttle("disk", "c")),
        ("blockdev-reopen", {"options": [throttle("a", "b")]}),
    ]
    for action in cycles:
        assert "create a cycle" in server.refused(*action)[1]
    assert server.picture() == before


def test_counts_stay_when_a_client_has_gone(server: InProcess) -> None:
    """Rule 6: totals of an export are those of all clients there ever were."""
    for _ in range(3):
        scene = Scene(server)
        scene.start().finish()
        scene.start(lambda client: client.pwrite(memoryview(bytes(100)), 0, 0)).finish()
        scene.start(lambda client: client.flush(0)).finish()
        scene.end()
    (seen,) = server.execute("x-blkrun-query-graph")["exports"]
    counts = {name: value for name, value in seen["stats"].items() if "time" not in name}
    assert {name: value for name, value in counts.items() if value} == {
        "rd_bytes": 3 * 512,
        "rd_operations": 3,
        "wr_bytes": 300,
        "wr_operations": 3,
        "flush_operations": 3,
    }
    assert (seen["in-flight"], seen["clients"]) == (0, [])
    assert sum(count for _, count in seen["read-latency"]) == 3


# All of it at once


class Client:
    """Writes patterns into a region of its own and reads them back."""

    BLOCK = 4096

    def __init__(self, connection: Connection, number: int, stop: threading.Event) -> None:
        self.connection = connection
        self.stop = stop
        self.first = number * 16
        self.random = random.Random(number)
        self.blocks: dict[int, bytes] = {}
        self.reads = self.writes = 0

    def __call__(self) -> None:
        """Until told to stop."""
        while not self.stop.is_set():
            block = self.random.randrange(16)
            if self.random.random() < 0.5:
                self.write(block)
            else:
                self.read(block)
        for block in range(16):
            self.read(block)

    def write(self, block: int) -> None:
        """A pattern of its own, whole."""
        data = self.random.randbytes(8) * (self.BLOCK // 8)
        self.connection.pwrite(memoryview(data), (self.first + block) * self.BLOCK, 0)
        self.blocks[block] = data
        self.writes += 1

    def read(self, block: int) -> None:
        """What was written last, or zeroes."""
        buffer = bytearray(self.BLOCK)
        self.connection.pread(memoryview(buffer), (self.first + block) * self.BLOCK, 0)
        assert buffer == self.blocks.get(block, bytes(self.BLOCK))
        self.reads += 1


def rounds(server: InProcess) -> None:
    """Insert two filters, reorder, retune, reopen, replace, remove, delete."""
    delete_a, delete_b = (("blockdev-del", {"node-name": name}) for name in "ab")
    server.transaction(("blockdev-add", throttle("a", "disk")), insert("vda", "disk", "a"))
    server.transaction(("blockdev-add", throttle("b", "a")), insert("vda", "a", "b"))
    server.transaction(
        set_edge("vda", "root", "a"), set_edge("a", "file", "b"), set_edge("b", "file", "disk")
    )
    for limit in (10**6, 10**7, 0):
        value = {"iops-total": limit}
        server.execute("qom-set", {"path": "free", "property": "limits", "value": value})
    server.execute("blockdev-reopen", {"options": [throttle("a", "b", "slow")]})
    server.execute("blockdev-reopen", {"options": [throttle("a", "b", "free")]})
    server.execute("x-blkrun-replace-node", throttle("b", "disk"))
    server.transaction(remove("a", "disk", "b"), delete_b)
    server.transaction(remove("vda", "disk", "a"), delete_a)


def test_bytes_are_right_under_edits(server: InProcess) -> None:
    """Rules 5, 6 and 8: patterns hold, counters are exact, nothing is left behind."""
    stop = threading.Event()
    connections = [server.graph.connect("vda", ignore) for _ in range(2)]
    clients = [Client(connections[number % 2], number, stop) for number in range(4)]
    disk = server.graph.nodes["disk"]
    with workers(list(clients)):
        try:
            for _ in range(25):
                rounds(server)
                assert server.node("disk")["in-flight"] >= 0
        finally:
            stop.set()
    for connection in connections:
        server.graph.disconnect(connection)
    reads, writes = (sum(getattr(c, kind) for c in clients) for kind in ("reads", "writes"))
    totals = server.graph.exports["vda"].stats
    for counters in (disk.stats, totals):
        assert (counters.reads.done, counters.writes.done) == (reads, writes)
        assert counters.reads.bytes + counters.writes.bytes == (reads + writes) * Client.BLOCK
        assert counters.in_flight == 0
    assert set(server.graph.nodes) == {"disk"}
    assert not any(group.in_use for group in server.graph.groups.values())


def test_a_reorder_shows_every_request_both_filters(server: InProcess) -> None:
    """Several edges change as one: no request takes a way with one filter, or one of them twice."""
    stop = threading.Event()
    add_throttle(server, "a", "disk")
    add_throttle(server, "b", "a")
    server.execute(*set_edge("vda", "root", "b"))
    client = server.graph.connect("vda", ignore)
    clients = [Client(client, number, stop) for number in range(4)]
    orders = itertools.cycle([("a", "b"), ("b", "a")])
    with workers(list(clients)):
        try:
            for _ in range(60):
                top, low = next(orders)
                server.transaction(
                    set_edge("vda", "root", top),
                    set_edge(top, "file", low),
                    set_edge(low, "file", "disk"),
                )
        finally:
            stop.set()
    total = sum(each.reads + each.writes for each in clients)
    for name in ("a", "b", "disk"):
        stats = server.graph.nodes[name].stats
        assert stats.reads.done + stats.writes.done == total
    server.graph.disconnect(client)


@pytest.mark.usefixtures("_often")
def test_queries_during_edits(server: InProcess) -> None:
    """Whoever asks while the graph changes gets an answer that fits together."""
    stop = threading.Event()

    def ask() -> None:
        asker = InProcess()
        asker.context.graph = server.graph
        while not stop.is_set():
            for query in ("x-debug-query-block-graph", "query-named-block-nodes"):
                asker.execute(query)
            asker.execute("query-blockstats", {"query-nodes": True})
            graph = asker.execute("x-blkrun-query-graph")
            names = {node["node-name"] for node in graph["nodes"]}
            assert {
                child for node in graph["nodes"] for child in node["children"].values()
            } <= names

    with workers([ask] * 3):
        try:
            for _ in range(60):
                rounds(server)
        finally:
            stop.set()


# Requests of an earlier way


class HeldFilter(Throttle):
    """A filter that can hold a write before it goes on."""

    def __init__(self, name: str, file: str) -> None:
        super().__init__(ThrottleOptions(node_name=name, file=file, throttle_group="free"))
        self.go = threading.Event()
        self.inside = threading.Event()

    def lower(self, below: Way, late: Way) -> Way:
        """Wait inside, then go on."""

        def pwrite(buf: memoryview, offset: int, flags: int) -> Late | None:
            self.inside.set()
            assert self.go.wait(PATIENCE_S)
            return below.pwrite(buf, offset, flags)

        return below._replace(pwrite=pwrite)


class HeldFormat(HeldFilter):
    """The same as a format would do it: its requests are its own, and it looks at its edge."""

    is_filter = False
    passes_on = False

    def lower(self, below: Way, late: Way) -> Way:
        """Requests end here."""
        return Node.lower(self, below, late)

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Ask the child."""
        self.file.pread(buf, offset)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Wait inside, then ask the child there is by then."""
        self.inside.set()
        assert self.go.wait(PATIENCE_S)
        self.file.pwrite(buf, offset, flags)


LEAVING = {
    "taken out of the export": set_edge("vda", "root", "disk"),
    "its export deleted": ("block-export-del", {"id": "vda", "mode": "hard"}),
}


@pytest.mark.parametrize("kind", [HeldFilter, HeldFormat])
@pytest.mark.parametrize("how", LEAVING)
def test_a_stray_request_stays_on_its_way(
    server: InProcess, how: str, kind: type[HeldFilter]
) -> None:
    """A write inside a node that its export has lost does not follow the node's edge elsewhere.

    A filter's way was fixed when the write came in; a format's edge is moved only after it.
    """
    held = kind("t", "disk")
    disk = server.graph.nodes["disk"]
    server.graph.transaction([lambda staging: staging.add_node(held, {"file": disk})])
    server.execute(*set_edge("vda", "root", "t"))
    server.add("memory", "other", size=SIZE)
    scene = Scene(server)
    writer = Worker(lambda: scene.client.pwrite(memoryview(b"x" * 512), 0, 0))
    assert held.inside.wait(PATIENCE_S)

    server.execute(*LEAVING[how])
    edit = Worker(lambda: server.execute(*set_edge("t", "file", "other")))
    edit.join(0.05)
    assert edit.is_alive() == (kind is HeldFormat), "an edge was moved under a request, or waits"
    held.go.set()
    writer.finish()
    edit.finish()

    found = memoryview(bytearray(512))
    server.graph.nodes["other"].do_pread(found, 0)
    assert bytes(found) == bytes(512)
    scene.disk.do_pread(found, 0)
    assert bytes(found) == b"x" * 512
    scene.end()


def test_edges_of_a_format_are_changed_at_rest(server: InProcess) -> None:
    """A node that looks at its edge per request, and another edge: no request sees a mixture."""
    held = HeldFormat("t", "disk")
    disk = server.graph.nodes["disk"]
    server.graph.transaction([lambda staging: staging.add_node(held, {"file": disk})])
    add_throttle(server, "a", "t")
    server.execute(*set_edge("vda", "root", "a"))
    server.add("memory", "other", size=SIZE)
    scene = Scene(server)
    writer = Worker(lambda: scene.client.pwrite(memoryview(b"x" * 512), 0, 0))
    assert held.inside.wait(PATIENCE_S)
    edit = scene.edit(set_edge("vda", "root", "t"), set_edge("t", "file", "other"))
    eventually(lambda: gate_is_closed(scene))
    assert edit.is_alive()
    held.go.set()
    writer.finish()
    edit.finish()
    assert (scene.disk.stats.writes.done, held.stats.writes.done) == (1, 1)
    scene.start().finish()
    assert server.graph.nodes["other"].stats.reads.done == 1
    scene.end()


@pytest.mark.usefixtures("_often")
def test_an_export_that_comes_to_a_node_sees_all_of_the_edit(server: InProcess) -> None:
    """In one transaction a node moves to another disk and an export to the node: no mixture."""
    disk = server.graph.nodes["disk"]
    disk.do_pwrite(memoryview(b"a" * 512), 0, 0)
    server.add("memory", "other", size=SIZE)
    server.graph.nodes["other"].do_pwrite(memoryview(b"b" * 512), 0, 0)
    add_throttle(server, "t", "disk")
    server.execute(*insert("vda", "disk", "t"))
    export(server, "vdb", "other")
    client = server.graph.connect("vdb", ignore)
    done = threading.Event()

    def read() -> None:
        buffer = bytearray(512)
        while not done.is_set():
            client.pread(memoryview(buffer), 0, 0)
            assert buffer[0] == ord("b")

    with workers([read] * 3):
        for _ in range(100):
            server.transaction(
                set_edge("vdb", "root", "t"),
                set_edge("vda", "root", "disk"),
                set_edge("t", "file", "other"),
            )
            server.transaction(
                set_edge("vdb", "root", "other"),
                set_edge("t", "file", "disk"),
                set_edge("vda", "root", "t"),
            )
        done.set()
    server.graph.disconnect(client)


def test_added_and_dropped_in_one_transaction_is_closed(server: InProcess) -> None:
    """A node that a transaction both adds and deletes gives back what it opened."""
    server.transaction(
        ("blockdev-add", throttle("t", "disk")),
        ("blockdev-del", {"node-name": "t"}),
    )
    assert server.execute("x-blkrun-query-graph")["throttle-groups"][1]["members"] == []


def test_inline_children_go_with_their_last_parent(server: InProcess) -> None:
    """An inline child that loses its edge is deleted: nobody else could name it."""
    child = {"driver": "memory", "size": SIZE}
    server.execute("blockdev-add", {**throttle("t", "disk"), "file": child})
    server.execute(*set_edge("t", "file", "disk"))
    assert set(server.graph.nodes) == {"disk", "t"}


def test_an_unexpected_error_is_answered(server: InProcess) -> None:
    """A NUL in a path, which the driver's open cannot take, is an error and not silence."""
    arguments = {"driver": "file", "node-name": "x", "path": "a\0b"}
    kind, text = server.refused("blockdev-add", arguments)
    assert kind == "GenericError"
    assert "null byte" in text
    assert "x" not in server.graph.nodes
