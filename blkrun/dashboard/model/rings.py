"""Numbers over time in rings of slots: a slot has the mean or the most of what was in its time.

All subjects share one grid of slots, so what a span of time does to it is worked out once (a
:class:`Step`) and then done to every ring.  A slot that nothing covers is a gap: NaN.
"""

from array import array
from math import ceil, floor, isnan
from typing import NamedTuple

SLOTS = 300

_ROUNDING = 1e-6
"""Of a slot: a span that ends where one begins does not reach into it."""


class Step(NamedTuple):
    """What a span does to the rings of one slot length; slots as places in a ring.

    ``begun`` is a slot that an earlier span has begun, ``begun_s`` how much of it this one covers.
    ``passed`` are new slots before the span, ``fresh`` new slots in it; of the last of these it
    covers ``last_s``.
    """

    begun: int | None
    begun_s: float
    passed: tuple[int, ...]
    fresh: tuple[int, ...]
    last_s: float


class Grid:
    """Slots of one length, and which of them was the last that time has reached."""

    def __init__(self, span_s: float) -> None:
        self.span_s = span_s
        self.slot_s = span_s / SLOTS
        self.last: int | None = None

    def step(self, begin_s: float, end_s: float) -> Step:
        """Go on to ``end_s``; ``begin_s`` is not before the end of the step before."""
        before, self.last = self.last, self._slots(begin_s, end_s)[1]
        return self.step_from(before, begin_s, end_s)

    def _slots(self, begin_s: float, end_s: float) -> tuple[int, int]:
        """The first and the last that a span reaches into."""
        first = floor(begin_s / self.slot_s + _ROUNDING)
        return first, max(ceil(end_s / self.slot_s - _ROUNDING) - 1, first)

    def step_from(self, before: int | None, begin_s: float, end_s: float) -> Step:
        """What a span does to a ring that time has reached ``before`` of."""
        slot_s = self.slot_s
        first, last = self._slots(begin_s, end_s)
        covered_from = max(begin_s, last * slot_s)
        last_s = max(end_s - covered_from, 0.0)
        if before is None or before < first:
            new = first if before is None else before + 1
            passed = range(max(new, last - SLOTS + 1), first)
            return Step(None, 0.0, _places(passed), _places(_newest(first, last)), last_s)
        if before >= last:
            return Step(before % SLOTS, last_s, (), (), 0.0)
        begun_s = max((before + 1) * slot_s - begin_s, 0.0)
        fresh = _newest(before + 1, last)
        return Step(before % SLOTS, begun_s, (), _places(fresh), last_s)


def _newest(first: int, last: int) -> range:
    """No more slots than a ring has."""
    return range(max(first, last - SLOTS + 1), last + 1)


def _places(slots: range) -> tuple[int, ...]:
    return tuple(slot % SLOTS for slot in slots)


class Ring:
    """Rows of numbers, one a slot: the first ``means`` of a row are means, the others the most.

    ``blank`` is a row of gaps.
    """

    __slots__ = ("_begun_s", "_blank", "_data", "_means", "_width")

    def __init__(self, blank: "array[float]", *, means: int) -> None:
        self._width, self._means = len(blank), means
        self._blank = blank
        self._data = self._blank * SLOTS
        self._begun_s = 0.0

    def fill(self, step: Step, row: "array[float]") -> None:
        """It was like this during the whole span."""
        data, width = self._data, self._width
        if step.begun is not None:
            self._join(step.begun * width, step.begun_s, row)
        for place in step.passed:
            data[place * width : (place + 1) * width] = self._blank
        if step.fresh:
            for place in step.fresh:
                data[place * width : (place + 1) * width] = row
            self._begun_s = step.last_s

    def _join(self, start: int, seconds: float, row: "array[float]") -> None:
        """More of a slot that has begun."""
        data, before_s = self._data, self._begun_s
        self._begun_s = before_s + seconds
        if before_s <= 0:
            data[start : start + self._width] = row
            return
        share = seconds / self._begun_s
        means = self._means
        for number, new in enumerate(row):
            old = data[start + number]
            if number < means:
                data[start + number] = old + (new - old) * share
            elif new > old or isnan(old):
                data[start + number] = new

    def skip(self, step: Step) -> None:
        """Nothing is known of the span."""
        for place in (*step.passed, *step.fresh):
            self._data[place * self._width : (place + 1) * self._width] = self._blank
        if step.fresh:
            self._begun_s = 0.0

    def column(self, number: int, last: int) -> "array[float]":
        """One number of every slot, the oldest first; ``last`` is the grid's."""
        values = self._data[number :: self._width]
        cut = last % SLOTS + 1
        return values[cut:] + values[:cut]

    def newest(self, number: int, last: int, count: int) -> "array[float]":
        """The end of a column: ``count`` slots up to the last."""
        data, width, end = self._data, self._width, last % SLOTS + 1
        begin = end - count
        if begin >= 0:
            return data[begin * width + number : end * width : width]
        return data[(begin + SLOTS) * width + number :: width] + data[number : end * width : width]
