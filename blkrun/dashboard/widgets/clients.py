"""Connected clients: a row each, with as much of where it comes from as there is room for."""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from rich.cells import cell_len

from blkrun.dashboard.lines import GAP, Line, Span, clean, fit, fit_right, line
from blkrun.dashboard.model.clients import ClientRow, since_text
from blkrun.dashboard.widgets.panel import LinesPanel

_LEAST_ORIGIN = 12
_MOST_EXPORT = 20
_GAP = " "


class _Column(NamedTuple):
    """Right of the name: as wide as said, its text at the right."""

    title: str
    width: int
    cell: Callable[[ClientRow], Span]


def _in_flight(row: ClientRow) -> Span:
    return Span(str(row.in_flight), "number" if row.in_flight else "dim")


_MODE = _Column("", 3, lambda row: Span(row.mode, "dim"))
_SINCE = _Column("SINCE", 9, lambda row: Span(since_text(row.connected_s), "dim"))
_QD = _Column("QD", 5, _in_flight)

_BY_WIDTH: tuple[tuple[int, tuple[_Column, ...]], ...] = (
    (48, (_MODE, _SINCE, _QD)),
    (34, (_MODE, _QD)),
    (0, (_QD,)),
)
"""The least width of a line, and what stands at its right."""


class _Layout:
    """Columns at a width; the origin gives way first, and goes when there is too little left."""

    def __init__(self, rows: Sequence[ClientRow], width: int) -> None:
        self.width = width
        self.right = next(columns for least, columns in _BY_WIDTH if width >= least)
        rest = width - sum(column.width for column in self.right)
        longest = max((cell_len(clean(row.export)) for row in rows), default=0)
        self.number = max((len(row.key) for row in rows), default=0) + 2
        self.export = min(max(longest, 6), _MOST_EXPORT) + 1
        self.origin = rest - self.number - self.export
        if self.origin < _LEAST_ORIGIN:
            self.origin = 0
            self.export = max(rest - self.number, 0)

    def line(self, row: ClientRow) -> Line:
        """One client."""
        cells = [(column.cell(row), column.width) for column in self.right]
        return line(
            row.key,
            self.width,
            Span(fit(row.export, self.export - 1) + _GAP, "export"),
            Span(fit(f"#{row.key}", self.number - 1) + _GAP, "dim"),
            Span(fit(row.origin or GAP, self.origin), "name" if row.origin else "dim"),
            *(Span(fit_right(cell.text, width), cell.tone) for cell, width in cells),
        )

    def heading(self) -> Line:
        """What the columns are."""
        titles = "".join(fit_right(column.title, column.width) for column in self.right)
        left = fit("EXPORT", self.export + self.number) + fit("FROM", self.origin)
        return line("", self.width, Span(left + titles, "dim"))


class ClientsPanel(LinesPanel):
    """All clients."""

    TITLE = "Clients"
    NUMBER = "7"
    HEADING_ROWS: ClassVar[int] = 1

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._rows: Sequence[ClientRow] = ()

    def show(self, rows: Sequence[ClientRow]) -> None:
        """New numbers."""
        shape_before = self._shape()
        self._rows = rows
        self.set_caption(f"{self.caption} {len(rows)}")
        self.update_lines()
        if self._shape() != shape_before:
            self.refresh()  # the heading's columns have moved

    def _shape(self) -> tuple[int, int]:
        layout = _Layout(self._rows, self.inner_width)
        return layout.export, layout.number

    @property
    def selected(self) -> ClientRow | None:
        """The client under the cursor."""
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    def heading_line(self, width: int) -> Line:
        """What the columns are; nothing while there is nobody."""
        return _Layout(self._rows, width).heading() if self._rows else line("", width)

    def make_lines(self, width: int) -> list[Line]:
        """The clients, or that there is none."""
        if not self._rows:
            return [line("", width, Span("no client is connected", "dim"))]
        layout = _Layout(self._rows, width)
        return [layout.line(row) for row in self._rows]
