"""Every key of a recording, by key and by a click in the footer; nothing in it changes anything."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.binding import Binding

from blkrun.dashboard.keys import EDIT_KEYS
from blkrun.dashboard.keys_replay import REPLAY_KEYS
from blkrun.dashboard.player import Player
from blkrun.dashboard.recording import Recording
from blkrun.dashboard.replaying import Replay
from tests.dashboard.action_stage import Stage
from tests.dashboard.dashboard_samples import FakeClock
from tests.dashboard.recording_samples import BEGIN_S, looks, record

Check = Callable[[Stage, Player], bool]

STORIES: dict[str, tuple[float, bool, Check]] = {
    "replay.play": (0, False, lambda _, player: player.position.playing),
    "replay.pause": (0, True, lambda _, player: not player.position.playing),
    "replay.step-back": (30, False, lambda _, player: at(player) == 29),
    "replay.step": (30, False, lambda _, player: at(player) == 31),
    "replay.back": (30, False, lambda _, player: at(player) == 20),
    "replay.on": (30, False, lambda _, player: at(player) == 40),
    "replay.slower": (0, True, lambda _, player: player.position.speed == 2),
    "replay.faster": (0, True, lambda _, player: player.position.speed == 10),
    "replay.first": (30, True, lambda _, player: at(player) == 0),
    "replay.last": (30, False, lambda _, player: at(player) == 60),
    "replay.go": (0, False, lambda stage, _: stage.screen.is_modal),
}
"""Where it is, whether it plays, at the fivefold speed, and what is so after it."""


def at(player: Player) -> float:
    """Seconds of the recording."""
    return round(player.position.at_s - BEGIN_S, 3)


def happen(path: Path, play: Callable[[Stage, Player], Awaitable[None]]) -> None:
    """Show a minute of it around a play."""

    async def act() -> None:
        with Recording.open(record(path / "a.rec", *looks(0, 61))) as recording:
            player = Player(recording, clock=FakeClock())
            app = Replay(player, "lab.toml")
            async with app.run_test(size=(200, 40)) as pilot:
                made = Stage(app, pilot)
                await made.until(lambda: app.board.snapshot is not None)
                await play(made, player)

    asyncio.run(act())


def test_every_key_of_a_recording_has_a_story() -> None:
    """A new one fails here."""
    assert {key.id for key in REPLAY_KEYS} == set(STORIES)


@pytest.mark.parametrize("key", REPLAY_KEYS, ids=lambda key: key.id)
@pytest.mark.parametrize("way", ["key", "footer"])
def test_each(tmp_path: Path, key: Binding, way: str) -> None:
    """By its key, and where it is in the footer by a click; what is not there has only a key."""
    begin_s, playing, check = STORIES[str(key.id)]

    async def play(made: Stage, player: Player) -> None:
        player.seek(BEGIN_S + begin_s)
        player.set_speed(5)
        (player.play if playing else player.pause)()
        made.app.refresh_bindings()
        await made.settle()
        assert not check(made, player)
        if way == "key":
            await made.press(key.key)
        else:
            assert await made.click_footer(key) == key.show
        if way == "key" or key.show:
            await made.until(lambda: check(made, player))

    happen(tmp_path, play)


def test_nothing_in_it_edits(tmp_path: Path) -> None:
    """No key does anything, no command is there, the help has none of them."""

    async def play(made: Stage, _: Player) -> None:
        await made.select("limit")
        for key in EDIT_KEYS:
            await made.press(*key.key.split(","))
            assert not made.screen.is_modal
            assert key.description not in made.commands()
        await made.press("question_mark")
        text = "\n".join(str(part.render()) for part in made.screen.query("Static"))
        assert not [key.id for key in EDIT_KEYS if key.tooltip in text]

    happen(tmp_path, play)
