"""What is seen where: the row that other panels are about, the help's legends, names in frames."""

import asyncio
from typing import Any

import pytest
from rich.style import Style

from blkrun.dashboard.dialogs.help_screen import LEGENDS, help_text
from blkrun.dashboard.dialogs.stop_screen import StopScreen
from blkrun.dashboard.keyboard import ALL
from blkrun.dashboard.model.rates import Rate
from blkrun.dashboard.model.state import export_state, node_state
from blkrun.dashboard.model.status import State, Status
from blkrun.dashboard.model.tree import letter_of
from blkrun.dashboard.widgets.header import header_line
from blkrun.dashboard.widgets.panel import Panel
from blkrun.options import DRIVERS
from tests.dashboard.dashboard_samples import dashboard, lab, node, snapshot
from tests.dashboard.incident_stage import CALM_S, Stage, perform
from tests.dashboard.screens import screen_rows

SIZE = (100, 30)


def back_of(panel: Panel, row: int) -> Style:
    """How the first cell of a row is painted behind."""
    strip = panel.render_line(row + panel.HEADING_ROWS - panel.scroll_offset.y)
    style = next(iter(strip)).style
    return Style(bgcolor=style.bgcolor if style is not None else None)


def test_the_row_that_plots_are_about_stays_marked() -> None:
    """More faintly than with the focus, in one panel only: the last one that was pointed in."""

    async def play(stage: Stage) -> None:
        graph, groups = stage.app.panels.graph, stage.app.panels.groups
        await stage.press("j")
        with_focus, plain = back_of(graph, 1), back_of(graph, 2)
        await stage.press("5")
        without = back_of(graph, 1)
        assert len({with_focus, without, plain}) == 3
        assert back_of(groups, 0) == plain
        await stage.press("3", "5")
        assert stage.app.subject is not None
        assert stage.app.subject.kind == "group"
        assert back_of(groups, 0) == without
        assert back_of(graph, 1) == plain

    perform(play, SIZE, until_s=CALM_S)


def test_selected_row_can_be_told_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reversed with the focus, underlined without."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def play(stage: Stage) -> None:
        graph = stage.app.panels.graph
        style = next(iter(graph.render_line(1))).style
        assert style is not None
        assert style.reverse
        await stage.press("5")
        style = next(iter(graph.render_line(1))).style
        assert style is not None
        assert style.underline
        assert not style.reverse

    perform(play, SIZE, theme=None)


def test_groups_do_not_take_the_plots_from_the_graph() -> None:
    """Who opens the dashboard has the graph in hand."""

    async def play(stage: Stage) -> None:
        assert stage.app.subject is not None
        assert stage.app.subject.name == "vm0"

    perform(play, SIZE)


def test_events_that_come_at_once_are_followed() -> None:
    """Though the scroll bar is not there yet."""

    async def play(stage: Stage) -> None:
        events = stage.app.panels.events
        assert events.scroll_offset.y == events.row_count - events.size.height

    perform(play, (80, 24))


def test_lines_fit_beside_a_scroll_bar_that_comes() -> None:
    """They were made before it was there."""

    async def play(stage: Stage) -> None:
        config = stage.app.panels.config
        assert config.show_vertical_scrollbar
        assert config.render_line(0).cell_length == config.inner_width

    perform(play, (80, 24))


def test_help_knows_every_driver_and_every_word() -> None:
    """A new one needs a line."""
    signs = " ".join(sign for legend in LEGENDS.values() for sign, _ in legend).split()
    assert {letter_of(driver) for driver in DRIVERS} | {letter_of("any", "job")} <= set(signs)
    broken: dict[str, Any] = {"driver-specific": {"snapshot": "broken"}}
    spent: dict[str, Any] = {"driver-specific": {"state": "spent"}}
    kept: dict[str, Any] = {"driver-specific": {"snapshot": "intact"}}
    (*nodes,) = snapshot(
        lab(1, nodes=[node("n", "raw", **told) for told in (broken, spent, kept)])
    ).nodes
    states = [
        *(node_state(each, None) for each in nodes),
        node_state(nodes[0], Rate(errors=1)),
        node_state(snapshot(lab(1)).nodes[0], Rate(errors=1, reads=1)),
        node_state(snapshot(lab(1)).nodes[0], None, held=1),
        export_state(None, 1),
    ]
    words = {word for state in states for word in state.words[0].split() if word.isalpha()}
    assert words == {"BROKEN", "SPENT", "FLEECING", "FAILED", "ERR", "HELD", "err"}
    assert words <= set(signs)


def test_names_of_keys_have_room_in_the_help() -> None:
    """What they do begins in one column."""
    columns = {line[26] for line in help_text(ALL).splitlines()}
    assert columns == {" "}


def test_a_recording_says_that_it_is_one() -> None:
    """Before anything else but the state."""
    status = Status(title="lab.toml", state=State.RUN, replayed=True)
    assert "REPLAY" in header_line(status, 30).text
    assert "REPLAY" not in header_line(Status(title="lab.toml", state=State.RUN), 80).text


@pytest.mark.parametrize("name", ["\x1b[31mred", "\u202eleft"])
def test_names_in_frames_toasts_and_questions_are_letters(name: str) -> None:
    """None of them reaches the terminal as what it would do there."""

    async def act() -> None:
        app, _, _ = dashboard()
        async with app.run_test(size=SIZE, notifications=True) as pilot:
            app.panels.graph.set_caption(name, name)
            app.tell(f"one\n{name}", title=name)
            await pilot.pause()
            app.push_screen(StopScreen(name))
            for _ in range(200):
                await pilot.pause()
                rows = screen_rows(app)
                if sum(row.count(name[1:]) for row in rows) >= 4:
                    break
            else:
                raise AssertionError("\n".join(rows))
            assert all(row.isprintable() for row in rows)

    asyncio.run(act())
