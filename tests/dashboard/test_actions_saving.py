"""Copies and saves: what is in the clipboard, which files there are, and what cannot be saved."""

import asyncio
import json
from pathlib import Path

import pytest
from msgspec import structs

from tests.dashboard.action_stage import Stage, perform
from tests.dashboard.dashboard_samples import connected, lab, node

SIZE = (100, 30)


def saving_in(stage: Stage, folder: Path) -> None:
    """As the settings would have it."""
    stage.app.settings = structs.replace(stage.app.settings, snapshots=str(folder))


@pytest.mark.parametrize(
    ("title", "kind"), [("Save JSON", ".json"), ("Save CSV", ".csv"), ("Save picture", ".svg")]
)
def test_one_form_is_saved_from_the_palette(tmp_path: Path, title: str, kind: str) -> None:
    """Into a folder that is made for it, for nobody else to read; never over another one."""

    async def play(stage: Stage) -> None:
        saving_in(stage, tmp_path / "a" / "b")
        for count in (1, 2):
            await stage.run_command(title)
            await stage.until(lambda: len(stage.told) == count)  # noqa: B023 - at once

    perform(play, size=SIZE)
    files = sorted((tmp_path / "a" / "b").iterdir())
    assert [file.suffix for file in files] == [kind] * 2
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert all(file.read_text() for file in files)
    if kind == ".json":
        assert json.loads(files[0].read_text())["title"] == "lab.toml"


@pytest.mark.parametrize("folder", ["a-file", "a-file/below", "/proc/nowhere", "~nobody-here/x"])
def test_a_folder_that_takes_nothing_is_told(tmp_path: Path, folder: str) -> None:
    """And the dashboard goes on."""
    (tmp_path / "a-file").touch()

    async def play(stage: Stage) -> None:
        saving_in(stage, Path(folder) if folder.startswith("~") else tmp_path / folder)
        await stage.press("S")
        await stage.until(lambda: stage.told)
        assert stage.told[0].startswith("not saved: ")
        await stage.press("5")
        assert stage.focused == "events"

    perform(play, size=SIZE)


def test_nothing_is_on_offer_before_there_is_something() -> None:
    """Neither to copy nor to save."""

    async def play(stage: Stage) -> None:
        stage.app.board.snapshot = None
        await stage.press("y", "Y", "U", "S")
        await asyncio.sleep(0)
        assert stage.told == []
        assert stage.app.clipboard == ""
        assert not [title for title in stage.commands() if title.startswith(("Save", "Copy"))]

    perform(play, size=SIZE)


def test_what_is_too_long_for_terminals_is_not_copied() -> None:
    """It is told instead; the clipboard is as it was."""

    async def play(stage: Stage) -> None:
        stage.app.copy("x" * 74_994, "all of it")
        stage.app.copy("y" * 74_995, "too much")
        await stage.settle()
        assert stage.app.clipboard == "x" * 74_994
        assert "save it instead" in stage.told[-1]

    perform(play, size=SIZE)


def test_what_is_marked_is_what_is_copied() -> None:
    """A group where the groups have the focus, the event in the events, also by keys in haste."""

    async def play(stage: Stage) -> None:
        stage.feed.hear(connected(7))
        await stage.settle()
        await stage.pilot.press("j", "y")
        assert stage.app.clipboard.startswith("[nodes.limit]")
        await stage.pilot.press("3", "y")
        assert stage.app.clipboard.startswith("[throttle-groups.gold]")
        await stage.pilot.press("5", "y")
        assert "client 7" in stage.app.clipboard
        await stage.pilot.press("1", "y")
        assert stage.app.clipboard.startswith("[nodes.limit]")

    perform(play, lab(1), size=SIZE)


def test_names_that_are_no_text_are_copied_and_saved_all_the_same(tmp_path: Path) -> None:
    """A folder's may be in any encoding: what is none is replaced, and nothing fails."""
    seen = lab(1)
    seen["nodes"][0]["options"]["path"] = "/\udcff/disk.img"
    seen["nodes"].append(node("odd\ud800", "null"))

    async def play(stage: Stage) -> None:
        saving_in(stage, tmp_path)
        await stage.select("disk")
        await stage.press("y")
        assert 'path = "/?/disk.img"' in stage.app.clipboard
        await stage.press("S")
        await stage.until(lambda: len(stage.told) == 2)

    perform(play, seen, size=SIZE)
    texts = {file.suffix: file.read_text() for file in tmp_path.iterdir()}
    assert texts.keys() == {".json", ".csv", ".svg"}
    assert json.loads(texts[".json"])["snapshot"]["nodes"][0]["options"]["path"] == (
        "/\udcff/disk.img"
    )
    assert "node,odd?,null" in texts[".csv"]


def test_an_export_without_an_address_has_none_to_copy() -> None:
    """As in a recording."""

    async def play(stage: Stage) -> None:
        await stage.select("vda")
        await stage.press("U")
        assert stage.told == []
        assert "Copy URI" not in stage.commands()

    perform(play, size=SIZE)
