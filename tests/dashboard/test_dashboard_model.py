"""From snapshots to rows."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.dashboard.model.groups import group_rows
from blkrun.dashboard.model.rates import NOTHING, interval, latency_of, total
from blkrun.dashboard.model.record import Log
from blkrun.dashboard.model.snapshot import Snapshot
from blkrun.dashboard.model.status import Contact, State, duration_text, totals, uptime_text
from blkrun.dashboard.model.tree import GraphRow, Kind, graph_rows, size_text
from blkrun.server.stats import floor_ns, index_of, percentiles_ns
from tests.dashboard.dashboard_samples import (
    SECOND,
    client,
    connected,
    event,
    export,
    group,
    lab,
    node,
    reply,
    snapshot,
    stats,
)


def tree(raw: dict[str, Any]) -> list[GraphRow]:
    """The rows of one snapshot, without rates."""
    return list(graph_rows(snapshot(raw), NOTHING))


def test_rates_are_differences_over_the_servers_own_time() -> None:
    """Half as long between looks does not change a rate."""
    for seconds in (0.25, 0.5, 4.0):
        rate = interval(snapshot(lab(1)), snapshot(lab(1 + seconds))).exports["vda"]
        assert (rate.reads, rate.writes) == (1000, 500)
        assert rate.bandwidth == 4096 * 1500


def test_first_snapshot_has_no_rates() -> None:
    """One look gives counters, not speeds."""
    assert interval(None, snapshot(lab(1))) is NOTHING


@pytest.mark.parametrize("after", [lab(9) | {"pid": 43}, lab(1)])
def test_another_server_or_no_time_between_gives_a_gap(after: dict[str, Any]) -> None:
    """Counters of two processes are not compared, and nothing is divided by zero."""
    assert interval(snapshot(lab(1)), snapshot(after)) is NOTHING


def test_counters_that_went_back_give_a_gap_for_that_node_only() -> None:
    """A node that was replaced under the same name counts from zero."""
    before, after = lab(5), lab(6)
    after["nodes"][0]["stats"] = stats(reads=10)
    rates = interval(snapshot(before), snapshot(after))
    assert "disk" not in rates.nodes
    assert rates.nodes["limit"].reads == 1000


def test_a_new_node_has_no_rate_yet() -> None:
    """Its counters since birth are not what it did since the last look."""
    after = lab(6)
    after["nodes"].append(node("new", "memory", stats=stats(reads=10**6)))
    assert "new" not in interval(snapshot(lab(5)), snapshot(after)).nodes


def durations(**counts: int) -> dict[str, list[int]]:
    """Requests by the floor of their bucket in ns: ``_1024=50``."""
    return {"floors-ns": [int(key[1:]) for key in counts], "counts": list(counts.values())}


def timed(seconds: float, reads: int, *latencies: dict[str, Any]) -> Snapshot:
    """An export over two nodes that all have the latencies at place 1."""
    done: dict[str, Any] = {"stats": stats(reads=reads), "latency": 1}
    nodes = [node("limit", "throttle", "disk", **done), node("disk", "file", **done)]
    return snapshot(
        reply(
            seconds,
            nodes=nodes,
            exports=[export("vda", "limit", **done)],
            latencies=[{}, *latencies],
        )
    )


def test_latency_is_of_the_requests_since_the_last_look() -> None:
    """Slow requests of long ago do not count; reads and writes count together."""
    before = timed(1, 1050, {"reads": durations(_1024=50, _1048576=1000)})
    after = timed(
        2,
        1149,
        {"reads": durations(_1024=149, _1048576=1000), "writes": durations(_16777216=1)},
    )
    rates = interval(before, after)
    latency = rates.export_latency["vda"]
    assert latency.p50_ns == latency.p99_ns == 1024 + 32
    assert rates.node_latency == {"limit": latency, "disk": latency}


def test_the_slowest_hundredth_shows_in_p99_only() -> None:
    """Two of a hundred are more than a hundredth."""
    latency = latency_of({1024: 98, 2**20: 2})
    assert latency is not None
    assert (latency.p50_ns, latency.p99_ns) == (1024 + 32, 2**20 + 2**15)


@given(
    st.dictionaries(
        st.integers(80, 500).map(floor_ns), st.integers(1, 1000), min_size=1, max_size=40
    )
)
def test_latency_is_what_the_server_would_say(counts: dict[int, int]) -> None:
    """The same buckets, the same middles, the same share."""
    by_index = {index_of(floor): count for floor, count in counts.items()}
    assert latency_of(counts) == tuple(percentiles_ns(by_index, (0.5, 0.99)))


def test_who_did_nothing_has_no_latency() -> None:
    """What it once took says nothing of now."""
    before = timed(1, 50, {"reads": durations(_1024=50)})
    after = timed(2, 50, {"reads": durations(_1024=50)})
    rates = interval(before, after)
    assert rates.nodes["disk"].operations == 0
    assert (rates.node_latency, rates.export_latency) == ({}, {})
    assert latency_of({}) is None


def test_latencies_that_went_back_are_a_gap() -> None:
    """A bucket cannot lose requests: these are of two lives."""
    before = timed(1, 50, {"reads": durations(_1024=50)})
    assert interval(before, timed(2, 60, {"reads": durations(_1024=40)})).node_latency == {}


def test_snapshot_survives_json() -> None:
    """Recordings store it so."""
    seen = timed(1, 50, {"reads": durations(_1024=50)})
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Snapshot) == seen


def test_tree_goes_from_export_to_backend() -> None:
    """A chain is indented step by step."""
    rows = tree(lab(0))
    assert [(row.guides, row.name) for row in rows] == [
        ("", "vda"),
        ("└ ", "limit"),
        ("  └ ", "disk"),
    ]
    assert rows[0].details[0] == "1 client · rw · 1GiB"
    assert rows[1].details[-1] == "@gold"


def test_shared_node_is_shown_once_in_full() -> None:
    """The second parent has an arrow, and nothing below."""
    raw = reply(
        nodes=[
            node("base", "memory"),
            node("win", "raw", "base"),
            node("a", "throttle", "win", group="g"),
            node("b", "throttle", "win", group="g"),
        ],
        exports=[export("vda", "a"), export("vdb", "b")],
    )
    rows = tree(raw)
    assert [row.kind for row in rows].index(Kind.AGAIN) == 6
    names = [row.name for row in rows]
    assert names == ["vda", "a", "win", "base", "vdb", "b", "win"]


def test_two_children_have_branches() -> None:
    """The line goes on beside the first child's own children."""
    top = node("top", "qcow2", children={"file": "data", "backing": "base"})
    raw = reply(
        nodes=[top, node("data", "raw", "file"), node("file", "file"), node("base", "file")],
        exports=[export("vda", "top")],
    )
    assert [row.guides for row in tree(raw)][1:] == ["└ ", "  ├ ", "  │ └ ", "  └ "]


def test_nodes_that_no_export_leads_to_are_not_in_use() -> None:
    """They stand below a heading, parents before their children."""
    raw = reply(nodes=[node("disk", "file"), node("lim", "throttle", "disk", group="g")])
    rows = tree(raw)
    assert [row.name for row in rows] == ["not in use", "lim", "disk"]
    assert rows[0].kind is Kind.HEADING


def test_a_child_that_is_not_listed_does_not_break_the_tree() -> None:
    """A server may know better; the name is shown."""
    ghost = tree(reply(exports=[export("vda", "ghost")]))[1]
    assert (ghost.name, ghost.kind) == ("ghost", Kind.AGAIN)


def test_keys_of_rows_are_unique() -> None:
    """Selection goes by key: the same child may be met under several parents."""
    raw = lab(0)
    raw["exports"].append(export("vdb", "limit"))
    keys = [row.key for row in tree(raw)]
    assert len(keys) == len(set(keys))


def test_waiting_requests_are_shown_at_their_throttle() -> None:
    """Held is what the group says about the member."""
    held = {row.name: row.state.words[0] for row in tree(lab(0, held=14))}
    assert held == {"vda": "", "limit": "HELD 14", "disk": ""}


def test_used_is_what_all_members_did() -> None:
    """Each limit with its own unit and direction."""
    limits = {"iops_total": 3000, "bps_write": 10**7}
    before, after = lab(1), lab(2)
    for raw in (before, after):
        raw["throttle-groups"] = [group("gold", ("limit", 3), ("disk", 0), **limits)]
    rates = interval(snapshot(before), snapshot(after))
    (row,) = group_rows(snapshot(after), rates)
    used = {limit.name: (limit.used, limit.limit) for limit in row.limits}
    assert used == {"iops": (3000, 3000), "byte wr": (2 * 500 * 4096, 10**7)}
    assert row.held == 3


def test_large_requests_cost_several_operations() -> None:
    """With iops-size the gauge shows what the group counts."""
    limits = {"iops_read": 4000, "iops_size": 1024}
    before, after = lab(1), lab(2)
    after["throttle-groups"] = [group("gold", ("limit", 0), **limits)]
    (row,) = group_rows(snapshot(after), interval(snapshot(before), snapshot(after)))
    assert row.limits[0].used == 4000


def test_burst_credit_is_what_the_bucket_still_takes() -> None:
    """Rate times length is the whole credit; without a burst there is none."""
    raw = group("g", iops_total=100, iops_total_max=1000, iops_total_max_length=10, bps_read=5)
    raw["levels"] = {"iops-total": 2500.0, "bps-read": 3.0}
    (row,) = group_rows(snapshot(reply() | {"throttle-groups": [raw]}), NOTHING)
    assert [limit.burst_left for limit in row.limits] == [0.75, None]
    assert row.limits[0].used is None


def test_totals_are_over_exports() -> None:
    """Nodes would count a request once for every hop."""
    before, after = lab(1), lab(2, held=4)
    after["exports"][0]["clients"] = [client(1), client(2)]
    after["exports"][0]["in-flight"] = 7
    rate, in_flight, held, clients = totals(
        snapshot(after), interval(snapshot(before), snapshot(after))
    )
    assert rate is not None
    assert (rate.operations, in_flight, held, clients) == (1500, 7, 4, 2)


def test_total_of_gaps_is_a_gap() -> None:
    """Not zero."""
    assert total([None, None]) is None


def test_states_follow_from_contact_alone() -> None:
    """Silence is neither fine nor offline."""
    assert Contact().state(5, 0.5) is State.CONNECTING
    assert Contact(last_s=10).state(12, 0.5) is State.RUN
    assert Contact(last_s=10).state(14, 0.5) is State.SILENT
    assert Contact(last_s=10).state(14, 5.0) is State.RUN
    assert Contact(last_s=10, lost_s=11).state(18, 0.5) is State.OFFLINE
    assert Contact(last_s=10, lost_s=11).age_s(18) == 7


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(7, "7 s"), (245, "4:05"), (4364, "1:12:44"), (3 * 86400 + 7860, "3 d 02:11")],
)
def test_durations(seconds: int, text: str) -> None:
    """As short as can be."""
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(7, "0 s"), (59, "50 s"), (245, "4 min"), (4364, "1 h 12 min"), (3 * 86400 + 7860, "3 d 2 h")],
)
def test_how_long_a_server_has_been_up(seconds: int, text: str) -> None:
    """In steps, so that the header is not painted for each second."""
    assert uptime_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (512, "512B"),
        (2**30, "1GiB"),
        (10**10, "9.31GiB"),
        (1023 * 2**20, "1023MiB"),
        (1_023_590, "1000KiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    """Three digits, or four before the next unit."""
    assert size_text(size) == text


@given(st.integers(0, 2**63))
def test_no_size_has_an_exponent(size: int) -> None:
    """Nor is it off by more than its three digits."""
    found = re.fullmatch(r"([0-9.]{1,4})([KMGTPE]?)i?B", size_text(size))
    assert found is not None
    factor = 1024 ** " KMGTPE".index(found[2] or " ")
    assert float(found[1]) * factor == pytest.approx(size, rel=0.006)


def test_log_drops_the_oldest_and_keeps_numbers() -> None:
    """A record's number never changes."""
    log = Log(kept=3)
    log.add(connected(number) for number in range(5))
    assert (len(log), log.first, log[0].number) == (3, 2, 2)
    assert log[0].text == "client 2 connected to vda"


def test_log_knows_when_the_file_was_edited() -> None:
    """The report itself has no time; its event has."""
    log = Log()
    log.add([event("X_BLKRUN_CONFIG_APPLIED", file="lab.toml"), connected(1)])
    assert log.edited_at is not None


def test_unknown_fields_of_a_newer_server_are_ignored() -> None:
    """And missing ones have defaults."""
    raw = {"pid": 1, "now-ns": SECOND, "novelty": 1, "nodes": [{"node-name": "a", "new": 2}]}
    assert snapshot(raw).nodes[0].driver == "?"
