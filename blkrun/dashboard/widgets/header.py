"""The first row: what is run, whether it runs, and the totals.  Fields go whole, by importance."""

from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from blkrun.dashboard.lines import GAP, TONES, Line, Span, Tone, clean, fit, fit_spans
from blkrun.dashboard.model.status import State, Status, duration_text, uptime_text
from blkrun.dashboard.widgets.jobs import count_spans
from blkrun.units import format_short

_TONES: dict[State, Tone] = {
    State.CONNECTING: "warn",
    State.RUN: "good",
    State.SILENT: "warn",
    State.OFFLINE: "bad",
}
_MOST_TITLE = 40


class _Field(NamedTuple):
    """``rank`` 0 stays longest."""

    rank: int
    spans: tuple[Span, ...]

    @property
    def width(self) -> int:
        """Cells it takes."""
        return sum(cell_len(clean(span.text)) for span in self.spans)


def header_line(status: Status, width: int) -> Line:
    """The most important fields that fit, in exactly ``width`` cells."""
    left, right = _left(status), _right(status)
    rest = width
    kept = []
    for field in sorted((*left, *right), key=lambda field: field.rank):
        if field.width > rest:
            break
        kept.append(field)
        rest -= field.width
    shown_left = tuple(span for field in left if field in kept for span in field.spans)
    shown_right = tuple(span for field in right if field in kept for span in field.spans)
    if not kept:
        return Line("header", fit_spans(left[1].spans, width))
    return Line("header", (*_clean(shown_left), Span(" " * rest), *_clean(shown_right)))


def _clean(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    return tuple(Span(clean(span.text), span.tone) for span in spans)


def _left(status: Status) -> list[_Field]:
    title = clean(status.title)
    if cell_len(title) > _MOST_TITLE:
        title = fit(title, _MOST_TITLE)
    fields = [
        _Field(2, (Span(f" {title} ", "title"),)),
        _Field(0, (Span(f" ● {_word(status)}", _TONES[status.state]),)),
    ]
    if status.replayed:
        fields.append(_Field(1, (Span("  REPLAY", "warn"),)))
    if status.state is State.RUN:
        fields.append(_Field(8, (Span(f" {uptime_text(status.uptime_s)}", "dim"),)))
    if not status.followed:
        fields.append(_Field(3, (Span("  NO RUNNER", "warn"),)))
    if status.doing:
        fields.append(_Field(1, (Span(f"  {status.doing}", "change"),)))
    if status.paused_s is not None:
        fields.append(_Field(1, (Span(f"  PAUSED {duration_text(status.paused_s)}", "warn"),)))
    if status.jobs is not None:
        first, *alarms = count_spans(status.jobs)
        fields.append(_Field(3, (Span("  jobs ", "dim"), first)))
        fields += [_Field(3, (Span(" · ", "dim"), alarm)) for alarm in alarms]
    return fields


def _word(status: Status) -> str:
    word = str(status.state.value)
    if status.state in (State.RUN, State.CONNECTING):
        return word
    return f"{word} {duration_text(status.age_s)}"


def _right(status: Status) -> list[_Field]:
    rate = status.rate
    tone: Tone = "number" if status.state is State.RUN else "dim"
    fields = [
        _traffic("R", 4, None if rate is None else (rate.reads, rate.read_bytes), tone),
        _traffic("W", 5, None if rate is None else (rate.writes, rate.write_bytes), tone),
        _Field(6, (Span("  QD ", "dim"), Span(str(status.in_flight), tone))),
    ]
    if status.held:
        fields.append(_Field(3, (Span(f"  HELD {status.held}", "warn"),)))
    clients = "1 client" if status.clients == 1 else f"{status.clients} clients"
    fields.append(_Field(9, (Span(f"  {clients}", tone),)))
    fields.append(_Field(10, (Span(f"  every {status.refresh_s:g} s", "dim"),)))
    fields.append(_Field(2, (Span(" "),)))
    return fields


def _traffic(letter: str, rank: int, amounts: tuple[float, float] | None, tone: Tone) -> _Field:
    operations, count_bytes = (GAP, GAP) if amounts is None else map(format_short, amounts)
    text = f"{operations:>4} {count_bytes:>4}"
    return _Field(rank, (Span(f"  {letter} ", "dim"), Span(text, tone)))


class Header(Widget):
    """One row, repainted when its text changes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"tone--{tone}" for tone in TONES}

    def __init__(self) -> None:
        super().__init__()
        self._status: Status | None = None
        self._styles_by_tone: dict[Tone, Style] = {}
        self._line = Line("header", ())

    @property
    def text(self) -> str:
        """What it says."""
        return self._line.text

    def show(self, status: Status) -> None:
        """New facts, or the same."""
        if status != self._status:
            self._status = status
            self._update()

    def on_resize(self) -> None:
        """Other fields fit."""
        self._update()
        self.refresh()

    def _update(self) -> None:
        if self._status is None:
            return
        shown = header_line(self._status, self.size.width)
        if shown != self._line:
            self._line = shown
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Textual's question."""
        del y
        segments = [Segment(text, self._style(tone)) for text, tone in self._line.spans]
        return Strip(segments)

    def _style(self, tone: Tone) -> Style:
        if tone not in self._styles_by_tone:
            self._styles_by_tone[tone] = self.get_component_rich_style(f"tone--{tone}")
        return self._styles_by_tone[tone]

    def notify_style_update(self) -> None:
        """Another theme."""
        super().notify_style_update()
        self._styles_by_tone.clear()
