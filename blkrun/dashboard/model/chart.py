"""A chart of one or two curves as lines of text.

::

    IOPS  all 1.7k  read 1.2k  write 500  limit 3.0k
    3.0k╪╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌
    1.5k┤⠤⠤⠤⠴⠒⠒⠒⠒⠒⠦⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤all
       0┤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤rd
        └-60 s─────────────────now
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import filterfalse
from math import isnan
from typing import NamedTuple

from blkrun.dashboard.lines import GAP, Line, Span, Tone, fit, fit_right, fit_spans
from blkrun.dashboard.model.raster import (
    DOTS,
    FRAMES,
    Drawing,
    Frame,
    Ink,
    Symbols,
    area,
    curve,
    draw,
    height_of,
)

AXIS = 5
"""Cells of the y axis."""

MARK = 3
"""Cells of the names at the ends of the lines."""

LEAST_HEIGHT = 6
"""Rows below which there is little to see in a chart: a title, four of curves, the x axis."""

FAR = 5
"""A limit so many times above all values would press them flat: only a word tells it."""

TONES: tuple[Tone, Tone] = ("export", "good")


@dataclass(frozen=True, slots=True)
class Curve:
    """``mark`` is its name in at most ``MARK`` cells, for the end of the line.

    NaN in ``columns`` is a gap.
    """

    name: str
    mark: str
    columns: Sequence[float]
    now: float


class Rest(NamedTuple):
    """A number of the legend that has no curve of its own: what is left of one that has."""

    name: str
    mark: str
    now: float


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit as it was in each column, and as it is; NaN where there was none.

    One that is not ``drawn`` holds what has no curve: only a word tells it.
    """

    name: str
    columns: Sequence[float]
    now: float
    drawn: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What to draw; the curves' columns are as many as ``columns_of`` says."""

    key: str
    title: str
    curves: Sequence[Curve]
    rest: Rest | None = None
    bounds: Sequence[Bound] = ()
    span_s: float
    top: float
    write: Callable[[float], str]
    filled: bool = False
    empty: str = ""
    cursor: int | None = None
    symbols: Symbols = "braille"


def columns_of(width: int, curves: int, symbols: Symbols) -> int:
    """Columns of dots in a chart of ``width`` cells."""
    return body_width(width, curves) * DOTS[symbols].across


def body_width(width: int, curves: int) -> int:
    """Cells that the curves have in a chart of ``width`` cells; they begin after the axis."""
    return max(width - AXIS - _marks_width(curves), 1)


def _marks_width(curves: int) -> int:
    return MARK if curves > 1 else 0


def most_of(all_columns: Sequence[Sequence[float]]) -> float:
    """The largest number there is; 0 if there is none."""
    return max((max(filterfalse(isnan, each), default=0.0) for each in all_columns), default=0.0)


def wanted_peak(curves: Sequence[Curve], bounds: Sequence[Bound]) -> float:
    """What has to be on the scale: all values, and limits that are not far above them."""
    peak = most_of([each.columns for each in curves])
    limits = {each for bound in bounds if bound.drawn for each in bound.columns}
    return max(peak, *(each for each in limits if each <= FAR * peak), 0.0)


def chart_lines(chart: Chart, width: int, height: int) -> list[Line]:
    """Exactly ``height`` lines of exactly ``width`` cells."""
    frame = FRAMES[chart.symbols]
    body_height = max(height - 2, 1)
    rows = _body(chart, width, body_height)
    marks = _marks(chart, body_height)
    labels = _labels(chart, body_height, frame)
    lines = [Line(f"{chart.key}/title", fit_spans(_title(chart, width, frame), width))]
    for row, (label, spans, mark) in enumerate(zip(labels, rows, marks, strict=True)):
        whole = (label, *spans, *mark)
        fitting = whole if width > AXIS + MARK else fit_spans(whole, width)
        lines.append(Line(f"{chart.key}/{row}", fitting))
    base = x_axis(chart.span_s, max(width - AXIS + 1, 0), frame)
    lines.append(Line(f"{chart.key}/axis", (Span(fit(" " * (AXIS - 1) + base, width), "dim"),)))
    return lines[:height]


def _body(chart: Chart, width: int, height: int) -> list[tuple[Span, ...]]:
    cells = body_width(width, len(chart.curves))
    across, up = DOTS[chart.symbols]
    if chart.empty or all(isnan(each) for one in chart.curves for each in one.columns):
        return _empty(chart.empty, cells, height)
    trace = area if chart.filled else curve
    traces = [trace(each.columns, chart.top, height * up) for each in chart.curves]
    drawing = Drawing(
        cells,
        height,
        traces[0],
        traces[1] if len(traces) > 1 else [0] * (cells * across),
        [_limit_rows(bound, chart, cells, height) for bound in chart.bounds if bound.drawn],
        None if chart.cursor is None else min(chart.cursor // across, cells - 1),
    )
    return draw(drawing, chart.symbols, Ink(*TONES))


def _empty(text: str, cells: int, height: int) -> list[tuple[Span, ...]]:
    rows: list[tuple[Span, ...]] = [(Span(" " * cells),)] * height
    rows[height // 2] = (Span(fit(text.center(cells), cells), "dim"),)
    return rows


def _limit_rows(bound: Bound, chart: Chart, cells: int, height: int) -> list[int]:
    """In which row it is in each cell; -1 where there is none or it is beyond the scale."""
    last_of_each = bound.columns[DOTS[chart.symbols].across - 1 :: DOTS[chart.symbols].across]
    return [
        -1 if isnan(value) or value > chart.top else _row_of(value, chart, height)
        for value in last_of_each[:cells]
    ]


# Around the curves


def _title(chart: Chart, width: int, frame: Frame) -> tuple[Span, ...]:
    """The name, then present values and limits, each whole or not.

    If need be their names are short, and what is left of the others is not said.
    """
    room = width - len(chart.title)
    facts = _facts(chart, frame, short=False)
    if sum(map(_needed, facts)) > room:
        facts = _facts(chart, frame, short=True)
    if sum(map(_needed, facts)) > room and chart.bounds:
        facts = _facts(replace(chart, rest=None), frame, short=True)
    spans = [Span(chart.title, "title")]
    for fact in facts:
        needed = _needed(fact)
        if needed <= room:
            room -= needed
            spans += (Span(f"  {fact.name} {fact.number}", fact.tone),)
    return tuple(spans)


class _Fact(NamedTuple):
    name: str
    number: str
    tone: Tone


def _needed(fact: _Fact) -> int:
    return len(fact.name) + len(fact.number) + 3


def _facts(chart: Chart, frame: Frame, *, short: bool) -> list[_Fact]:
    facts: list[_Fact] = []
    for each, tone in zip(chart.curves, TONES, strict=False):
        now = GAP if isnan(each.now) else chart.write(each.now)
        name = each.mark if short and each.mark else each.name
        facts.append(_Fact(name, now if short else f"{now:>4}", tone))
    if chart.rest is not None:
        now = GAP if isnan(chart.rest.now) else chart.write(chart.rest.now)
        name = chart.rest.mark if short else chart.rest.name
        facts.append(_Fact(name, now if short else f"{now:>4}", "plain"))
    for bound in chart.bounds:
        if not isnan(bound.now):
            far = f" {frame.up}" if bound.drawn and bound.now > chart.top else ""
            facts.append(_Fact(bound.name, f"{chart.write(bound.now)}{far}", "warn"))
    return facts


def _labels(chart: Chart, height: int, frame: Frame) -> list[Span]:
    """The top at the first row's upper edge, zero at the last one's lower edge, limits between.

    A curve that is held to its limit hides the limit's line, but not this.
    """
    texts = {0: chart.write(chart.top), height - 1: "0"}
    if height >= 4:
        texts.setdefault(height // 2, chart.write(chart.top / 2))
    held = {
        _row_of(bound.now, chart, height): chart.write(bound.now)
        for bound in chart.bounds
        if bound.drawn and bound.now <= chart.top
    }
    return [_label(row, texts, held, frame) for row in range(height)]


def _label(row: int, texts: dict[int, str], held: dict[int, str], frame: Frame) -> Span:
    if row in held:
        return Span(fit_right(held[row], AXIS - 1) + frame.limit, "warn")
    if row in texts:
        return Span(fit_right(texts[row], AXIS - 1) + frame.tick, "dim")
    return Span(" " * (AXIS - 1) + frame.side, "dim")


def _row_of(value: float, chart: Chart, height: int) -> int:
    up = DOTS[chart.symbols].up
    return height - 1 - height_of(value, chart.top, height * up) // up


def _marks(chart: Chart, height: int) -> list[tuple[Span, ...]]:
    """Each curve's mark behind its last value; of two in one row the lower one's goes below."""
    if len(chart.curves) < 2:
        return [()] * height
    ends = [
        (each.now, Span(fit(each.mark, MARK), tone))
        for each, tone in zip(chart.curves, TONES, strict=False)
        if not chart.empty and not isnan(each.now)
    ]
    ends.sort(key=lambda end: -end[0])
    rows = [_row_of(now, chart, height) for now, _ in ends]
    if len(set(rows)) < len(rows):
        rows = _apart(rows[0], height)
    marks = {row: span for row, (_, span) in zip(rows, ends, strict=True)}
    return [(marks.get(row, Span(" " * MARK)),) for row in range(height)]


def _apart(row: int, height: int) -> list[int]:
    """Two rows for what wants the same one; none above the highest, none below the lowest."""
    below = min(row + 1, height - 1)
    return [max(below - 1, 0), below]


@lru_cache(maxsize=64)
def x_axis(span_s: float, width: int, frame: Frame) -> str:
    """From the past to now, in ``width`` cells."""
    begin, middle, end = _age(span_s, frame), _age(span_s / 2, frame), "now"
    inner = width - 1
    base = frame.corner + begin + frame.base * max(inner - len(begin) - len(end), 0) + end
    if inner < len(begin) + len(end) + 1:
        return fit(frame.corner + end.rjust(max(inner, 0), frame.base), width)
    at = 1 + inner // 2 - len(middle) // 2
    if inner >= 3 * (len(middle) + 4):
        base = base[:at] + middle + base[at + len(middle) :]
    return base


def _age(seconds: float, frame: Frame) -> str:
    if seconds > 60:
        return f"{frame.minus}{seconds / 60:g} min"
    return f"{frame.minus}{seconds:g} s"
