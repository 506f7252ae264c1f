"""Which plots there are, and each of them from a series: as a chart, as a strip, at an instant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan, nan
from operator import add

from blkrun.dashboard.lines import GAP, Line, Span, fit, fit_right, fit_spans
from blkrun.dashboard.model.chart import (
    TONES,
    Bound,
    Chart,
    Curve,
    columns_of,
    most_of,
    wanted_peak,
)
from blkrun.dashboard.model.history import Limit, Measure, Series
from blkrun.dashboard.model.raster import Symbols
from blkrun.dashboard.model.sampling import Window, means, peaks, window
from blkrun.dashboard.model.scale import Scale, format_count, format_ms, next_scale
from blkrun.dashboard.model.subject import Subject
from blkrun.units import format_short

_PRESENT_S = 6.0
"""Numbers that are older than this are not the present ones."""

_LABEL, _VALUE, _MOST = 6, 5, 14
"""Cells of a strip's parts around its bars."""

_LEAST_BARS = 12
"""What the most gives way to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One of them.  ``curves`` and ``limits`` are measures with their names (and marks).

    ``least`` is the smallest top of its axis; ``peaks``: columns show the most, not the mean.
    """

    key: str
    title: str
    short: str
    curves: tuple[tuple[Measure, str, str], ...]
    limits: tuple[tuple[Limit, str], ...] = ()
    write: Callable[[float], str]
    unit: str = ""
    least: float
    peaks: bool = False


PLOTS = (
    Plot(
        key="iops",
        title="IOPS",
        short="IOPS",
        curves=(("reads", "read", "rd"), ("writes", "write", "wr")),
        limits=(("iops-total", "limit"), ("iops-read", "limit rd"), ("iops-write", "limit wr")),
        write=format_short,
        least=10,
    ),
    Plot(
        key="bytes",
        title="Bytes/s",
        short="B/s",
        curves=(("read_bytes", "read", "rd"), ("write_bytes", "write", "wr")),
        limits=(("bps-total", "limit"), ("bps-read", "limit rd"), ("bps-write", "limit wr")),
        write=format_short,
        unit="B",
        least=10_000,
    ),
    Plot(
        key="latency",
        title="Latency ms",
        short="p99 ms",
        curves=(("p50_ns", "p50", "50"), ("p99_ns", "p99", "99")),
        write=format_ms,
        unit=" ms",
        least=10_000,
        peaks=True,
    ),
    Plot(
        key="depth",
        title="In flight",
        short="QD",
        curves=(("in_flight", "now", ""),),
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
) -> tuple[Chart, Scale]:
    """A plot for ``width`` cells, and the scale to give back for the next one."""
    seen = window(series, columns_of(width, len(plot.curves), symbols), now_s)
    sample = peaks if plot.peaks else means
    curves = [
        Curve(name, mark, sample(series.values[measure], seen), present(series, measure, now_s))
        for measure, name, mark in plot.curves
    ]
    bounds = _bounds(plot, series, seen)
    scale = next_scale(scale, wanted_peak(curves, bounds), plot.least, now_s)
    chart = Chart(
        key=plot.key,
        title=_title(plot, subject),
        curves=curves,
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


def _bounds(plot: Plot, series: Series, seen: Window) -> list[Bound]:
    return [
        Bound(name, peaks(series.limits[limit], seen))
        for limit, name in plot.limits
        if limit in series.limits
    ]


def present(series: Series, measure: Measure, now_s: float) -> float:
    """What it is now; NaN if that is not known."""
    if now_s - series.end_s > _PRESENT_S:
        return nan
    return series.values[measure][-1]


# Strips: one row a plot


def strip(plot: Plot, series: Series, *, now_s: float, width: int, symbols: Symbols) -> Line:
    """``IOPS  1.5k ▂▂▃▅▇ max 2.0k/3.0k``: present value, past and most, and the limit if any."""
    most_width = _MOST if width >= _LABEL + _VALUE + _MOST + _LEAST_BARS else 0
    room = max(width - _LABEL - _VALUE - most_width - 2, 1)
    seen = window(series, room, now_s)
    columns, now = _strip_numbers(plot, series, seen, now_s)
    most = most_of([columns])
    limit = _limit_now(plot, series)
    known = not all(map(isnan, columns))
    text = f"max {plot.write(most) if known else GAP:>4}"
    if limit is not None:
        text += f"/{plot.write(limit)}"
    spans = (
        Span(fit(plot.short, _LABEL), "title"),
        Span(fit_right(GAP if isnan(now) else plot.write(now), _VALUE), "number"),
        Span(" " + bars(columns, max(most, plot.least), symbols) + " ", TONES[0]),
        Span(fit(text, most_width), "dim" if limit is None or most < 0.8 * limit else "warn"),
    )
    return Line(f"{plot.key}/strip", fit_spans(spans, width))


def _strip_numbers(
    plot: Plot, series: Series, seen: Window, now_s: float
) -> tuple[list[float], float]:
    """Reads and writes together; of percentiles the higher one."""
    measures = [measure for measure, _, _ in plot.curves]
    if plot.peaks:
        return peaks(series.values[measures[-1]], seen), present(series, measures[-1], now_s)
    parts = [means(series.values[measure], seen) for measure in measures]
    return list(map(add, *parts)), sum(present(series, measure, now_s) for measure in measures)


def _limit_now(plot: Plot, series: Series) -> float | None:
    """Of reads and writes together, the one in force."""
    if not plot.limits:
        return None
    limits = series.limits.get(plot.limits[0][0])
    return None if limits is None or isnan(limits[-1]) else limits[-1]


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
    """What every curve was at an instant: ``read 1.2k``, … ``p99 3.1 ms``, ``in flight 4``."""
    first_s = series.end_s - len(series.values["reads"]) * series.slot_s
    slot = int((at_s - first_s) / series.slot_s)
    inside = 0 <= slot < len(series.values["reads"])
    return [
        f"{'in flight' if plot.key == 'depth' else name} "
        + _reading(plot, series.values[measure][slot] if inside else nan)
        for plot in PLOTS
        for measure, name, _ in plot.curves
    ]


def _reading(plot: Plot, value: float) -> str:
    return GAP if isnan(value) else f"{plot.write(value)}{plot.unit}"
