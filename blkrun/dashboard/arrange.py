"""Where the panels go at a terminal's size: pure, one answer for every size.

::

    ≥ 96 columns            ≥ 60 by 16             smaller, or maximised
    graph     │ groups      graph                  one panel
    ──────────┼───────      ──────────────
    config │ events         groups │ config
    ──────────────          ──────────────
    jobs (from 22 rows)     events
                            ──────────────
                            jobs (from 28 rows)

Jobs have a place only while there are any; where they have none the header counts them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

COLUMNS = 12
LEAST_WIDTH, LEAST_HEIGHT = 60, 16
WIDE = 96
_BARS = 2
"""Header and footer."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Heights of the grid's rows, and of each visible panel the columns it spans."""

    heights: tuple[int, ...]
    spans: Mapping[str, int]
    cramped: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    spans: Mapping[str, int]
    least: int
    good: int
    stretch: bool


_NARROW = (
    _Row({"graph": COLUMNS}, least=5, good=8, stretch=False),
    _Row({"groups": 6, "config": 6}, least=4, good=7, stretch=False),
    _Row({"events": COLUMNS}, least=4, good=5, stretch=True),
)
_WIDE = (
    _Row({"graph": 8, "groups": 4}, least=7, good=12, stretch=True),
    _Row({"config": 5, "events": 7}, least=6, good=10, stretch=True),
)


_JOBS_FROM_WIDE, _JOBS_FROM_NARROW = 22, 28
"""Terminal heights at which jobs do not take what the others need."""


def _jobs_row(wanted: int) -> _Row:
    """No more frame than jobs, and never so many that nothing else is seen."""
    return _Row({"jobs": COLUMNS}, least=min(wanted, 5), good=8, stretch=False)


def arrange(width: int, height: int, wanted: Mapping[str, int], only: str | None) -> Arrangement:
    """``wanted``: the rows each panel would like, frame included; ``jobs`` 0 or left out: none.

    ``only``: a maximised panel.
    """
    if only is not None:
        return Arrangement((height - _BARS,), {only: COLUMNS})
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return Arrangement((height - _BARS,), {"graph": COLUMNS}, cramped=True)
    rows, jobs_from = (_WIDE, _JOBS_FROM_WIDE) if width >= WIDE else (_NARROW, _JOBS_FROM_NARROW)
    jobs = wanted.get("jobs", 0)
    if jobs and height >= jobs_from:
        rows = (*rows, _jobs_row(jobs))
    spans = {name: span for row in rows for name, span in row.spans.items()}
    return Arrangement(_heights(rows, height - _BARS, wanted), spans)


def _heights(rows: tuple[_Row, ...], height: int, wanted: Mapping[str, int]) -> tuple[int, ...]:
    """Everybody's least, then what is good, then all that is wanted; stretch over the rest."""
    heights = [row.least for row in rows]
    rest = height - sum(heights)
    all_wanted = [max(wanted[name] for name in row.spans) for row in rows]
    all_good = [min(row.good, most) for row, most in zip(rows, all_wanted, strict=True)]
    for aims in (all_good, all_wanted):
        for index, aim in enumerate(aims):
            given = min(max(aim - heights[index], 0), rest)
            heights[index] += given
            rest -= given
    stretching = [index for index, row in enumerate(rows) if row.stretch]
    for number, index in enumerate(stretching):
        share = rest // (len(stretching) - number)
        heights[index] += share
        rest -= share
    return tuple(heights)
