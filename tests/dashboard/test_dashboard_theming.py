"""Themes while their files are edited, and which one there is to begin with."""

import asyncio
import os
import pwd
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from textual.app import App, ComposeResult
from textual.widgets import Static

from blkrun.dashboard.own_files import shown
from blkrun.dashboard.theme import theme_folders
from blkrun.dashboard.theme_file import variable_defaults
from blkrun.dashboard.theme_watch import NOTHING, Settling, Stamp, ThemeWatch
from blkrun.dashboard.theming import Theming
from tests.dashboard.dashboard_samples import dashboard, job, lab

FILE, OTHER = Path("a.toml"), Path("b.toml")
RED, BLUE = (f'name = "mine"\nextends = "nord"\nprimary = "{hue}"\n' for hue in ("red", "blue"))


def stamp(number: int) -> Stamp:
    """One file's look."""
    return number, 1, 1


def test_file_is_taken_when_two_looks_agree() -> None:
    """While it is written it has another size or time at every look."""
    settling = Settling({FILE: stamp(1)})
    assert not settling.see({FILE: stamp(1)})
    assert not settling.see({FILE: stamp(2)})
    assert not settling.see({FILE: stamp(3)})
    assert settling.see({FILE: stamp(3)}) == {FILE}
    assert not settling.see({FILE: stamp(3)})


def test_new_and_deleted_files_settle_too() -> None:
    """Editors take a file away for a moment when they save."""
    settling = Settling({FILE: stamp(1)})
    assert not settling.see({OTHER: stamp(1)})
    assert settling.see({FILE: stamp(2), OTHER: stamp(1)}) == {OTHER}
    assert not settling.see({OTHER: stamp(1)})
    assert settling.see({OTHER: stamp(1)}) == {FILE}


LOOKS = st.dictionaries(st.sampled_from((FILE, OTHER)), st.integers(0, 3).map(stamp))


@given(LOOKS, st.lists(LOOKS), LOOKS)
def test_what_rests_is_taken_once(
    first: dict[Path, Stamp], looks: list[dict[Path, Stamp]], last: dict[Path, Stamp]
) -> None:
    """Whatever came before: two equal looks take all that differs, a third nothing."""
    settling, taken = Settling(first), dict(first)
    for look in [*looks, last, last]:
        for path in settling.see(look):
            taken.pop(path, None)
            taken |= {path: look[path]} if path in look else {}
    assert taken == last
    assert not settling.see(last)


def test_edited_file_changes_what_extends_it(tmp_path: Path) -> None:
    """And nothing else."""
    mine, over = tmp_path / "mine.toml", tmp_path / "over.toml"
    mine.write_text(RED)
    over.write_text('name = "over"\nextends = "mine"\naccent = "white"')
    (tmp_path / "else.toml").write_text('name = "else"\nprimary = "red"')
    watch = ThemeWatch([tmp_path])
    mine.write_text(BLUE)
    assert watch.look() == NOTHING
    changes = watch.look()
    assert {name: theme.primary for name, theme in changes.themes.items()} == {
        "mine": "blue",
        "over": "blue",
    }
    assert (changes.gone, changes.errors, changes.mended) == (frozenset(), (), ())


def test_wrong_edit_is_told_once_and_changes_nothing(tmp_path: Path) -> None:
    """Nor does the theme over it, nor the shipped one of its name come forth; then it is mended."""
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    shipped.mkdir()
    own.mkdir()
    (shipped / "mine.toml").write_text('name = "mine"\nprimary = "green"')
    (own / "mine.toml").write_text(RED)
    (own / "over.toml").write_text('name = "over"\nextends = "mine"')
    watch = ThemeWatch([shipped, own])
    before = watch.themes
    (own / "mine.toml").write_text(RED.replace("red", "rde"))
    watch.look()
    changes = watch.look()
    assert (changes.themes, changes.gone, changes.mended) == ({}, frozenset(), ())
    assert [text.splitlines()[0].split("error: ")[1] for text in changes.errors] == [
        '\'rde\' is no colour: needs "#rrggbb" or a name such as "teal" — did you mean "red"?'
    ]
    assert watch.themes == before
    assert watch.look() == NOTHING
    (own / "mine.toml").write_text(RED)
    watch.look()
    assert watch.look().mended == (own / "mine.toml",)
    assert watch.errors == {}


def test_deleted_theme_gives_way_to_the_shipped_one(tmp_path: Path) -> None:
    """One that has no namesake is gone."""
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    shipped.mkdir()
    own.mkdir()
    for path in (shipped / "a.toml", own / "a.toml", own / "b.toml"):
        path.write_text(
            f'name = "{path.stem}"\nprimary = "{"red" if path.parent == own else "blue"}"'
        )
    watch = ThemeWatch([shipped, own])
    (own / "a.toml").unlink()
    (own / "b.toml").unlink()
    watch.look()
    changes = watch.look()
    assert changes.themes["a"].primary == "blue"
    assert changes.gone == {"b"}


def test_folder_that_cannot_be_looked_at_is_empty(tmp_path: Path) -> None:
    """A home in the network may go for a while: that is no reason to die every second."""
    folder = tmp_path / "themes"
    folder.mkdir()
    (folder / "mine.toml").write_text(RED)
    watch = ThemeWatch([folder])
    folder.rename(tmp_path / "gone")
    folder.symlink_to("a" * 300)  # what is looked for there is neither there nor not there
    assert watch.look() == NOTHING
    assert watch.look().gone == {"mine"}
    folder.unlink()
    (tmp_path / "gone").rename(folder)
    assert watch.look() == NOTHING
    assert watch.look().themes.keys() == {"mine"}


def test_folder_may_come_later(tmp_path: Path) -> None:
    """Nobody has one to begin with."""
    watch = ThemeWatch([tmp_path / "themes"])
    (tmp_path / "themes").mkdir()
    (tmp_path / "themes" / "mine.toml").write_text(RED)
    assert watch.look() == NOTHING
    assert set(watch.look().themes) == {"mine"}


@pytest.mark.parametrize(
    ("home", "folder"),
    [
        ("/etc/xdg", "/etc/xdg/blkrun/themes"),
        ("", "HOME/.config/blkrun/themes"),
        ("x", "HOME/.config/blkrun/themes"),
    ],
)
def test_users_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str, folder: str
) -> None:
    """As the XDG specification has it, which says of a relative path that it counts as none."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", home)
    assert str(theme_folders()[-1]) == folder.replace("HOME", str(tmp_path))


class Little(App[None]):
    """One coloured word, and a theme from a folder."""

    CSS = "#word { color: $primary; background: $cursor-row; }"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.told: list[tuple[str, str]] = []
        self.theming = Theming(self, lambda *told: self.told.append(told), folders=[folder])
        self.theming.choose("mine", no_color=False, colour_system=None)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """As the dashboard has it."""
        return variable_defaults(self.current_theme)

    def compose(self) -> ComposeResult:
        """The word."""
        yield Static("word", id="word")

    @property
    def colour(self) -> str:
        """The word's; Textual rounds on the way."""
        colour = self.query_one("#word").styles.color
        return "red" if colour.r > colour.b else "blue"


def test_nobody_need_have_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container with a user that only it knows: there are no files of theirs, then."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert not theme_folders()[-1].exists()
    assert shown(Path("/srv/paper.toml")) == Path("/srv/paper.toml")


def test_colours_follow_the_file(tmp_path: Path) -> None:
    """An edit is shown; a wrong one is told with its line, and what was right stays."""

    async def scenario() -> None:
        path = tmp_path / "mine.toml"
        path.write_text(RED)
        app = Little(tmp_path)
        async with app.run_test() as pilot:
            assert app.colour == "red"

            async def save(text: str | None) -> None:
                path.unlink() if text is None else path.write_text(text)
                app.theming.tick()
                app.theming.tick()
                await pilot.pause()

            await save(BLUE)
            assert (app.colour, app.told) == ("blue", [])
            await save(BLUE.replace("blue", "blu"))
            assert app.colour == "blue"
            ((text, severity),) = app.told
            assert severity == "error"
            assert "mine.toml:3:11: error: 'blu' is no colour" in text
            assert '    3 | primary = "blu"\n      |           ^^^^^' in text
            await save(BLUE)
            assert app.told[1:] == [(f"{path}: right again", "information")]
            await save(None)
            assert (app.theme, app.colour) == ("mine", "blue")

    asyncio.run(scenario())


def test_errors_of_the_start_are_told_when_there_is_a_screen(tmp_path: Path) -> None:
    """At the first tick, and the app has a theme all the same."""

    async def scenario() -> None:
        (tmp_path / "mine.toml").write_text('name = "mine"\n')
        app = Little(tmp_path)
        assert app.told == []
        async with app.run_test():
            app.theming.tick()
            app.theming.tick()
        assert ["is missing" in text for text, _ in app.told] == [True]
        assert "mine" in app.theming.names

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("wanted", "no_color", "colours", "theme"),
    [
        (None, False, "truecolor", "blkrun"),
        (None, False, "256", "blkrun"),
        (None, False, None, "blkrun"),
        (None, False, "standard", "terminal"),
        ("paper", False, "standard", "paper"),
        ("paper", False, "truecolor", "paper"),
        ("nord", False, "truecolor", "nord"),
        ("nowhere", False, "standard", "terminal"),
        ("paper", True, "truecolor", "ansi-dark"),
    ],
)
def test_what_there_is_to_begin_with(
    wanted: str | None, colours: str | None, theme: str, *, no_color: bool
) -> None:
    """What the settings want, but for NO_COLOR; else what the terminal can show."""
    app: App[None] = App()
    theming = Theming(app, lambda *_: None, folders=theme_folders()[:1])
    theming.choose(wanted, no_color=no_color, colour_system=colours)
    assert app.theme == theme


@pytest.mark.parametrize("name", sorted(ThemeWatch(theme_folders()[:1]).themes))
def test_whole_dashboard_can_be_drawn(name: str) -> None:
    """Every style sheet, Textual's too, finds the variables it asks for."""

    async def scenario() -> None:
        app, feed, _ = dashboard()
        Theming(app, lambda *_: None, folders=theme_folders()[:1])
        app.theme = name
        async with app.run_test(size=(100, 30)) as pilot:
            feed.see(lab(1), lab(2, held=2, jobs=[job("mirror0")]))
            app.tell("something", severity="error")
            app.action_command_palette()
            await pilot.pause()
            assert app.theme == name
            assert app.screen is not app.screen_stack[0]

    asyncio.run(scenario())


def test_same_size_and_time_in_another_file_is_a_change(tmp_path: Path) -> None:
    """A copy that keeps times, moved over the file."""
    path, copy = tmp_path / "mine.toml", tmp_path / "copy"
    path.write_text(RED)
    watch = ThemeWatch([tmp_path])
    copy.write_text(RED.replace("red", "tan"))
    at = path.stat()
    os.utime(copy, ns=(at.st_atime_ns, at.st_mtime_ns))
    copy.rename(path)
    watch.look()
    assert watch.look().themes["mine"].primary == "tan"
