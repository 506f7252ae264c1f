"""The app over a fake feed: what the panels show, and what keys do."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widgets import Static

from blkrun.dashboard.app import Dashboard
from blkrun.dashboard.dialogs.help_screen import HelpScreen
from blkrun.dashboard.dialogs.stop_screen import StopScreen
from blkrun.dashboard.keyboard import ALL
from blkrun.dashboard.keys import APP_KEYS
from blkrun.dashboard.model.record import KEPT_RECORDS
from blkrun.dashboard.running import run
from blkrun.dashboard.widgets.events import EventsPanel
from blkrun.dashboard.widgets.header import Header
from blkrun.dashboard.widgets.panel import LinesPanel, Panel
from tests.dashboard.dashboard_samples import (
    NASTY_NAMES,
    FakeClock,
    FakeFeed,
    client,
    connected,
    dashboard,
    event,
    export,
    group,
    job,
    lab,
    node,
    reply,
)


class Stage:
    """The app on its stage, with short names for what tests ask."""

    def __init__(self, app: Dashboard, feed: FakeFeed, clock: FakeClock, pilot: Pilot[str]) -> None:
        self.app, self.feed, self.clock, self.pilot = app, feed, clock, pilot

    async def see(self, *replies: dict[str, Any]) -> None:
        """Snapshots arrive and are painted."""
        self.feed.see(*replies)
        await self.pilot.pause()

    async def hear(self, *events: dict[str, Any]) -> None:
        """Events arrive and are painted."""
        self.feed.hear(*events)
        await self.pilot.pause()

    @property
    def header(self) -> str:
        """The first row."""
        return self.app.query_one(Header).text

    def lines(self, panel: str) -> list[str]:
        """All lines of a panel."""
        return [line.text for line in self.app.query_one(f"#{panel}", LinesPanel).lines]

    def events(self) -> EventsPanel:
        """The log's panel."""
        return self.app.query_one(EventsPanel)

    def top_event(self) -> str:
        """The first line of the log that is in sight."""
        return self.events().render_line(0).text.strip()

    def last_event(self) -> str:
        """The last line of the log that is in sight."""
        return self.events().render_line(self.events().size.height - 1).text


Play = Callable[[Stage], Awaitable[None]]


def perform(play: Play, *, owner: bool = True, size: tuple[int, int] = (100, 30)) -> str | None:
    """Run the app around a play; gives the app's result."""

    async def act() -> str | None:
        app, feed, clock = dashboard(owner=owner)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await play(Stage(app, feed, clock, pilot))
        return app.return_value

    return asyncio.run(act())


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (160, 50)])
def test_panels_show_numbers(size: tuple[int, int]) -> None:
    """Rates in header, graph and groups, at every size."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1), lab(2, held=14))
        assert stage.header.split()[:3] == ["lab.toml", "●", "RUN"]
        assert "R 1.0k 4.1M  W  500 2.0M" in stage.header
        vda, limit, disk = stage.lines("graph")
        assert vda.split()[:2] == ["▾", "vda"]
        assert "1.0k  500" in vda
        assert "@gold" in limit
        assert "HELD 14" in limit
        assert "file" in disk
        assert "HELD 14" in stage.lines("groups")[0]
        assert "1.5k/3.0k" in stage.lines("groups")[1]

    perform(play, size=size)


def test_panels_neither_overlap_nor_leave_the_screen_at_any_size() -> None:
    """Also while the terminal is being resized."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1), lab(2))
        await stage.hear(*(connected(number) for number in range(100)))
        for size in [(80, 24), (160, 50), (100, 30), (60, 16), (40, 10), (96, 20), (200, 60)]:
            await stage.pilot.resize_terminal(*size)
            await stage.pilot.pause()
            shown = [panel for panel in stage.app.query(Panel) if panel.display]
            assert len(shown) == {(40, 10): 1, (60, 16): 4, (96, 20): 4}.get(size) or 5 + 2 * (
                size[1] >= 50
            )
            area = sum(panel.region.area for panel in shown)
            assert area == size[0] * (size[1] - 2), size
            for panel in shown:
                for y in range(panel.size.height):
                    assert panel.render_line(y).cell_length <= panel.size.width
            if stage.events().display:
                assert "client 99" in stage.last_event()

    perform(play)


def test_too_small_a_terminal_says_what_is_needed() -> None:
    """The graph alone, and the size at which the others come."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1))
        assert "60 by 16" in str(stage.app.query_one("#graph").border_subtitle)

    perform(play, size=(50, 12))


def test_names_are_never_markup() -> None:
    """Brackets stay, nothing crashes, in panels, frames, header and dialogs."""

    async def play(stage: Stage) -> None:
        nodes = [node(name, "throttle", group=name) for name in NASTY_NAMES]
        exports = [export(name, name, clients=[client(1)]) for name in NASTY_NAMES]
        groups = [group(name, (name, 1), iops_total=5) for name in NASTY_NAMES]
        report = {"kind": "[b]", "message": "[/]", "operations": list(NASTY_NAMES)}
        raw = {"throttle-groups": groups, "reports": {"config": report}}
        await stage.see(reply(1, nodes=nodes, exports=exports, **raw))
        await stage.hear(*(event(name, text="[/red]") for name in NASTY_NAMES))
        assert "[red]x[/]" in stage.lines("graph")[0]
        stage.feed.lose("[/] gone")
        await stage.pilot.pause()
        await stage.see(reply(2, nodes=nodes, exports=exports, **raw))
        await stage.pilot.press("q")
        assert isinstance(stage.app.screen, StopScreen)

    perform(play)


def test_offline_keeps_the_last_numbers() -> None:
    """They are dimmed and the header says for how long, and RUN comes back by itself."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1), lab(2))
        before = stage.lines("graph")
        stage.feed.lose("no server at lab.qmp")
        await stage.pilot.pause()
        stage.clock.now_s += 7
        await stage.hear()
        assert "OFFLINE 7 s" in stage.header
        assert stage.lines("graph") == before
        assert stage.app.query_one("#graph", Panel).stale
        assert "no server" in str(stage.app.query_one("#graph").border_subtitle)
        await stage.see(lab(1) | {"pid": 43})
        assert "RUN" in stage.header
        assert not stage.app.query_one("#graph", Panel).stale
        assert "—" in stage.lines("graph")[0]

    perform(play)


def test_silent_server_is_not_shown_as_running() -> None:
    """It is connected but does not answer."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1))
        stage.clock.now_s += 9
        await stage.hear()
        assert "NO ANSWER 9 s" in stage.header

    perform(play)


def test_pause_freezes_what_is_shown_and_resume_shows_the_present() -> None:
    """Events go on being listed meanwhile."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1), lab(2))
        frozen = stage.lines("graph")
        await stage.pilot.press("space")
        await stage.see(lab(3, held=2))
        await stage.hear(connected(1))
        assert stage.lines("graph") == frozen
        assert "PAUSED" in stage.header
        assert stage.events().row_count == 0
        assert "1 new" in str(stage.events().border_subtitle)
        await stage.pilot.press("space")
        assert stage.events().row_count == 1
        assert "PAUSED" not in stage.header
        assert "HELD 2" in stage.lines("graph")[1]

    perform(play)


def test_refresh_can_be_changed_within_bounds() -> None:
    """From 0.2 to 5 seconds, shown in the header."""

    async def play(stage: Stage) -> None:
        for _ in range(5):
            await stage.pilot.press("less_than_sign")
        assert stage.feed.refresh_s == 5.0
        for _ in range(9):
            await stage.pilot.press("greater_than_sign")
        assert stage.feed.refresh_s == 0.2
        assert "every 0.2 s" in stage.header

    perform(play)


def test_selected_row_stays_selected_when_the_graph_changes() -> None:
    """Selection goes by what the row is, not by where it is."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1))
        await stage.pilot.press("j", "down")
        panel = stage.app.query_one("#graph", Panel)
        assert panel.cursor == 2
        raw = lab(2)
        raw["exports"].insert(0, export("vd0", "disk2"))
        raw["nodes"].append(node("disk2", "memory"))
        await stage.see(raw)
        assert stage.lines("graph")[panel.cursor].split()[2] == "disk"
        await stage.pilot.press("k", "home")
        assert panel.cursor == 0

    perform(play)


def test_panels_are_focused_by_number_and_maximised() -> None:
    """Escape brings all of them back."""

    async def play(stage: Stage) -> None:
        await stage.pilot.press("5", "m")
        assert [panel.id for panel in stage.app.query(Panel) if panel.display] == ["events"]
        await stage.pilot.press("3")
        assert [panel.id for panel in stage.app.query(Panel) if panel.display] == ["groups"]
        await stage.pilot.press("escape")
        hidden = [panel.id for panel in stage.app.query(Panel) if not panel.display]
        assert hidden == ["node", "clients", "jobs"]
        assert stage.app.focused is stage.app.query_one("#groups")

    perform(play)


def test_log_follows_until_somebody_reads_further_up() -> None:
    """Then the same record stays on top, also when old ones are dropped."""

    async def play(stage: Stage) -> None:
        await stage.hear(*(connected(number) for number in range(KEPT_RECORDS)))
        assert stage.events().follow
        await stage.pilot.press("5", "pageup", "pageup", "pageup")
        assert not stage.events().follow
        top = stage.top_event()
        for number in range(20):
            await stage.hear(connected(KEPT_RECORDS + number))
        assert stage.top_event() == top
        assert stage.events().row_count == KEPT_RECORDS
        assert "20 new" in str(stage.events().border_subtitle)
        await stage.pilot.press("f")
        await stage.pilot.pause()
        assert "client 5019" in stage.last_event()

    perform(play)


def test_configuration_shows_the_report() -> None:
    """With the time of its event in the frame."""

    async def play(stage: Stage) -> None:
        applied = {"kind": "applied", "file": "lab.toml", "summary": "+1", "operations": ["+ a"]}
        await stage.hear(event("X_BLKRUN_CONFIG_APPLIED", file="lab.toml"))
        await stage.see(lab(1, reports={"config": applied}))
        assert [line.rstrip() for line in stage.lines("config")] == [
            "lab.toml",
            "applied lab.toml: +1",
            "+ a",
        ]
        assert "in force" in str(stage.app.query_one("#config").border_title)

    perform(play)


@pytest.mark.parametrize(("key", "result"), [("s", "stop"), ("d", "detach")])
def test_owner_is_asked_when_clients_are_connected(key: str, result: str) -> None:
    """And the answer is the result."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1, clients=2))
        await stage.pilot.press("q")
        assert isinstance(stage.app.screen, StopScreen)
        await stage.pilot.press(key)

    assert perform(play) == result


@pytest.mark.parametrize("status", ["running", "ready", "paused"])
def test_owner_is_asked_when_a_job_is_not_done(status: str) -> None:
    """Hours of copying are not lost by a key; the question names the job."""

    async def play(stage: Stage) -> None:
        jobs = [job("nightly", status), job("weekly", "concluded"), job("move", pivoted=True)]
        await stage.see(lab(1, clients=0, jobs=jobs))
        await stage.pilot.press("q")
        assert isinstance(stage.app.screen, StopScreen)
        title = stage.app.screen.query_one(".dialog-title", Static)
        assert title.content == "job nightly not done"
        await stage.pilot.press("s")

    assert perform(play) == "stop"


def test_escape_stays() -> None:
    """The question goes away and nothing else happens."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1))
        await stage.pilot.press("ctrl+c")
        assert isinstance(stage.app.screen, StopScreen)
        await stage.pilot.press("escape")
        assert not isinstance(stage.app.screen, StopScreen)

    assert perform(play) is None


@pytest.mark.parametrize(
    ("owner", "clients", "result"), [(True, 0, "stop"), (False, 2, "detach"), (False, 0, "detach")]
)
@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
def test_leaving_without_a_question(*, owner: bool, clients: int, result: str, key: str) -> None:
    """Nobody loses a disk, or the server is not ours to stop."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1, clients=clients))
        await stage.pilot.press(key)

    assert perform(play, owner=owner) == result


def test_closing_ends_the_app_with_detach() -> None:
    """Whoever runs the dashboard can end it, on SIGTERM or when the server was shut down."""

    async def act() -> str:
        app, _, _ = dashboard()
        closing = asyncio.Event()
        asyncio.get_running_loop().call_soon(closing.set)
        return await run(app, closing, headless=True)

    assert asyncio.run(act()) == "detach"


@pytest.mark.parametrize("key", ["question_mark", "q"])
@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
def test_no_dialog_is_cut(key: str, size: tuple[int, int]) -> None:
    """Of what a dialog says every line is as wide as it needs, or goes on in the next."""

    async def play(stage: Stage) -> None:
        names = [f"disk-number-{n}" for n in range(12)]
        jobs = [job(name) for name in names]
        await stage.see(lab(1, jobs=jobs))
        await stage.pilot.press(key)
        box = stage.app.screen.query_one(".dialog").content_region
        for text in stage.app.screen.query(Static):
            lines = [line.rstrip() for line in str(text.content).splitlines()]
            room = text.content_size.width * text.content_size.height
            assert room >= sum(len(line) for line in lines)
            assert text.region.right <= box.right

    perform(play, size=size)


def test_help_lists_every_key() -> None:
    """Made from the bindings, so that it cannot be behind."""

    async def play(stage: Stage) -> None:
        await stage.pilot.press("question_mark")
        assert isinstance(stage.app.screen, HelpScreen)
        text = "\n".join(str(part.render()) for part in stage.app.screen.query("Static"))
        assert [key.id for key in ALL if key.tooltip not in text] == []
        await stage.pilot.press("escape")
        assert not isinstance(stage.app.screen, HelpScreen)

    perform(play)


def test_every_key_has_an_id_and_a_tooltip() -> None:
    """Key maps go by id, and no two share one."""
    assert len({key.id for key in ALL}) == len(ALL)
    assert all(key.id and key.tooltip for key in ALL)


def test_every_key_that_does_something_is_in_the_palette() -> None:
    """Nothing is reachable by key alone, and nothing is listed that would do nothing."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1, jobs=[job("nightly")]))
        titles = {command.title for command in stage.app.get_system_commands(stage.app.screen)}
        offered = {key.description for key in APP_KEYS if offers(stage.app, key)}
        assert offered <= titles
        assert {"Jobs", "Pause", "Zoom", "Save"} <= offered
        assert not {"Resume", "All panels", "Apply", "Insert"} & titles

    perform(play)


def offers(app: Dashboard, key: Binding) -> bool:
    """Whether an action of the app would do something now."""
    action, _, parameter = key.action.removesuffix(")").partition("(")
    return bool(app.check_action(action, (parameter.strip("'"),) if parameter else ()))


def test_unchanged_numbers_repaint_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle server costs no painting."""

    async def play(stage: Stage) -> None:
        idle = lab(1) | {"uptime-ns": 0}
        await stage.see(idle, idle | {"now-ns": 2 * 10**9}, idle | {"now-ns": 3 * 10**9})
        painted: list[object] = []
        monkeypatch.setattr(Panel, "refresh", lambda panel, *_, **__: painted.append(panel))
        monkeypatch.setattr(Header, "refresh", lambda header, *_, **__: painted.append(header))
        await stage.see(idle | {"now-ns": 4 * 10**9})
        assert painted == []
        monkeypatch.undo()

    perform(play)


def test_no_color_leaves_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The theme is the only one that Textual can show colourless."""
    monkeypatch.setenv("NO_COLOR", "1")
    app, _, _ = dashboard()
    assert app.theme == "ansi-dark"
    assert app.native_ansi_color


def test_other_themes_work() -> None:
    """Those of Textual have none of blkrun's variables."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1))
        for theme in ("textual-light", "ansi-dark", "nord", "blkrun"):
            stage.app.theme = theme
            await stage.pilot.pause()

    perform(play)


def test_screenshot_is_an_svg_of_the_screen() -> None:
    """For the documentation."""

    async def play(stage: Stage) -> None:
        await stage.see(lab(1), lab(2))
        assert "Throttle" in stage.app.export_screenshot()

    perform(play)
