"""The dialogs alone, in terminals of two sizes: what they show, what they answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.app import App
from textual.events import Key
from textual.geometry import Region
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Input

from blkrun.dashboard.app import Dashboard
from blkrun.dashboard.dialogs.ask_screen import AskScreen
from blkrun.dashboard.dialogs.asking import ByScreens
from blkrun.dashboard.dialogs.box import Box
from blkrun.dashboard.dialogs.choose_screen import ChooseScreen
from blkrun.dashboard.dialogs.edit_screen import EditScreen, ErrorScreen
from blkrun.dashboard.model.choices import Choice, limit_check
from blkrun.dashboard.model.preview import Preview
from blkrun.dashboard.theme import default_theme_path, load_theme, variable_defaults
from blkrun.dashboard.widgets.key_bar import KeyBar
from tests.dashboard.dashboard_samples import NASTY_NAMES

SIZES = ((80, 24), (40, 12))
NOTHING = object()

GENTLE = Preview(
    changed=True,
    diff="--- vm.toml\n+++ vm.toml\n@@ -1 +1 @@\n-iops-total = 500\n+iops-total = 550\n",
    operations=("~ group gold: iops-total 500 → 550",),
    drains={"vda": 1, "idle": 0},
)
HARD = Preview(
    changed=True,
    diff="--- vm.toml\n+++ vm.toml\n" + "-gone\n" * 40,
    operations=("- export vda",),
    taken={"vda": 2, "vdb": 1},
    drains={"vda": 2},
    cancelled=("nightly",),
    why="it takes a disk from connected clients: vda (2)",
)
REFUSED = Preview(
    changed=True,
    diff="+x\n",
    operations=("~ disk: size",),
    refused="vm.toml:3: [backends.disk] too small\n  3 | size\n    | ^^^^",
)
CHOICES = (
    Choice("throttle", "throttle", "limits what passes through it"),
    Choice("raw", "raw", "a window of its child"),
    Choice("threshold", "write-threshold", "tells of a write beyond an offset"),
)


class Stand(App[None]):
    """Nothing but a dialog over an empty screen."""

    CSS_PATH = Dashboard.CSS_PATH

    def __init__(self, dialog: ModalScreen[Any]) -> None:
        super().__init__()
        self.dialog, self.answer = dialog, NOTHING
        path = default_theme_path()
        assert path is not None
        theme = load_theme(path)
        self.register_theme(theme)
        self.theme = theme.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """As the dashboard has them."""
        return variable_defaults(self.current_theme)

    def on_mount(self) -> None:
        """Ask."""
        self.push_screen(self.dialog, self._answered)

    def _answered(self, answer: object) -> None:
        self.answer = answer


Play = Callable[[Stand, Pilot[None]], Awaitable[None]]


def perform(
    dialog: ModalScreen[Any],
    play: Play | None = None,
    *,
    keys: tuple[str, ...] = (),
    size: tuple[int, int] = SIZES[0],
    keymap: dict[str, str] | None = None,
) -> object:
    """Show it, press keys, play; gives the answer."""

    async def act() -> object:
        app = Stand(dialog)
        async with app.run_test(size=size) as pilot:
            if keymap:
                app.set_keymap(keymap)
            await pilot.pause()
            await pilot.press(*keys)
            await pilot.pause()
            if play is not None:
                await play(app, pilot)
        return app.answer

    return asyncio.run(act())


def text_of(app: Stand) -> str:
    """All that the dialog's lines say."""
    assert isinstance(app.screen, Box)
    return "\n".join(line.text.rstrip() for line in app.screen.lines.lines)


def foot(app: Stand) -> str:
    """The keys at the foot that can be seen."""
    return app.screen.query_one(KeyBar).text


def make(kind: str) -> Box[Any]:
    """One of each, with nasty names in it."""
    names = [name for name in NASTY_NAMES if name != "\ud800"]
    if kind == "choose":
        return ChooseScreen(names[0], [Choice(name, name, name) for name in NASTY_NAMES])
    if kind == "ask":
        return AskScreen(names[1], names[0], lambda text: f"{text} is wrong {names[3]}")
    if kind == "error":
        return ErrorScreen("[red]x[/]", "\n".join(NASTY_NAMES))
    nasty = Preview(
        changed=True,
        diff="".join(f"+{name}\n" for name in NASTY_NAMES),
        operations=tuple(f"+ {name}" for name in NASTY_NAMES),
        taken=dict.fromkeys(NASTY_NAMES, 1),
    )
    return EditScreen(nasty if kind == "nasty" else HARD if kind == "hard" else GENTLE, "[b]x?")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["gentle", "hard", "nasty", "choose", "ask", "error"])
def test_all_of_it_is_on_the_screen(kind: str, size: tuple[int, int]) -> None:
    """Box, lines and foot lie inside one another, and every line fills its width exactly."""

    async def play(app: Stand, pilot: Pilot[None]) -> None:
        screen = app.screen
        assert isinstance(screen, Box)
        box = screen.query_one(".box").region
        assert Region(0, 0, *size).contains_region(box)
        inner = screen.query_one(".box").content_region
        for part in (screen.lines, screen.query_one(KeyBar)):
            assert inner.contains_region(part.region)
            assert part.region.height > 0
        assert screen.lines.region.bottom <= screen.query_one(KeyBar).region.y
        assert len(screen.lines.lines) == screen.lines.height_at(screen.lines.inner_width)
        for y in range(screen.lines.size.height):
            strip = screen.lines.render_line(y)
            assert strip.cell_length <= screen.lines.inner_width
        await pilot.resize_terminal(60, 16)
        await pilot.pause()
        assert Region(0, 0, 60, 16).contains_region(screen.query_one(".box").region)

    perform(make(kind), play, size=size)


def test_an_edit_says_whom_it_concerns() -> None:
    """By name and count; who is not concerned is not named."""

    async def play(app: Stand, pilot: Pilot[None]) -> None:
        text = text_of(app)
        assert "vda: requests of 1 client wait" in text
        assert "idle" not in text
        assert "+iops-total = 550" in text
        assert "DANGEROUS" not in text
        assert "Yes" in foot(app)

    perform(EditScreen(GENTLE, "raise it?"), play)


def test_what_hurts_is_said_first() -> None:
    """With a word, and the foot has no other way to say yes than y."""

    async def play(app: Stand, pilot: Pilot[None]) -> None:
        first = text_of(app).splitlines()[:5]
        assert first[0] == "DANGEROUS"
        assert first[1:4] == [
            "vda: 2 clients lose it",
            "vdb: 1 client loses it",
            "job nightly is cancelled",
        ]

    perform(EditScreen(HARD, "remove it?"), play)


@pytest.mark.parametrize(
    ("preview", "key", "answer"),
    [
        (GENTLE, "y", "yes"),
        (GENTLE, "enter", "yes"),
        (GENTLE, "n", "no"),
        (GENTLE, "escape", "no"),
        (HARD, "y", "yes"),
        (HARD, "enter", NOTHING),
        (HARD, "escape", "no"),
        (REFUSED, "y", NOTHING),
        (REFUSED, "enter", "no"),
        (REFUSED, "escape", "no"),
        (Preview(changed=False), "y", NOTHING),
        (Preview(changed=False), "escape", "no"),
    ],
)
def test_answers_to_an_edit(preview: Preview, key: str, answer: object) -> None:
    """Enter is a yes to what hurts nobody; what is refused can only be closed."""
    assert perform(EditScreen(preview, "do it?"), keys=(key,)) is answer


def test_what_is_refused_says_why() -> None:
    """With the excerpt as it came, and nothing but a way out."""

    async def play(app: Stand, pilot: Pilot[None]) -> None:
        assert text_of(app).splitlines()[:4] == [
            "REFUSED, nothing would be changed:",
            "vm.toml:3: [backends.disk] too small",
            "  3 | size",
            "    | ^^^^",
        ]
        assert "Close" in foot(app)
        assert "Yes" not in foot(app)

    perform(EditScreen(REFUSED, "do it?"), play)


def test_a_long_diff_scrolls() -> None:
    """To its last line, by keys."""

    async def play(app: Stand, pilot: Pilot[None]) -> None:
        screen = app.screen
        assert isinstance(screen, Box)
        await pilot.press("end")
        await pilot.pause()
        last = screen.lines.render_line(screen.lines.size.height - 1)
        assert last.text.startswith("-gone")
        await pilot.press("up")
        await pilot.pause()
        assert screen.lines.scroll_offset.y == screen.lines.max_scroll_y - 1
        await pilot.press("home")
        await pilot.pause()
        assert screen.lines.scroll_offset.y == 0

    perform(EditScreen(HARD, "do it?"), play, size=SIZES[1])


def test_keys_can_be_others() -> None:
    """By their ids, in the foot as well; the old ones do nothing then."""
    keymap = {"edit.yes": "z", "choose.choose": "f2", "ask.accept": "f2"}

    async def play(app: Stand, pilot: Pilot[None]) -> None:
        await pilot.press("y")
        await pilot.pause()
        assert app.answer is NOTHING
        await pilot.press("z")
        await pilot.pause()

    assert perform(EditScreen(HARD, "?"), play, keymap=keymap) == "yes"
    assert perform(ChooseScreen("?", CHOICES), keys=("f2",), keymap=keymap) == "throttle"
    assert perform(AskScreen("?", "5", lambda _: ""), keys=("f2",), keymap=keymap) == "5"


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        (("enter",), "throttle"),
        (("down", "enter"), "raw"),
        (("down", "down", "up", "enter"), "raw"),
        (("pagedown", "enter"), "threshold"),
        (("r", "a", "enter"), "raw"),
        (("O", "F", "F", "enter"), "threshold"),
        (("x", "y", "enter"), NOTHING),
        (("x", "backspace", "enter"), "throttle"),
        (("down", "t", "enter"), "throttle"),
        (("escape",), None),
    ],
)
def test_choosing(keys: tuple[str, ...], answer: object) -> None:
    """By arrows, and by typing a part of label or hint; of nothing nothing is chosen."""
    assert perform(ChooseScreen("Insert", CHOICES), keys=keys) == answer


def test_enter_comes_in_its_turn() -> None:
    """Keys that come faster than they are taken are taken in their order."""

    async def play(app: Stand, pilot: Pilot[None]) -> None:
        for key in ("down", "enter"):
            app.post_message(Key(key, None))
        await pilot.pause()

    assert perform(ChooseScreen("Insert", CHOICES), play) == "raw"

    async def type_it(app: Stand, pilot: Pilot[None]) -> None:
        for key, character in (("1", "1"), ("2", "2"), ("enter", None)):
            app.post_message(Key(key, character))
        await pilot.pause()

    assert perform(AskScreen("How many", "", limit_check("iops-total")), type_it) == "12"


def test_a_click_chooses() -> None:
    """The row under the mouse, and nothing below the last one."""

    async def play(app: Stand, pilot: Pilot[None]) -> None:
        screen = app.screen
        assert isinstance(screen, ChooseScreen)
        await pilot.click(screen.lines, offset=(3, 1))
        await pilot.pause()

    assert perform(ChooseScreen("Insert", CHOICES), play) == "raw"


def test_the_selected_one_is_marked() -> None:
    """Without colours too; nothing matches is said."""

    async def play(app: Stand, pilot: Pilot[None]) -> None:
        screen = app.screen
        assert isinstance(screen, ChooseScreen)
        assert screen.lines.render_line(1).text.startswith("▸ raw")
        assert screen.lines.render_line(0).text.startswith("  throttle")
        await pilot.press("x", "x")
        await pilot.pause()
        assert screen.lines.render_line(0).text.startswith("nothing matches")

    perform(ChooseScreen("Insert", CHOICES), play, keys=("down",))


def test_asking() -> None:
    """The value is there to be typed over; what is wrong stands below and is not taken."""

    async def play(app: Stand, pilot: Pilot[None]) -> None:
        assert app.screen.query_one(Input).value == "500"
        await pilot.press("1", "2", "x", "enter")
        await pilot.pause()
        assert app.answer is NOTHING
        assert "is not a count" in text_of(app)
        await pilot.press("backspace", "k")
        await pilot.pause()
        assert "count" not in text_of(app)
        await pilot.press("enter")
        await pilot.pause()

    assert perform(AskScreen("iops-total", "500", limit_check("iops-total")), play) == "12k"
    assert perform(AskScreen("?", "5", lambda _: ""), keys=("escape",)) is None


def test_suggestions() -> None:
    """Named below, and completed by the right arrow."""

    async def play(app: Stand, pilot: Pilot[None]) -> None:
        assert "such as gold, silver" in text_of(app)
        await pilot.press("s")
        await pilot.pause(0.3)
        await pilot.press("right", "enter")
        await pilot.pause()

    screen = AskScreen("group", "", lambda _: "", suggestions=("gold", "silver"))
    assert perform(screen, play) == "silver"


def test_questions_one_after_the_other() -> None:
    """From a worker, on the app's screen."""

    async def act() -> list[str | None]:
        app = App[str]()
        answers: list[str | None] = []

        async def flow() -> None:
            asking = ByScreens(app)
            answers.append(await asking.choose("which", CHOICES))
            answers.append(await asking.ask("what", "a", lambda _: ""))

        async with app.run_test() as pilot:
            app.run_worker(flow())
            await pilot.pause()
            await pilot.press("enter")
            await pilot.pause()
            await pilot.press("enter")
            await pilot.pause()
            await app.workers.wait_for_complete()
        return answers

    assert asyncio.run(act()) == ["throttle", "a"]
