"""The graphs whose plans are timed are what they say, and so is the worst of them."""

import itertools

import pytest

from blkrun.options import CopyBeforeWriteOptions, ThrottleOptions
from blkrun.reconcile.plan import plan
from tests.bench.planning import (
    EDITS,
    SHAPES,
    SIZES,
    Planning,
    Shape,
    graph,
    measure_planning,
    worst,
)
from tests.reconcile.live_graph import LiveGraph


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.title)
@pytest.mark.parametrize("edit", EDITS)
def test_a_server_takes_the_plan(shape: Shape, edit: str) -> None:
    """The graphs may be, and what is timed leads from the one to the other."""
    desired, live = EDITS[edit](shape, 2 * shape.filters + 20)
    server = LiveGraph(live)
    server.perform(plan(desired, live))
    found = server.model()
    assert (found.nodes, found.groups) == (desired.nodes, desired.groups)
    assert (found.exports, found.bitmaps) == (desired.exports, desired.bitmaps)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.title)
@pytest.mark.parametrize("nodes", SIZES)
def test_the_size(shape: Shape, nodes: int) -> None:
    """As many nodes as the row says, but for part of a chain."""
    assert len(graph(shape, nodes).nodes) == pytest.approx(nodes, abs=shape.filters + 2)


def test_a_tenth_is_kept() -> None:
    """Copy-before-write and bitmaps: one each of ten filters."""
    made = graph(Shape(4, kept=True), 1_000)
    kept = sum(isinstance(each, CopyBeforeWriteOptions) for each in made.nodes.values())
    filters = kept + sum(isinstance(each, ThrottleOptions) for each in made.nodes.values())
    assert filters / kept == pytest.approx(10, abs=0.2)
    assert filters / len(made.bitmaps) == pytest.approx(10, abs=0.2)


def test_the_worst() -> None:
    """By the median: a single slow round is no slow edit."""
    steady = Planning([2.0, 2.0, 2.0], "steady")
    assert worst(iter([Planning([1.0, 9.0, 1.0], "once slow"), steady])) is steady


def test_a_round_is_timed_in_milliseconds() -> None:
    """By the clock before and after, for every size."""
    clock = iter(itertools.count(step=0.5)).__next__
    found = measure_planning(2, (10, 20), SHAPES[:1], clock)
    assert {nodes: each.ms for nodes, each in found.items()} == {10: [500.0] * 2, 20: [500.0] * 2}
