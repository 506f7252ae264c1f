"""The history against a naive model, and what it keeps of whom."""

import tracemalloc
from array import array
from dataclasses import replace
from math import inf, isnan, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.dashboard.model.history import MEASURES, SPANS_S, History
from blkrun.dashboard.model.rates import NOTHING, Interval, Latency, Rate, interval
from blkrun.dashboard.model.rings import SLOTS, Grid, Ring
from blkrun.dashboard.model.snapshot import Snapshot
from blkrun.dashboard.model.subject import Subject
from tests.dashboard.dashboard_samples import export, group, lab, node, reply, snapshot, stats

LIMIT = Subject("node", "limit")
GOLD = Subject("group", "gold")
VDA = Subject("export", "vda")


def seen(seconds: float = 2.0, **more: Any) -> tuple[Snapshot, Interval]:
    """The lab with what it did in the last second."""
    after = snapshot(lab(seconds, **more))
    return after, interval(snapshot(lab(seconds - 1)), after)


def disk(in_flight: int) -> Snapshot:
    """One node, so many requests in it."""
    return snapshot(reply(1, nodes=[node("disk", "file") | {"in-flight": in_flight}]))


def did(reads: float, p99_ns: int | None = None) -> Interval:
    """That node's rate, and its latency if it has any."""
    latency = {} if p99_ns is None else {"disk": Latency(p99_ns // 2, p99_ns)}
    return Interval({"disk": Rate(reads=reads)}, {}, latency, {})


DISK = Subject("node", "disk")
LENGTHS = st.sampled_from([0.05, 0.2, 0.25, 0.5, 1.0, 1.3, 5.0, 61.0, 400.0, 4000.0])
LOOKS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.1, 0.7, 3.0, 59.0, 100.0, 2000.0, 10**6]),
        LENGTHS,
        st.one_of(st.none(), st.integers(0, 10)),
    ),
    max_size=25,
)


def naive(
    spans: list[tuple[float, float, int | None]], begin_s: float, end_s: float
) -> tuple[float, float]:
    """Mean and maximum of what covers a slot; NaN where nothing does."""
    inside = [
        (min(end, end_s) - max(begin, begin_s), value)
        for begin, end, value in spans
        if value is not None and min(end, end_s) - max(begin, begin_s) > 1e-6
    ]
    if not inside:
        return nan, nan
    covered_s = sum(seconds for seconds, _ in inside)
    mean = sum(seconds * value for seconds, value in inside) / covered_s
    return mean, max(value for _, value in inside)


@pytest.mark.parametrize("span_s", SPANS_S)
@given(looks=LOOKS, start_s=st.sampled_from([0.0, 100.0, 12345.6]))
def test_slots_hold_what_covered_them(
    span_s: float, looks: list[tuple[float, float, int | None]], start_s: float
) -> None:
    """Rates as means, depth as the most, and gaps exactly where nothing was known."""
    history, spans, now_s = History(), [], start_s
    for pause_s, length_s, value in looks:
        begin_s, now_s = now_s + pause_s, now_s + pause_s + length_s
        spans.append((begin_s, now_s, value))
        rates = NOTHING if value is None else did(value)
        history.add(disk(value or 0), rates, begin_s, now_s)
    series = history.series(DISK, span_s)
    edges = [series.end_s - place * series.slot_s for place in range(SLOTS, 0, -1)]
    expected = [naive(spans, begin_s, begin_s + series.slot_s) for begin_s in edges]
    means, most = map(list, zip(*expected, strict=True))
    assert list(series.values["reads"]) == pytest.approx(means, rel=1e-6, abs=1e-4, nan_ok=True)
    assert list(series.values["in_flight"]) == pytest.approx(most, nan_ok=True)


@given(st.lists(st.tuples(st.floats(), st.floats())))
def test_any_order_of_spans_is_taken(spans: list[tuple[float, float]]) -> None:
    """Backwards, endless, not a number: never an exception, always whole series."""
    history = History()
    for begin_s, end_s in spans:
        history.add(disk(1), did(5), begin_s, end_s)
        for span_s in SPANS_S:
            reads = history.series(DISK, span_s).values["reads"]
            assert len(reads) == SLOTS
            assert all(isnan(each) or each == pytest.approx(5) for each in reads)


def test_what_was_before_the_last_end_is_not_counted_twice() -> None:
    """Of an overlapping span the rest counts."""
    history = History()
    history.add(disk(0), did(10), 0.0, 0.1)
    history.add(disk(0), did(20), 0.0, 0.2)
    assert history.series(DISK, 60).values["reads"][-1] == pytest.approx(15)


def test_every_kind_of_subject_has_its_numbers() -> None:
    """A group is its members together, with those that wait as its depth and no latency."""
    history = History()
    now, rates = seen(held=14)
    latency = Latency(1000, 5000)
    rates = replace(rates, node_latency={"limit": latency}, export_latency={"vda": latency})
    history.add(now, rates, 1.0, 2.0)
    for subject in (LIMIT, GOLD, VDA):
        values = history.series(subject, 60).values
        assert [values[name][-1] for name in MEASURES[:4]] == [1000, 500, 4_096_000, 2_048_000]
    assert history.series(LIMIT, 60).values["p99_ns"][-1] == 5000
    assert history.series(VDA, 60).values["p50_ns"][-1] == 1000
    assert isnan(history.series(GOLD, 60).values["p99_ns"][-1])
    assert history.series(GOLD, 60).values["in_flight"][-1] == 14


def test_no_requests_are_no_latency_but_a_rate() -> None:
    """An idle second is zero operations and no time that they took."""
    history = History()
    history.add(disk(0), did(5, p99_ns=7000), 0.0, 1.0)
    history.add(disk(0), did(0), 1.0, 2.0)
    values = history.series(DISK, 60).values
    assert values["reads"][-1] == 0
    assert isnan(values["p99_ns"][-1])
    assert values["p99_ns"][-6] == 7000


def test_limits_are_as_they_were_then() -> None:
    """A limit that is changed, and then taken away, makes steps."""
    history = History()
    for second, iops in enumerate((3000, 5000, 0)):
        groups = {"throttle-groups": [group("gold", ("limit", 0), iops_total=iops)]}
        history.add(*seen(2, **groups), second, second + 1.0)
    for subject in (LIMIT, GOLD, VDA):
        limit = history.series(subject, 60).limits["iops-total"]
        assert [limit[-11], limit[-6]] == [3000, 5000]
        assert isnan(limit[-1])
    assert not history.series(DISK, 60).limits


def test_export_is_held_to_the_lowest_limit_on_its_way_down() -> None:
    """Of each kind; what hangs on other edges than ``file`` does not count."""
    nodes = [
        node("a", "throttle", "b", group="fast"),
        node("b", "throttle", "c", group="slow"),
        node("c", "qcow2", "d", children={"file": "d", "backing": "e"}),
        node("d", "file"),
        node("e", "throttle", "d", group="slowest"),
    ]
    now = snapshot(
        reply(
            2,
            nodes=nodes,
            exports=[export("vda", "a"), export("ring", "r")],
            **{
                "throttle-groups": [
                    group("fast", ("a", 0), iops_total=9000, bps_write=100),
                    group("slow", ("b", 0), iops_total=500, iops_read=400),
                    group("slowest", ("e", 0), iops_total=1),
                ]
            },
        )
    )
    history = History()
    history.add(now, interval(earlier(now), now), 0.0, 1.0)
    limits = history.series(VDA, 60).limits
    shown = {name: each[-1] for name, each in limits.items()}
    assert shown == {"iops-total": 500, "iops-read": 400, "bps-write": 100}


def earlier(now: Snapshot) -> Snapshot:
    """The same a second before."""
    return Snapshot(
        pid=now.pid,
        now_ns=now.now_ns - 10**9,
        nodes=now.nodes,
        throttle_groups=now.throttle_groups,
        exports=now.exports,
    )


def test_edges_that_go_round_end() -> None:
    """A recording may hold what no server would say."""
    nodes = [node("a", "throttle", "b", group="gold"), node("b", "file", "a")]
    gold = group("gold", ("a", 0), iops_total=10)
    now = snapshot(
        reply(2, nodes=nodes, exports=[export("vda", "a")], **{"throttle-groups": [gold]})
    )
    history = History()
    history.add(now, interval(earlier(now), now), 0.0, 1.0)
    assert history.series(VDA, 60).limits["iops-total"][-1] == 10


def test_who_comes_back_goes_on_after_a_gap() -> None:
    """Its past is kept while it is away."""
    history = History()
    history.add(*seen(), 0.0, 1.0)
    history.add(disk(0), did(5), 1.0, 2.0)
    history.add(*seen(), 2.0, 3.0)
    reads = history.series(LIMIT, 60).values["reads"]
    assert list(reads[-15:]) == pytest.approx([1000] * 5 + [nan] * 5 + [1000] * 5, nan_ok=True)


def test_who_is_away_for_half_an_hour_is_forgotten() -> None:
    """Names that come and go do not add up."""
    history = History()
    for second in range(0, 4000, 10):
        name = f"node {second}"
        now = snapshot(reply(1, nodes=[node(name, "file")]))
        history.add(now, Interval({name: Rate(reads=1)}, {}, {}, {}), second, second + 10.0)
    for second, known in ((2200, True), (2100, False)):
        reads = history.series(Subject("node", f"node {second}"), 1800).values["reads"]
        assert any(each == 1 for each in reads) is known


def test_of_many_names_the_latest_are_kept() -> None:
    """Nodes that are made and removed all the time do not fill the memory."""
    history = History()
    for step in range(300):
        now = snapshot(reply(1, nodes=[node(f"node {step}", "file")]))
        rates = Interval({f"node {step}": Rate(reads=1)}, {}, {}, {})
        history.add(now, rates, step * 0.1, (step + 1) * 0.1)
    for step, known in ((299, True), (50, True), (49, False), (0, False)):
        reads = history.series(Subject("node", f"node {step}"), 60).values["reads"]
        assert (not all(map(isnan, reads))) is known


def test_cleared_history_begins_anew_andearlier() -> None:
    """A rewound recording is not before the end of what was."""
    history = History()
    history.add(*seen(), 100.0, 101.0)
    history.clear()
    assert all(map(isnan, history.series(LIMIT, 60).values["reads"]))
    history.add(*seen(), 3.0, 4.0)
    assert history.series(LIMIT, 60).end_s == pytest.approx(4.0)
    assert history.series(LIMIT, 60).values["reads"][-1] == pytest.approx(1000)


def test_fifty_nodes_take_less_than_six_megabytes() -> None:
    """With ten exports and ten groups, all with limits, in all tiers."""
    done = stats(reads=1)
    nodes = [node(f"node {n}", "throttle", group=f"group {n % 10}", stats=done) for n in range(50)]
    now = snapshot(
        reply(
            2,
            nodes=nodes,
            exports=[export(f"disk {n}", f"node {n}", stats=done) for n in range(10)],
            **{
                "throttle-groups": [
                    group(f"group {n}", (f"node {n}", 1), iops_total=100) for n in range(10)
                ]
            },
        )
    )
    rates = interval(earlier(now), now)
    tracemalloc.start()
    history = History()
    history.add(now, rates, 0.0, 1.0)
    history.add(now, rates, 1.0, inf)
    history.add(now, rates, 1.0, 1801.0)
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 6_000_000


def test_trims_count_as_writes() -> None:
    """Throttles charge them as such, so they are compared with the limits."""
    history = History()
    rate = Rate(reads=1, writes=2, trims=4, read_bytes=10, write_bytes=20, trim_bytes=40)
    history.add(disk(0), Interval({"disk": rate}, {}, {}, {}), 100, 101)
    values = history.series(DISK, 60).values
    assert values["writes"][-1] == 6
    assert values["write_bytes"][-1] == 60


@given(last=st.integers(0, 3 * SLOTS), count=st.integers(1, SLOTS), number=st.integers(0, 1))
def test_newest_slots_are_the_end_of_the_column(last: int, count: int, number: int) -> None:
    """Also where the ring begins anew within them."""
    grid, ring = Grid(60.0), Ring(array("d", [nan, nan]), means=2)
    for slot in range(last + 1):
        row = array("d", [slot, -slot])
        ring.fill(grid.step(slot * 0.2, (slot + 1) * 0.2), row)
    column = ring.column(number, last)
    assert repr(ring.newest(number, last, count)) == repr(column[-count:])  # a NaN equals nothing
