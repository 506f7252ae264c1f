"""Every action there is, by each of its keys, by a click in the footer, and from the palette."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from textual.binding import Binding

from blkrun.dashboard.keyboard import ALL
from blkrun.dashboard.keys import APP_KEYS
from blkrun.dashboard.keys_replay import REPLAY_KEYS
from blkrun.dashboard.widgets.key_bar import KeyBar
from tests.dashboard.action_stage import WIDE, Stage, stage
from tests.dashboard.action_stories import OFF, PENDING, STORIES
from tests.dashboard.dashboard_samples import job, lab

LIVE = tuple(key for key in ALL if key not in REPLAY_KEYS)
NAMES = {key.id: key for key in LIVE}
PRESSES = [(key.id, press) for key in LIVE for press in key.key.split(",")]

Way = Callable[[Stage, Binding], Awaitable[None]]


def uri_of(name: str) -> str:
    """Of an export of the lab."""
    return f"nbd+unix:///{name}?socket=/run/lab.sock"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is saved is saved there."""
    (tmp_path / "saved").mkdir()
    monkeypatch.chdir(tmp_path / "saved")


def happen(name: str, way: Way, size: tuple[int, int] = (100, 30)) -> None:
    """A story, with its action done in some way."""

    async def act() -> None:
        async with stage(uri_of=uri_of, size=size) as made:
            story: AsyncIterator[None] = STORIES[name](made)
            await anext(story)
            await way(made, NAMES[name])
            await made.settle()
            with suppress(StopAsyncIteration):
                await anext(story)

    asyncio.run(act())


def test_every_action_has_a_story() -> None:
    """A new key without one fails here."""
    assert {key.id for key in LIVE} == set(STORIES)


@pytest.mark.parametrize(("name", "press"), PRESSES)
def test_by_key(name: str, press: str) -> None:
    """Each of those that it has."""

    async def way(made: Stage, _: Binding) -> None:
        await made.press(press)

    happen(name, way)


@pytest.mark.parametrize("name", [key.id for key in LIVE if key.show])
def test_by_footer(name: str) -> None:
    """A click, where the footer has it."""

    async def way(made: Stage, key: Binding) -> None:
        assert await made.click_footer(key), f"{name} is not in the footer"

    happen(name, way, WIDE)


def test_the_palette_has_all_that_the_app_does() -> None:
    """While it is on offer, by the action that the key has."""

    async def act() -> None:
        reports = {**OFF, "config": PENDING}
        async with stage(lab(1, reports=reports, jobs=[job("nightly")]), uri_of=uri_of) as made:
            there: set[object] = set()

            def look() -> None:
                for command in made.commands().values():
                    there.update(getattr(command, "args", ()))

            for name in ("limit", "vda"):
                await made.select(name)
                look()
            await made.press("m", "space")
            look()
            assert {key.action for key in APP_KEYS} <= there
            assert {"json", "csv", "svg"} <= there

    asyncio.run(act())


def test_the_palette_itself() -> None:
    """Found by some of its letters, chosen by enter, done when the palette has gone."""

    async def way(made: Stage, _: Binding) -> None:
        await made.type_command("disab")

    happen("filter.disable", way)


def test_keys_of_the_settings_do_it_and_are_shown(tmp_path: Path) -> None:
    """In the footer and in the help; the key that it was does nothing any more."""
    own = tmp_path / "config" / "blkrun"
    own.mkdir(parents=True)
    (own / "settings.toml").write_text('[keys]\nfilter.disable = ["f8", "D"]\n')

    async def act() -> None:
        async with stage(size=WIDE) as made:
            assert made.told == []
            await made.select("limit")
            await made.press("d")
            assert not made.screen.is_modal
            assert "f8 Disable" in made.screen.query_one(KeyBar).text
            for press in ("f8", "D"):
                await made.press(press)
                assert "disable limit" in made.dialog
                await made.press("escape")
            await made.press("question_mark")
            text = "\n".join(str(part.render()) for part in made.screen.query("Static"))
            assert "f8 D         Disable" in text

    asyncio.run(act())
