"""What is wrong between panels: the selection, the past while nobody answers or while paused."""

from math import isnan

from blkrun.dashboard.model.subject import Subject
from blkrun.dashboard.widgets.graph import GraphPanel
from blkrun.dashboard.widgets.plots import PlotsPanel
from tests.dashboard.dashboard_samples import export, group, lab, node
from tests.dashboard.test_dashboard_app import Stage, perform

VDA, LIMIT, GOLD = Subject("export", "vda"), Subject("node", "limit"), Subject("group", "gold")


def title(stage: Stage, panel: str) -> str:
    """The upper frame."""
    return str(stage.app.query_one(f"#{panel}").border_title)


def plots(stage: Stage) -> PlotsPanel:
    """The panel."""
    return stage.app.query_one(PlotsPanel)


def graph(stage: Stage) -> GraphPanel:
    """The panel."""
    return stage.app.query_one(GraphPanel)


def known(stage: Stage) -> int:
    """Slots of the reads that the plots have."""
    view = plots(stage)._view
    assert view is not None
    return sum(not isnan(value) for value in view.series.values["reads"])


async def look(stage: Stage, *seconds: float) -> None:
    """Looks at the lab, the clock being 100 s ahead of the server's."""
    for second in seconds:
        stage.clock.now_s = 100.0 + second
        await stage.see(lab(second))


# What is selected


def test_at_first_the_graph_s_first_row_is_selected() -> None:
    """Not what another panel has marked for when somebody comes."""

    async def play(stage: Stage) -> None:
        await look(stage, 1, 2)
        assert stage.app.subject == VDA
        assert title(stage, "plots") == "²Plots · vda (export) · 1 min"

    perform(play)


def test_what_is_selected_is_what_is_marked_in_the_panel_with_the_focus() -> None:
    """Who comes to a panel has selected its row, and who goes back the other one again."""

    async def play(stage: Stage) -> None:
        await look(stage, 1, 2)
        await stage.pilot.press("down", "3")
        assert stage.app.subject == GOLD
        await stage.pilot.press("5")
        assert stage.app.subject == GOLD
        await stage.pilot.press("1")
        assert stage.app.subject == LIMIT
        assert "limit (node)" in title(stage, "plots")

    perform(play)


def test_a_panel_that_nobody_is_in_selects_nothing() -> None:
    """A group that comes before the others is no reason to look at it."""

    async def play(stage: Stage) -> None:
        await look(stage, 1, 2)
        raw = lab(3)
        raw["throttle-groups"] = [group("silver", iops_total=5)]
        raw["nodes"] = [each for each in raw["nodes"] if each["node-name"] != "limit"]
        raw["exports"][0]["node-name"] = "disk"
        await stage.see(raw)
        assert stage.app.subject == VDA

    perform(play)


def test_what_has_gone_is_selected_no_more_but_its_past_is_shown() -> None:
    """Keys are about the row that is there; the plots say gone until another one is selected."""

    async def play(stage: Stage) -> None:
        await look(stage, 1, 2)
        await stage.pilot.press("down")
        raw = lab(3)
        raw["nodes"] = [node("disk", "file")]
        raw["exports"] = [export("vda", "disk")]
        stage.clock.now_s = 103.0
        await stage.see(raw)
        assert stage.app.subject == Subject("node", "disk")
        assert title(stage, "plots") == "²Plots · limit (node) · gone · 1 min"
        assert known(stage) == 5
        await stage.pilot.press("up")
        assert title(stage, "plots") == "²Plots · vda (export) · 1 min"

    perform(play)


def test_what_has_gone_is_left_also_when_somebody_is_elsewhere() -> None:
    """In the events, say."""

    async def play(stage: Stage) -> None:
        await look(stage, 1, 2)
        await stage.pilot.press("end", "5")
        assert stage.app.subject == Subject("node", "disk")
        raw = lab(3)
        raw["nodes"][0]["node-name"] = "disk2"
        raw["nodes"][1]["children"] = {"file": "disk2"}
        await stage.see(raw)
        assert stage.app.subject == Subject("node", "disk2")
        assert "disk (node) · gone" in title(stage, "plots")

    perform(play)


def test_a_group_that_has_gone_leaves_another_one_selected_where_it_was_marked() -> None:
    """Its past stays in the plots, as that of anything else."""

    async def play(stage: Stage) -> None:
        await look(stage, 1, 2)
        raw = lab(3)
        raw["throttle-groups"] = [*raw["throttle-groups"], group("silver", iops_total=5)]
        await stage.see(raw)
        await stage.pilot.press("3", "5")
        assert stage.app.subject == GOLD
        raw = lab(4)
        raw["throttle-groups"] = [group("silver", iops_total=5)]
        await stage.see(raw)
        assert stage.app.subject == Subject("group", "silver")
        assert title(stage, "plots") == "²Plots · gold (group) · gone · 1 min"

    perform(play)


def test_what_has_gone_and_is_opened_instead_is_plotted() -> None:
    """Enter on the row that took its place."""

    async def play(stage: Stage) -> None:
        await look(stage, 1, 2)
        await stage.pilot.press("end")
        raw = lab(3)
        raw["nodes"][0]["node-name"] = "disk2"
        raw["nodes"][1]["children"] = {"file": "disk2"}
        await stage.see(raw)
        await stage.pilot.press("enter", "escape")
        await stage.pilot.pause()
        assert "disk2 (node) · 1 min" in title(stage, "plots")

    perform(play)


def test_how_long_requests_waited_is_of_the_look_before() -> None:
    """In the groups, and in the inspector of one."""

    async def play(stage: Stage) -> None:
        for second in (1, 2):
            raw = lab(second)
            waits = {"waited-ns": 12_000_000 * second, "waited-operations": second}
            raw["nodes"][1]["driver-specific"] = waits
            await stage.see(raw)
        assert "waits 12ms" in "\n".join(stage.lines("groups"))
        await stage.pilot.press("3")
        await stage.pilot.press("8")
        assert "waits 12ms" in "\n".join(stage.lines("node"))

    perform(play)


# While nobody answers


def test_gap_grows_while_the_server_is_away() -> None:
    """Once a second, without any report; the past wanders to the left and out."""

    async def play(stage: Stage) -> None:
        await look(stage, *range(1, 31))
        before = stage.lines("plots")
        stage.feed.lose("no server")
        await stage.pilot.pause()
        ages = []
        for second in (10, 20, 85):
            stage.clock.now_s = 130.0 + second
            stage.app._tick()
            ages.append(stage.lines("plots"))
        right = [[line[:46].rstrip() for line in lines[1:-1]] for lines in (before, *ages)]
        ends = [max(map(len, rows)) for rows in right[:-1]]
        assert ends == sorted(ends, reverse=True)
        assert len(set(ends)) == 3
        assert all(len(line) <= 5 for line in right[-1])

    perform(play)


def test_gap_grows_while_the_server_does_not_answer() -> None:
    """It is connected, so nobody has said that it is lost."""

    async def play(stage: Stage) -> None:
        await look(stage, *range(1, 31))
        before = stage.lines("plots")
        stage.clock.now_s += 2
        stage.app._tick()
        assert stage.lines("plots") == before
        stage.clock.now_s += 10
        stage.app._tick()
        assert stage.lines("plots") != before

    perform(play)


# Paused


def test_pause_freezes_every_number_and_resume_brings_the_present() -> None:
    """Plots, clients and inspector with the others, all dimmed; the past has gone on meanwhile."""

    async def play(stage: Stage) -> None:
        panels = ("graph", "plots", "groups", "node", "clients")
        await look(stage, *range(1, 11))
        await stage.pilot.press("space")
        frozen = {name: stage.lines(name) for name in panels}
        for second in range(11, 21):
            stage.clock.now_s = 100.0 + second
            await stage.see(lab(second, held=second, clients=2))
        stage.app._tick()
        assert {name: stage.lines(name) for name in panels} == frozen
        assert all(stage.app.panels.named(name).stale for name in panels)
        assert known(stage) == 9 * 5
        await stage.pilot.press("space")
        assert not any(stage.app.panels.named(name).stale for name in panels)
        assert {name for name in panels if stage.lines(name) != frozen[name]} == set(panels)
        assert known(stage) == 19 * 5

    perform(play, size=(160, 50))


def test_paused_all_spans_and_subjects_are_of_the_moment() -> None:
    """Also minutes later, when the plots of the present have forgotten it."""

    async def play(stage: Stage) -> None:
        await look(stage, *range(1, 11))
        await stage.pilot.press("space")
        for second in range(70, 130, 2):
            stage.clock.now_s = 100.0 + second
            await stage.see(lab(second, held=3))
        await stage.pilot.press("down")
        view = plots(stage)._view
        assert view is not None
        assert (view.subject, view.now_s, view.series.end_s) == (LIMIT, 110, 110)
        assert known(stage) == 9 * 5
        await stage.pilot.press("2", "]")
        view = plots(stage)._view
        assert view is not None
        assert (view.series.span_s, view.now_s, view.series.end_s) == (300, 110, 110)
        assert known(stage) == 9

    perform(play)


def test_paused_while_the_server_is_away_the_gap_does_not_grow() -> None:
    """It is as long as it was."""

    async def play(stage: Stage) -> None:
        await look(stage, *range(1, 11))
        stage.feed.lose("no server")
        stage.clock.now_s += 20
        await stage.pilot.press("space")
        frozen = stage.lines("plots")
        stage.clock.now_s += 20
        stage.app._tick()
        assert stage.lines("plots") == frozen
        await stage.pilot.press("space")
        assert stage.lines("plots") != frozen

    perform(play)


# The graph's filter


def test_frame_says_that_rows_are_filtered_and_escape_ends_it() -> None:
    """While typing, and after; a second escape is somebody else's again."""

    async def play(stage: Stage) -> None:
        await look(stage, 1, 2)
        assert title(stage, "graph") == "¹Graph"
        await stage.pilot.press("slash", *"gold")
        assert title(stage, "graph") == "¹Graph · /gold · 2 of 3"
        assert len(stage.lines("graph")) == 2
        await stage.pilot.press("enter")
        await look(stage, 3)
        assert title(stage, "graph") == "¹Graph · /gold · 2 of 3"
        await stage.pilot.press("m", "escape")
        assert title(stage, "graph") == "¹Graph"
        assert len(stage.lines("graph")) == 3
        assert stage.app.only == "graph"
        await stage.pilot.press("escape")
        assert stage.app.only is None

    perform(play)


def test_filter_that_is_taken_back_while_typing_leaves_all_rows() -> None:
    """Escape in the prompt, and the focus is in the graph."""

    async def play(stage: Stage) -> None:
        await look(stage, 1, 2)
        await stage.pilot.press("slash", *"nothing")
        assert "nothing here is called" in stage.lines("graph")[0]
        assert title(stage, "graph") == "¹Graph · /nothing · 0 of 3"
        await stage.pilot.press("escape")
        assert title(stage, "graph") == "¹Graph"
        assert stage.app.focused is graph(stage)
        assert stage.app.subject == VDA

    perform(play)
