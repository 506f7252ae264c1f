"""Spans with and without edits, found in fio's log."""

import pytest

from tests.bench.edits import WINDOW_MS, Sample, Span, pairs, parse_log
from tests.bench.place import BenchError

SPANS = [Span(1000, 1100, edited=True), Span(1100, 1200, edited=False)]


def every_window(value_before_1100: float, value_after: float) -> list[Sample]:
    """A sample at the end of each window from 900 to 1300."""
    return [
        Sample(end, value_before_1100 if end <= 1100 else value_after)
        for end in range(900, 1300, WINDOW_MS)
    ]


def test_a_log_line() -> None:
    """Fio 3.33: time, value, direction, block size, offset."""
    text = "1795519935742, 8092948, 0, 0, 0\n1795519935842, 3107656, 0, 0, 0\n"
    assert parse_log(text) == [Sample(1795519935742, 8092948), Sample(1795519935842, 3107656)]


def test_a_pair_is_told_by_its_edits() -> None:
    """Whichever of the two came first."""
    (pair,) = pairs(SPANS, every_window(90, 100), every_window(7e6, 5e6))
    assert (pair.edited.iops, pair.plain.iops) == (90, 100)
    assert pair.lost_percent == pytest.approx(10.0)
    assert pair.longer_ms == pytest.approx(2.0)


def test_a_window_over_a_border_counts_for_neither() -> None:
    """What it holds is of both."""
    rates = [Sample(1090, 50), Sample(1110, 1), Sample(1130, 100), Sample(1210, 1)]
    (pair,) = pairs(SPANS, rates, rates)
    assert (pair.edited.iops, pair.plain.iops) == (50, 100)


def test_the_longest_of_a_span() -> None:
    """Not the mean of the windows' longest."""
    longest = [Sample(1020, 1e6), Sample(1040, 8e6), Sample(1140, 3e6), Sample(1160, 2e6)]
    (pair,) = pairs(SPANS, every_window(1, 1), longest)
    assert (pair.edited.longest_ms, pair.plain.longest_ms) == (8, 3)


def test_spans_without_load_are_an_error() -> None:
    """A fio that started late must not pass for one that saw no edits."""
    with pytest.raises(BenchError, match="not under way"):
        pairs(SPANS, every_window(1, 1), [Sample(1130, 1)])
