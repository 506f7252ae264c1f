"""x-blkrun-stats: the same numbers as the tallies, whatever it uses again from the last call."""

from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from blkrun.server.connection import Connection
from blkrun.server.stats import COLUMNS, KINDS, Tally, floor_ns, percentiles_ns, row_of
from tests.server.inprocess import InProcess, ignore, leave_thread_states_alone

SIZE = 2**20


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """Vda over a throttle with a limit far off over ``disk``; vdb on ``disk`` itself."""
    leave_thread_states_alone(monkeypatch)
    return build()


def build() -> InProcess:
    """A new one."""
    server = InProcess()
    limits = {"iops-total": 10**9}
    server.execute("object-add", {"qom-type": "throttle-group", "id": "g", "limits": limits})
    server.add("memory", "disk", size=SIZE)
    server.add("throttle", "limit", file="disk", throttle_group="g")
    for export, node in (("vda", "limit"), ("vdb", "disk")):
        arguments = {"type": "nbd", "id": export, "node-name": node, "writable": True}
        server.execute("block-export-add", arguments)
    return server


def named(reply: dict[str, Any], place: dict[str, Any]) -> dict[str, int]:
    """Numbers by column."""
    return dict(zip(reply["columns"], place["numbers"], strict=True))


def test_shape(server: InProcess) -> None:
    """Numbers by column for every place, latencies by kind, levels, what a throttle has held."""
    client = server.graph.connect("vda", ignore)
    client.pwrite(memoryview(bytes(4096)), 0, 0)
    client.pread(memoryview(bytearray(512)), 0, 0)
    client.flush(0)
    reply = server.execute("x-blkrun-stats")
    assert set(reply) == {
        "pid", "now-ns", "revision", "last-event", "columns", "nodes", "exports", "latencies",
        "throttle-groups", "clients", "jobs",
    }  # fmt: skip
    assert (set(reply["nodes"]), set(reply["exports"])) == ({"disk", "limit"}, {"vda", "vdb"})
    for place in (*reply["nodes"].values(), reply["exports"]["vda"]):
        numbers = named(reply, place)
        assert (numbers["writes-done"], numbers["writes-bytes"]) == (1, 4096)
        assert (numbers["reads-done"], numbers["reads-bytes"]) == (1, 512)
        assert (numbers["in-flight"], numbers["in-flight-max"]) == (0, 1)
        assert numbers["reads-time-ns"] > 0
        latency = reply["latencies"][place["latency"]]
        assert set(latency) == {"reads", "writes", "flushes"}
        reads = latency["reads"]
        assert set(reads) == {"p50-ns", "p99-ns", "p99.9-ns", "floors-ns", "counts"}
        assert reads["counts"] == [1]
        assert reads["floors-ns"][0] <= reads["p50-ns"] == reads["p99.9-ns"]
    assert named(reply, reply["exports"]["vdb"])["reads-done"] == 0
    assert reply["latencies"][reply["exports"]["vdb"]["latency"]] == {}
    assert reply["nodes"]["limit"]["driver-specific"] == {
        "waiting": 0, "waited-ns": 0, "waited-operations": 0,
    }  # fmt: skip
    assert set(reply["throttle-groups"]["g"]) == {"iops-total"}
    assert [each["id"] for each in reply["clients"]["vda"]] == [1]
    assert "vdb" not in reply["clients"]


def test_tells_whether_to_look_at_the_graph_again(server: InProcess) -> None:
    """An edit has another revision, whatever else happens another last event; looking has not."""
    marks = [mark(server)]
    assert mark(server) == marks[0]
    value = {"iops-total": 7}
    server.execute("qom-set", {"path": "g", "property": "limits", "value": value})
    marks.append(mark(server))
    client = server.graph.connect("vda", ignore)
    marks.append(mark(server))
    client.pread(memoryview(bytearray(512)), 0, 0)
    assert mark(server) == marks[2]
    server.graph.disconnect(client)
    marks.append(mark(server))
    server.execute("x-blkrun-report", {"kind": "applied", "data": {}})
    marks.append(mark(server))
    assert len({revision for revision, _ in marks}) == 2
    assert len({event for _, event in marks}) == len(marks)
    assert marks[-1][1] == server.execute("x-blkrun-query-events")[-1]["number"]


def mark(server: InProcess) -> tuple[int, int]:
    """What stays while nothing but numbers changes."""
    reply = server.execute("x-blkrun-stats")
    return reply["revision"], reply["last-event"]


def test_clients_of_a_deleted_export_are_nobodys(server: InProcess) -> None:
    """Though they are connected still, and the name may be another export's by now."""
    server.graph.connect("vdb", ignore)
    server.execute("block-export-del", {"id": "vdb", "mode": "hard"})
    assert server.execute("x-blkrun-stats")["clients"] == {}
    arguments = {"type": "nbd", "id": "vdb", "node-name": "disk"}
    server.execute("block-export-add", arguments)
    assert server.execute("x-blkrun-stats")["clients"] == {}


def test_nodes_that_saw_the_same_share_latencies(server: InProcess) -> None:
    """One list entry for all the nodes of a chain, also after an edit that they all lived through.

    This is what makes the call cheap.
    """
    server.execute("block-export-del", {"id": "vdb"})
    client = server.graph.connect("vda", ignore)
    for limit in (0, 10**9, 0, 10**8):
        value = {"iops-total": limit}
        server.execute("qom-set", {"path": "g", "property": "limits", "value": value})
        if not limit:
            client.pread(memoryview(bytearray(512)), 0, 0)
            reply = server.execute("x-blkrun-stats")
            told = (*reply["nodes"].values(), *reply["exports"].values())
            assert {place["latency"] for place in told} == {1}
            assert len(reply["latencies"]) == 2
    assert named(reply, reply["nodes"]["disk"])["reads-done"] == 2


STEPS = st.lists(
    st.sampled_from(["read a", "write a", "read b", "zero b", "limit", "free", "remove", "insert"]),
    max_size=30,
)


@settings(deadline=None)
@given(STEPS, st.lists(st.booleans(), min_size=30, max_size=30))
def test_always_what_the_tallies_say(steps: list[str], looks: list[bool]) -> None:
    """Under any requests and edits, and however often somebody looked before."""
    with pytest.MonkeyPatch.context() as patch:
        leave_thread_states_alone(patch)
        server = build()
        clients = {name: server.graph.connect(f"vd{name}", ignore) for name in "ab"}
        inserted = True
        for step, look in zip(steps, looks, strict=False):
            edge = {"parent": "vda", "child": "disk", "node": "limit"}
            if step in ("limit", "free"):
                value = {"iops-total": 10**9 if step == "limit" else 0}
                server.execute("qom-set", {"path": "g", "property": "limits", "value": value})
            elif step in ("remove", "insert"):
                if inserted == (step == "remove"):
                    server.execute(f"block-{step}-node", edge)
                    inserted = not inserted
            else:
                kind, client = step.split()
                request(clients[client], kind)
            if look:
                check(server)
        check(server)


def request(client: Connection, kind: str) -> None:
    """One request."""
    if kind == "read":
        client.pread(memoryview(bytearray(512)), 0, 0)
    elif kind == "write":
        client.pwrite(memoryview(bytes(100)), 0, 0)
    else:
        client.zero(64, 0, 0)


def check(server: InProcess) -> None:
    """Every place of the reply against its tally."""
    reply = server.execute("x-blkrun-stats")
    for place, tally in places(server):
        told = reply[place[0]][place[1]]
        assert tuple(told["numbers"]) == row_of(tally), place
        latency = reply["latencies"][told["latency"]]
        for kind in KINDS:
            histogram = getattr(tally, kind).latency
            if not histogram:
                assert kind not in latency
                continue
            assert latency[kind]["counts"] == [histogram[index] for index in sorted(histogram)]
            assert latency[kind]["floors-ns"] == [floor_ns(index) for index in sorted(histogram)]
            shares = percentiles_ns(histogram, (0.5, 0.99, 0.999))
            assert [latency[kind][name] for name in ("p50-ns", "p99-ns", "p99.9-ns")] == shares


def places(server: InProcess) -> Iterator[tuple[tuple[str, str], Tally]]:
    """Nodes and exports with what they have counted."""
    for node in server.graph.nodes.values():
        yield ("nodes", node.name), node.stats
    for export in server.graph.exports.values():
        yield ("exports", export.name), export.stats


def test_columns() -> None:
    """The order of the numbers: four for each kind, then the depths."""
    assert COLUMNS[:4] == ("reads-done", "reads-bytes", "reads-failed", "reads-time-ns")
    assert COLUMNS[-2:] == ("in-flight", "in-flight-max")
    assert len(COLUMNS) == 4 * len(KINDS) + 2
