"""Dirty bitmaps of nodes: what marks, when, and what a job's freezing and thawing leave."""

import errno
import random
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from blkrun.server.bitmap import Bitmap
from blkrun.server.dirty import DirtyBitmap, marking
from blkrun.server.hold import Hold
from blkrun.server.way import NOWHERE, Late, Way
from tests.server.inprocess import Worker, workers

CLUSTER = 65536
SIZE = 64 * CLUSTER


@pytest.fixture
def _often() -> Iterator[None]:
    """Switch threads as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def dirty(bitmap: Bitmap | None) -> list[int]:
    """The dirty clusters."""
    assert bitmap is not None
    return [cluster for cluster in range(bitmap.clusters) if bitmap.get(cluster)]


def new(*clusters: int) -> DirtyBitmap:
    """A bitmap in which some are dirty."""
    bitmap = DirtyBitmap("b0", SIZE, CLUSTER)
    for cluster in clusters:
        bitmap.mark(cluster * CLUSTER, 1)
    return bitmap


# Marking

Request = Callable[[Way], Late | None]

REQUESTS: dict[str, Request] = {
    "pwrite": lambda way: way.pwrite(memoryview(bytes(CLUSTER)), CLUSTER // 2, 0),
    "zero": lambda way: way.zero(CLUSTER, CLUSTER // 2, 0),
    "trim": lambda way: way.trim(CLUSTER, CLUSTER // 2, 0),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_marks_when_it_has_ended(kind: str) -> None:
    """Not before: a job that resets what it copies would miss it.  What comes back is passed on."""
    bitmaps = [new(), new()]
    late = Hold()

    def work(*_: object) -> Hold:
        assert [dirty(bitmap.bits) for bitmap in bitmaps] == [[], []]
        return late

    way = marking(NOWHERE._replace(pwrite=work, zero=work, trim=work), bitmaps)
    assert REQUESTS[kind](way) is late
    assert [dirty(bitmap.bits) for bitmap in bitmaps] == [[0, 1], [0, 1]]


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_that_fails_marks_too(kind: str) -> None:
    """It may have written a part; the error goes on unchanged."""
    bitmap = new()
    error = OSError(errno.ENOSPC, "full")

    def fail(*_: object) -> Late:
        raise error

    way = marking(NOWHERE._replace(pwrite=fail, zero=fail, trim=fail), [bitmap])
    with pytest.raises(OSError, match="full") as caught:
        REQUESTS[kind](way)
    assert caught.value is error
    assert dirty(bitmap.bits) == [0, 1]


def test_what_is_dirty_already_takes_no_lock() -> None:
    """A writer that comes again to its clusters is not held up by others."""
    bitmap = new(3, 4)
    with bitmap.lock:
        Worker(lambda: bitmap.mark(3 * CLUSTER, 2 * CLUSTER)).finish()
        slow = Worker(lambda: bitmap.mark(4 * CLUSTER, 2 * CLUSTER))
        slow.join(0.05)
        assert slow.is_alive()
    slow.finish()
    assert dirty(bitmap.bits) == [3, 4, 5]


@pytest.mark.usefixtures("_often")
def test_marks_of_many_threads_are_all_kept() -> None:
    """Neighbours in one page at once: none is lost, whoever else copies and counts meanwhile."""
    bitmap = DirtyBitmap("b0", 2000 * CLUSTER, CLUSTER)
    started = threading.Barrier(5)

    def write(number: int) -> None:
        started.wait()
        for cluster in range(number, 2000, 4):
            bitmap.mark(cluster * CLUSTER, CLUSTER)

    def look() -> None:
        started.wait()
        seen = 0
        while seen < 2000 * CLUSTER:
            now = bitmap.copy().count_bytes()
            assert now >= seen
            seen = now

    with workers([look, *(lambda number=number: write(number) for number in range(4))]):
        pass
    assert bitmap.bits.count_bytes() == 2000 * CLUSTER


# Freezing


def test_a_frozen_bitmap_stays_as_it_is() -> None:
    """Its name stands for what was dirty then; new writes are kept apart."""
    bitmap = new(1, 2)
    frozen = bitmap.freeze()
    assert bitmap.busy
    bitmap.mark(2 * CLUSTER, 2 * CLUSTER)
    assert dirty(frozen) == dirty(bitmap.copy()) == [1, 2]
    assert dirty(bitmap.bits) == [2, 3]
    with pytest.raises(AssertionError, match="two jobs"):
        bitmap.freeze()


@pytest.mark.parametrize(
    ("copied", "kept", "left"),
    [
        ([1, 2, 5], "nothing", [2, 3]),
        ([], "frozen", [1, 2, 3, 5]),
        ([1, 5], "frozen", [2, 3]),
        ([1], "frozen", [2, 3, 5]),
        ([], "own", [2, 3, 7]),
    ],
)
def test_what_a_job_leaves(copied: list[int], kept: str, left: list[int]) -> None:
    """Success: what was written since; failure: that and the old, or what of it is left (§6.3)."""
    bitmap = new(1, 2, 5)
    frozen = bitmap.freeze()
    bitmap.mark(2 * CLUSTER, 2 * CLUSTER)
    for cluster in copied:
        frozen.reset_clusters(cluster, cluster + 1)
    own = Bitmap(SIZE, CLUSTER)
    own.set_clusters(7, 8)
    bitmap.thaw({"nothing": None, "frozen": frozen, "own": own}[kept])
    assert not bitmap.busy
    assert dirty(bitmap.copy()) == left
    bitmap.mark(9 * CLUSTER, 1)
    assert dirty(bitmap.copy()) == [*left, 9]


def test_the_numbers_of_iotest_257() -> None:
    """Batches 1 and 2 of QEMU's test: 6 dirty, then 7 more in the hidden one, 10 together."""
    size, mib = 2**26, 2**20
    bitmap = DirtyBitmap("bitmap0", size, CLUSTER)
    for offset in (0, mib - 2**15, 32 * mib + 2**15, size - 2 * CLUSTER):
        bitmap.mark(offset, CLUSTER)
    frozen = bitmap.freeze()
    for offset, count in ((CLUSTER, CLUSTER), (0xE8000, CLUSTER), (0x2018000, CLUSTER)):
        bitmap.mark(offset, count)
    bitmap.mark(size - 2 * CLUSTER, 2 * CLUSTER)
    shape = {"recording": True, "persistent": False, "granularity": CLUSTER}
    assert bitmap.describe() == [
        {**shape, "busy": False, "count": 7 * CLUSTER},
        {**shape, "name": "bitmap0", "busy": True, "count": 6 * CLUSTER},
    ]
    bitmap.thaw(frozen)
    assert bitmap.describe() == [{**shape, "name": "bitmap0", "busy": False, "count": 10 * CLUSTER}]


@pytest.mark.usefixtures("_often")
def test_no_mark_falls_between_two_states() -> None:
    """Jobs copy what is dirty, one after the other: what is clean then has been copied.

    Writers come back to their clusters in ever another order, so that most marks find them dirty,
    some in bits that are just being replaced.
    """
    bitmap = new()
    stop = threading.Event()
    disk, acknowledged, target = [0] * 64, [0] * 64, [0] * 64

    def write(number: int) -> None:
        chance = random.Random(number)
        mine = list(range(number, 64, 3))
        while not stop.is_set():
            for cluster in chance.sample(mine, len(mine)):
                disk[cluster] = version = disk[cluster] + 1
                bitmap.mark(cluster * CLUSTER, CLUSTER)
                acknowledged[cluster] = version

    def job() -> None:
        for _ in range(1000):
            for cluster in dirty(bitmap.freeze()):
                target[cluster] = disk[cluster]
            bitmap.thaw(None)
            known = acknowledged.copy()
            now = bitmap.copy()
            lost = [at for at in range(64) if target[at] < known[at] and not now.get(at)]
            assert lost == []

    def jobs() -> None:
        try:
            job()
        finally:
            stop.set()

    with workers([jobs, *(lambda number=number: write(number) for number in range(3))]):
        pass


# Sizes


def test_the_new_part_of_a_grown_disk_is_dirty() -> None:
    """As in QEMU; from the cluster on in which the old end was."""
    bitmap = DirtyBitmap("b0", CLUSTER + 1, CLUSTER)
    bitmap.resize(4 * CLUSTER)
    assert dirty(bitmap.bits) == [1, 2, 3]


def test_a_disabled_bitmap_grows_clean() -> None:
    """It records nothing."""
    bitmap = DirtyBitmap("b0", CLUSTER, CLUSTER, recording=False)
    bitmap.resize(4 * CLUSTER)
    assert dirty(bitmap.bits) == []
    assert bitmap.bits.clusters == 4


def test_the_disk_of_a_frozen_bitmap_grows() -> None:
    """The new part belongs to what comes after the freeze; a shorter disk has less of both."""
    bitmap = new(1, 60)
    frozen = bitmap.freeze()
    bitmap.resize(SIZE + CLUSTER)
    assert dirty(frozen) == [1, 60]
    assert dirty(bitmap.bits) == [64]
    bitmap.resize(2 * CLUSTER)
    bitmap.thaw(frozen)
    assert dirty(bitmap.bits) == [1]
