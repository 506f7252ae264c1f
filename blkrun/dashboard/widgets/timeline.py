"""The slider of a recording: one row that says where it is played, and takes one elsewhere."""

from functools import lru_cache
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from blkrun.dashboard.lines import TONES, Line, Span, Tone, fit_spans
from blkrun.dashboard.model.playback import Overview, Position, clock_text, spans_days

TIMES, TO = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
_LEAST_BAR = 10
_GAP = " "
_SIGNS: dict[str, tuple[str, Tone]] = {"warn": ("▴", "warn"), "error": ("!", "bad")}


class _Layout(NamedTuple):
    """Fields that have a place, the bar's beginning and width; without a bar it is 0 wide."""

    left: tuple[Span, ...]
    right: tuple[Span, ...]
    bar_x: int
    bar_width: int


def timeline_line(position: Position, width: int) -> Line:
    """The whole row in exactly ``width`` cells."""
    plan = _layout(position, width)
    if not plan.bar_width:
        return Line("timeline", fit_spans(plan.left, width))
    bar = _bar_spans(position, plan.bar_width)
    return Line("timeline", (*plan.left, *bar, *plan.right))


def time_at(position: Position, width: int, x: int, *, beyond: bool = False) -> float | None:
    """The time under a cell; ``beyond`` the bar it is the nearest end's, else None."""
    plan = _layout(position, width)
    cell = x - plan.bar_x
    if not plan.bar_width or (not beyond and not 0 <= cell < plan.bar_width):
        return None
    share = min(max(cell / (plan.bar_width - 1), 0.0), 1.0)
    return position.first_s + share * (position.last_s - position.first_s)


def _layout(position: Position, width: int) -> _Layout:
    """Fields go whole: first what cannot be read, then the range, the speed, and the bar."""
    date = spans_days(position.first_s, position.last_s)
    sign = Span("▶" if position.playing else "‖", "good" if position.playing else "warn")
    left = (Span(" "), sign, Span(f" {clock_text(position.at_s, date=date)}", "number"))
    speed = (Span(f"  {TIMES}{position.speed}".ljust(5), "dim"),)
    ends = f"{clock_text(position.first_s, date=date)}{TO}{clock_text(position.last_s, date=date)}"
    right = (Span(f"  {ends}", "dim"),)
    for before, after in (
        ((*left, *speed), (*right, *_unreadable(position))),
        ((*left, *speed), right),
        ((*left, *speed), ()),
        (left, ()),
    ):
        bar_x = _width(before) + 2
        bar_width = width - bar_x - _width(after) - 1
        if bar_width >= _LEAST_BAR:
            return _Layout((*before, Span("  ")), (*after, Span(" ")), bar_x, bar_width)
    return _Layout((*left, *speed) if _width((*left, *speed)) <= width else left, (), 0, 0)


def _unreadable(position: Position) -> tuple[Span, ...]:
    if not position.unreadable:
        return ()
    rows = "1 row" if position.unreadable == 1 else f"{position.unreadable} rows"
    return (Span(f"  ({rows} unreadable)", "warn"),)


def _width(spans: tuple[Span, ...]) -> int:
    return sum(cell_len(span.text) for span in spans)


def _bar_spans(position: Position, width: int) -> tuple[Span, ...]:
    """What is behind is heavy, what is to come is light; marks and gaps stay what they are."""
    whole = Position(at_s=0, first_s=position.first_s, last_s=position.last_s)
    track = _track(position.overview, whole, width)
    here = position.cell(position.at_s, width)
    spans: list[Span] = []
    for cell, (text, tone) in enumerate(track):
        if cell == here:
            text, tone = "●", "title"  # noqa: PLW2901 - over whatever is there
        elif text == "":
            text, tone = ("━", "plain") if cell < here else ("─", "dim")  # noqa: PLW2901
        if spans and spans[-1].tone == tone:
            spans[-1] = Span(spans[-1].text + text, tone)
        else:
            spans.append(Span(text, tone))
    return tuple(spans)


@lru_cache(maxsize=8)
def _track(overview: Overview, whole: Position, width: int) -> tuple[tuple[str, Tone], ...]:
    """What each cell has besides the bar: nothing, a gap, or the worst of its marks."""
    cells: list[tuple[str, Tone]] = [("", "plain")] * width
    for begin_s, end_s in overview.gaps:
        begin, end = whole.cell(begin_s, width), whole.cell(end_s, width)
        for cell in range(max(begin, 0), min(max(end, begin + 1), width)):
            cells[cell] = (_GAP, "plain")
    for at_s, level in sorted(overview.marks, key=lambda mark: mark[1] == "error"):
        cells[min(max(whole.cell(at_s, width), 0), width - 1)] = _SIGNS[level]
    return tuple(cells)


class Timeline(Widget):
    """One row, repainted when its text changes.  A click or a drag on the bar asks for a time."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"tone--{tone}" for tone in TONES}
    DEFAULT_CSS = "Timeline { height: 1; }"

    class Sought(Message):
        """Somebody wants to be there."""

        def __init__(self, at_s: float) -> None:
            super().__init__()
            self.at_s = at_s

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._position: Position | None = None
        self._line = Line("timeline", ())
        self._dragged_s: float | None = None

    @property
    def text(self) -> str:
        """What it says."""
        return self._line.text

    def show(self, position: Position) -> None:
        """Where it is now."""
        self._position = position
        self._update()

    def on_resize(self) -> None:
        """Other fields fit."""
        self._update()
        self.refresh()

    def _update(self) -> None:
        if self._position is None:
            return
        shown = timeline_line(self._position, self.size.width)
        if shown != self._line:
            self._line = shown
            self.refresh()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """On the bar: go there, and wherever the mouse goes while it is down."""
        if (at_s := self._time_at(event.x)) is not None:
            self.capture_mouse()
            self._seek(at_s)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Dragged: also beyond the bar's ends."""
        if self._dragged_s is not None:
            at_s = self._time_at(event.x, beyond=True)
            if at_s is not None and at_s != self._dragged_s:
                self._seek(at_s)

    def on_mouse_up(self) -> None:
        """Let go."""
        self._dragged_s = None
        self.release_mouse()

    def _time_at(self, x: int, *, beyond: bool = False) -> float | None:
        if self._position is None:
            return None
        return time_at(self._position, self.size.width, x, beyond=beyond)

    def _seek(self, at_s: float) -> None:
        self._dragged_s = at_s
        self.post_message(self.Sought(at_s))

    def render_line(self, y: int) -> Strip:
        """Textual's question."""
        del y
        return Strip([Segment(text, self._style(tone)) for text, tone in self._line.spans])

    def _style(self, tone: Tone) -> Style:
        return self.get_component_rich_style(f"tone--{tone}")
