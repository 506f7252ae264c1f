"""Slots of a history as columns of a chart.

Columns lie on a grid of their own that does not move with the present: a peak stays in its column
while that wanders to the left, and does not flicker.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import ceil, floor, isnan, nan
from operator import itemgetter

from blkrun.dashboard.model.history import Series
from blkrun.dashboard.model.rings import SLOTS

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Window:
    """``count`` columns up to now; each is the slots of a series from one index to another.

    ``first`` is the number of the oldest one, counted from time 0; ``over`` of the first one that
    may still become another.
    """

    first: int
    over: int
    begin_s: float
    column_s: float
    slots: tuple[tuple[int, int], ...]

    def column_at(self, at_s: float) -> int | None:
        """The column of an instant, if it is in the window."""
        column = floor((at_s - self.begin_s) / self.column_s + _ROUNDING)
        return column if 0 <= column < len(self.slots) else None

    def after(self, count: int) -> "Window":
        """Without so many of the oldest columns."""
        if not count:
            return self
        first, begin_s = self.first + count, self.begin_s + count * self.column_s
        return Window(first, self.over, begin_s, self.column_s, self.slots[count:])


def window(series: Series, count: int, now_s: float) -> Window:
    """The last ``span_s`` of a series in ``count`` columns; ``now_s`` may be after its end."""
    return _window(series.span_s, series.slot_s, series.end_s, count, now_s)


@lru_cache(maxsize=8)
def _window(span_s: float, slot_s: float, end_s: float, count: int, now_s: float) -> Window:
    """Charts side by side have the same one."""
    column_s = span_s / count
    last = ceil(now_s / column_s - _ROUNDING)
    first = last - count
    begin_s = first * column_s
    offset, ratio = (begin_s - end_s) / slot_s + SLOTS, column_s / slot_s
    edges = [ceil(offset + ratio * column - _ROUNDING) for column in range(count + 1)]
    newest = SLOTS - 1 if now_s <= end_s else SLOTS
    slots = tuple(
        # A column that is shorter than a slot, or has just begun, shows the one that it is in.
        (max(min(begin, newest) if end > begin else end - 1, 0), max(end, 0))
        for begin, end in pairwise(edges)
    )
    over = first + bisect_left(slots, SLOTS, key=itemgetter(1))
    return Window(first, over, begin_s, column_s, slots)


def means(values: Sequence[float], seen: Window) -> list[float]:
    """Of what is known in each column."""
    return [_mean(values[begin:end]) for begin, end in seen.slots]


def _mean(part: Sequence[float]) -> float:
    amount = sum(part) / len(part) if part else nan
    if not isnan(amount):
        return amount
    known = [each for each in part if not isnan(each)]
    return sum(known) / len(known) if known else nan


def peaks(values: Sequence[float], seen: Window) -> list[float]:
    """The most of what is known in each column."""
    return [_peak(values[begin:end]) for begin, end in seen.slots]


def _peak(part: Sequence[float]) -> float:
    if isnan(sum(part)):
        part = [each for each in part if not isnan(each)]
    return max(part, default=nan)


@dataclass(slots=True)
class _Known:
    """Of a window that there was."""

    column_s: float
    first: int
    over: int
    columns: list[float]


class Sampler:
    """Columns of the same series, look after look: those that are over are sampled once."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def columns(
        self, name: str, seen: Window, sample: Callable[[Window], list[float]]
    ) -> list[float]:
        """What ``sample`` gives, which is always the same one for a name.

        Gaps are the very same NaN, so that columns can be compared.
        """
        kept = self._kept(name, seen)
        new = sample(seen.after(len(kept)))
        columns = [*kept, *(nan if isnan(each) else each for each in new)]
        self._known[name] = _Known(seen.column_s, seen.first, seen.over, columns)
        return columns

    def _kept(self, name: str, seen: Window) -> list[float]:
        known = self._known.get(name)
        if known is None or known.column_s != seen.column_s:
            return []
        if not known.first <= seen.first < known.over:
            return []
        return known.columns[seen.first - known.first : known.over - known.first]
