"""Plots over time of what is selected: charts side by side, or strips where the panel is low."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive

from blkrun.dashboard.lines import Draft, Line, Span, line
from blkrun.dashboard.model.chart import AXIS, LEAST_HEIGHT, Chart, body_width, chart_lines
from blkrun.dashboard.model.history import SPANS_S, Series
from blkrun.dashboard.model.plots import PLOTS, chart_of, in_order, readings, strip
from blkrun.dashboard.model.raster import FRAMES, Symbols
from blkrun.dashboard.model.sampling import Sampler
from blkrun.dashboard.model.scale import Scale
from blkrun.dashboard.model.subject import Subject
from blkrun.dashboard.widgets.panel import LinesPanel

PLOT_KEYS: tuple[Binding, ...] = (
    Binding(
        "left_square_bracket",
        "shorter",
        "Shorter",
        id="plot.shorter",
        tooltip="plots of a shorter time: 1, 5, 30 minutes",
        key_display="[",
    ),
    Binding(
        "right_square_bracket",
        "longer",
        "Longer",
        id="plot.longer",
        tooltip="plots of a longer time: 1, 5, 30 minutes",
        key_display="]",
    ),
    Binding("left", "turn(-1)", "Previous", id="plot.previous", tooltip="the plot before first"),
    Binding("right", "turn(1)", "Next", id="plot.next", tooltip="the next plot first"),
    Binding(
        "shift+left",
        "scrub(-1)",
        "Earlier",
        id="plot.earlier",
        tooltip="the numbers of an earlier instant",
        show=False,
    ),
    Binding(
        "shift+right",
        "scrub(1)",
        "Later",
        id="plot.later",
        tooltip="the numbers of a later instant",
        show=False,
    ),
    Binding("escape", "present", "Present", id="plot.present", tooltip="no instant any more"),
)

_GUTTER = 2
_LEAST_CHART = 37
_MOST_CHARTS = len(PLOTS)
_SCRUB_STEPS = 60
"""Of a span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotsView:
    """``series`` is the subject's, of the panel's span; ``now_s`` of the same clock.

    ``gone``: there is only a past of it.
    """

    subject: Subject
    series: Series
    now_s: float
    gone: bool = False


class PlotsPanel(LinesPanel):
    """What the selected node, export or group did in the last minutes."""

    class SpanChanged(Message):
        """Another series is wanted."""

        def __init__(self, span_s: float) -> None:
            super().__init__()
            self.span_s = span_s

    TITLE = "Plots"
    NUMBER = "2"
    BINDINGS: ClassVar[list[BindingType]] = [*PLOT_KEYS]

    span: reactive[float] = reactive(SPANS_S[0], repaint=False, init=False)
    symbols: reactive[Symbols] = reactive[Symbols]("braille", repaint=False, init=False)
    first: reactive[int] = reactive(0, repaint=False, init=False)
    cursor_s: reactive[float | None] = reactive(None, repaint=False, init=False)

    def __init__(self, *, id: str, symbols: Symbols = "braille") -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.set_reactive(PlotsPanel.symbols, symbols)
        self.cursor = -1  # no row is ever the selected one
        self._view: PlotsView | None = None
        self._scales: dict[str, Scale] = {}
        self._sampler = Sampler()
        self._drawn: dict[str, tuple[Chart, int, int, list[Line]]] = {}

    def show(self, view: PlotsView) -> None:
        """New numbers, or another subject."""
        before, self._view = self._view, view
        if before is None or _what(before) != _what(view):
            self._scales.clear()
            self._sampler = Sampler()
        elif before.series.era != view.series.era:
            self._sampler = Sampler()
        if self.cursor_s is not None and self.cursor_s < view.now_s - view.series.span_s:
            self.cursor_s = None
        if self.display:
            self._again()

    def on_show(self) -> None:
        """There was nothing to make lines for."""
        self._again()

    @property
    def wanted_height(self) -> int:
        """Enough for curves; more only makes them finer."""
        return 11

    # Lines

    @property
    def column_s(self) -> float:
        """What a cell is of the span: the past that is the same all along moves by this."""
        return self.span / body_width(_shares(self.inner_width, self.charts_across)[0], 1)

    @property
    def charts_across(self) -> int:
        """As many as the width has."""
        across = (self.inner_width + _GUTTER) // (_LEAST_CHART + _GUTTER)
        return min(max(across, 1), _MOST_CHARTS)

    @property
    def is_low(self) -> bool:
        """Strips, not charts."""
        return self._inner_height < LEAST_HEIGHT

    @property
    def _inner_height(self) -> int:
        return self.scrollable_content_region.height

    def make_lines(self, width: int) -> list[Line]:
        """As many as the panel is high, or fewer strips."""
        view = self._view
        if view is None:
            return [line("", width, Span("nothing is selected", "dim"))]
        if self.is_low:
            return self._strips(view, width)
        charts = [
            self._chart(index, view, chart_width)
            for index, chart_width in enumerate(_shares(width, self.charts_across))
        ]
        gutter = Span(" " * _GUTTER)
        return [_joined(parts, gutter) for parts in zip(*charts, strict=True)]

    def _strips(self, view: PlotsView, width: int) -> list[Line]:
        plots = in_order(self.first)[: self._inner_height]
        return [
            strip(
                plot,
                view.series,
                now_s=view.now_s,
                width=width,
                symbols=self.symbols,
                sampler=self._sampler,
            )
            for plot in plots
        ]

    def _chart(self, index: int, view: PlotsView, width: int) -> list[Line]:
        plot = in_order(self.first)[index]
        chart, self._scales[plot.key] = chart_of(
            plot,
            view.subject,
            view.series,
            now_s=view.now_s,
            width=width,
            symbols=self.symbols,
            scale=self._scales.get(plot.key),
            cursor_s=self.cursor_s,
            sampler=self._sampler,
        )
        return self._lines_of(chart, width, self._inner_height)

    def _lines_of(self, chart: Chart, width: int, height: int) -> list[Line]:
        """Those there are, if nothing in it has moved."""
        drawn = self._drawn.get(chart.key)
        if drawn is None or drawn[:3] != (chart, width, height):
            drawn = (chart, width, height, chart_lines(chart, width, height))
            self._drawn[chart.key] = drawn
        return drawn[3]

    # The frame

    def _update_caption(self) -> None:
        view = self._view
        if view is None:
            return
        kind, name = view.subject
        gone = " · gone" if view.gone else ""
        title = f"{self.caption} · {name} ({kind}){gone} · {span_text(view.series.span_s)}"
        self.set_caption(title, self._subtitle(view))

    def _subtitle(self, view: PlotsView) -> str:
        if self.cursor_s is not None:
            return self._readings(view, self.cursor_s)
        shown = self._inner_height if self.is_low else self.charts_across
        return f"{shown} of {_MOST_CHARTS} ← →" if shown < _MOST_CHARTS else ""

    def _readings(self, view: PlotsView, at_s: float) -> str:
        """What fits of it, each number whole."""
        minus = FRAMES[self.symbols].minus
        text = f"{minus}{view.now_s - at_s:.0f} s"
        for reading in readings(view.series, at_s):
            longer = f"{text} · {reading}"
            if len(longer) > self.size.width - 2:
                break
            text = longer
        return text

    # Keys

    def action_shorter(self) -> None:
        """A shorter span."""
        self.span = max((each for each in SPANS_S if each < self.span), default=SPANS_S[0])

    def action_longer(self) -> None:
        """A longer span."""
        self.span = min((each for each in SPANS_S if each > self.span), default=SPANS_S[-1])

    def action_turn(self, plots: int) -> None:
        """Another plot comes first."""
        self.first = (self.first + plots) % _MOST_CHARTS

    def action_scrub(self, steps: int) -> None:
        """Another instant; from the present at first."""
        if self._view is None:
            return
        now_s, span_s = self._view.now_s, self._view.series.span_s
        begin_s = now_s if self.cursor_s is None else self.cursor_s
        at_s = begin_s + steps * span_s / _SCRUB_STEPS
        if at_s >= now_s:
            self.cursor_s = None
        else:
            self.cursor_s = max(at_s, now_s - span_s + span_s / _SCRUB_STEPS)

    def action_present(self) -> None:
        """No instant any more."""
        self.cursor_s = None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape is somebody else's when there is no instant to leave."""
        del parameters
        return action != "present" or self.cursor_s is not None

    def watch_span(self, span: float) -> None:
        """The app has the history."""
        self.post_message(self.SpanChanged(span))

    def watch_first(self) -> None:
        """The same series in another order."""
        self._again()

    def watch_symbols(self) -> None:
        """What the terminal can show."""
        self._again()

    def watch_cursor_s(self) -> None:
        """A line in the charts, the numbers in the frame."""
        self._again()
        self.refresh_bindings()

    def _again(self) -> None:
        self.update_lines()
        self._update_caption()

    def on_resize(self) -> None:
        """More or fewer charts."""
        super().on_resize()
        self._update_caption()

    # No row of this panel can be selected

    def select(self, index: int) -> None:
        """Nothing to select."""
        del index

    def _keep_cursor(self, old: Sequence[Line | Draft]) -> None:
        del old

    def on_click(self, event: events.Click) -> None:
        """The instant that is pointed at; beside the curves, none."""
        offset = event.get_content_offset(self)
        if offset is not None and self._view is not None and not self.is_low:
            self.cursor_s = self._instant_at(offset.x, self._view)

    def _instant_at(self, x: int, view: PlotsView) -> float | None:
        for plot, width in zip(
            in_order(self.first), _shares(self.inner_width, self.charts_across), strict=False
        ):
            cells = body_width(width, len(plot.curves))
            if AXIS <= x < AXIS + cells:
                share = (x - AXIS + 0.5) / cells
                return view.now_s - view.series.span_s * (1 - share)
            x -= width + _GUTTER
        return None


def _what(view: PlotsView) -> tuple[Subject, float]:
    return view.subject, view.series.span_s


def span_text(span_s: float) -> str:
    """``1 min``."""
    return f"{span_s / 60:g} min"


def _shares(width: int, count: int) -> list[int]:
    """Widths of charts with gutters between them."""
    room = width - _GUTTER * (count - 1)
    return [room // count + (1 if number < room % count else 0) for number in range(count)]


def _joined(parts: tuple[Line, ...], gutter: Span) -> Line:
    spans = [*parts[0].spans]
    for part in parts[1:]:
        spans += (gutter, *part.spans)
    return Line("|".join(part.key for part in parts), tuple(spans))
