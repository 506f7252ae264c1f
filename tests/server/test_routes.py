"""Interleavings that are hard to meet by chance, made to happen: entering, counting, replacing."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from blkrun.options import NullOptions
from blkrun.server import graph as graph_module
from blkrun.server import traffic as traffic_module
from blkrun.server.connection import Connection
from blkrun.server.drivers.null import Null
from blkrun.server.drivers.throttle import Throttle
from blkrun.server.export import Export
from blkrun.server.route import Route
from blkrun.server.routing import resolve
from blkrun.server.way import NOWHERE
from tests.server.inprocess import (
    PATIENCE_S,
    InProcess,
    Worker,
    eventually,
    leave_thread_states_alone,
)
from tests.server.test_graph import (
    GROUP,
    SIZE,
    HeldFormat,
    Scene,
    add_held,
    add_throttle,
    export,
    gate_is_closed,
    insert,
    remove,
    set_edge,
    throttle,
    waiting,
)


@pytest.fixture(autouse=True)
def _plain_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_thread_states_alone(monkeypatch)
    monkeypatch.setattr(graph_module, "_GRACE_IN_COMMAND_S", 0.0)


@pytest.fixture
def server() -> InProcess:
    """Writable export vda over ``disk``, a Held backend; groups ``slow`` (1/s) and ``free``."""
    server = InProcess()
    for name, limits in (("slow", {"iops-total": 1}), ("free", {})):
        server.execute("object-add", {"qom-type": GROUP, "id": name, "limits": limits})
    add_held(server, "disk")
    export(server, "vda", "disk")
    return server


# Entering


class Closing(Export):
    """An export that begins to drain right after a request has found its gate open."""

    closes = False

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name == "gate" and found is None and self.closes:
            self.closes = False
            self.close_gate()
        return found


def test_no_request_takes_the_way_that_stands_for_a_closed_gate(server: InProcess) -> None:
    """A drain begins while one request changes routes: the next one waits at the gate as well."""
    scene = Scene(server)
    target = scene.client.export
    add_throttle(server, "t", "disk")
    server.execute(*insert("vda", "disk", "t"))
    target.__class__ = Closing
    setattr(target, "closes", True)  # noqa: B010 - only a Closing has it
    first = scene.start()
    eventually(lambda: not getattr(target, "closes"))  # noqa: B009
    second = scene.start()
    second.join(0.05)
    assert (first.is_alive(), second.is_alive()) == (True, True)
    target.open_gate(server.graph._traffic._routes[target])
    scene.end()
    assert target.stats.reads.done == 2


# What a route is made of


def test_a_throttle_that_left_its_group_and_came_back_throttles(server: InProcess) -> None:
    """Reopened to another group and back in one transaction: the same options, another member."""
    add_throttle(server, "t", "disk", "slow")
    server.execute(*insert("vda", "disk", "t"))
    server.transaction(
        ("blockdev-reopen", {"options": [throttle("t", "disk", "free")]}),
        ("blockdev-reopen", {"options": [throttle("t", "disk", "slow")]}),
    )
    scene = Scene(server)
    for _ in range(4):
        scene.start()
    eventually(lambda: waiting(server) == 3)
    server.execute(*remove("vda", "disk", "t"))
    scene.end()


# Several edits while a request of the first is still inside


def test_endless_edits_leave_nothing_behind(server: InProcess) -> None:
    """One request is stuck in a removed node: routes are kept for it, and no more with each edit.

    The removed node and a deleted export count it once.
    """
    scene = Scene(server)
    gone, target = scene.disk, scene.client.export
    scene.hold()
    add_held(server, "new")
    server.transaction(set_edge("vda", "root", "new"), ("blockdev-del", {"node-name": "disk"}))
    server.execute("block-export-del", {"id": "vda", "mode": "hard"})
    export(server, "vdb", "new")
    kept = len(server.graph._traffic._replaced)
    for _ in range(10):
        server.transaction(("blockdev-add", throttle("t", "new")), insert("vdb", "new", "t"))
        server.transaction(remove("vdb", "new", "t"), ("blockdev-del", {"node-name": "t"}))
        assert len(server.graph._traffic._replaced) == kept
        assert (len(gone.routes), len(target.routes)) == (kept, kept)
    assert (gone.stats.in_flight, target.stats.in_flight) == (1, 1)
    scene.end()
    server.transaction()
    assert (server.graph._traffic._replaced, gone.routes, target.routes) == ([], [], [])
    assert gone.stats.reads.done == target.stats.reads.done == 1


def test_a_node_that_nobody_can_reach_is_closed_at_once(server: InProcess) -> None:
    """A stuck request keeps open what it may come to, and no more: no thread is left waiting."""
    scene = Scene(server)
    scene.hold()
    threads = threading.active_count()
    for _ in range(5):
        new = add_held(server, "new")
        add_throttle(server, "t", "disk")
        server.execute(*insert("vda", "disk", "t"))
        server.transaction(remove("vda", "disk", "t"), ("blockdev-del", {"node-name": "t"}))
        server.execute("blockdev-del", {"node-name": "new"})
        assert new.closed_with == [0]
    assert not any(group.in_use for group in server.graph.groups.values())
    assert threading.active_count() == threads
    scene.end()


def test_nobody_slips_past_a_throttle_that_is_about_to_go(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lets requests go when no new ones come, and not while the new routes are worked out."""
    add_throttle(server, "t", "disk", "slow")
    add_throttle(server, "u", "disk", "slow")
    server.execute(*insert("vda", "disk", "t"))
    scene = Scene(server)
    scene.start().finish()
    slipped = []

    def slowly(*arguments: Any) -> Any:
        late = scene.start()
        late.join(0.05)
        slipped.append(not late.is_alive())
        return resolve(*arguments)

    monkeypatch.setattr(traffic_module, "resolve", slowly)
    server.execute(*set_edge("vda", "root", "u"))
    assert slipped == [False]
    scene.end()


@pytest.mark.parametrize(
    "query",
    [
        ("query-blockstats", {"query-nodes": True}),
        ("x-blkrun-query-graph", {}),
        ("x-blkrun-stats", {}),
    ],
    ids=lambda query: str(query[0]),
)
def test_no_query_sees_counts_on_the_move(
    server: InProcess, monkeypatch: pytest.MonkeyPatch, query: tuple[str, dict[str, Any]]
) -> None:
    """Asked while an edit hands counts on from old routes to nodes: the answer comes after it."""
    scene = Scene(server)
    scene.start().finish()
    asker = InProcess()
    asker.context.graph = server.graph
    asking: list[Worker] = []
    note = traffic_module._note

    def slowly(*arguments: Any) -> None:
        if not asking:
            asking.append(Worker(lambda: asker.execute(*query)))
            asking[0].join(0.05)
            assert asking[0].is_alive()
        note(*arguments)

    monkeypatch.setattr(traffic_module, "_note", slowly)
    server.transaction()
    asking[0].finish()
    scene.end()


def test_routes_that_part_and_join_again_are_looked_at_once() -> None:
    """As nodes with two children over the same node, many times: 2^60 ways down, 180 routes."""
    way = Null(NullOptions(node_name="n")).lower(NOWHERE, NOWHERE)
    top = Route((), way)
    for _ in range(60):
        top = Route((), way, (Route((), way, (top,)), Route((), way, (top,))))
    assert len(top.routes_below()) == 180
    assert top.reach() == set()


# Nodes that make requests of their own, and look at their edges when they do


def add_format(server: InProcess) -> HeldFormat:
    """A format that holds its writes: vda over ``f`` over disk."""
    held = HeldFormat("f", "disk")
    disk = server.graph.nodes["disk"]
    server.graph.transaction([lambda staging: staging.add_node(held, {"file": disk})])
    server.execute(*set_edge("vda", "root", "f"))
    return held


def write(client: Connection) -> None:
    """One."""
    client.pwrite(memoryview(b"x" * 512), 0, 0)


def test_an_edge_of_a_format_moves_at_rest(server: InProcess) -> None:
    """Also if it is the only one: who is inside could find the new child before it has a route."""
    held = add_format(server)
    scene = Scene(server)
    scene.start(write)
    assert held.inside.wait(PATIENCE_S)
    edit = scene.edit(
        ("blockdev-add", {"driver": "memory", "node-name": "other", "size": SIZE}),
        set_edge("f", "file", "other"),
    )
    eventually(lambda: gate_is_closed(scene))
    held.go.set()
    edit.finish()
    assert scene.disk.stats.writes.done == 1
    scene.start(write).finish()
    assert server.graph.nodes["other"].stats.writes.done == 1
    scene.end()


def test_a_request_in_a_deleted_format_goes_on_to_its_child(server: InProcess) -> None:
    """Where the child is in the middle of another's route from then on, it is entered all the same.

    It is counted once, and the entrance is given up when the request has ended.
    """
    held = add_format(server)
    add_throttle(server, "t", "disk")
    export(server, "vdb", "t")
    server.add("memory", "other", size=SIZE)
    scene = Scene(server)
    scene.start(write)
    assert held.inside.wait(PATIENCE_S)
    server.transaction(set_edge("vda", "root", "other"), ("blockdev-del", {"node-name": "f"}))
    server.transaction(("blockdev-add", throttle("u", "disk")), insert("t", "disk", "u"))
    held.go.set()
    scene.end()
    server.transaction()
    server.transaction()
    assert scene.disk.stats.writes.done == held.stats.writes.done == 1
    assert (scene.disk.route, server.graph._traffic._replaced) == (None, [])


class Overtaken(Throttle):
    """A node that is edited right after requests have looked what route begins there."""

    edits: tuple[Callable[[], None], ...] = ()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name == "route" and self.edits:
            edit, *rest = self.edits
            self.edits = tuple(rest)
            edit()
        return found


@pytest.mark.parametrize("looks", [1, 2])
def test_requests_of_formats_enter_as_those_of_clients(server: InProcess, looks: int) -> None:
    """An edit after the first look at the child's route, or after the second, is not missed.

    Before the second the request turns round; after it, it is waited for.  It is counted once.
    """
    add_throttle(server, "c", "disk")
    held = add_format(server)
    server.execute(*set_edge("f", "file", "c"))
    scene = Scene(server)
    scene.start(write)
    assert held.inside.wait(PATIENCE_S)
    server.transaction(("blockdev-add", throttle("t", "disk")), insert("c", "disk", "t"))
    child, filtered = server.graph.nodes["c"], server.graph.nodes["t"]
    child.__class__ = Overtaken
    take_out = (remove("c", "disk", "t"), ("blockdev-del", {"node-name": "t"}))
    edits = [lambda: None] * (looks - 1) + [lambda: server.transaction(*take_out)]
    setattr(child, "edits", tuple(edits))  # noqa: B010 - only an Overtaken has it
    held.go.set()
    scene.end()
    server.transaction()
    assert [node.stats.writes.done for node in (held, child, scene.disk)] == [1, 1, 1]
    assert filtered.stats.writes.done == looks - 1


def test_what_a_request_in_a_deleted_format_would_find_stays_open(server: InProcess) -> None:
    """Its child, and what was put below that after it came in, deleted one by one: it passes all.

    They are closed when it has.
    """
    add_throttle(server, "c", "disk")
    held = add_format(server)
    server.execute(*set_edge("f", "file", "c"))
    server.add("memory", "other", size=SIZE)
    scene = Scene(server)
    scene.start(write)
    assert held.inside.wait(PATIENCE_S)
    server.transaction(("blockdev-add", throttle("t", "disk")), insert("c", "disk", "t"))
    filters = [server.graph.nodes[name] for name in "ct"]
    server.transaction(set_edge("vda", "root", "other"), ("blockdev-del", {"node-name": "f"}))
    for name in "ct":
        server.execute("blockdev-del", {"node-name": name})
    assert members(server) == {"c", "f", "t"}
    held.go.set()
    scene.end()
    eventually(lambda: not members(server))
    server.transaction()
    assert [node.stats.writes.done for node in (*filters, scene.disk)] == [1, 1, 1]


def members(server: InProcess) -> set[str]:
    """Of all throttle groups: nodes that are open."""
    groups = server.execute("x-blkrun-query-graph")["throttle-groups"]
    return {member["node-name"] for group in groups for member in group["members"]}
