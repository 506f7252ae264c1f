"""What each row of the graph has done in the last seconds, as a few bars."""

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


def with_spark(row: GraphRow, history: History, symbols: Symbols) -> GraphRow:
    """On a scale of its own; who did nothing in all that time has no bars."""
    if row.subject is None or row.rate is None:
        return row
    seconds = history.recent(row.subject, SPARK_S)
    most = most_of([seconds])
    top = max(most, _LEAST_TOP) * _HEADROOM
    return replace(row, spark=bars(seconds, top, symbols)) if most else row
