"""The dashboard's rooms: imports go downwards, the model is pure, and the maps are whole."""

from pathlib import Path

import pytest

import blkrun.dashboard
import blkrun.dashboard.model
from tests.test_imports import imported

ROOT = Path(blkrun.dashboard.__file__).parent
FLOORS = (
    "feed keymap keys keys_replay lines model own_files terminal web_guard web_visit",
    """arrange defects editor past playback player poller recorder recording recording_writer
    settings survey symbols theme theme_file theme_watch web widgets""",
    "dialogs keyboard panels theming",
    "actions",
    "running showing",
    "app",
    "replaying",
    "__init__",
)
"""From the ground up: each may import what is on its own floor or below."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms.split()}
FILES = sorted(ROOT.rglob("*.py"))
IMPURE = {"asyncio", "os", "random", "socket", "subprocess", "textual", "threading"}
CLOCKS = ("time.time(", "time.monotonic(", "time.perf_counter(", ".now(", ".today(")


def room_of(file: Path) -> str:
    """The first part of a module's place in the dashboard."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def rooms_entered(file: Path) -> set[str]:
    """By their names; a name that is no module is what ``__init__`` gives."""
    names = {name.split(".")[2] for name in imported(file) if name.startswith("blkrun.dashboard.")}
    return {name for name in names if (ROOT / name).is_dir() or (ROOT / f"{name}.py").exists()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_downwards(file: Path) -> None:
    """A widget knows nothing of actions, a feed nothing of the app."""
    above = {room for room in rooms_entered(file) if FLOOR[room] > FLOOR[room_of(file)]}
    assert not above


@pytest.mark.parametrize(
    "file", sorted((ROOT / "model").glob("*.py")), ids=lambda file: str(file.name)
)
def test_the_model_is_pure(file: Path) -> None:
    """No Textual, no clock, no files: only lines, the feed's reports, and itself."""
    assert not {name.split(".")[0] for name in imported(file)} & IMPURE
    assert not [clock for clock in CLOCKS if clock in file.read_text()]
    assert rooms_entered(file) <= {"feed", "lines", "model"}


@pytest.mark.parametrize(
    ("docstring", "folder"),
    [
        (blkrun.dashboard.__doc__, ROOT),
        (blkrun.dashboard.model.__doc__, ROOT / "model"),
    ],
    ids=["dashboard", "model"],
)
def test_the_map_names_every_room(docstring: str | None, folder: Path) -> None:
    """A module that is new, or has another name, has its place on the map."""
    assert docstring is not None
    entries = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    entries -= {"__init__", "__pycache__"}
    named = {word for word in entries if f"``{word}``" in docstring}
    assert sorted(entries - named) == []
