"""The plots' panel alone on a screen: sizes, keys, what is repainted."""

import asyncio
from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.pilot import Pilot

import blkrun.dashboard
from blkrun.dashboard.model.history import MEASURES, History, Series
from blkrun.dashboard.model.plots import PLOTS
from blkrun.dashboard.model.rates import interval
from blkrun.dashboard.model.rings import SLOTS
from blkrun.dashboard.model.subject import Subject
from blkrun.dashboard.theme import default_theme_path, load_theme, variable_defaults
from blkrun.dashboard.widgets.plots import PlotsPanel, PlotsView
from tests.dashboard.dashboard_samples import NASTY_NAMES, lab, snapshot
from tests.dashboard.test_dashboard_lines import assert_fits

LIMIT = Subject("node", "limit")


class Alone(App[None]):
    """One panel, as large as the screen."""

    CSS_PATH = Path(blkrun.dashboard.__file__).with_name("blkrun.tcss")

    def __init__(self) -> None:
        super().__init__()
        self.panel = PlotsPanel(id="plots")
        self.asked: list[float] = []
        self.painted: list[int] = []
        path = default_theme_path()
        assert path is not None
        theme = load_theme(path)
        self.register_theme(theme)
        self.theme = theme.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """As the dashboard has them."""
        return variable_defaults(self.current_theme)

    def compose(self) -> ComposeResult:
        """Only it."""
        yield self.panel

    def on_mount(self) -> None:
        """Keys go to it; rows that are repainted are noted."""
        self.panel.focus()
        self.panel.refresh_rows = self.painted.extend  # type: ignore[assignment, method-assign]  # a listener

    def on_plots_panel_span_changed(self, message: PlotsPanel.SpanChanged) -> None:
        """What the real app answers with another series."""
        self.asked.append(message.span_s)


def history(seconds: int = 60, gap: range = range(0)) -> History:
    """The lab, looked at every second but in the gap; ends at 100 + ``seconds``."""
    seen = History()
    for second in range(seconds):
        if second not in gap:
            before, after = snapshot(lab(second)), snapshot(lab(second + 1, held=second))
            seen.add(after, interval(before, after), 100.0 + second, 101.0 + second)
    return seen


def view(
    seen: History, subject: Subject = LIMIT, span_s: float = 60, now_s: float = 160
) -> PlotsView:
    """What the app would show."""
    return PlotsView(subject=subject, series=seen.series(subject, span_s), now_s=now_s)


Play = Callable[[Alone, Pilot[None]], Awaitable[None]]


def perform(play: Play, size: tuple[int, int] = (100, 9)) -> None:
    """Run the panel around a play."""

    async def act() -> None:
        app = Alone()
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await play(app, pilot)

    asyncio.run(act())


def titles(app: Alone) -> list[str]:
    """Of the charts or strips that are shown, in order."""
    first = app.panel.lines[0].text
    shown = [(first.find(plot.title), plot.title) for plot in PLOTS if plot.title in first]
    return [title for _, title in sorted(shown)]


def cursor_s(app: Alone) -> float | None:
    """The instant that is looked at."""
    return app.panel.cursor_s


def texts(app: Alone) -> list[str]:
    """All rows."""
    return [line.text for line in app.panel.lines]


def test_rows_fill_the_panel_at_every_size() -> None:
    """As many rows as it is high, each as wide as it is, while the terminal is resized."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.show(view(history()))
        for size in ((100, 9), (40, 9), (60, 12), (160, 20), (80, 8), (200, 40), (12, 12), (5, 5)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            width, height = size[0] - 2, size[1] - 2
            assert app.panel.inner_width == width
            assert_fits(list(app.panel.lines), width)
            assert len(app.panel.lines) == (height if height >= 6 else min(height, 4))
            painted = [app.panel.render_line(y) for y in range(height)]
            assert {cell_len(strip.text) for strip in painted} == {width}

    perform(play)


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (58, ["IOPS"]),
        (80, ["IOPS", "Bytes/s"]),
        (120, ["IOPS", "Bytes/s", "Latency ms"]),
        (160, ["IOPS", "Bytes/s", "Latency ms", "In flight"]),
    ],
)
def test_there_are_as_many_charts_as_the_width_has(width: int, shown: list[str]) -> None:
    """From one to all; the frame says how many are missing."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.show(view(history()))
        await pilot.pause()
        assert titles(app) == shown
        hint = f"{len(shown)} of 4 ← →" if len(shown) < 4 else ""
        assert str(app.panel.border_subtitle or "") == hint

    perform(play, (width, 10))


def test_low_panel_has_strips() -> None:
    """A row each: label, present value, bars, the most, the limit."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.show(view(history()))
        await pilot.pause()
        iops, amount, *_ = texts(app)
        assert iops.split()[:2] == ["IOPS", "1.5k"]
        assert iops.rstrip().endswith("max 1.5k/3.0k")
        assert amount.split()[:2] == ["B/s", "6.1M"]
        assert str(app.panel.border_subtitle) == "3 of 4 ← →"

    perform(play, (80, 5))


def test_title_says_subject_and_span() -> None:
    """Whatever its name is made of."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        seen = history()
        app.panel.show(view(seen))
        assert str(app.panel.border_title) == "²Plots · limit (node) · 1 min"
        app.panel.show(view(seen, Subject("group", "gold"), 300))
        assert str(app.panel.border_title) == "²Plots · gold (group) · 5 min"
        for name in NASTY_NAMES:
            app.panel.show(view(seen, Subject("export", name)))
            await pilot.pause()

    perform(play)


def test_server_that_restarts_is_a_gap() -> None:
    """A hole of ten seconds in every chart, never a zero."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.show(view(history(gap=range(30, 40))))
        await pilot.pause()
        width = (98 - 2) // 2
        for first in (0, width + 2):
            bodies = [text[first + 5 : first + width - 2] for text in texts(app)[1:-1]]
            holes = [all(body[cell] == " " for body in bodies) for cell in range(width - 7)]
            assert sum(holes) in {5, 6, 7}
            assert all(holes[22:26])

    perform(play)


def test_brackets_ask_for_another_span() -> None:
    """One, five and thirty minutes, and no further."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.show(view(history()))
        await pilot.press("]", "]", "]", "[", "[", "[")
        await pilot.pause()
        assert app.asked == [300, 1800, 300, 60]
        assert app.panel.span == 60

    perform(play)


def test_left_and_right_choose_the_first_chart() -> None:
    """Round and round."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.show(view(history()))
        await pilot.press("right")
        assert titles(app) == ["Bytes/s", "Latency ms"]
        await pilot.press("left", "left")
        assert titles(app) == ["In flight", "IOPS"]

    perform(play)


def test_scrub_cursor_shows_the_numbers_of_an_instant() -> None:
    """In the frame, with a line in the charts; it stays with its instant, escape ends it."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        seen = history(gap=range(30, 40))
        app.panel.show(view(seen))
        plain = texts(app)
        await pilot.press("shift+left", "shift+left", "shift+right", "shift+left")
        subtitle = str(app.panel.border_subtitle)
        assert subtitle.startswith(f"{chr(0x2212)}2 s · IOPS 1.5k (rd 1.0k, wr 500) · B/s 6.1M (rd")
        assert texts(app) != plain
        app.panel.show(view(seen, now_s=165))
        assert str(app.panel.border_subtitle).startswith(f"{chr(0x2212)}7 s · IOPS 1.5k")
        await pilot.press(*["shift+left"] * 20)
        assert "27 s · IOPS — · B/s —" in str(app.panel.border_subtitle)
        await pilot.press("escape")
        assert str(app.panel.border_subtitle) == "2 of 4 ← →"
        assert cursor_s(app) is None

    perform(play)


def test_scrub_cursor_stays_in_the_span() -> None:
    """Not before its begin; after now there is none, and what time has left behind is none."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        seen = history()
        await pilot.press("shift+left")
        assert cursor_s(app) is None
        app.panel.show(view(seen))
        await pilot.press(*["shift+left"] * 70)
        assert cursor_s(app) == 101
        app.panel.show(view(seen, now_s=162))
        assert cursor_s(app) is None
        await pilot.press("shift+left", "shift+right")
        assert cursor_s(app) is None

    perform(play)


def test_click_points_at_an_instant() -> None:
    """In every chart; on an axis at none."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.show(view(history()))
        for x, instant in ((6, 100), (6 + 39, 160), (56, 100), (56 + 39, 160)):
            await pilot.click(app.panel, offset=(x, 3))
            assert cursor_s(app) == pytest.approx(instant, abs=1.5)
            assert "rd 1.0k" in str(app.panel.border_subtitle)
            assert sum("│" in text[5:47] for text in texts(app)) >= 4
        await pilot.click(app.panel, offset=(3, 3))
        assert cursor_s(app) is None

    perform(play, (100, 12))


def test_symbols_can_be_changed() -> None:
    """For a terminal that has no braille."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.show(view(history()))
        app.panel.symbols = "ascii"
        await pilot.pause()
        assert "".join(texts(app)).isascii()

    perform(play)


def flat(end_s: float, reads: float) -> PlotsView:
    """The same all the time."""
    values = {name: array("d", [0.0]) * SLOTS for name in MEASURES}
    values["reads"] = array("d", [reads]) * SLOTS
    series = Series(60.0, 0.2, end_s, values, {}, era=int(reads))
    return PlotsView(subject=LIMIT, series=series, now_s=end_s)


def test_only_rows_that_differ_are_painted() -> None:
    """Nothing when nothing has changed; where a curve has gone down, where it was and is."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.show(flat(160, 1000))
        await pilot.pause()
        app.painted.clear()
        app.panel.show(flat(161, 1000))
        assert not app.painted
        app.panel.show(flat(162, 700))
        assert app.painted == [0, 1, 2, 3]

    perform(play, (40, 9))


def test_hidden_panel_makes_no_lines_until_it_is_shown() -> None:
    """What nobody sees costs nothing."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.show(flat(160, 800))
        before = texts(app)
        app.panel.display = False
        await pilot.pause()
        app.panel.show(flat(160, 1000))
        assert texts(app) == before
        app.panel.display = True
        await pilot.pause()
        assert texts(app) != before

    perform(play)


def test_another_subject_has_a_scale_of_its_own() -> None:
    """The last one's is not waited for."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.panel.show(flat(160, 800_000))
        app.panel.show(flat(161, 8))
        assert texts(app)[1].startswith("800k┤")
        other = flat(162, 8)
        app.panel.show(PlotsView(subject=Subject("node", "x"), series=other.series, now_s=162))
        assert texts(app)[1].startswith("  10┤")
        await pilot.pause()

    perform(play)


def test_nothing_selected_is_said() -> None:
    """Before the first look."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        await pilot.pause()
        assert texts(app)[0].strip() == "nothing is selected"
        await pilot.press("right", "]", "down", "end")
        await pilot.click(app.panel)

    perform(play)
