"""What each row of the graph has done in the last seconds, as a few bars."""

from collections.abc import Iterable
from dataclasses import replace

from blkrun.dashboard.model.chart import most_of
from blkrun.dashboard.model.history import History
from blkrun.dashboard.model.plots import bars
from blkrun.dashboard.model.raster import Symbols
from blkrun.dashboard.model.tree import GraphRow

SPARK_S = 8
"""A bar a second."""

_LEAST_TOP = 10.0
"""A request now and then is not drawn as if it were a load."""
_HEADROOM = 1.2
"""Rows that are steadily busy stay apart."""


def with_sparks(
    rows: Iterable[GraphRow], history: History, symbols: Symbols
) -> tuple[GraphRow, ...]:
    """Each row on a scale of its own; who did nothing in all that time has no bars."""
    return tuple(with_spark(row, history, symbols) for row in rows)


def with_spark(row: GraphRow, history: History, symbols: Symbols) -> GraphRow:
    """One of them."""
    if row.subject is None or row.rate is None:
        return row
    seconds = history.recent(row.subject, SPARK_S)
    most = most_of([seconds])
    top = max(most, _LEAST_TOP) * _HEADROOM
    return replace(row, spark=bars(seconds, top, symbols)) if most else row
