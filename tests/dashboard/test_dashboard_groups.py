"""Throttle groups: gauges, bursts, who waits, and the limit that is selected."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.pilot import Pilot

from blkrun.dashboard.model.groups import GroupRow, LimitRow, MemberRow, group_rows
from blkrun.dashboard.model.rates import NOTHING, Interval, Rate, interval
from blkrun.dashboard.model.subject import Subject
from blkrun.dashboard.widgets.groups import GroupsPanel, group_lines
from tests.dashboard.dashboard_samples import NASTY_NAMES, group, node, reply, snapshot, stats
from tests.dashboard.panel_app import BlkrunApp
from tests.dashboard.test_dashboard_lines import WIDTHS, assert_fits


def bursting(level: float = 3900.0) -> dict[str, Any]:
    """Of a burst of 1000/s for 10 s over 100/s, and a limit without one."""
    limits = {"iops_total": 100, "iops_total_max": 1000, "iops_total_max_length": 10}
    raw = group("gold", ("calm", 0), ("busy", 3), **limits, bps_write=10**6)
    return raw | {"levels": {"iops-total": level}}


def row_of(raw: dict[str, Any], reads: float = 0.0) -> GroupRow:
    """A group whose members do so many reads in all."""
    rates = Interval({"busy": Rate(reads=reads)}, {}, {}, {})
    (row,) = group_rows(snapshot(reply(1, **{"throttle-groups": [raw]})), rates)
    return row


def texts(row: GroupRow, width: int = 60, **more: Any) -> list[str]:
    """The lines of one group."""
    return [line.text.rstrip() for line in group_lines([row], width, **more)]


def test_burst_lasts_as_long_as_its_credit_at_the_present_rate() -> None:
    """61 % of 10,000 are left, and 900 a second more are used than come in."""
    row = row_of(bursting(), reads=1000)
    assert row.limits[0].lasts_s == pytest.approx(6100 / 900)
    assert "61% 6 s left" in texts(row)[2]


@pytest.mark.parametrize(
    ("level", "reads", "text"),
    [(0.0, 1000.0, "full"), (3900.0, 100.0, "61% left"), (10_000.0, 50.0, "0% left")],
)
def test_burst_that_is_not_used_up_has_no_end(level: float, reads: float, text: str) -> None:
    """It fills again, or there is none left."""
    assert text in texts(row_of(bursting(level), reads))[2]


@given(st.floats(0, 10**6), st.integers(1, 10**4), st.integers(1, 10**4), st.floats(0, 2 * 10**4))
def test_credit_is_between_nothing_and_all(
    level: float, limit: int, burst: int, reads: float
) -> None:
    """Whatever the bucket's level is."""
    raw = group("gold", ("busy", 0), iops_total=limit, iops_total_max=burst)
    found = row_of(raw | {"levels": {"iops-total": level}}, reads).limits[0]
    assert found.burst_left is not None
    assert 0 <= found.burst_left <= 1
    assert (found.lasts_s is not None) == (reads > limit)
    assert found.lasts_s is None or found.lasts_s >= 0


@pytest.mark.parametrize(
    ("reads", "held", "word", "tone"),
    [(79, 0, "", "good"), (80, 0, "NEAR", "warn"), (80, 3, "HELD", "bad"), (10, 3, "", "good")],
)
def test_limit_is_amber_when_near_and_red_when_requests_wait(
    reads: float, held: int, word: str, tone: str
) -> None:
    """And says so."""
    row = row_of(group("gold", ("busy", held), iops_total=100), reads)
    line = group_lines([row], 60)[1]
    assert line.spans[1].tone == tone
    assert line.spans[3].text.strip() == word


def test_group_says_its_state_where_limits_have_no_room() -> None:
    """Held goes before near."""
    assert texts(row_of(group("gold", ("busy", 0), iops_total=100), 80), 30)[0].endswith("NEAR")
    assert texts(row_of(group("gold", ("busy", 3), iops_total=100), 80), 30)[0].endswith("HELD 3")
    assert texts(row_of(group("gold", ("busy", 0), iops_total=100), 0), 30)[0].endswith("held 0")


def test_who_waits_comes_first() -> None:
    """With how many wait there, and how long they did since the last look."""

    def seen(seconds: float, waited_ns: int, waited: int) -> dict[str, Any]:
        told = {"waiting": 3, "waited-ns": waited_ns, "waited-operations": waited}
        busy = node("busy", "throttle", stats=stats(reads=round(9 * seconds)))
        nodes = [node("calm", "throttle"), busy | {"driver-specific": told}]
        return reply(seconds, nodes=nodes, **{"throttle-groups": [bursting()]})

    before, after = snapshot(seen(1, 10**9, 5)), snapshot(seen(2, 10**9 + 24_000_000, 7))
    (row,) = group_rows(after, interval(before, after), before)
    assert [member.name for member in row.members] == ["busy", "calm"]
    assert row.members[0].wait_ns == 12_000_000
    assert texts(row)[4].split() == ["·", "busy", "waits", "12ms", "held", "3", "9/s"]
    assert texts(row, 32)[4].split() == ["·", "busy", "held", "3", "9/s"]
    (first,) = group_rows(after, NOTHING)
    assert first.members[0].wait_ns is None
    (again,) = group_rows(after, NOTHING, after)
    assert again.members[0].wait_ns is None


def test_limit_that_is_wanted_is_shown_until_it_is_in_force() -> None:
    """With an asterisk: the file says it, the group does not yet."""
    row = row_of(group("gold", ("busy", 0), iops_total=4000), 3900)
    assert "3.9k/4.0k → 4.4k*" in texts(row, wanted={("gold", "iops-total"): 4400})[1]
    for wanted in ({("gold", "iops-total"): 4000}, {("gold", "bps-read"): 9}, {}):
        assert "*" not in texts(row, wanted=wanted)[1]


def test_group_that_an_edit_changes_is_marked() -> None:
    """As in the graph."""
    report = {"kind": "pending", "groups": {"gold": "~"}}
    raw = reply(1, reports={"config": report}, **{"throttle-groups": [bursting()]})
    (row,) = group_rows(snapshot(raw), NOTHING)
    assert texts(row)[0].startswith("~ gold")


def test_lines_fit() -> None:
    """Of any names, with waits, bursts and limits that are wanted."""
    limit = LimitRow(key="k", name="iops", used=9e9, limit=10, burst_left=0.5, lasts_s=3e5)
    rows = [
        GroupRow(
            name=name,
            limits=(limit,) * 2,
            members=(MemberRow(name=name, rate=None, held=12345, wait_ns=1e9),),
            mark="~",
        )
        for name in NASTY_NAMES
    ]
    for width in WIDTHS:
        assert_fits(group_lines(rows, width), width)
        assert_fits(group_lines(rows, width, {(NASTY_NAMES[0], "k"): 10**15}), width)


class Alone(BlkrunApp):
    """The panel, and what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.panel = GroupsPanel(id="groups")
        self.said: list[Any] = []

    def compose(self) -> ComposeResult:
        """Only it."""
        yield self.panel

    def on_ready(self) -> None:
        """Keys go there."""
        self.panel.focus()

    @on(GroupsPanel.Selected)
    @on(GroupsPanel.LimitClicked)
    def note(self, message: Message) -> None:
        """Remember it."""
        if isinstance(message, GroupsPanel.Selected):
            self.said.append(message.subject)
        elif isinstance(message, GroupsPanel.LimitClicked):
            self.said.append((message.group, message.key, message.value))


Play = Callable[[Alone, Pilot[None]], Awaitable[None]]
GOLD = Subject("group", "gold")


def perform(play: Play) -> None:
    """Show a group to a panel by itself, and play."""

    async def act() -> None:
        app = Alone()
        async with app.run_test(size=(60, 14)) as pilot:
            app.panel.show([row_of(bursting(), 500)])
            await pilot.pause()
            await play(app, pilot)

    asyncio.run(act())


def test_selected_limit_is_the_rows() -> None:
    """Gauge and burst are one limit; members have none where there are several."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        found = []
        for _ in range(6):
            found.append(app.panel.selected_limit)
            await pilot.press("down")
        iops, nothing = ("gold", "iops-total", 100), None
        assert found == [nothing, iops, iops, ("gold", "bps-write", 10**6), nothing, nothing]
        assert app.said == [GOLD, Subject("node", "busy"), Subject("node", "calm")]

    perform(play)


def test_of_a_group_with_one_limit_every_row_selects_it() -> None:
    """There is no other that could be meant."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.show([row_of(group("silver", ("busy", 0), iops_read=5))])
        found = [app.panel.selected_limit]
        app.panel.show([])
        await pilot.pause()
        assert [*found, app.panel.selected_limit] == [("silver", "iops-read", 5), None]
        assert app.said == [GOLD, Subject("group", "silver"), None]

    perform(play)


def test_a_click_on_a_gauge_is_for_its_limit() -> None:
    """One on its name or figures only selects."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.said.clear()
        await pilot.click(GroupsPanel, offset=(14, 4))
        assert app.said == [("gold", "bps-write", 10**6)]
        assert app.panel.cursor == 3
        await pilot.click(GroupsPanel, offset=(3, 2))
        await pilot.click(GroupsPanel, offset=(52, 2))
        await pilot.click(GroupsPanel, offset=(14, 1))
        assert len(app.said) == 1

    perform(play)


def test_wanted_limits_are_painted_at_once() -> None:
    """Before the next look."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.wanted = {("gold", "iops-total"): 110}
        assert "500/100 → 110*" in app.panel.lines[1].text
        app.panel.wanted = {}
        assert "*" not in app.panel.lines[1].text

    perform(play)
