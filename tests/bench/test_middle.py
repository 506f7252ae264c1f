"""Medians and intervals."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.bench.middle import interval, median_or_none, quotients

FLOATS = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (8, 1), (9, 2), (11, 2), (20, 6), (100, 40)])
def test_known_ranks(count: int, rank: int) -> None:
    """The sign test's tables: of 20 values the 6th from either end."""
    assert interval(range(1, count + 1)) == (rank, count + 1 - rank)


@pytest.mark.parametrize("count", range(6))
def test_too_few_to_be_sure(count: int) -> None:
    """Between five values the median lies in 94 cases of 100 only."""
    assert interval(range(count)) is None


@given(st.lists(FLOATS, min_size=6, max_size=80))
def test_the_median_lies_between(values: list[float]) -> None:
    """Whatever the values are."""
    between, middle = interval(values), median_or_none(values)
    assert between is not None
    assert middle is not None
    assert between[0] <= middle <= between[1]


def test_nothing_has_no_middle() -> None:
    """None, not 0."""
    assert median_or_none([]) is None


def test_quotients_are_taken_within_a_round() -> None:
    """Rounds that only one has, and those in which the other is 0, do not count."""
    assert quotients([2.0, 9.0, 4.0, 7.0], [1.0, 3.0, 0.0]) == [2.0, 3.0]
