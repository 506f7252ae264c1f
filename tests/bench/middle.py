"""Medians, and between what they lie: arithmetic only."""

from collections.abc import Sequence
from math import comb
from statistics import median

_DOUBT = 0.05


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Between what the true median lies, 95 % sure; None of fewer than six values.

    By order statistics (the sign test), which asks nothing of the distribution.
    """
    ranks = _ranks(len(values))
    if not ranks:
        return None
    ordered = sorted(values)
    return ordered[ranks - 1], ordered[-ranks]


def _ranks(count: int) -> int:
    """How far from either end one may go: the tails of as many throws of a fair coin."""
    tail, ranks = 0.0, 0
    while 2 * (tail := tail + comb(count, ranks) / 2**count) <= _DOUBT:
        ranks += 1
    return ranks


def quotients(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Ratios within each round that both have; a round in which the other is 0 is left out."""
    return [one / other for one, other in zip(values, others, strict=False) if other]


def median_or_none(values: Sequence[float]) -> float | None:
    """The median, or None of nothing."""
    return median(values) if values else None
