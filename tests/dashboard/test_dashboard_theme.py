"""Theme files, and what the package may import."""

import ast
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
import tomli_w
from hypothesis import example, given
from textual.app import App
from textual.css.stylesheet import Stylesheet
from textual.widgets import Button, Footer, Input, OptionList

import blkrun.dashboard
from blkrun.dashboard.theme import (
    default_theme_path,
    load_theme,
    theme_folders,
    variable_defaults,
)
from blkrun.dashboard.theme_file import COLOURS, variable_names
from blkrun.dashboard.theme_watch import ThemeWatch
from blkrun.errors import FileError

FOLDER = Path(blkrun.dashboard.__file__).parent
_KNOWN = "options client messages units errors dashboard"
_FOR_ITS_OWN_FILES = "decode diagnostic toml"  # themes and settings
ALLOWED = tuple(f"blkrun.{name}" for name in f"{_KNOWN} {_FOR_ITS_OWN_FILES}".split())


DEFAULT = default_theme_path()
assert DEFAULT is not None
SHIPPED = sorted(DEFAULT.parent.glob("*.toml"))


def themes_of(folder: Path, **texts: str) -> ThemeWatch:
    """Files NAME.toml of a folder, as the only themes."""
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    return ThemeWatch([folder])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_theme_is_good(path: Path) -> None:
    """Every colour is one, the name is the file's, and nothing of ours is left to be guessed."""
    theme = load_theme(path)
    assert theme.name == path.stem
    assert theme.variables.keys() >= variable_defaults(theme).keys()


def test_what_is_shipped() -> None:
    """Dark ones and light ones, and those for eyes and terminals that need them."""
    themes = ThemeWatch(theme_folders()[:1]).themes
    assert {"high-contrast", "colour-blind", "terminal"} <= themes.keys()
    assert {"blkrun", "slate"} <= {name for name, theme in themes.items() if theme.dark}
    assert {"blkrun-light", "paper"} <= {name for name, theme in themes.items() if not theme.dark}


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """Textual would take a wrong colour and crash when it paints it."""
    path = tmp_path / "bad.toml"
    path.write_text(
        'primary = "blu"\ndark = 1\nprimry = "red"\n[variables]\ndim = 3\ndimm = "red"\n'
        'cursor-row = "#12"\nlink-style = "blod"\n'
    )
    with pytest.raises(FileError) as caught:
        load_theme(path)
    message = str(caught.value)
    for words in (
        'bad.toml: error: "name" is missing',
        (
            'bad.toml:1:11: error: \'blu\' is no colour: needs "#rrggbb" or a name such as "teal"'
            ' — did you mean "blue"?\n    1 | primary = "blu"\n      |           ^^^^^'
        ),
        "bad.toml:2:8: error: 1 is not a boolean",
        'bad.toml:3:1: error: unknown key "primry" — did you mean "primary"?',
        "bad.toml:5:7: error: 3 is not a string",
        'bad.toml:6:1: error: unknown variable "dimm" — did you mean "dim"?',
        "bad.toml:7:14: error: '#12' is no colour",
        "bad.toml:8:14: error: 'blod' is no text style",
    ):
        assert words in message
    assert len(caught.value.problems) == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "Big One"\nprimary = "red"', "1:8: error: 'Big One' is no name"),
        ('name = "ansi-dark"\nprimary = "red"', '1:8: error: "ansi-dark" is what is shown'),
        ('name = "x"', '"primary" is missing, and "extends"'),
        ('name = "x"\nprimary = "ansi_red"', "2:11: error: 'ansi_red' is the terminal's"),
        ('name = "x"\nansi = true\nprimary = "red"', "is no colour of the terminal"),
        (
            'name = "x"\nextends = "norf"',
            '2:11: error: there is no theme "norf" — did you mean "nord"',
        ),
        ('name = "x"\nextends = "nord"\nansi = true', "3:8: error: it must be as in the theme"),
        ('name = "x"\nextends = "x"', '2:11: error: there is no theme "x"'),
        ('name = "x"\nvariables = 3', "2:13: error: 3 is not a"),
        (
            'name = "x"\nprimary = "red"\nvariables.primary-lighten-1 = "red 35%"',
            "3:31: error: 'red 35%' is no colour",
        ),
        ("primary = ", "1:10: error: invalid value"),
    ],
)
def test_mistake_is_told_at_its_place(tmp_path: Path, text: str, words: str) -> None:
    """With the line, what is allowed, and the nearest name."""
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(FileError) as caught:
        load_theme(path)
    assert words in str(caught.value)


def test_unreadable_theme_is_an_error(tmp_path: Path) -> None:
    """It went between the look and the reading."""
    with pytest.raises(FileError, match=r"bad\.toml"):
        load_theme(tmp_path / "bad.toml")


@pytest.mark.parametrize("value", ["red 35%", "auto 87%", "transparent", "#abc", "rgb(1,2,3)"])
def test_variable_may_be_any_colour_of_textual(tmp_path: Path, value: str) -> None:
    """Also one that lets something through."""
    path = tmp_path / "x.toml"
    path.write_text(f'name = "x"\nprimary = "red"\n[variables]\nlink-color = "{value}"\n')
    assert load_theme(path).variables["link-color"] == value


def test_theme_says_only_what_differs(tmp_path: Path) -> None:
    """The rest, variables one by one, is that of what it extends, and of what that extends."""
    themes = themes_of(
        tmp_path,
        a='name = "a"\nprimary = "red"\naccent = "teal"\n[variables]\ndim = "red"',
        b='name = "b"\nextends = "a"\ndark = false\n[variables]\ncursor-row = "blue"',
        c='name = "c"\nextends = "b"\naccent = "white"',
    ).themes
    theme = themes["c"]
    assert (theme.primary, theme.accent, theme.dark) == ("red", "white", False)
    assert theme.variables == {"dim": "red", "cursor-row": "blue"}


def test_users_theme_wins_and_may_extend_its_namesake(tmp_path: Path) -> None:
    """``blkrun`` a little different, and the other shipped ones as they are."""
    (tmp_path / "mine.toml").write_text('name = "blkrun"\nextends = "blkrun"\naccent = "red"')
    shipped = theme_folders()[0]
    before, after = (ThemeWatch(folders).themes for folders in ([shipped], [shipped, tmp_path]))
    assert after["blkrun"].accent == "red"
    assert after["blkrun"].primary == before["blkrun"].primary
    assert {name for name in after if after[name] != before[name]} == {"blkrun"}


def test_wrong_theme_is_left_out_and_the_others_work(tmp_path: Path) -> None:
    """A circle, a name that is taken, a base that is wrong: each told once, at its own file."""
    watch = themes_of(
        tmp_path,
        good='name = "good"\nprimary = "red"',
        namesake='name = "good"\nprimary = "red"',
        one='name = "one"\nextends = "two"',
        two='name = "two"\nextends = "one"',
        onbad='name = "onbad"\nextends = "bad"',
        bad='name = "bad"\nprimary = 3',
    )
    assert set(watch.themes) == {"good"}
    told = {path.stem: text for path, text in watch.errors.items()}
    assert '"good" is the name of good.toml too' in told["namesake"]
    assert '"two" leads back to "one"' in told["one"]
    assert '"one" leads back to "two"' in told["two"]
    assert 'there is no theme "bad"' in told["onbad"]
    assert "3 is not a string" in told["bad"]


COLOUR_WORDS = st.sampled_from(
    ["red", "#12", "#abcd", "auto", "auto 60%", "transparent", "red 35%", "rgb(999,0,0)", "bold"]
) | st.text(max_size=12)


@given(
    st.dictionaries(st.sampled_from(COLOURS), COLOUR_WORDS, max_size=2),
    st.dictionaries(st.sampled_from(sorted(variable_names())), COLOUR_WORDS, max_size=2),
)
@example({}, {"background-darken-1": "red 35%"})
@example({}, {"primary-lighten-1": "auto"})
@example({}, {"cursor-row": "auto 60%"})
@example({}, {"cursor-row": "red 35%"})
@example({}, {"border": "auto"})
@example({}, {"button-foreground": "auto 60%", "border": "red 35%"})
def test_what_is_accepted_textual_can_use(
    written: dict[str, str], variables: dict[str, str]
) -> None:
    """Whatever the words are: FileError, or a theme that style sheets can be made with."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        about = {"name": "x", "primary": "red", **written, "variables": variables}
        path.write_text(tomli_w.dumps(about))
        try:
            theme = load_theme(path)
        except FileError:
            return
        colours = theme.to_color_system().generate() | variable_defaults(theme)
    sheet = Stylesheet(variables=colours)
    sheet.read(FOLDER / "blkrun.tcss")
    for widget in (App, Button, Footer, Input, OptionList):
        sheet.add_source(widget.DEFAULT_CSS, is_default_css=True)
    sheet.parse()


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.stem)
def test_dashboard_knows_only_the_client(path: Path) -> None:
    """It is a client of the control socket like any other."""
    imported = [
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom | ast.Import)
    ]
    ours = [name for name in imported if name and name.startswith("blkrun.")]
    assert [name for name in ours if not name.startswith(ALLOWED)] == []


def test_package_does_not_load_textual() -> None:
    """The command line imports the entrance before it knows whether it needs it."""
    code = "import sys, blkrun.dashboard; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pure_parts_do_not_know_textual() -> None:
    """What is shown is computed without a screen."""
    pure = [*(FOLDER / "model").glob("*.py"), *(FOLDER / f"{n}.py" for n in ("lines", "arrange"))]
    assert all("textual" not in path.read_text().lower() for path in pure)
