"""Numbers over an older look at the graph: the same as a look at the whole of it."""

from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from blkrun.dashboard.model.numbers import fits, read_numbers, renewed
from blkrun.dashboard.model.snapshot import Snapshot, is_same_but_later, read_snapshot
from tests.dashboard.dashboard_samples import job, lab, numbers, snapshot
from tests.server.inprocess import InProcess, ignore, leave_thread_states_alone

SIZE = 2**20


@pytest.fixture(autouse=True)
def _plain_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_thread_states_alone(monkeypatch)


def build() -> InProcess:
    """Vda over a throttle over ``disk``; vdb on ``disk`` itself."""
    server = InProcess()
    limits = {"iops-total": 10**6}
    server.execute("object-add", {"qom-type": "throttle-group", "id": "g", "limits": limits})
    server.add("memory", "disk", size=SIZE)
    server.add("throttle", "limit", file="disk", throttle_group="g")
    for export, node in (("vda", "limit"), ("vdb", "disk")):
        arguments = {"type": "nbd", "id": export, "node-name": node, "writable": True}
        server.execute("block-export-add", arguments)
    return server


def whole(server: InProcess) -> Snapshot:
    """A look at the graph."""
    return read_snapshot(server.execute("x-blkrun-query-graph"))


def timeless(seen: Snapshot) -> Snapshot:
    """But for when it was, bucket levels, and what only numbers tell."""
    return replace(
        seen,
        now_ns=0,
        uptime_ns=0,
        latencies=(),
        nodes=tuple(replace(node, latency=0) for node in seen.nodes),
        exports=tuple(
            replace(
                export,
                latency=0,
                clients=tuple(replace(client, connected_seconds=0) for client in export.clients),
            )
            for export in seen.exports
        ),
        throttle_groups=tuple(replace(group, levels={}) for group in seen.throttle_groups),
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(["read", "write", "zero", "trim", "flush", "fail", "come"])))
def test_same_as_a_look_at_the_whole(steps: list[str]) -> None:
    """Whatever clients have done since the graph was looked at."""
    server = build()
    client = server.graph.connect("vda", ignore)
    graph = whole(server)
    for step in steps:
        act(server, client, step)
    seen = renewed(graph, read_numbers(server.execute("x-blkrun-stats")))
    assert timeless(seen) == timeless(whole(server))
    assert graph.now_ns < seen.now_ns
    assert seen.uptime_ns - graph.uptime_ns == seen.now_ns - graph.now_ns


def act(server: InProcess, client: Any, step: str) -> None:
    """One thing that a client does."""
    match step:
        case "read":
            client.pread(memoryview(bytearray(512)), 0, 0)
        case "write":
            client.pwrite(memoryview(bytes(100)), 0, 0)
        case "zero":
            client.zero(64, 0, 0)
        case "trim":
            client.trim(64, 0, 0)
        case "flush":
            client.flush(0)
        case "fail":
            with suppress(OSError):
                client.pread(memoryview(bytearray(512)), SIZE, 0)
        case "come":
            server.graph.connect("vdb", ignore)


def test_latencies_are_found_by_place() -> None:
    """Reads through the throttle are the disk's too."""
    server = build()
    graph = whole(server)
    server.graph.connect("vda", ignore).pread(memoryview(bytearray(512)), 0, 0)
    seen = renewed(graph, read_numbers(server.execute("x-blkrun-stats")))
    assert [sum(seen.latencies[node.latency].reads.counts) for node in seen.nodes] == [1, 1]
    assert [sum(seen.latencies[each.latency].reads.counts) for each in seen.exports] == [1, 0]


def test_another_graph_does_not_fit() -> None:
    """An edit in between, or another process."""
    graph = snapshot(lab(1) | {"revision": 3})
    for other, expected in (({"revision": 3}, True), ({"revision": 4}, False), ({"pid": 7}, False)):
        reply = numbers(lab(2) | {"revision": 3} | other)
        assert fits(graph, read_numbers(reply)) is expected


def test_what_the_numbers_do_not_know_keeps_its_own() -> None:
    """An edit came between the two, again and again: no crash, and no zeroes."""
    reply = numbers(lab(2))
    del reply["nodes"]["limit"], reply["exports"]["vda"], reply["throttle-groups"]["gold"]
    seen = renewed(snapshot(lab(1)), read_numbers(reply))
    assert [node.stats.rd_operations for node in seen.nodes] == [2000, 1000]
    assert seen.exports[0].stats.rd_operations == 1000


@pytest.mark.parametrize("spoil", ["column", "row"])
def test_numbers_that_are_counted_otherwise_are_refused(spoil: str) -> None:
    """Not read at the wrong place."""
    reply = numbers(lab(1))
    if spoil == "column":
        reply["columns"][0] = "reads-undone"
    else:
        reply["nodes"]["disk"]["numbers"].pop()
    with pytest.raises(msgspec.ValidationError):
        read_numbers(reply)


def test_time_is_no_news() -> None:
    """Nothing has to be drawn anew when only the clock, and what is by it, goes on."""
    before = snapshot(lab(1, jobs=[job("copy", running_ns=1)]))
    client = before.exports[0].clients[0]
    later = replace(
        before,
        now_ns=before.now_ns + 1,
        uptime_ns=before.uptime_ns + 1,
        exports=(replace(before.exports[0], clients=(replace(client, connected_seconds=9),)),),
        jobs=(replace(before.jobs[0], running_ns=2),),
    )
    assert is_same_but_later(before, later)


@pytest.mark.parametrize(
    "news",
    [
        lab(1, held=1),
        lab(1, clients=2),
        lab(1.001),
        lab(1, pid=43),
        lab(1, jobs=[job("copy")]),
        lab(1, reports={"config": {"kind": "applied"}}),
    ],
)
def test_what_is_news(news: dict[str, Any]) -> None:
    """Whatever else differs."""
    assert not is_same_but_later(snapshot(lab(1)), snapshot(news))
