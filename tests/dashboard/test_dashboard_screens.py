"""Every screen at three sizes, and the main ones in every theme, as somebody last looked at them.

``make screens`` writes those that are others now.
"""

import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from blkrun.dashboard.dialogs.apply_screen import ApplyScreen
from blkrun.dashboard.dialogs.ask_screen import AskScreen
from blkrun.dashboard.dialogs.choose_screen import ChooseScreen
from blkrun.dashboard.dialogs.edit_screen import EditScreen, ErrorScreen
from blkrun.dashboard.dialogs.event_screen import EventScreen
from blkrun.dashboard.dialogs.help_screen import HelpScreen
from blkrun.dashboard.dialogs.stop_screen import StopScreen
from tests.dashboard.incident import END_S, connected_late
from tests.dashboard.incident_stage import (
    CALM_S,
    REJECTED_S,
    Play,
    Stage,
    empty,
    perform,
    play_recording,
)
from tests.dashboard.screens import KEPT, WRITING, assert_kept, screen_styles, screen_text
from tests.dashboard.test_dashboard_contrast import THEMES

SIZES = ((80, 24), (100, 30), (160, 50))
CRAMPED = (50, 12)
STYLED = (100, 30)


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times of events are local, and a terminal may ask for other signs and colours."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


async def as_it_is(_: Stage) -> None:
    """Nobody touches anything."""


def keys(*pressed: str, screen: type | None = None) -> Play:
    """Press them; then this screen is to be seen."""

    async def play(stage: Stage) -> None:
        await stage.press(*pressed)
        if screen is not None:
            await stage.until(lambda: isinstance(stage.app.screen, screen))

    return play


def alone(number: str) -> Play:
    """One panel on the whole screen."""

    async def play(stage: Stage) -> None:
        await stage.press(number)
        if stage.app.only is None:
            await stage.press("m")

    return play


async def offline(stage: Stage) -> None:
    """The server has gone seven seconds ago."""
    stage.feed.lose("no server at lab.qmp: connection refused")
    await stage.settle()
    stage.clock.now_s += 7
    stage.app.show()
    await stage.settle()


async def paused(stage: Stage) -> None:
    """For a while, in which something happened."""
    await stage.press("space")
    stage.clock.now_s += 12
    await stage.see_again()
    stage.feed.hear(connected_late())
    await stage.settle()


async def palette(stage: Stage) -> None:
    """Opened, and its list is there."""
    await stage.press("ctrl+p")
    await stage.stand_still()


async def told(stage: Stage) -> None:
    """A mistake in one of the user's own files, and a word about something done."""
    stage.app.tell("copied vm0 as TOML: 36 bytes")
    stage.app.tell_of_files(
        'settings.toml:4:1: error: unknown key "feed.puase", did you mean "feed.pause"?\n'
        '    4 | feed.puase = "p"\n'
        "      | ^^^^^^^^^^",
        "error",
    )
    await stage.settle()


SCREENS: dict[str, tuple[float, Play]] = {
    "main": (CALM_S, as_it_is),
    "pending": (END_S, as_it_is),
    "rejected": (REJECTED_S, as_it_is),
    "rejected-alone": (REJECTED_S, alone("4")),
    "graph-alone": (END_S, alone("1")),
    "plots-alone": (CALM_S, alone("2")),
    "groups-alone": (CALM_S, alone("3")),
    "groups-selected": (CALM_S, keys("3", "down", "down", "5")),
    "config-alone": (END_S, alone("4")),
    "events-alone": (END_S, alone("5")),
    "jobs-alone": (CALM_S, alone("6")),
    "clients-alone": (CALM_S, alone("7")),
    "node-alone": (CALM_S, alone("8")),
    "filter": (CALM_S, keys("slash", "l", "i", "m")),
    "search": (END_S, keys("5", "backslash", "j", "o", "b")),
    "offline": (CALM_S, offline),
    "paused": (CALM_S, paused),
    "told": (CALM_S, told),
    "help": (CALM_S, keys("question_mark", screen=HelpScreen)),
    "palette": (CALM_S, palette),
    "apply": (END_S, keys("a", screen=ApplyScreen)),
    "edit": (CALM_S, keys("j", "d", screen=EditScreen)),
    "edit-dangerous": (CALM_S, keys(*"jjjj", "x", screen=EditScreen)),
    "choose": (CALM_S, keys("j", "i", screen=ChooseScreen)),
    "ask": (CALM_S, keys("j", "equals_sign", screen=AskScreen)),
    "error": (CALM_S, keys("j", "d", "y", screen=ErrorScreen)),
    "event": (END_S, keys("5", "up", "up", "up", "w", screen=EventScreen)),
    "stop": (CALM_S, keys("q", screen=StopScreen)),
}


def named(name: str, size: tuple[int, int]) -> str:
    """``help-80x24``."""
    return f"{name}-{size[0]}x{size[1]}"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCREENS)
def test_screen_is_as_it_was_looked_at(name: str, size: tuple[int, int]) -> None:
    """What can be read on it."""
    until_s, play = SCREENS[name]

    async def act(stage: Stage) -> None:
        await play(stage)
        assert_kept(named(name, size), screen_text(stage.app))

    perform(act, size, until_s=until_s)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_replay_is_as_it_was_looked_at(tmp_path: Path, size: tuple[int, int]) -> None:
    """With the slider and its keys."""

    async def act(stage: Stage) -> None:
        assert_kept(named("replay", size), screen_text(stage.app))

    play_recording(tmp_path, act, size)


@pytest.mark.parametrize("size", [CRAMPED, *SIZES], ids=lambda size: f"{size[0]}x{size[1]}")
def test_empty_graph_is_as_it_was_looked_at(size: tuple[int, int]) -> None:
    """A server that serves nothing yet."""

    async def act(stage: Stage) -> None:
        assert_kept(named("empty", size), screen_text(stage.app))

    perform(act, size, reports=empty())


def test_cramped_screen_is_as_it_was_looked_at() -> None:
    """One panel, and what is needed for more."""

    async def act(stage: Stage) -> None:
        assert_kept(named("cramped", CRAMPED), screen_text(stage.app))

    perform(act, CRAMPED)


@pytest.mark.parametrize("theme", sorted(THEMES))
@pytest.mark.parametrize("name", ["main", "pending"])
def test_theme_is_as_it_was_looked_at(name: str, theme: str) -> None:
    """The colours of every cell, the selected row and one without the focus among them."""
    until_s, _ = SCREENS[name]

    async def act(stage: Stage) -> None:
        await stage.press("5")
        assert_kept(f"theme-{theme}-{name}", screen_styles(stage.app))

    perform(act, STYLED, until_s=until_s, theme=theme)


def test_no_color_is_as_it_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colour anywhere; where the focus and the selected row are can be seen all the same."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(stage: Stage) -> None:
        await stage.press("3")
        assert_kept("no-color", screen_styles(stage.app))

    perform(act, STYLED, theme=None)


@pytest.mark.skipif(WRITING, reason="they are being written")
def test_every_screen_that_is_kept_is_still_one() -> None:
    """A screen that goes takes its files with it."""
    expected = {named(name, size) for name, size in product((*SCREENS, "replay", "empty"), SIZES)}
    expected |= {named(name, CRAMPED) for name in ("empty", "cramped")}
    expected |= {f"theme-{theme}-{name}" for theme in THEMES for name in ("main", "pending")}
    assert {path.stem for path in KEPT.glob("*.txt")} == expected | {"no-color"}
