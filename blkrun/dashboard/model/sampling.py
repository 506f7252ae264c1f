"""Slots of a history as columns of a chart.

Columns lie on a grid of their own that does not move with the present: a peak stays in its column
while that wanders to the left, and does not flicker.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import ceil, floor, isnan, nan

from blkrun.dashboard.model.history import Series
from blkrun.dashboard.model.rings import SLOTS

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Window:
    """``count`` columns up to now; each is the slots of a series from one index to another."""

    begin_s: float
    column_s: float
    slots: tuple[tuple[int, int], ...]

    def column_at(self, at_s: float) -> int | None:
        """The column of an instant, if it is in the window."""
        column = floor((at_s - self.begin_s) / self.column_s + _ROUNDING)
        return column if 0 <= column < len(self.slots) else None


def window(series: Series, count: int, now_s: float) -> Window:
    """The last ``span_s`` of a series in ``count`` columns; ``now_s`` may be after its end."""
    return _window(series.span_s, series.slot_s, series.end_s, count, now_s)


@lru_cache(maxsize=8)
def _window(span_s: float, slot_s: float, end_s: float, count: int, now_s: float) -> Window:
    """Charts side by side have the same one."""
    column_s = span_s / count
    last = ceil(now_s / column_s - _ROUNDING)
    begin_s = (last - count) * column_s
    offset, ratio = (begin_s - end_s) / slot_s + SLOTS, column_s / slot_s
    edges = [ceil(offset + ratio * column - _ROUNDING) for column in range(count + 1)]
    slots = (
        # A column that is shorter than a slot shows the one that it is in.
        (max(begin if end > begin else end - 1, 0), max(end, 0))
        for begin, end in pairwise(edges)
    )
    return Window(begin_s, column_s, tuple(slots))


def means(values: Sequence[float], seen: Window) -> list[float]:
    """Of what is known in each column."""
    found: list[float] = []
    for begin, end in seen.slots:
        part = values[begin:end]
        amount = sum(part) / len(part) if part else nan
        if isnan(amount) and len(part) > 1:
            known = [each for each in part if not isnan(each)]
            amount = sum(known) / len(known) if known else nan
        found.append(amount)
    return found


def peaks(values: Sequence[float], seen: Window) -> list[float]:
    """The most of what is known in each column."""
    found: list[float] = []
    for begin, end in seen.slots:
        part = values[begin:end]
        if isnan(sum(part)):
            part = [each for each in part if not isnan(each)]
        found.append(max(part, default=nan))
    return found
