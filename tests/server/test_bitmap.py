"""Bitmaps against sets of integers: every operation, at every edge of pages, clusters and disks."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blkrun.server.bitmap import Bitmap

PAGE = 4096
GRANULARITY = 512

sizes = st.one_of(
    st.integers(0, 20 * GRANULARITY),
    st.integers((2 * PAGE - 2) * GRANULARITY, (2 * PAGE + 2) * GRANULARITY),
    st.integers(0, 5 * PAGE * GRANULARITY),
)
offsets = st.one_of(
    st.integers(0, 6 * PAGE * GRANULARITY),
    st.integers(0, 6 * PAGE).map(lambda cluster: cluster * GRANULARITY),
)
lengths = st.one_of(
    st.integers(0, 5 * GRANULARITY),
    st.integers(0, 6 * PAGE * GRANULARITY),
    st.integers(0, 6 * PAGE).map(lambda clusters: clusters * GRANULARITY),
)
steps = st.lists(st.tuples(st.sampled_from(["set", "reset"]), offsets, lengths), max_size=8)


class Model:
    """A bitmap as a set of clusters, by the definition of each operation."""

    def __init__(self, size_bytes: int, granularity_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.granularity_bytes = granularity_bytes
        self.clusters = -(-size_bytes // granularity_bytes)
        self.set_ones: set[int] = set()

    def touched(self, offset: int, count: int) -> set[int]:
        """Clusters with a byte in the range."""
        if not count:
            return set()
        last = (offset + count - 1) // self.granularity_bytes
        return set(range(offset // self.granularity_bytes, min(last + 1, self.clusters)))

    def covered(self, offset: int, count: int) -> set[int]:
        """Clusters that have no byte of the disk outside the range."""
        granularity = self.granularity_bytes
        return {
            cluster
            for cluster in self.touched(offset, count)
            if cluster * granularity >= offset
            and min((cluster + 1) * granularity, self.size_bytes) <= offset + count
        }

    def do(self, kind: str, offset: int, count: int) -> None:
        """One step."""
        if kind == "set":
            self.set_ones |= self.touched(offset, count)
        else:
            self.set_ones -= self.covered(offset, count)


def ones(bitmap: Bitmap) -> set[int]:
    """All set clusters, one by one."""
    return {cluster for cluster in range(bitmap.clusters) if bitmap.get(cluster)}


def made(
    size_bytes: int, changes: Iterable[tuple[str, int, int]], granularity_bytes: int = GRANULARITY
) -> tuple[Bitmap, Model]:
    """A bitmap and its model after some steps."""
    bitmap, model = Bitmap(size_bytes, granularity_bytes), Model(size_bytes, granularity_bytes)
    for kind, offset, count in changes:
        (bitmap.set if kind == "set" else bitmap.reset)(offset, count)
        model.do(kind, offset, count)
    return bitmap, model


@settings(deadline=None)
@given(sizes, steps)
@example(GRANULARITY + 1, [("set", 0, GRANULARITY + 1), ("reset", 0, GRANULARITY + 1)])
@example(2 * GRANULARITY, [("set", 0, 2 * GRANULARITY), ("reset", 1, 2 * GRANULARITY - 1)])
def test_set_and_reset(size_bytes: int, changes: list[tuple[str, int, int]]) -> None:
    """Set rounds outward, reset inward; the last cluster ends with the disk; counts are right."""
    bitmap, model = made(size_bytes, changes)
    assert ones(bitmap) == model.set_ones
    assert bitmap.count_bytes() == len(model.set_ones) * GRANULARITY


@settings(deadline=None)
@given(sizes, steps, offsets, lengths)
def test_any_and_all(
    size_bytes: int, changes: list[tuple[str, int, int]], offset: int, count: int
) -> None:
    """Of the clusters that a range touches; of none, all are and not any is."""
    bitmap, model = made(size_bytes, changes)
    touched = model.touched(offset, count)
    assert bitmap.any(offset, count) == bool(touched & model.set_ones)
    assert bitmap.all(offset, count) == (touched <= model.set_ones)


@settings(deadline=None)
@given(
    sizes,
    steps,
    st.integers(0, 6 * PAGE),
    st.booleans(),
    st.integers(0, 6 * PAGE),
    st.none() | st.integers(1, 2 * PAGE),
)
def test_next_run(  # noqa: PLR0917 - the range and the bitmap are drawn apart
    size_bytes: int,
    changes: list[tuple[str, int, int]],
    start: int,
    value: bool,  # noqa: FBT001 - a bit
    end: int,
    most: int | None,
) -> None:
    """The first run is where the model has it, cut at the end and to the length asked for."""
    bitmap, model = made(size_bytes, changes)
    end_in_disk = min(end, model.clusters)
    wanted = [at for at in range(start, end_in_disk) if (at in model.set_ones) == value]
    expected = None
    if wanted:
        first = past = wanted[0]
        while past < end_in_disk and (past in model.set_ones) == value and past - first != most:
            past += 1
        expected = first, past
    assert bitmap.next_run(start, value, end, most) == expected


@settings(deadline=None)
@given(sizes, steps)
def test_runs_are_all_that_is_set(size_bytes: int, changes: list[tuple[str, int, int]]) -> None:
    """In order, apart from each other, and complete."""
    bitmap, model = made(size_bytes, changes)
    runs = list(bitmap.runs())
    assert [at for first, past in runs for at in range(first, past)] == sorted(model.set_ones)
    assert all(before[1] < after[0] for before, after in pairwise(runs))


@settings(deadline=None)
@given(sizes, st.data())
def test_exact_clusters(size_bytes: int, data: st.DataObject) -> None:
    """Ranges in clusters mean what they say, and end with the disk."""
    bitmap = Bitmap(size_bytes, GRANULARITY)
    model: set[int] = set()
    ranges = st.tuples(st.integers(0, 5 * PAGE), st.integers(0, 6 * PAGE))
    for number, (first, past) in enumerate(data.draw(st.lists(ranges, max_size=6))):
        clusters = set(range(first, min(past, bitmap.clusters)))
        if number % 2:
            bitmap.reset_clusters(first, past)
            model -= clusters
        else:
            bitmap.set_clusters(first, past)
            model |= clusters
    assert ones(bitmap) == model


@settings(deadline=None)
@given(sizes, steps, steps, st.sampled_from([512, 1024, 4096, 2**16]), st.sampled_from([512, 8192]))
def test_merge(
    size_bytes: int,
    mine: list[tuple[str, int, int]],
    theirs: list[tuple[str, int, int]],
    to: int,
    of: int,
) -> None:
    """Of any granularity: each cluster that has a byte of one that is set there; that one stays."""
    bitmap, model = made(size_bytes, mine, to)
    other, other_model = made(size_bytes, theirs, of)
    bitmap.merge(other)
    for cluster in other_model.set_ones:
        model.do("set", cluster * of, of)
    assert ones(bitmap) == model.set_ones
    assert ones(other) == other_model.set_ones


@settings(deadline=None)
@given(sizes, steps, sizes)
def test_merge_of_another_size(
    size_bytes: int, theirs: list[tuple[str, int, int]], other_size: int
) -> None:
    """What lies beyond the end is left out."""
    bitmap = Bitmap(size_bytes, GRANULARITY)
    other, other_model = made(other_size, theirs)
    bitmap.merge(other)
    assert ones(bitmap) == {at for at in other_model.set_ones if at < bitmap.clusters}


@settings(deadline=None)
@given(sizes, steps, steps)
def test_a_copy_goes_its_own_way(
    size_bytes: int, before: list[tuple[str, int, int]], after: list[tuple[str, int, int]]
) -> None:
    """Though it shares pages with the original."""
    bitmap, model = made(size_bytes, before)
    copy = bitmap.copy()
    for kind, offset, count in after:
        (copy.set if kind == "set" else copy.reset)(offset, count)
    assert ones(bitmap) == model.set_ones
    _, expected = made(size_bytes, [*before, *after])
    assert ones(copy) == expected.set_ones


@settings(deadline=None)
@given(sizes, steps, sizes, sizes)
def test_resize(
    size_bytes: int, changes: list[tuple[str, int, int]], second: int, third: int
) -> None:
    """What is cut off is gone for good; what is new is not set."""
    bitmap, model = made(size_bytes, changes)
    expected = model.set_ones
    for size in (second, third):
        bitmap.resize(size)
        assert bitmap.size_bytes == size
        expected = {at for at in expected if at < -(-size // GRANULARITY)}
        assert ones(bitmap) == expected


@pytest.mark.parametrize("granularity", [2**16, 512])
def test_a_disk_of_ten_tebibytes(granularity: int) -> None:
    """All of it at once, and a search from end to end, in pages and not in clusters."""
    size = 10 * 2**40
    bitmap = Bitmap(size, granularity * 2**8)
    bitmap.set(0, size)
    assert bitmap.count_bytes() == size
    bitmap.reset(0, size - 1)
    assert bitmap.next_run(0, value=True, end=bitmap.clusters) == (
        bitmap.clusters - 1,
        bitmap.clusters,
    )
