"""Which plots there are, and each of them from a series: as a chart, as a strip, at an instant.

Operations and bytes have two curves: all, which a total limit holds, and below it one direction,
which a limit of its own holds; the other direction is the rest, a number in the legend.  That
curve is of the reads, but of the writes where only they have a limit.  A limit of the writes where
the reads have one too is a word in the legend.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan, nan
from operator import add
from typing import NamedTuple

from blkrun.dashboard.lines import GAP, Line, Span, fit, fit_right, fit_spans
from blkrun.dashboard.model.chart import (
    TONES,
    Bound,
    Chart,
    Curve,
    Rest,
    columns_of,
    most_of,
    wanted_peak,
)
from blkrun.dashboard.model.history import Limit, Measure, Series
from blkrun.dashboard.model.raster import Symbols
from blkrun.dashboard.model.sampling import Sampler, Window, means, peaks, window
from blkrun.dashboard.model.scale import Scale, format_count, format_ms, next_scale
from blkrun.dashboard.model.subject import Subject
from blkrun.units import format_short

_PRESENT_S = 6.0
"""Numbers that are older than this are not the present ones."""

_LABEL, _VALUE, _MOST = 6, 5, 14
"""Cells of a strip's parts around its bars."""

_LEAST_BARS = 12
"""What the most gives way to."""


class Part(NamedTuple):
    """A curve of a plot, or its rest: the sum of ``measures``, and the limit that holds it."""

    name: str
    mark: str
    measures: tuple[Measure, ...]
    limit: Limit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One of them: its curves, and what there may be besides, ``rest``.

    ``least`` is the smallest top of its axis; ``peaks``: columns show the most, not the mean.
    """

    key: str
    title: str
    short: str
    curves: tuple[Part, ...]
    rest: Part | None = None
    write: Callable[[float], str]
    unit: str = ""
    least: float
    peaks: bool = False


PLOTS = (
    Plot(
        key="iops",
        title="IOPS",
        short="IOPS",
        curves=(
            Part("all", "all", ("reads", "writes"), "iops-total"),
            Part("read", "rd", ("reads",), "iops-read"),
        ),
        rest=Part("write", "wr", ("writes",), "iops-write"),
        write=format_short,
        least=10,
    ),
    Plot(
        key="bytes",
        title="Bytes/s",
        short="B/s",
        curves=(
            Part("all", "all", ("read_bytes", "write_bytes"), "bps-total"),
            Part("read", "rd", ("read_bytes",), "bps-read"),
        ),
        rest=Part("write", "wr", ("write_bytes",), "bps-write"),
        write=format_short,
        least=10_000,
    ),
    Plot(
        key="latency",
        title="Latency ms",
        short="p99 ms",
        curves=(Part("p50", "p50", ("p50_ns",)), Part("p99", "p99", ("p99_ns",))),
        write=format_ms,
        unit=" ms",
        least=10_000,
        peaks=True,
    ),
    Plot(
        key="depth",
        title="In flight",
        short="QD",
        curves=(Part("now", "", ("in_flight",)),),
        write=format_count,
        least=4,
        peaks=True,
    ),
)


def in_order(first: int) -> tuple[Plot, ...]:
    """All plots, ``first`` first."""
    return PLOTS[first:] + PLOTS[:first]


def chart_of(  # noqa: PLR0913 - what a chart depends on
    plot: Plot,
    subject: Subject,
    series: Series,
    *,
    now_s: float,
    width: int,
    symbols: Symbols,
    scale: Scale | None,
    cursor_s: float | None,
    sampler: Sampler | None = None,
) -> tuple[Chart, Scale]:
    """A plot for ``width`` cells, and the scale to give back for the next one.

    ``sampler`` knows the same series of before.
    """
    sampler = sampler or Sampler()
    seen = window(series, columns_of(width, len(plot.curves), symbols), now_s)
    parts, rest = _parts(plot, series)
    curves = [
        Curve(
            part.name,
            part.mark,
            _sampled(plot, part, series, seen, sampler),
            present(part, series, now_s),
        )
        for part in parts
    ]
    bounds = [
        Bound(_limit_name(part), columns, _limit_now(part, series, now_s), part is not rest)
        for part in (*parts, *filter(None, (rest,)))
        if (columns := _limit_columns(part, series, seen, sampler)) is not None
    ]
    scale = next_scale(scale, wanted_peak(curves, bounds), plot.least, now_s)
    chart = Chart(
        key=plot.key,
        title=_title(plot, subject),
        curves=curves,
        rest=Rest(rest.name, rest.mark, present(rest, series, now_s)) if rest else None,
        bounds=bounds,
        span_s=series.span_s,
        top=scale.top,
        write=plot.write,
        filled=len(curves) == 1,
        empty=_nothing(plot, subject),
        cursor=None if cursor_s is None else seen.column_at(cursor_s),
        symbols=symbols,
    )
    return chart, scale


def _title(plot: Plot, subject: Subject) -> str:
    return "Waiting" if plot.key == "depth" and subject.kind == "group" else plot.title


def _nothing(plot: Plot, subject: Subject) -> str:
    return "of nodes and exports only" if plot.key == "latency" and subject.kind == "group" else ""


def _parts(plot: Plot, series: Series) -> tuple[tuple[Part, ...], Part | None]:
    """The curves, and the rest: the other way round where only the rest has a limit."""
    rest = plot.rest
    if rest is None:
        return plot.curves, None
    whole, direction = plot.curves
    if rest.limit in series.limits and direction.limit not in series.limits:
        direction, rest = rest, direction
    return (whole, direction), rest


def _limit_name(part: Part) -> str:
    return "limit" if len(part.measures) > 1 else f"limit {part.mark}"


def _sampled(plot: Plot, part: Part, series: Series, seen: Window, sampler: Sampler) -> list[float]:
    return sampler.columns(f"{plot.key}/{part.name}", seen, partial(_columns, plot, part, series))


def _columns(plot: Plot, part: Part, series: Series, seen: Window) -> list[float]:
    sample = peaks if plot.peaks else means
    first, *more = (sample(series.values[measure], seen) for measure in part.measures)
    for each in more:
        first = list(map(add, first, each))
    return first


def _limit_columns(
    part: Part, series: Series, seen: Window, sampler: Sampler
) -> list[float] | None:
    """None if there was none at any time."""
    if part.limit is None or part.limit not in series.limits:
        return None
    return sampler.columns(part.limit, seen, partial(peaks, series.limits[part.limit]))


def _limit_now(part: Part, series: Series, now_s: float) -> float:
    """The one in force; NaN if there is none."""
    limits = None if part.limit is None else series.limits.get(part.limit)
    is_old = now_s - series.end_s > _PRESENT_S
    return nan if limits is None or is_old else _known(limits[-1])


def _known(value: float) -> float:
    """What is not known is always the same NaN: charts are compared."""
    return nan if isnan(value) else value


def present(part: Part, series: Series, now_s: float) -> float:
    """What it is now; NaN if that is not known."""
    if now_s - series.end_s > _PRESENT_S:
        return nan
    return _known(sum(series.values[measure][-1] for measure in part.measures))


# Strips: one row a plot


def strip(  # noqa: PLR0913 - what a strip depends on
    plot: Plot,
    series: Series,
    *,
    now_s: float,
    width: int,
    symbols: Symbols,
    sampler: Sampler | None = None,
) -> Line:
    """``IOPS  1.5k ▂▂▃▅▇ max 2.0k/3.0k``: present value, past and most, and the limit if any.

    Where only a direction has a limit it is told instead of the most: ``rd 1.0k/2.0k``.
    """
    most_width = _MOST if width >= _LABEL + _VALUE + _MOST + _LEAST_BARS else 0
    room = max(width - _LABEL - _VALUE - most_width - 2, 1)
    seen = window(series, room, now_s)
    part = plot.curves[-1] if plot.peaks else plot.curves[0]
    columns = _sampled(plot, part, series, seen, sampler or Sampler())
    now = present(part, series, now_s)
    most = most_of([columns])
    known = not all(map(isnan, columns))
    held = _held(plot, series, now_s, most if known else nan)
    spans = (
        Span(fit(plot.short, _LABEL), "title"),
        Span(fit_right(GAP if isnan(now) else plot.write(now), _VALUE), "number"),
        Span(" " + bars(columns, max(most, plot.least), symbols) + " ", TONES[0]),
        Span(fit(held.text, most_width), held.tone),
    )
    return Line(f"{plot.key}/strip", fit_spans(spans, width))


def _held(plot: Plot, series: Series, now_s: float, most: float) -> Span:
    """The most of all and its limit, or the direction that has the only limit in force."""
    whole, *others = _parts(plot, series)[0]
    limit = _limit_now(whole, series, now_s)
    name, number = "max", most
    for part in others:
        own = _limit_now(part, series, now_s)
        if isnan(limit) and not isnan(own):
            name, number, limit = part.mark, present(part, series, now_s), own
    text = f"{name} {GAP if isnan(number) else plot.write(number):>4}"
    if isnan(limit):
        return Span(text, "dim")
    return Span(f"{text}/{plot.write(limit)}", "warn" if number >= 0.8 * limit else "dim")


_BARS: dict[Symbols, str] = {"braille": "▁▂▃▄▅▆▇█", "block": "▁▂▃▄▅▆▇█", "ascii": "_.:-=+*#"}


def bars(columns: Sequence[float], top: float, symbols: Symbols) -> str:
    """One cell a column; a gap is empty, and so nothing else is."""
    glyphs = _BARS[symbols]
    factor = len(glyphs) / top
    return "".join(
        " " if isnan(value) else glyphs[int(min(value * factor, len(glyphs) - 1))]
        for value in columns
    )


# An instant


def readings(series: Series, at_s: float) -> list[str]:
    """What all was at an instant.

    ``IOPS 1.5k (rd 1.0k, wr 500)``, … ``p99 3.1 ms``, ``in flight 4``.
    """
    first_s = series.end_s - len(series.values["reads"]) * series.slot_s
    slot = int((at_s - first_s) / series.slot_s)
    inside = 0 <= slot < len(series.values["reads"])

    def value(part: Part) -> float:
        return sum(series.values[each][slot] for each in part.measures) if inside else nan

    found: list[str] = []
    for plot in PLOTS:
        if plot.rest is None:
            found += (
                f"{part.name if part.mark else 'in flight'} {_reading(plot, value(part))}"
                for part in plot.curves
            )
            continue
        whole, direction = plot.curves
        parts = ", ".join(
            f"{part.mark} {_reading(plot, value(part))}" for part in (direction, plot.rest)
        )
        amount = value(whole)
        known = "" if isnan(amount) else f" ({parts})"
        found.append(f"{plot.short} {_reading(plot, amount)}{known}")
    return found


def _reading(plot: Plot, value: float) -> str:
    return GAP if isnan(value) else f"{plot.write(value)}{plot.unit}"
