"""Jobs: one row each with a bar, in two where there is no room beside it; below it a long error."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from blkrun.dashboard.lines import (
    GAP,
    Line,
    Span,
    Tone,
    clean,
    fit,
    fit_right,
    gauge,
    line,
    spread,
    wrap,
)
from blkrun.dashboard.model.jobs import JobCount, JobRow, Mood, job_count, share_text
from blkrun.dashboard.model.status import duration_text
from blkrun.dashboard.model.tree import size_text
from blkrun.dashboard.widgets.panel import LinesPanel
from blkrun.units import format_short

_LEAST_BAR = 12
_GAP_WIDTH = 2
_FRAME = 2

_TONES: dict[Mood, Tone] = {
    "works": "good",
    "waits": "plain",
    "needs": "warn",
    "done": "good",
    "failed": "bad",
    "gone": "dim",
}


class _Column(NamedTuple):
    """Left of the bar: as wide as the longest of all rows, up to ``width``.  Right: that wide."""

    width: int
    cell: Callable[[JobRow], Span]


def _route(row: JobRow) -> Span:
    return Span(f"{row.device} → {row.target}", "name")


def _percent(row: JobRow) -> Span:
    return Span(GAP, "dim") if row.share is None else Span(share_text(row.share), "number")


def _amount(row: JobRow) -> Span:
    done = size_text(row.done_bytes)
    return Span(f"{done}/{size_text(row.total_bytes)}" if row.total_bytes else done, "dim")


def _rate(row: JobRow) -> Span:
    if row.rate is not None:
        return Span(f"{format_short(row.rate)}/s", "number")
    return Span(GAP if row.mood == "works" else "", "dim")


def _time(row: JobRow) -> Span:
    if row.left_s is not None:
        return Span(f"{duration_text(row.left_s)} left", "number")
    return Span("" if row.ran_s is None else f"in {duration_text(row.ran_s)}", "dim")


_NAME = _Column(20, lambda row: Span(row.name, "export"))
_TYPE = _Column(8, lambda row: Span(row.type, "dim"))
_ROUTE = _Column(30, _route)
_STATE = _Column(20, lambda row: Span(row.state, _TONES[row.mood]))
_PERCENT, _AMOUNT = _Column(5, _percent), _Column(17, _amount)
_RATE, _TIME = _Column(8, _rate), _Column(15, _time)

_BESIDE: tuple[tuple[tuple[_Column, ...], tuple[_Column, ...]], ...] = (
    ((_NAME, _TYPE, _ROUTE, _STATE), (_PERCENT, _AMOUNT, _RATE, _TIME)),
    ((_NAME, _ROUTE, _STATE), (_PERCENT, _AMOUNT, _RATE, _TIME)),
    ((_NAME, _ROUTE, _STATE), (_PERCENT, _RATE, _TIME)),
)
"""What stands left and right of the bar, for ever less room."""

_BELOW: tuple[tuple[_Column, ...], ...] = (
    (_PERCENT, _AMOUNT, _RATE, _TIME),
    (_PERCENT, _RATE, _TIME),
    (_PERCENT, _TIME),
    (_PERCENT,),
    (),
)
"""Right of a bar that has a row of its own."""


class _Layout:
    """Columns at a width.  ``left`` is empty where each job takes two rows."""

    def __init__(self, rows: Sequence[JobRow], width: int) -> None:
        self.width = width
        self.right: tuple[_Column, ...]
        for left, self.right in _BESIDE:
            self.left = [(column, _longest(rows, column)) for column in left]
            self.bar = self._rest(sum(size for _, size in self.left))
            if self.bar >= _LEAST_BAR:
                return
        self.left = []
        for self.right in _BELOW:
            self.bar = self._rest(1)
            if self.bar >= _LEAST_BAR:
                return

    def _rest(self, used: int) -> int:
        return self.width - used - sum(column.width for column in self.right)

    def lines(self, row: JobRow) -> Iterator[Line]:
        """One job."""
        if self.left:
            head = tuple(_fitted(column.cell(row), size) for column, size in self.left)
            yield self._bar_line(row.name, row, head)
        else:
            yield self._head(row)
            yield self._bar_line(f"{row.name}//bar", row, (Span(" "),))
        if row.error and not self._in_bar(row):
            for number, text in enumerate(wrap(row.error, self.width - _GAP_WIDTH)):
                yield line(f"{row.name}//{number}", self.width, Span(f"  {text}", "bad"))

    def _head(self, row: JobRow) -> Line:
        name, state = _NAME.cell(row), _STATE.cell(row)
        return spread(row.name, self.width, (name, Span("  "), _ROUTE.cell(row)), state)

    def _bar_line(self, key: str, row: JobRow, head: tuple[Span, ...]) -> Line:
        cells = [(column.cell(row), column.width) for column in self.right]
        figures = (Span(fit_right(cell.text, size), cell.tone) for cell, size in cells)
        return line(key, self.width, *head, self._bar(row), *figures)

    def _bar(self, row: JobRow) -> Span:
        if self._in_bar(row):
            return Span(fit(row.error, self.bar), "bad")
        return Span(gauge(row.share or 0.0, self.bar), "dim" if row.ended else _TONES[row.mood])

    def _in_bar(self, row: JobRow) -> bool:
        """An error stands where the bar was, which says nothing more, if it can be read there."""
        return bool(row.error) and cell_len(clean(row.error)) <= self.bar


def _longest(rows: Sequence[JobRow], column: _Column) -> int:
    longest = max((cell_len(clean(column.cell(row).text)) for row in rows), default=0)
    return min(longest, column.width) + _GAP_WIDTH


def _fitted(span: Span, width: int) -> Span:
    return Span(fit(span.text, width - _GAP_WIDTH) + " " * _GAP_WIDTH, span.tone)


def job_lines(rows: Sequence[JobRow], width: int) -> list[Line]:
    """All jobs, each line exactly ``width`` cells."""
    layout = _Layout(rows, width)
    return [shown for row in rows for shown in layout.lines(row)]


def count_spans(count: JobCount) -> tuple[Span, ...]:
    """``2 ▸ 42%`` and ``1 FAILED``: what is under way, what somebody should see, else what was."""
    parts: list[Span] = []
    if count.live:
        share = "" if count.share is None else f" ▸ {share_text(count.share)}"
        parts.append(Span(f"{count.live}{share}", "number"))
    for word, number in count.alarms:
        parts.append(Span(f"{number} {word}", "bad" if word == "FAILED" else "warn"))
    return tuple(parts) or (Span(f"{count.ended} ended", "dim"),)


class JobsPanel(LinesPanel):
    """All jobs."""

    TITLE = "Jobs"
    NUMBER = "6"

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._rows: Sequence[JobRow] = ()

    def show(self, rows: Sequence[JobRow]) -> None:
        """New numbers, or the same."""
        if rows == self._rows:
            return
        self._rows = rows
        counted = " · ".join(span.text for span in count_spans(job_count(rows)))
        self.set_caption(f"{self.caption} {counted}" if rows else self.caption)
        self.update_lines()

    def height_at(self, width: int) -> int:
        """Rows that would show everything in so many columns, frame included; 0 without jobs."""
        return len(job_lines(self._rows, width - _FRAME)) + _FRAME if self._rows else 0

    @property
    def selected(self) -> str:
        """The name of the job that the selected line is of; "" without jobs."""
        key = self.lines[self.cursor].key if self.cursor < self.row_count else ""
        return key.partition("//")[0]

    def make_lines(self, width: int) -> list[Line]:
        """The jobs."""
        return job_lines(self._rows, width)
