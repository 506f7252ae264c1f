"""What the mouse does, besides the footer: rows, titles, gauges, the notice, dialogs."""

import pytest
from textual.binding import Binding

from blkrun.dashboard.dialogs.ask_screen import AskScreen
from blkrun.dashboard.dialogs.choose_screen import ChooseScreen
from blkrun.dashboard.dialogs.edit_screen import EditScreen
from blkrun.dashboard.model.subject import Subject
from tests.dashboard.action_stage import Stage, perform
from tests.dashboard.dashboard_samples import connected, job, lab

SIZE = (160, 50)


def test_a_click_on_a_row_of_the_graph_selects_and_another_one_opens() -> None:
    """All about it, in the inspector."""

    async def play(stage: Stage) -> None:
        graph = stage.app.panels.graph
        await stage.click(graph, 8, 3)
        assert stage.app.subject == Subject("node", "limit")
        await stage.click(graph, 8, 3)
        assert stage.focused == "node"

    perform(play, size=SIZE)


def test_a_click_in_the_groups_selects_what_keys_are_about() -> None:
    """A group by its name, a member by its own."""

    async def play(stage: Stage) -> None:
        groups = stage.app.panels.groups
        await stage.click(groups, 3, 3)
        assert stage.app.subject == Subject("node", "limit")
        await stage.click(groups, 3, 1)
        assert stage.app.subject == Subject("group", "gold")
        await stage.press("1")
        assert stage.app.subject == Subject("export", "vda")

    perform(play, size=SIZE)


def test_a_click_on_a_gauge_asks_for_its_value() -> None:
    """Of the limit that it is of."""

    async def play(stage: Stage) -> None:
        await stage.click(stage.app.panels.groups, 12, 2)
        assert isinstance(stage.screen, AskScreen)
        assert stage.screen.heading == "iops-total of gold"
        await stage.press("end", "0", "enter", "y")
        assert stage.editor.done == ["limit gold iops-total=30000"]

    perform(play, size=SIZE)


def test_a_click_on_a_job_selects_the_one_that_is_cancelled() -> None:
    """The second of two."""

    async def play(stage: Stage) -> None:
        await stage.click(stage.app.panels.jobs, 5, 2)
        await stage.press("c")
        assert "cancel job b" in stage.dialog

    perform(play, lab(1, jobs=[job("a"), job("b")]), size=SIZE)


def test_a_second_click_on_an_event_goes_to_what_it_is_about() -> None:
    """In the graph."""

    async def play(stage: Stage) -> None:
        stage.feed.hear(connected(1))
        await stage.select("disk")
        events = stage.app.panels.events
        await stage.click(events, 5, events.size.height, times=2)
        assert stage.app.subject == Subject("export", "vda")
        assert stage.focused == "graph"

    perform(play, size=SIZE)


@pytest.mark.parametrize("name", ["graph", "groups", "events", "config", "plots"])
def test_two_clicks_on_a_title_show_the_panel_alone_and_two_more_all(name: str) -> None:
    """One only gives it the focus."""

    async def play(stage: Stage) -> None:
        panel, before = stage.app.panels.named(name), stage.shown
        await stage.click(panel, 4, 0)
        assert (stage.focused, stage.shown) == (name, before)
        await stage.pilot.pause(0.6)
        await stage.click(panel, 4, 0, times=2)
        assert stage.shown == [name]
        await stage.pilot.pause(0.6)
        await stage.click(panel, 4, 0, times=2)
        assert stage.shown == before

    perform(play, size=SIZE)


def test_a_click_on_the_notice_shows_the_configuration() -> None:
    """Which has all of it."""

    async def play(stage: Stage) -> None:
        report = {"kind": "failed", "file": "lab.toml", "message": "no"}
        await stage.see(lab(2, reports={"config": report}))
        await stage.click(stage.app.notice, 5, 0)
        assert stage.focused == "config"

    perform(play, size=SIZE)


def test_dialogs_are_answered_by_clicks() -> None:
    """A row chooses, keys at the foot are buttons."""

    async def play(stage: Stage) -> None:
        await stage.select("disk")
        await stage.press("i")
        assert isinstance(stage.screen, ChooseScreen)
        await stage.click(stage.screen.list, 4, 1)
        assert isinstance(stage.screen, AskScreen)
        assert stage.screen.typed == "throttle"
        assert await stage.click_footer(Binding("enter", "accept", "Take it", id="ask.accept"))
        assert isinstance(stage.screen, ChooseScreen)
        assert await stage.click_footer(Binding("enter", "choose", "Choose", id="choose.choose"))
        assert isinstance(stage.screen, EditScreen)
        assert await stage.click_footer(Binding("y", "yes", "Yes", id="edit.yes"))
        assert len(stage.editor.done) == 1

    perform(play, size=SIZE)
