"""The settings file: what it may say, what is told of it, and the keys that come of it."""

import asyncio
import re
from pathlib import Path
from typing import ClassVar

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import example, given
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.keys import Keys

from blkrun.dashboard.dialogs.help_screen import help_text
from blkrun.dashboard.keyboard import ALL, ALWAYS, ELSEWHERE
from blkrun.dashboard.keymap import key_problems, keymap, remapped, written_keys
from blkrun.dashboard.keys import APP_KEYS
from blkrun.dashboard.settings import Settings, load_settings, read_settings, settings_path
from blkrun.dashboard.theme import theme_folders
from blkrun.dashboard.theme_watch import ThemeWatch
from blkrun.errors import FileError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "dashboard"
SECTION = "### Themes and settings\n"
THEMES = ThemeWatch(theme_folders()[:1]).themes


def read(folder: Path, text: str) -> tuple[Settings, str]:
    """Settings of a text, and what is told of it."""
    path = folder / "settings.toml"
    path.write_text(text)
    return read_settings(path, THEMES, ALWAYS)


def test_no_file_is_no_error(tmp_path: Path) -> None:
    """Most people have none."""
    assert read_settings(tmp_path / "settings.toml", THEMES, ALWAYS) == (Settings(), "")


def test_file_is_in_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the themes."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/xdg")
    assert settings_path() == Path("/xdg/blkrun/settings.toml")


def test_folder_cannot_be_read_as_a_file(tmp_path: Path) -> None:
    """Told, and the dashboard opens."""
    settings, told = read_settings(tmp_path, THEMES, ALWAYS)
    assert settings == Settings()
    assert "cannot read the file: Is a directory" in told


def test_all_settings(tmp_path: Path) -> None:
    """Each is taken; what is not said is as ever; home is somebody's own."""
    text = 'theme = "paper"\nsymbols = "ascii"\nmouse = false\nsnapshots = "~/shots"\n'
    settings, told = read(tmp_path, text + '[keys]\nfeed.pause = "p"\n"nav.up" = ["up", "w"]\n')
    assert told == ""
    assert (settings.theme, settings.symbols, settings.mouse) == ("paper", "ascii", False)
    assert settings.snapshot_folder == Path("~/shots").expanduser()
    assert settings.keys == {"feed.pause": ("p",), "nav.up": ("up", "w")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('theme = "papre"', '1:9: error: there is no theme "papre" — did you mean "paper"?'),
        ("theme = 3", "1:9: error: 3 is not a string"),
        ('symbols = "asci"', '1:11: error: \'asci\' is not one of "auto", "braille", "block"'),
        ('symbols = "asci"', 'did you mean "ascii"?'),
        ('mouse = "yes"', "1:9: error: 'yes' is not a boolean"),
        ('snapshots = ""', "1:13: error: '' is out of range"),
        ("symbol = 1", '1:1: error: unknown key "symbol" — did you mean "symbols"?'),
        ("keys = 1", "1:8: error: 1 is not a"),
        ("keys.feed.puase = 'p'", 'there is no action "feed.puase" — did you mean "feed.pause"?'),
        ("keys.help = 1", "1:13: error: 1 is neither a key nor a list of keys"),
        ("keys.help = []", "1:13: error: [] is neither a key nor a list of keys"),
        ("keys.help = ['f1', 1]", "is neither a key nor a list of keys"),
        ("keys.help = ['f1', 'escpe']", "1:20: error: 'escpe' is no key: needs a character"),
        ("keys.help = 'escpe'", 'did you mean "escape"?'),
        ("keys.help = 'Ctrl+T'", 'did you mean "ctrl+t"?'),
        ("keys.help = 'tab'", '1:13: error: "tab" is taken: it moves the focus on'),
        ("keys.help = 'ctrl+i'", '"tab" is taken'),
        ("keys.help = 'ctrl+p'", '"ctrl+p" is taken: it opens the palette'),
        ("keys.help = 'a'", '1:13: error: "a" is the key of "edit.apply" too, which is on offer'),
        ("keys.feed.pause = 'k'", '"k" is the key of "nav.up" too'),
        ("keys.help = 'x'\nkeys.nav.up = 'x'", '2:15: error: "x" is the key of "help" too'),
        ("[keys]\nhelp = 'x'\n'help' = 'y'", "keys.help is written twice"),
        ("[keys]\nnav.up = 'x'\n'nav.up' = 'y'", '3:1: error: "nav.up" is written twice'),
        ("[keys]\nnav.up = 'x'\n'nav.up' = 'y'", "2:5: note: keys.nav.up is here"),
        ("mouse = ", "1:8: error: invalid value"),
    ],
)
def test_mistake_is_told_at_its_place(tmp_path: Path, text: str, words: str) -> None:
    """With the line, what is allowed, and the nearest name; and nothing of the file counts."""
    settings, told = read(tmp_path, text)
    assert words in told
    assert settings == Settings()


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """From the top down, each with its line and a caret."""
    keys = ['help = "escpe"', 'log.folow = "a"', 'feed.slower = "a"']
    lines = ['theme = "x"', "mouse = 1", "[keys]", *keys]
    (tmp_path / "settings.toml").write_text("\n".join(lines))
    with pytest.raises(FileError) as caught:
        load_settings(tmp_path / "settings.toml", THEMES, ALWAYS)
    told = str(caught.value)
    assert re.findall(r"settings\.toml:(\d+):", told) == ["1", "2", "4", "5", "6"]
    assert told.count("^") >= len(caught.value.problems) == 5
    for number in (1, 2, 4, 5, 6):
        assert f"    {number} | {lines[number - 1]}" in told


def test_keys_of_different_places_may_be_the_same(tmp_path: Path) -> None:
    """Of two panels only one has the focus; what is on offer everywhere clashes with both."""
    path = tmp_path / "settings.toml"
    left = (Binding("f18", "x", id="left.x"),)
    right = (Binding("f19", "y", id="right.y"),)
    path.write_text("keys.left.x = 'f19'")
    assert load_settings(path, (), ALWAYS, left, right).keys == {"left.x": ("f19",)}
    path.write_text("keys.help = 'f19'")
    with pytest.raises(FileError, match=r'"f19" is the key of "right\.y" too') as caught:
        load_settings(path, (), ALWAYS, left, right)
    assert len(caught.value.problems) == 1


def test_keys_that_undo_each_other_may_stay_the_same(tmp_path: Path) -> None:
    """Pause and resume are never on offer together."""
    settings, told = read(tmp_path, "keys.feed.pause = 'p'\nkeys.feed.resume = ['p', 'f9']")
    assert told == ""
    assert settings.keys["feed.resume"] == ("p", "f9")


def test_default_keys_do_not_clash() -> None:
    """Written out in full they are right, so that a file may begin with them."""
    defaults = {str(binding.id): binding.key.split(",") for binding in ALWAYS}
    assert [*key_problems(defaults, ALWAYS, ())] == []


@given(st.sampled_from([key.value for key in Keys if key.value[0] != "<"]) | st.characters())
def test_key_is_one_that_textual_knows(key: str) -> None:
    """Its own names, and every character that can be seen."""
    printable = len(key) > 1 or (key.isprintable() and not key.isspace())
    bindings = (Binding("f20", "x", id="x"),)
    problems = [*key_problems({"x": key}, bindings, ())]
    taken = any("is taken" in problem.message for problem in problems)
    assert taken or (not problems) == printable


@given(
    st.text(max_size=12)
    | st.builds("{}+{}".format, st.sampled_from(["ctrl", "alt", "ctrl+shift"]), st.characters())
)
@example("ctrl+,")
def test_whatever_is_taken_for_a_key_is_one_binding(key: str) -> None:
    """Textual splits keys at commas, and dies of empty ones."""
    bindings = (Binding("f20", "x", id="x"),)
    if [*key_problems({"x": key}, bindings, ())]:
        return
    (made,) = Binding.make_bindings([Binding(keymap(written_keys({"x": key}), bindings)["x"], "x")])
    assert made.key == made.key.strip() != ""


@pytest.mark.parametrize(
    ("written", "sent"), [("ctrl+,", "\x1b[44;5u"), ("ctrl+.", "\x1b[46;5u"), ("?", "?")]
)
def test_keys_are_called_as_a_terminal_sends_them(written: str, sent: str) -> None:
    """Textual names characters by words, also behind a modifier."""
    (event,) = XTermParser().feed(sent)
    assert isinstance(event, Key)
    assert written_keys({"x": written}) == {"x": (event.key,)}


class Pausing(App[None]):
    """Two bindings that share a key, and one beside them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        binding for binding in APP_KEYS if binding.id in ("feed.pause", "feed.resume", "help")
    ]

    def __init__(self, keys: dict[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.done: list[str] = []
        self.paused = False
        self.set_keymap(keymap(keys, ALWAYS))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """One of the two at a time."""
        del parameters
        return {"pause": not self.paused, "resume": self.paused}.get(action, True)

    def action_pause(self) -> None:
        """Note it."""
        self.done.append("pause")
        self.paused = True

    def action_resume(self) -> None:
        """Note it."""
        self.done.append("resume")
        self.paused = False

    def action_help(self) -> None:
        """Note it."""
        self.done.append("help")


@pytest.mark.parametrize(
    ("keys", "pressed", "done"),
    [
        ({}, "space space question_mark", "pause resume help"),
        ({"feed.pause": ("p",)}, "p space space", "pause resume"),
        ({"feed.resume": ("r",)}, "space space r", "pause resume"),
        ({"help": ("f1", "h")}, "f1 h question_mark space", "help help pause"),
        ({"feed.pause": ("p",), "feed.resume": ("p",)}, "p p p space", "pause resume pause"),
    ],
)
def test_keys_do_what_they_were_given_for(
    keys: dict[str, tuple[str, ...]], pressed: str, done: str
) -> None:
    """And a key that two had stays with the one that was not changed."""

    async def scenario() -> None:
        app = Pausing(keys)
        async with app.run_test() as pilot:
            await pilot.press(*pressed.split())
        assert app.done == done.split()

    asyncio.run(scenario())


def test_help_tells_the_keys_there_are() -> None:
    """Those that were changed, and the others as they were."""
    shown = help_text(remapped(APP_KEYS, {"feed.slower": ("f6", "comma"), "help": ("h",)}))
    rows = {line[13:].split()[0]: line[:13].split() for line in shown.splitlines()}
    assert (rows["Slower"], rows["Help"], rows["Faster"]) == (["f6", ","], ["h"], [">"])


def test_example_is_right_and_names_everything() -> None:
    """Every setting, and every action with the keys that it has anyway."""
    path = EXAMPLES / "settings.toml"
    settings = load_settings(path, THEMES, ALWAYS, *ELSEWHERE.values())
    assert settings == Settings(theme="blkrun", keys=settings.keys)
    text = (EXAMPLES / "settings.toml").read_text()
    for name in Settings.__struct_fields__:
        assert re.search(rf"^\[?{name}\b", text, re.MULTILINE)
    defaults = {str(each.id): tuple(each.key.split(",")) for each in ALL}
    assert settings.keys == defaults


def test_example_theme_is_right() -> None:
    """Over a shipped one."""
    watch = ThemeWatch([theme_folders()[0], EXAMPLES / "themes"])
    assert watch.errors == {}
    assert {"mine", "slate"} <= watch.themes.keys()


@pytest.mark.parametrize("name", [*Settings.__struct_fields__, *sorted(THEMES)])
def test_readme_names_every_setting_and_theme(name: str) -> None:
    """In the section on them."""
    readme = (ROOT / "README.md").read_text()
    section = readme.split(SECTION)[1].split("\n## ")[0].split("\n### ")[0]
    assert re.search(rf"(`|^\[?){name}\b", section, re.MULTILINE)


def test_settings_in_the_readme_are_right(tmp_path: Path) -> None:
    """As somebody would copy them."""
    readme = (ROOT / "README.md").read_text()
    settings = re.findall(r"```toml\n(.*?)```", readme.split(SECTION)[1], re.DOTALL)[0]
    assert read(tmp_path, settings)[1] == ""


def test_settings_are_plain_data() -> None:
    """A recording may keep them."""
    settings = Settings(theme="paper")
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings
