"""Where the panels go at a terminal's size: pure, one answer for every size.

::

    ≥ 150 by 40             ≥ 96 columns            ≥ 60 by 16             smaller, or maximised
    graph      │ groups     graph     │ groups      graph                  one panel
    ───────────┼───────     ──────────┼───────      ──────────────
    plots                   plots                   plots (from 22 rows)
    ───────────┬───────     ───────┬──────────      ──────────────
    events     │ config     events │ config         groups │ config
    ───────────┼───────     ──────────────────      ──────────────
    node       │ clients    jobs (from 26 rows)     events
    ───────────────────                             ──────────────
    jobs                                            jobs (from 26 rows)

Jobs have a place only while there are any; where they have none the header counts them.  A panel
without a place is shown alone when its key is pressed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

COLUMNS = 12
LEAST_WIDTH, LEAST_HEIGHT = 60, 16
WIDE = 96
FULL_WIDTH, FULL_HEIGHT = 150, 40


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Heights of the grid's rows, and of each visible panel, in order, the columns it spans."""

    heights: tuple[int, ...]
    spans: Mapping[str, int]
    cramped: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    """``since``: the terminal's height from which it does not take what the others need."""

    spans: Mapping[str, int]
    least: int
    good: int
    stretch: bool = False
    since: int = 0


def _jobs(since: int) -> _Row:
    """No more frame than jobs, and never so many that nothing else is seen."""
    return _Row({"jobs": COLUMNS}, least=5, good=8, since=since)


_NARROW = (
    _Row({"graph": COLUMNS}, least=5, good=8),
    _Row({"plots": COLUMNS}, least=5, good=5, since=22),
    _Row({"groups": 6, "config": 6}, least=4, good=6),
    _Row({"events": COLUMNS}, least=4, good=5, stretch=True),
    _jobs(since=28),
)
_WIDE = (
    _Row({"graph": 8, "groups": 4}, least=6, good=11, stretch=True),
    _Row({"plots": COLUMNS}, least=5, good=9, since=22),
    _Row({"events": 7, "config": 5}, least=5, good=9, stretch=True),
    _jobs(since=26),
)
_FULL = (
    _Row({"graph": 8, "groups": 4}, least=7, good=13, stretch=True),
    _Row({"plots": COLUMNS}, least=7, good=11),
    _Row({"events": 7, "config": 5}, least=6, good=10, stretch=True),
    _Row({"node": 7, "clients": 5}, least=5, good=9),
    _jobs(since=26),
)


def arrange(
    width: int, height: int, wanted: Mapping[str, int], only: str | None, *, bars: int = 2
) -> Arrangement:
    """``wanted``: the rows each panel would like, frame included; 0 or left out: none.

    ``only``: a maximised panel.  ``bars``: rows that are no panel's, header and footer.
    """
    if only is not None:
        return Arrangement((height - bars,), {only: COLUMNS})
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return Arrangement((height - bars,), {"graph": COLUMNS}, cramped=True)
    rows = tuple(row for row in _profile(width, height) if _has_place(row, height, wanted))
    spans = {name: span for row in rows for name, span in row.spans.items()}
    return Arrangement(_heights(rows, height - bars, wanted), spans)


def _profile(width: int, height: int) -> tuple[_Row, ...]:
    if width >= FULL_WIDTH and height >= FULL_HEIGHT:
        return _FULL
    return _WIDE if width >= WIDE else _NARROW


def _has_place(row: _Row, height: int, wanted: Mapping[str, int]) -> bool:
    return height >= row.since and all(wanted.get(name, 0) > 0 for name in row.spans)


def _heights(rows: tuple[_Row, ...], height: int, wanted: Mapping[str, int]) -> tuple[int, ...]:
    """Everybody's least, then what is good, then all that is wanted; stretch over the rest.

    No row is given more frame than it has lines, as long as others have use for them.
    """
    all_wanted = [max(wanted[name] for name in row.spans) for row in rows]
    heights = [
        min(row.least, most) if "jobs" in row.spans else row.least
        for row, most in zip(rows, all_wanted, strict=True)
    ]
    rest = height - sum(heights)
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
