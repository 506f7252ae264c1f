"""The inspector: all about what is selected."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from blkrun.dashboard.lines import Line, Span, clean, fit, fit_right, gauge, line, wrap
from blkrun.dashboard.model.inspect import InspectRow, InspectView
from blkrun.dashboard.widgets.panel import LinesPanel

_MOST_LABEL = 22
_LEAST_BAR = 4
_MOST_BAR = 40
_GAP = 2


class _Layout:
    """Columns at a width; labels and figures are as wide as the longest."""

    def __init__(self, rows: Sequence[InspectRow], width: int) -> None:
        self._width = width
        self._label = min(_longest(row.label for row in rows), _MOST_LABEL, width // 2) + _GAP
        self._figures = _longest(row.text for row in rows if row.bar is not None) + 1
        self._bar = min(width - self._label - self._figures, _MOST_BAR)

    def lines(self, number: int, row: InspectRow) -> list[Line]:
        """One row; a text that is too long goes on below."""
        if row.heading or row.code or not row.label:
            tone = "title" if row.heading else row.tone
            return [line(str(number), self._width, Span(row.text, tone))]
        label = Span(fit(row.label, self._label - _GAP) + " " * _GAP, "dim")
        if row.bar is not None and self._bar >= _LEAST_BAR:
            bar = Span(gauge(row.bar, self._bar), row.tone)
            figures = Span(fit_right(row.text, self._figures), row.tone)
            return [line(str(number), self._width, label, bar, figures)]
        texts = wrap(row.text, self._width - self._label)
        labels = (label, *(Span(" " * self._label) for _ in texts[1:]))
        return [
            line(f"{number}.{part}", self._width, before, Span(text, row.tone))
            for part, (before, text) in enumerate(zip(labels, texts, strict=True))
        ]


def _longest(texts: Iterable[str]) -> int:
    return max((cell_len(clean(text)) for text in texts), default=0)


def inspect_lines(rows: Sequence[InspectRow], width: int) -> list[Line]:
    """All rows, each line exactly ``width`` cells."""
    layout = _Layout(rows, width)
    return [shown for number, row in enumerate(rows) for shown in layout.lines(number, row)]


class NodePanel(LinesPanel):
    """What is selected: its table, its edges, its numbers."""

    TITLE = "Node"
    NUMBER = "8"

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._view = InspectView()

    def show(self, view: InspectView) -> None:
        """How it is now; something else is shown from its first line."""
        before, self._view = self._view, view
        self.set_caption(f"{self.caption} · {view.title}" if view.title else self.caption)
        if view.subject != before.subject:
            self.cursor = 0
            self.scroll_to(y=0, animate=False)
        if view != before or not self.lines:
            self.update_lines()

    def make_lines(self, width: int) -> list[Line]:
        """All there is."""
        return inspect_lines(self._view.rows, width)
