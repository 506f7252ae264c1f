"""The graph with its numbers: exports, and below each what its requests pass."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from blkrun.dashboard.lines import GAP, Draft, Line, Span, Tone, clean, fit, fit_spans
from blkrun.dashboard.model.marks import Mark
from blkrun.dashboard.model.rates import Rate
from blkrun.dashboard.model.sparks import SPARK_S
from blkrun.dashboard.model.state import ALARM, State
from blkrun.dashboard.model.subject import Subject
from blkrun.dashboard.model.tree import GraphRow, Kind, folded_rows, matching_rows
from blkrun.dashboard.widgets.panel import LinesPanel
from blkrun.units import format_short

_LEAST_DETAIL = 5
_GUTTER = 2
_NOTHING = Span("0", "dim")
_UNKNOWN = Span(GAP, "dim")

Cell = Callable[[GraphRow], Span]


def _amount(get: Callable[[Rate], float]) -> Cell:
    def cell(row: GraphRow) -> Span:
        if row.rate is None:
            return _UNKNOWN
        value = get(row.rate)
        return Span(format_short(value), "number") if value else _NOTHING

    return cell


def _in_flight(row: GraphRow) -> Span:
    return Span(format_short(row.in_flight), "number") if row.in_flight else _NOTHING


def _p50(row: GraphRow) -> Span:
    return Span(milliseconds(row.latency.p50_ns), "number") if row.latency else _UNKNOWN


def _p99(row: GraphRow) -> Span:
    return Span(milliseconds(row.latency.p99_ns), "number") if row.latency else _UNKNOWN


def milliseconds(duration_ns: float) -> str:
    """Two or three digits that matter: ``0.42``, ``12.3``, ``1234``."""
    value = duration_ns / 1e6
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


class _Column(NamedTuple):
    """Shown when the panel is ``least`` to ``most`` cells wide."""

    title: str
    width: int
    cell: Cell
    least: int = 0
    most: int = 10**6


_SPLIT = 92
"""From this width on bandwidth is shown by direction."""

_COLUMNS = (
    _Column("R/s", 5, _amount(lambda rate: rate.reads), least=24),
    _Column("W/s", 5, _amount(lambda rate: rate.writes), least=30),
    _Column("BW", 5, _amount(lambda rate: rate.bandwidth), least=44, most=_SPLIT - 1),
    _Column("R BW", 6, _amount(lambda rate: rate.read_bytes), least=_SPLIT),
    _Column("W BW", 6, _amount(lambda rate: rate.write_bytes), least=_SPLIT),
    _Column("QD", 5, _in_flight, least=38),
    _Column("p50ms", 6, _p50, least=62),
    _Column("p99ms", 6, _p99, least=50),
)
_NOTES = ((100, 18), (56, 10))
"""From a width on, room for the state."""


def _note_width(width: int) -> int:
    return next((room for least, room in _NOTES if width >= least), 0)


_TONES: dict[Kind, Tone] = {
    Kind.EXPORT: "export",
    Kind.NODE: "name",
    Kind.AGAIN: "dim",
    Kind.COMING: "dim",
    Kind.HEADING: "title",
}
_MARK_TONES: dict[Mark, Tone] = {"+": "add", "-": "remove", "~": "change", "!": "warn"}
_MARK_WORDS: dict[Mark, str] = {"+": "to come", "-": "to go", "~": "to change", "!": "DRIFT"}
_NUMBERLESS = (Kind.AGAIN, Kind.COMING, Kind.HEADING)


def _note(row: GraphRow) -> State:
    """The state; where it says nothing, what the mark in the gutter means."""
    if row.state or not row.mark:
        return row.state
    return State((_MARK_WORDS[row.mark],), _MARK_TONES[row.mark], 1)


def _own(row: GraphRow) -> tuple[Span, ...]:
    """Gutter, guides, letter and name."""
    gutter = Span(row.mark.ljust(_GUTTER), _MARK_TONES[row.mark]) if row.mark else Span("  ")
    name = Span(row.name, _TONES[row.kind])
    if row.kind is Kind.EXPORT:
        return (gutter, Span("▸ " if row.folded else "▾ ", "dim"), name)
    if row.kind is Kind.AGAIN:
        name = Span(f"↳ {row.name}", "dim")
    letter = f"{row.letter} " if row.letter else ""
    return (gutter, Span(row.guides + letter, "dim"), name)


def _own_width(row: GraphRow) -> int:
    """Cells of all that."""
    arrow = 2 if row.kind in (Kind.EXPORT, Kind.AGAIN) else 0
    letter = _width(row.letter) + 1 if row.letter else 0
    return _GUTTER + _width(row.guides) + arrow + letter + _width(row.name)


@lru_cache(maxsize=4096)
def _width(text: str) -> int:
    return cell_len(clean(text))


Finish = Callable[[GraphRow], GraphRow]
"""A row as it comes into sight."""


def _same(row: GraphRow) -> GraphRow:
    return row


class _Layout:
    """Columns at a width; the name takes what they leave."""

    def __init__(self, width: int) -> None:
        self.columns = [c for c in _COLUMNS if c.least <= width <= c.most]
        self.note_width = _note_width(width)
        numbers = sum(c.width for c in self.columns)
        self.name_width = max(width - numbers - self.note_width, 0)
        self.blank = Span(" " * numbers)

    def heading(self) -> tuple[Span, ...]:
        """The columns' titles."""
        titles = [Span(c.title.rjust(c.width), "dim") for c in self.columns]
        note = Span(fit(f" {SPARK_S} s", self.note_width), "dim")
        return (Span(fit("", self.name_width)), *titles, note)

    def line(self, row: GraphRow, lead: int, finish: Finish = _same) -> Line:
        """A row whose detail begins ``lead`` cells from the left."""
        note = _note(row)
        tail: tuple[Span, ...] = ()
        if self.note_width:
            word = _longest(note.words, self.note_width - 1)
            tail = (Span(fit(f" {word}", self.note_width), note.tone),)
            if not word:
                tail = (Span(fit(f" {finish(row).spark}", self.note_width), "dim"),)
        numbers = (self.blank,) if row.kind in _NUMBERLESS else self._numbers(row)
        return Line(row.key, (*self._name(row, note, lead), *numbers, *tail))

    def _numbers(self, row: GraphRow) -> Iterator[Span]:
        """Neighbours of one tone are one span: fewer are painted faster."""
        joined = ""
        last: Tone = "plain"
        for column in self.columns:
            text, tone = column.cell(row)
            if joined and tone != last:
                yield Span(joined, last)
                joined = ""
            joined, last = joined + text.rjust(column.width), tone
        if joined:
            yield Span(joined, last)

    def _name(self, row: GraphRow, note: State, lead: int) -> tuple[Span, ...]:
        """In what the name leaves the detail, or an alarm that has no column."""
        parts, own = _own(row), _own_width(row)
        room = self.name_width - max(lead, own + 2) - 1
        text = _longest(row.details, room)
        detail = Span(text if _width(text) <= room + 1 else "", "dim")
        if note.urgency >= ALARM and not self.note_width:
            detail = Span(_longest(note.words, room), note.tone)
        if room >= _LEAST_DETAIL and detail.text:
            parts = (*parts, Span(" " * max(lead - own, 2)), detail)
        return fit_spans(parts, self.name_width)


def _longest(texts: Sequence[str], room: int) -> str:
    """The first that fits; they go from long to short."""
    return next((text for text in texts if _width(text) <= room), texts[-1])


def graph_lines(rows: Sequence[GraphRow], width: int) -> list[Line]:
    """All rows, each exactly ``width`` cells."""
    return [draft.make() for draft in graph_drafts(rows, width)]


def graph_drafts(
    rows: Sequence[GraphRow], width: int, finish: Finish = _same, look: object = None
) -> list[Draft]:
    """They need all rows only to begin their details in one column.  ``look``: of ``finish``."""
    layout = _Layout(width)
    leads = [_own_width(row) + 2 for row in rows if row.details]
    lead = min(max(leads, default=0), layout.name_width * 3 // 5)
    return [
        Draft(row.key, (row, lead, look), partial(layout.line, row, lead, finish)) for row in rows
    ]


GRAPH_KEYS: tuple[Binding, ...] = (
    Binding("left", "fold", "Fold", id="graph.fold", tooltip="hide what is below", show=False),
    Binding("right", "unfold", "Unfold", id="graph.unfold", tooltip="show it again", show=False),
    Binding("enter", "open", "Inspect", id="graph.open", tooltip="all about what is selected"),
    Binding("escape", "all_rows", "All rows", id="graph.all-rows", tooltip="no filter any more"),
)


class GraphPanel(LinesPanel):
    """The tree of exports and nodes.  ``only``: rows with this in their name, and those above."""

    TITLE = "Graph"
    NUMBER = "1"
    HEADING_ROWS = 1
    BINDINGS: ClassVar[list[BindingType]] = [*GRAPH_KEYS]

    class Selected(Message):
        """Another row is selected; ``subject`` None: one that is nothing by itself."""

        def __init__(self, subject: Subject | None) -> None:
            super().__init__()
            self.subject = subject

    class Opened(Message):
        """Somebody wants to know everything about it."""

        def __init__(self, subject: Subject) -> None:
            super().__init__()
            self.subject = subject

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._all: Sequence[GraphRow] = ()
        self._rows: Sequence[GraphRow] = ()
        self._finish: Finish = _same
        self._look = 0
        self._folded: set[str] = set()
        self._only = ""
        self._matching = 0
        self._told: Subject | None = None
        self._clicked = ""

    def show(self, rows: Sequence[GraphRow], finish: Finish = _same) -> None:
        """New numbers."""
        self._all, self._finish, self._look = rows, finish, self._look + 1
        self._choose_rows()

    @property
    def only(self) -> str:
        """What is filtered by; ``""``: nothing is."""
        return self._only

    @only.setter
    def only(self, text: str) -> None:
        if text != self._only:
            self._only = text
            self._choose_rows()
            self.refresh_bindings()

    @property
    def caption(self) -> str:
        """Also that rows are missing, and for what: ``Graph · /gold · 3 of 12``."""
        if not self._only:
            return super().caption
        return f"{super().caption} · /{self._only} · {self._matching} of {len(self._all)}"

    @property
    def selected(self) -> Subject | None:
        """What the selected row is about."""
        row = self._row(self.cursor)
        return row.subject if row is not None else None

    def select_name(self, name: str) -> bool:
        """Select the first row that is about something of that name; False: there is none."""
        for index, row in enumerate(self._rows):
            if row.subject is not None and row.subject.name == name:
                self.select(index)
                return True
        return False

    def _row(self, index: int) -> GraphRow | None:
        return self._rows[index] if 0 <= index < len(self._rows) else None

    def _choose_rows(self) -> None:
        rows = matching_rows(self._all, self._only) if self._only else self._all
        self._matching = len(rows)
        self._rows = folded_rows(rows, self._folded)
        self.set_caption(self.caption, self.subtitle)
        self.update_lines()
        self._tell()

    def _tell(self) -> None:
        """Said once, also when the row that was selected has gone."""
        if self.selected != self._told:
            self._told = self.selected
            self.post_message(self.Selected(self._told))

    # Lines

    def make_lines(self, width: int) -> Sequence[Line | Draft]:
        """The rows, or why there are none."""
        if not self._rows:
            why = f"nothing here is called {self._only}"
            text = why if self._all else "nothing is served: the graph is empty"
            return [Line("", fit_spans((Span(text, "dim"),), width))]
        return graph_drafts(self._rows, width, self._finish, self._look)

    def heading_line(self, width: int) -> Line:
        """The columns' titles."""
        return Line("heading", fit_spans(_Layout(width).heading(), width))

    # Selecting and folding

    def select(self, index: int) -> None:
        """Also tell of it."""
        super().select(index)
        self._tell()

    def on_click(self, event: events.Click) -> None:
        """A click on the mark of an export folds it; a second one on a row opens it."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y < self.HEADING_ROWS:
            return
        index = offset.y - self.HEADING_ROWS + self.scroll_offset.y
        row = self._row(index)
        if row is None:
            return
        again, self._clicked = row.key == self._clicked and index == self.cursor, row.key
        if row.kind is Kind.EXPORT and _GUTTER <= offset.x < _GUTTER + 2:
            self._fold(row, folded=not row.folded)
            self._clicked = ""
        elif again:
            self.action_open()

    def action_open(self) -> None:
        """Ask for everything about the selected row."""
        if self.selected is not None:
            self.post_message(self.Opened(self.selected))

    def action_all_rows(self) -> None:
        """Without the filter."""
        self.only = ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape is somebody else's when there is no filter to take off."""
        del parameters
        return action != "all_rows" or bool(self._only)

    def action_fold(self) -> None:
        """Hide what is below an export; from below, go to what is above first."""
        row = self._row(self.cursor)
        if row is None:
            return
        if row.kind is Kind.EXPORT:
            self._fold(row, folded=True)
            return
        above = [i for i in range(self.cursor) if self._rows[i].depth < row.depth]
        if above:
            self.select(above[-1])

    def action_unfold(self) -> None:
        """Show what is below again."""
        row = self._row(self.cursor)
        if row is not None and row.kind is Kind.EXPORT:
            self._fold(row, folded=False)

    def _fold(self, row: GraphRow, *, folded: bool) -> None:
        if folded:
            self._folded.add(row.key)
        else:
            self._folded.discard(row.key)
        self._choose_rows()
