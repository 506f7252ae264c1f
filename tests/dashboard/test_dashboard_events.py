"""The events' panel alone: its keys, its frame, and that nothing is lost while it stands still."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.app import ComposeResult
from textual.containers import Grid
from textual.message import Message
from textual.pilot import Pilot
from textual.widgets import Static

from blkrun.dashboard.dialogs.event_screen import EventScreen
from blkrun.dashboard.lines import Line
from blkrun.dashboard.model.record import KEPT_RECORDS, Log
from blkrun.dashboard.widgets import events as events_module
from blkrun.dashboard.widgets.events import EVENT_KEYS, EventsPanel
from blkrun.dashboard.widgets.groups import GroupsPanel
from blkrun.dashboard.widgets.panel import Panel
from blkrun.dashboard.widgets.prompt import Prompt
from tests.dashboard.dashboard_samples import NASTY_NAMES, connected, dashboard, event
from tests.dashboard.panel_app import BlkrunApp

FAILED = event("X_BLKRUN_CONFIG_FAILED", message="no")
DELETED = event("BLOCK_EXPORT_DELETED", id="vdb")


class PanelApp(BlkrunApp):
    """The panel and another one, and what the first has posted."""

    def __init__(self) -> None:
        super().__init__()
        self.log_ = Log()
        self.posted: list[Message] = []

    def compose(self) -> ComposeResult:
        """One below the other."""
        with Grid(id="panels"):
            yield GroupsPanel(id="groups")
            yield EventsPanel(id="events", log=self.log_)

    def on_mount(self) -> None:
        """The size that each has."""
        super().on_mount()
        for panel in self.query(Panel):
            panel.styles.column_span = 12

    def on_events_panel_chosen(self, message: EventsPanel.Chosen) -> None:
        """Keep it."""
        self.posted.append(message)

    def on_events_panel_copied(self, message: EventsPanel.Copied) -> None:
        """Keep it."""
        self.posted.append(message)

    def on_events_panel_opened(self, message: EventsPanel.Opened) -> None:
        """As the dashboard does."""
        self.push_screen(EventScreen(message.record))


class Stage:
    """The app with short names."""

    def __init__(self, app: PanelApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot
        self.panel = app.query_one(EventsPanel)

    async def hear(self, *events: dict[str, Any]) -> None:
        """Events arrive and are painted."""
        self.app.log_.add(events)
        self.panel.grown()
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        """Keys, and what comes of them."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    def shown(self) -> list[str]:
        """Lines in sight that say something."""
        rows = (self.panel.render_line(y).text for y in range(self.panel.size.height))
        return [row.strip() for row in rows if row.strip()]

    def clients(self) -> list[int]:
        """Of which clients the lines in sight are."""
        return [int(row.split("client ")[1].split()[0]) for row in self.shown()]

    @property
    def title(self) -> str:
        """In the frame above."""
        return str(self.panel.border_title).removeprefix(self.panel.caption).strip()

    @property
    def state(self) -> str:
        """In the frame below."""
        return str(self.panel.border_subtitle)


Play = Callable[[Stage], Awaitable[None]]


def perform(play: Play, size: tuple[int, int] = (80, 24)) -> None:
    """Run the app around a play, with a hundred clients in the log."""

    async def act() -> None:
        app = PanelApp()
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            stage = Stage(app, pilot)
            stage.panel.focus()
            await stage.hear(*map(connected, range(100)))
            await play(stage)

    asyncio.run(act())


def test_a_filter_is_typed_and_narrows_at_once() -> None:
    """Enter keeps it and gives the keys back to the panel."""

    async def play(stage: Stage) -> None:
        await stage.press("slash", *"client", "space", "9")
        assert stage.title == "19 of 100 · /client 9"
        before = stage.clients()
        await stage.press("enter")
        assert stage.app.focused is stage.panel
        assert not stage.app.query(Prompt)
        assert stage.clients() == before
        assert all("9" in str(number) for number in before)
        await stage.hear(connected(200), connected(900))
        assert stage.clients()[-1] == 900
        assert 200 not in stage.clients()

    perform(play)


def test_escape_takes_a_filter_away() -> None:
    """Also one that was kept before."""

    async def play(stage: Stage) -> None:
        await stage.press("slash", "!", "9", "enter")
        assert stage.title == "81 of 100 · /!9"
        await stage.press("slash", "escape")
        assert stage.title == ""
        assert stage.panel.row_count == 100
        assert stage.app.focused is stage.panel

    perform(play)


def test_the_way_back_from_a_filter_is_where_one_was() -> None:
    """Also if on the way nothing passed, or only what is far away."""

    async def play(stage: Stage) -> None:
        await stage.press("home", *["down"] * 30)
        before, selected = stage.clients(), stage.panel.selected
        await stage.press("slash", "9", "9", "z", "backspace")
        assert stage.clients() == [99]
        await stage.press("backspace", "backspace")
        assert stage.clients() == before
        await stage.press("0", "escape")
        assert stage.clients() == before
        assert stage.panel.selected == selected
        assert not stage.panel.follow

    perform(play)


def test_what_is_typed_is_no_key_of_the_panel() -> None:
    """Whoever filters for a word with n, i or y in it."""

    async def play(stage: Stage) -> None:
        await stage.press("slash", "n", "i", "y", "w", "slash")
        assert stage.title == "0 of 100 · /niyw/"
        assert stage.shown() == []
        assert stage.app.posted == []
        await stage.press("escape")
        assert stage.panel.row_count == 100

    perform(play)


def test_what_is_typed_is_no_key_of_the_dashboard() -> None:
    """It neither quits, pauses, maximises nor goes to another panel."""

    async def act() -> None:
        app, feed, _ = dashboard()
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.pause()
            feed.hear(*map(connected, range(9)))
            app.query_one(EventsPanel).focus()
            await pilot.press("slash", *"qam", "space", *"1fJ?")
            await pilot.pause()
            assert app.query_one(Prompt).input.value == "qam 1fJ?"
            assert app.paused_at_s is None
            assert app.query_one("#graph").display
            await pilot.press("escape")
            await pilot.pause()
            assert app.focused is app.query_one(EventsPanel)
            assert app.query_one(EventsPanel).row_count == 9

    asyncio.run(act())


def test_the_prompt_hides_no_event() -> None:
    """It is in the frame, and goes with it when the terminal is another one."""

    async def play(stage: Stage) -> None:
        await stage.press("slash")
        prompt = stage.app.query_one(Prompt)
        for size in ((80, 24), (120, 40), (60, 16)):
            await stage.pilot.resize_terminal(*size)
            await stage.pilot.pause()
            assert prompt.region.y == stage.panel.region.bottom - 1
            assert stage.panel.region.contains_region(prompt.region)

    perform(play)


def test_a_prompt_that_is_left_is_kept_and_gone() -> None:
    """The keys are whose the user gave them to."""

    async def play(stage: Stage) -> None:
        await stage.press("slash", "9")
        stage.app.query_one(GroupsPanel).focus()
        await stage.pilot.pause()
        assert not stage.app.query(Prompt)
        assert stage.title == "19 of 100 · /9"
        assert isinstance(stage.app.focused, GroupsPanel)

    perform(play)


def test_levels_go_round() -> None:
    """The frame says in words what is hidden."""

    async def play(stage: Stage) -> None:
        await stage.hear(DELETED, FAILED)
        titles = []
        for _ in range(4):
            await stage.press("i")
            titles.append(stage.title)
        assert titles == ["2 of 102 · ok+", "2 of 102 · warnings+", "1 of 102 · errors", ""]

    perform(play)


def test_a_search_hides_nothing_and_goes_from_hit_to_hit() -> None:
    """From the newest, and round, with a word that says so."""

    async def play(stage: Stage) -> None:
        await stage.press("backslash", "t", "space", "9", "enter")
        assert stage.panel.row_count == 100
        assert stage.title.endswith("19/19")
        await stage.press("N")
        assert stage.title.endswith("18/19")
        await stage.press("n", "n")
        assert stage.title.endswith("1/19 from the top")
        assert stage.panel.selected is not None
        assert stage.panel.selected.text == "client 9 connected to vda"
        assert 9 in stage.clients()
        await stage.press("N")
        assert stage.title.endswith("19/19 from the end")
        await stage.press("backslash", "escape")
        assert stage.title == ""

    perform(play)


def test_hits_are_marked_without_colours() -> None:
    """In a line whose other words are not."""

    async def play(stage: Stage) -> None:
        await stage.press("backslash", "9", "9", "enter")
        segments = list(stage.panel.render_line(stage.panel.size.height - 1))
        marked = [each.text for each in segments if each.style is not None and each.style.reverse]
        assert marked == ["99"]

    perform(play)


def test_a_search_that_finds_nothing_says_so() -> None:
    """And its keys do nothing."""

    async def play(stage: Stage) -> None:
        await stage.press("backslash", "z", "enter", "n", "N")
        assert stage.title == "\\z not found"
        assert stage.panel.follow

    perform(play)


def test_nothing_is_lost_while_it_stands_still() -> None:
    """Thousands of events later the same lines are there; then all that came, and it follows."""

    async def play(stage: Stage) -> None:
        before = stage.shown()
        stage.panel.paused = True
        for begin in range(100, 4100, 500):
            await stage.hear(*map(connected, range(begin, begin + 500)))
            assert stage.shown() == before
        assert stage.state == "paused · 4000 new"
        stage.panel.paused = False
        await stage.pilot.pause()
        assert stage.clients()[-1] == 4099
        assert stage.panel.row_count == 4100
        assert stage.state == "following"

    perform(play)


def test_who_pauses_goes_on_reading_what_the_log_has_dropped() -> None:
    """Also scrolled and filtered; the frame says how many are dropped."""

    async def play(stage: Stage) -> None:
        stage.panel.paused = True
        await stage.hear(*map(connected, range(100, 100 + KEPT_RECORDS)))
        await stage.press("home")
        assert stage.clients()[0] == 0
        await stage.press("slash", "v", "d", "a", "enter")
        assert stage.clients()[0] == 0
        assert stage.state == "paused · 5000 new · 100 dropped"
        stage.panel.paused = False
        await stage.pilot.pause()
        assert stage.panel.row_count == KEPT_RECORDS
        assert stage.clients()[-1] == 99 + KEPT_RECORDS

    perform(play)


def test_a_pause_hides_no_error() -> None:
    """It is counted in the frame, until it has been seen."""

    async def play(stage: Stage) -> None:
        stage.panel.paused = True
        await stage.hear(connected(100), FAILED, connected(101))
        assert stage.state == "paused · 3 new · 1 ERROR"
        stage.panel.paused = False
        await stage.pilot.pause()
        assert stage.state == "following"

    perform(play)


def test_who_was_reading_before_the_pause_reads_on_after_it() -> None:
    """Resuming follows only if it did before."""

    async def play(stage: Stage) -> None:
        await stage.press("pageup", "pageup")
        before = stage.clients()
        stage.panel.paused = True
        await stage.hear(*map(connected, range(100, 1100)))
        stage.panel.paused = False
        await stage.pilot.pause()
        assert stage.clients() == before
        assert stage.state == "follow off · 1000 new"

    perform(play)


def test_the_top_stays_through_filter_arrivals_and_resizes() -> None:
    """Until it is dropped itself."""

    async def play(stage: Stage) -> None:
        await stage.press("home", *["pagedown"] * 3, "pageup")
        top = stage.clients()[0]
        assert top > 0
        await stage.press("slash", "c", "l", "i", "enter")
        assert stage.clients()[0] == top
        await stage.press("slash", "escape")
        await stage.hear(*map(connected, range(100, KEPT_RECORDS + top)))
        assert stage.clients()[0] == top
        await stage.pilot.resize_terminal(80, 20)
        await stage.pilot.pause()
        assert stage.clients()[0] == top
        await stage.hear(connected(1), connected(2))
        assert stage.clients()[0] == top + 2

    perform(play)


def test_a_burst_is_one_line_that_counts() -> None:
    """In place."""

    async def play(stage: Stage) -> None:
        burst = event("BLOCK_JOB_ERROR", device="nightly", operation="read", action="ignore")
        await stage.hear(burst)
        assert "\N{MULTIPLICATION SIGN}" not in stage.shown()[-1]
        for _ in range(13):
            await stage.hear(burst)
        assert stage.panel.row_count == 101
        assert "WARN  \N{MULTIPLICATION SIGN}14 job nightly" in stage.shown()[-1]

    perform(play)


def test_enter_says_what_an_event_is_about() -> None:
    """Or that it is about nothing; a double click does the same."""

    async def play(stage: Stage) -> None:
        await stage.press("enter")
        await stage.hear(FAILED)
        await stage.press("enter")
        await stage.pilot.click(EventsPanel, offset=(5, 2), times=2)
        await stage.pilot.pause()
        chosen = [each for each in stage.app.posted if isinstance(each, EventsPanel.Chosen)]
        assert [each.name for each in chosen] == ["vda", None, "vda"]

    perform(play)


def test_the_selected_event_is_copied_as_it_reads() -> None:
    """Whole, however narrow the panel is."""

    async def play(stage: Stage) -> None:
        await stage.press("up", "y")
        (copied,) = stage.app.posted
        assert isinstance(copied, EventsPanel.Copied)
        assert copied.text.endswith("info client 98 connected to vda")

    perform(play, size=(24, 16))


def test_a_long_event_is_shown_whole() -> None:
    """With its data, and never as markup."""

    async def play(stage: Stage) -> None:
        await stage.hear(event("NEWS", text="[/red]" * 50, names=list(NASTY_NAMES)))
        await stage.press("w")
        assert isinstance(stage.app.screen, EventScreen)
        said = "\n".join(str(part.content) for part in stage.app.screen.query(Static))
        assert "[/red]" * 50 in said
        assert '"event": "NEWS"' in said
        assert "\x1b" not in said
        await stage.press("escape")
        assert stage.app.focused is stage.panel

    perform(play)


def test_keys_do_nothing_in_an_empty_log() -> None:
    """Nor do they fail."""

    async def play(stage: Stage) -> None:
        await stage.press("slash", "z", "z", "enter", "enter", "y", "w", "n", "N", "up", "home")
        assert stage.app.posted == []
        assert stage.shown() == []

    perform(play)


def test_only_what_is_in_sight_is_made_into_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the log is; and only new events are matched."""

    async def play(stage: Stage) -> None:
        await stage.hear(*map(connected, range(100, KEPT_RECORDS)))
        await stage.press("slash", "9", "enter")
        made: list[int] = []
        real = events_module.record_line

        def count(*args: Any) -> Line:
            made.append(1)
            return real(*args)

        monkeypatch.setattr(events_module, "record_line", count)
        await stage.hear(connected(9999))
        assert 0 < len(made) <= 2 * stage.panel.size.height

    perform(play)


def test_keys_have_ids_of_their_own() -> None:
    """Key maps go by them."""
    assert len({key.id for key in EVENT_KEYS}) == len(EVENT_KEYS)
    assert all((key.id or "").startswith("log.") and key.tooltip for key in EVENT_KEYS)
