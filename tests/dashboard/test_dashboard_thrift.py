"""What is the same is not made again, and what is not in sight not at all: counted, not timed."""

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blkrun.dashboard.feed import Seen
from blkrun.dashboard.lines import Line
from blkrun.dashboard.model.board import Board
from blkrun.dashboard.model.history import MEASURES, SPANS_S, History, Series
from blkrun.dashboard.model.numbers import Reading, read_numbers, renewed
from blkrun.dashboard.model.rates import Interval, Rate
from blkrun.dashboard.model.rings import SLOTS
from blkrun.dashboard.model.sampling import Sampler, Window, means, peaks, window
from blkrun.dashboard.model.snapshot import read_snapshot
from blkrun.dashboard.model.subject import Subject
from blkrun.dashboard.widgets import graph as graph_widget
from blkrun.dashboard.widgets.graph import GraphPanel
from blkrun.dashboard.widgets.groups import GroupsPanel
from blkrun.dashboard.widgets.node import NodePanel
from blkrun.dashboard.widgets.plots import PlotsPanel
from tests.dashboard.dashboard_samples import (
    export,
    group,
    lab,
    node,
    numbers,
    reply,
    snapshot,
    stats,
)
from tests.dashboard.test_dashboard_app import Stage, perform

DISK = Subject("node", "disk")
IDLE = lab(1) | {"uptime-ns": 0}


def later(seconds: float) -> dict[str, Any]:
    """The same numbers at another time."""
    return IDLE | {"now-ns": int(seconds * 1e9)}


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> Iterator[list[object]]:
    """Calls of a method meanwhile; it still does what it does."""
    calls: list[object] = []
    original = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, call)
        yield calls


# Replies


@pytest.mark.parametrize("news", [{}, {"held": 1}, {"clients": 2}, {"seconds": 2}])
def test_a_reading_is_as_if_each_reply_were_the_first(news: dict[str, int]) -> None:
    """Whatever the reply before was like."""
    graph, reading = snapshot(lab(1)), Reading()
    for number, raw in enumerate((lab(1), lab(1), lab(news.get("seconds", 1), **_more(news)))):
        said = numbers(raw | {"now-ns": (number + 1) * 10**9})
        assert reading.snapshot(graph, reading.numbers(said)) == renewed(graph, read_numbers(said))


def _more(news: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in news.items() if name != "seconds"}


def test_what_a_reply_repeats_is_the_very_same() -> None:
    """So that it costs nothing to see that it is."""
    graph, reading = snapshot(lab(1)), Reading()
    before, after = (
        reading.snapshot(graph, reading.numbers(numbers(lab(1) | {"now-ns": now_ns})))
        for now_ns in (10**9, 2 * 10**9)
    )
    assert (before.now_ns, after.now_ns) == (10**9, 2 * 10**9)
    assert before.nodes is after.nodes
    assert before.latencies is after.latencies


# The past


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 7.0]), st.sampled_from([0, 0, 0, 5]))))
def test_what_is_still_is_written_as_if_it_were_not(looks: list[tuple[float, int]]) -> None:
    """Who does nothing is written when somebody asks, or when it ends."""
    plain, lazy = History(), History()
    seen = snapshot(reply(1, nodes=[node("disk", "file"), node("other", "file")]))
    now_s, before = 100.0, None
    for length_s, reads in looks:
        rates = Interval({"disk": Rate(reads=reads), "other": Rate()}, {}, {}, {})
        for history in (plain, lazy):
            is_still = history is lazy and before == rates
            history.add(seen, rates, now_s, now_s + length_s, is_still=is_still)
        plain.series(DISK, 60.0)  # asked at every look
        before, now_s = rates, now_s + length_s
    for span_s in SPANS_S:
        ours, theirs = (each.series(DISK, span_s).values["reads"] for each in (plain, lazy))
        assert list(ours) == pytest.approx(list(theirs), nan_ok=True)


def test_a_still_server_is_not_written() -> None:
    """Not one ring is, in all the looks of a minute."""
    board = Board()
    for number in range(4):
        board.fold(seen_at(number), number)
    written: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blkrun.dashboard.model.rings.Ring.fill", lambda *args: written.append(args))
        for number in range(4, 64):
            board.fold(seen_at(number), number)
    assert not written
    assert list(board.history.series(DISK, 300.0).values["reads"])[-60:] == [0.0] * 60


def seen_at(second: int) -> Seen:
    """What a poller tells of an idle server."""
    return Seen(read_snapshot(later(second + 1)), float(second))


# Columns


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 250),
    steps=st.lists(st.integers(0, 9), max_size=12),
    seed=st.lists(st.one_of(st.just(nan), st.integers(0, 9)), min_size=1, max_size=7),
)
def test_columns_that_are_over_are_as_when_sampled_anew(
    count: int, steps: list[int], seed: list[float]
) -> None:
    """But for the oldest, which may have lost slots meanwhile."""
    sampler, last = Sampler(), 1000
    for step in steps:
        last += step
        first = last + 1 - SLOTS
        values = array("d", [seed[slot % len(seed)] for slot in range(first, last + 1)])
        values[-1] = step  # it is not over
        series = Series(60.0, 0.2, (last + 1) * 0.2, dict.fromkeys(MEASURES, values), {})
        seen = window(series, count, (last + 1) * 0.2)
        whole = 1 + sum(begin == 0 for begin, _ in seen.slots)
        for name, sample in (("mean", means), ("peak", peaks)):
            found = sampler.columns(name, seen, partial(sample, values))
            assert len(found) == count
            expected = pytest.approx(sample(values, seen)[whole:], nan_ok=True)
            assert found[whole:] == expected


def test_only_new_columns_are_sampled() -> None:
    """A minute has many, and two looks a second lie close together."""
    sampled: list[int] = []
    sampler, values = Sampler(), array("d", [1.0]) * SLOTS

    def sample(rest: Window) -> list[float]:
        sampled.append(len(rest.slots))
        return means(values, rest)

    for end_s in (100.0, 100.6, 101.2):
        series = Series(60.0, 0.2, end_s, dict.fromkeys(MEASURES, values), {})
        seen = window(series, 100, end_s)
        sampler.columns("reads", seen, sample)
    assert sampled[0] == 100
    assert max(sampled[1:]) <= 3


# Panels


def many(seconds: float, chains: int = 200) -> dict[str, Any]:
    """A thousand nodes, each at work."""
    nodes, exports = [], []
    for chain in range(chains):
        below: str | None = None
        for level in range(5):
            name = f"node{chain}-{level}"
            made = node(name, "throttle" if level else "file", below)
            nodes.append(made | {"stats": stats(reads=int(seconds * 100) * (chain + 1))})
            below = name
        exports.append(export(f"vd{chain}", str(below)))
    members = [(each["node-name"], 0) for each in nodes if "4" in each["node-name"]]
    free = group("free", *members)
    return reply(seconds, nodes=nodes, exports=exports, **{"throttle-groups": [free]})


def test_lines_are_made_of_rows_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many nodes there are; of members of groups the same."""

    async def play(stage: Stage) -> None:
        await stage.see(many(1), many(2))
        page = stage.app.query_one(GraphPanel).size.height
        layout = graph_widget._Layout
        with counted(monkeypatch, layout, "line") as lines:
            await stage.see(many(3))
        assert 0 < len(lines) <= page
        with counted(monkeypatch, GroupsPanel, "_line") as asked:
            await stage.see(many(4))
        assert len(asked) <= 2 * stage.app.query_one(GroupsPanel).size.height

    perform(play)


def test_a_row_that_comes_into_sight_is_as_it_is_now() -> None:
    """Also if it has changed meanwhile, and if it had been in sight before."""

    async def play(stage: Stage) -> None:
        panel = stage.app.query_one(GraphPanel)
        await stage.see(many(1, 9), many(2, 9))
        await stage.pilot.press("end")
        await stage.see(many(2.5, 9))
        await stage.pilot.press("home")
        await stage.see(many(3, 9))
        await stage.pilot.press("end")
        await stage.pilot.pause()
        shown = [panel.render_line(y).text for y in range(1, panel.size.height)]
        assert shown == [line.text for line in panel.lines[-len(shown) :]]

    perform(play)


def test_panels_of_a_still_server_are_given_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the past that they show is still as well."""

    async def play(stage: Stage) -> None:
        for second in range(90):
            stage.clock.now_s = float(second)
            await stage.see(later(second + 1))
        calls: list[object] = []
        for owner in (GraphPanel, GroupsPanel, NodePanel, PlotsPanel):
            monkeypatch.setattr(owner, "show", lambda *args: calls.append(args))
        stage.clock.now_s = 90.0
        await stage.see(later(91))
        assert not calls
        await stage.see(lab(92))
        assert calls
        monkeypatch.undo()

    perform(play, size=(160, 50))


@pytest.mark.parametrize(("owner", "steps"), [(PlotsPanel, 2), (GraphPanel, 4)])
def test_a_past_that_only_wanders_is_given_by_its_steps(
    monkeypatch: pytest.MonkeyPatch, owner: type[PlotsPanel | GraphPanel], steps: int
) -> None:
    """Plots by a cell's time, sparks by seconds, not at each look; news at once."""

    async def play(stage: Stage) -> None:
        async def look(half_seconds: range) -> int:
            with counted(monkeypatch, owner, "show") as given:
                for half in half_seconds:
                    stage.clock.now_s = half / 2
                    await stage.see(later(1 + half / 2))
            return len(given)

        await look(range(4 if owner is GraphPanel else 14))
        begin = int(stage.clock.now_s * 2) + 1
        assert 1 <= await look(range(begin, begin + 7)) <= steps + 1
        with counted(monkeypatch, owner, "show") as given:
            await stage.see(lab(30))
        assert given

    perform(play)


def test_a_still_past_draws_no_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its columns wander, and look the same."""

    async def play(stage: Stage) -> None:
        for second in range(64):
            stage.clock.now_s = float(second)
            await stage.see(later(second + 1))
        drawn: list[Line] = []
        monkeypatch.setattr(
            "blkrun.dashboard.widgets.plots.chart_lines", lambda *_: drawn.append(Line("", ()))
        )
        for second in range(64, 68):
            stage.clock.now_s = float(second)
            await stage.see(later(second + 1))
        assert not drawn
        monkeypatch.undo()

    perform(play)
