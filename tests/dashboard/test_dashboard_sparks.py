"""The last seconds of the graph's rows as bars."""

from math import isnan

import pytest

from blkrun.dashboard.model.history import History
from blkrun.dashboard.model.rates import NOTHING, Interval, Rate, interval
from blkrun.dashboard.model.sparks import SPARK_S, with_spark
from blkrun.dashboard.model.subject import Subject
from blkrun.dashboard.model.tree import graph_rows
from blkrun.dashboard.widgets.graph import graph_lines
from tests.dashboard.dashboard_samples import lab, node, reply, snapshot

DISK = Subject("node", "disk")
SEEN = snapshot(reply(1, nodes=[node("disk", "file")]))


def history(*reads: float | None, begin_s: float = 100.0) -> History:
    """A second each; None is one that nobody has looked at."""
    seen = History()
    for second, amount in enumerate(reads):
        rates = NOTHING if amount is None else Interval({"disk": Rate(reads=amount)}, {}, {}, {})
        seen.add(SEEN, rates, begin_s + second, begin_s + second + 1)
    return seen


def spark(seen: History) -> str:
    """Of the disk."""
    rows = graph_rows(SEEN, Interval({"disk": Rate()}, {}, {}, {}))
    (row,) = [row for row in rows if row.name == "disk"]
    return with_spark(row, seen, "braille").spark


def test_each_second_is_a_bar_on_the_row_s_own_scale() -> None:
    """Empty where nothing was known, and no bars at all where nothing was done."""
    assert spark(history(*range(0, 900, 100))) == "▁▂▃▄▅▆▆▇"
    assert spark(history(800, None, 0, 400)) == "    ▇ ▁▄"
    assert spark(history(*[0.0] * 9)) == ""
    assert spark(History()) == ""


def test_a_request_now_and_then_is_not_drawn_as_a_load() -> None:
    """A scale has a least."""
    assert spark(history(0, 0, 1, 0, 0, 1, 0, 0)) == "▁▁▁▁▁▁▁▁"


@pytest.mark.parametrize("end_s", [0.2, 0.6, 1.0])
def test_bars_are_of_whole_seconds_and_of_the_one_that_runs(end_s: float) -> None:
    """So they wander by whole bars, and only the last one grows."""
    seen = history(*[100.0] * 10, 900.0)
    seen.add(SEEN, Interval({"disk": Rate(reads=50)}, {}, {}, {}), 111, 111 + end_s)
    recent = seen.recent(DISK, SPARK_S)
    assert recent == pytest.approx([100.0] * 6 + [900.0, 50.0])


def test_a_gap_is_none() -> None:
    """Not a zero."""
    recent = history(100, None).recent(DISK, 3)
    assert isnan(recent[0])
    assert recent[1] == 100
    assert isnan(recent[2])
    assert History().recent(DISK, 3) == []


def test_a_state_comes_before_the_bars() -> None:
    """Where there is room for one of them only, it is for what somebody should see."""
    seen, held = snapshot(lab(2, held=14)), History()
    rates = interval(snapshot(lab(1)), seen)
    held.add(seen, rates, 100, 101)
    rows = [with_spark(row, held, "braille") for row in graph_rows(seen, rates)]
    vda, limit, disk = (line.text for line in graph_lines(rows, 80))
    assert vda.endswith("▇ ")
    assert "HELD 14" in limit
    assert "█" not in limit
    assert disk.endswith("▇ ")
