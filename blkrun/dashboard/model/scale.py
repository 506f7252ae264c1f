"""The y axis of a chart: from zero to a round number that grows at once and shrinks late."""

from math import floor, log10
from typing import NamedTuple

from blkrun.units import format_short

_ROUND = (1, 2, 3, 4, 5, 6, 8, 10)
"""Tops of an axis; half of each is short, too."""

_SHRINK_AFTER_S = 10.0


class Scale(NamedTuple):
    """``top`` is the axis' end.  Since ``low_since_s`` a ``lower`` one would have been enough."""

    top: float
    lower: float = 0.0
    low_since_s: float | None = None


def round_top(peak: float) -> float:
    """The next round number that is not below ``peak``, which is above zero."""
    power = 10.0 ** floor(log10(peak))
    return next((each * power for each in _ROUND if each * power >= peak), 10 * power)


def next_scale(scale: Scale | None, peak: float, least: float, now_s: float) -> Scale:
    """The scale of values up to ``peak``; never smaller than ``least``."""
    wanted = round_top(max(peak, least))
    if scale is None or wanted >= scale.top:
        return Scale(wanted)
    since_s = scale.low_since_s
    if since_s is None or now_s < since_s:
        return Scale(scale.top, wanted, now_s)
    lower = max(wanted, scale.lower)
    if now_s - since_s >= _SHRINK_AFTER_S:
        return Scale(lower)
    return Scale(scale.top, lower, since_s)


def format_ms(value_ns: float) -> str:
    """Nanoseconds as milliseconds in four characters or fewer: ``.008``, ``0.25``, ``3.1``."""
    value = value_ns / 1e6
    if value < 0.0095:
        return f"{value:.3f}"[1:] if value >= 0.0005 else "0"
    if value < 0.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 9.95 else format_short(value)


def format_count(value: float) -> str:
    """Requests, of which half of an odd number is no half request on an axis."""
    return f"{value:.1f}" if value < 9.95 and value != int(value) else format_short(value)
