"""The graph with its numbers: exports, and below each what its requests pass."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from blkrun.dashboard.lines import GAP, Line, Span, Tone, clean, fit, fit_right, fit_spans
from blkrun.dashboard.model.jobs import share_text
from blkrun.dashboard.model.rates import Rate
from blkrun.dashboard.model.tree import GraphRow, Kind
from blkrun.dashboard.widgets.panel import LinesPanel
from blkrun.units import format_short

_LEAST_DETAIL = 5


def _amount(get: Callable[[Rate], float]) -> Callable[[GraphRow], Span]:
    def cell(row: GraphRow) -> Span:
        if row.rate is None:
            return Span(GAP, "dim")
        value = get(row.rate)
        return Span(format_short(value), "number" if value else "dim")

    return cell


def _in_flight(row: GraphRow) -> Span:
    return Span(str(row.in_flight), "number" if row.in_flight else "dim")


def _p99(row: GraphRow) -> Span:
    if row.kind is not Kind.EXPORT:
        return Span("")
    if row.p99_ns is None:
        return Span(GAP, "dim")
    return Span(milliseconds(row.p99_ns), "number")


def milliseconds(duration_ns: float) -> str:
    """Two or three digits that matter: ``0.42``, ``12.3``, ``1234``."""
    value = duration_ns / 1e6
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


class _Column(NamedTuple):
    """Shown when the panel is ``least`` to ``most`` cells wide."""

    title: str
    width: int
    cell: Callable[[GraphRow], Span]
    least: int = 0
    most: int = 10**6


_SPLIT = 92
"""From this width on bandwidth is shown by direction."""

_COLUMNS = (
    _Column("R/s", 6, _amount(lambda rate: rate.reads), least=24),
    _Column("W/s", 6, _amount(lambda rate: rate.writes), least=30),
    _Column("BW", 6, _amount(lambda rate: rate.bandwidth), least=46, most=_SPLIT - 1),
    _Column("R BW", 7, _amount(lambda rate: rate.read_bytes), least=_SPLIT),
    _Column("W BW", 7, _amount(lambda rate: rate.write_bytes), least=_SPLIT),
    _Column("QD", 5, _in_flight, least=40),
    _Column("p99ms", 7, _p99, least=54),
)
_NOTE_WIDTH = 9
_NOTE_LEAST = 60


def _alarm(row: GraphRow) -> Span:
    """What somebody should see: requests held back, errors now, errors before."""
    if row.held:
        return Span(f"HELD {row.held}", "warn")
    if row.rate is not None and row.rate.errors:
        return Span(f"ERR {format_short(row.rate.errors)}/s", "bad")
    if row.failed:
        return Span(f"{format_short(row.failed)} err", "bad")
    return Span("")


def _note(row: GraphRow) -> Span:
    """An alarm, or at a job's filter how far the job is."""
    alarm = _alarm(row)
    if alarm.text:
        return alarm
    if row.job is not None:
        return Span("job" if row.job_share is None else f"job {share_text(row.job_share)}", "good")
    return Span("")


_TONES: dict[Kind, Tone] = {
    Kind.EXPORT: "export",
    Kind.NODE: "name",
    Kind.AGAIN: "dim",
    Kind.HEADING: "title",
}


class _Layout:
    """Columns at a width; the name takes what they leave."""

    def __init__(self, width: int) -> None:
        self.columns = [c for c in _COLUMNS if c.least <= width <= c.most]
        self.note_width = _NOTE_WIDTH if width >= _NOTE_LEAST else 0
        self.name_width = max(width - sum(c.width for c in self.columns) - self.note_width, 0)

    def heading(self) -> tuple[Span, ...]:
        """The columns' titles."""
        titles = [Span(fit_right(c.title, c.width), "dim") for c in self.columns]
        return (Span(fit("", self.name_width)), *titles, Span(" " * self.note_width))

    def line(self, row: GraphRow, lead: int) -> Line:
        """A row whose detail begins ``lead`` cells from the left."""
        if row.kind in (Kind.AGAIN, Kind.HEADING):
            rest = sum(c.width for c in self.columns) + self.note_width
            return Line(row.key, (*self._name(row, lead), Span(" " * rest)))
        cells = [column.cell(row) for column in self.columns]
        numbers = [
            Span(fit_right(cell.text, column.width), cell.tone)
            for cell, column in zip(cells, self.columns, strict=True)
        ]
        note = _note(row)
        tail = [Span(fit(f" {note.text}", self.note_width), note.tone)] if self.note_width else []
        return Line(row.key, (*self._name(row, lead), *numbers, *tail))

    def _name(self, row: GraphRow, lead: int) -> tuple[Span, ...]:
        """Guides, name, and in what is left the detail, or an alarm that has no column."""
        own = cell_len(row.guides) + cell_len(clean(row.name))
        parts = [Span(row.guides, "dim"), Span(row.name, _TONES[row.kind])]
        alarm = Span("") if self.note_width else _alarm(row)
        room = self.name_width - max(lead, own + 2) - 1
        detail = alarm if alarm.text else Span(_longest(row.details, room), "dim")
        if room >= _LEAST_DETAIL and detail.text:
            parts += [Span(" " * max(lead - own, 2)), detail]
        return fit_spans(tuple(parts), self.name_width)


def _longest(texts: Sequence[str], room: int) -> str:
    """The first that fits; they go from long to short."""
    return next((text for text in texts if cell_len(clean(text)) <= room), texts[-1])


def graph_lines(rows: Sequence[GraphRow], width: int) -> list[Line]:
    """All rows, each exactly ``width`` cells."""
    layout = _Layout(width)
    leads = [cell_len(row.guides) + cell_len(clean(row.name)) + 2 for row in rows if row.details]
    lead = min(max(leads, default=0), layout.name_width * 3 // 5)
    return [layout.line(row, lead) for row in rows]


class GraphPanel(LinesPanel):
    """The tree of exports and nodes."""

    TITLE = "Graph"
    NUMBER = "1"
    HEADING_ROWS = 1

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._rows: Sequence[GraphRow] = ()

    def show(self, rows: Sequence[GraphRow]) -> None:
        """New numbers."""
        self._rows = rows
        self.update_lines()

    def make_lines(self, width: int) -> list[Line]:
        """The rows, or why there are none."""
        if not self._rows:
            return [Line("", (Span(fit("nothing is served: the graph is empty", width), "dim"),))]
        return graph_lines(self._rows, width)

    def heading_line(self, width: int) -> Line:
        """The columns' titles."""
        return Line("heading", fit_spans(_Layout(width).heading(), width))
