"""Counters are exact under any load (design §5 rule 6), and histograms are 1/8 wrong at most."""

import sys
from collections.abc import Callable, Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from blkrun.options import ExportOptions, NullOptions
from blkrun.server.drivers.null import Null
from blkrun.server.export import Export
from blkrun.server.stats import (
    COUNTERS,
    HISTOGRAM_SIZE,
    Counters,
    Slot,
    bucket_floor_ns,
    bucket_of,
    merge_histograms,
    new_histogram,
    sparse,
)
from tests.server.inprocess import workers

TOP_NS = 2**40 - 1


@pytest.fixture
def _often() -> Iterator[None]:
    """Switch threads as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


# Histograms


@settings(deadline=None)
@given(st.integers(8, TOP_NS))
def test_a_bucket_is_an_eighth_wide(duration_ns: int) -> None:
    """The floor is at most 1/8 below what fell into the bucket."""
    floor_ns = bucket_floor_ns(bucket_of(duration_ns))
    assert floor_ns <= duration_ns < floor_ns * 9 / 8 + 1


@settings(deadline=None)
@given(st.integers(0, 2**50), st.integers(0, 2**50))
def test_longer_is_never_in_a_lower_bucket(one_ns: int, other_ns: int) -> None:
    """Monotone over everything that a clock could give."""
    low_ns, high_ns = sorted((one_ns, other_ns))
    assert bucket_of(low_ns) <= bucket_of(high_ns)


@settings(deadline=None)
@given(st.integers(0, 2**70))
def test_every_duration_has_a_bucket(duration_ns: int) -> None:
    """None and very much too: the first and the last bucket take them."""
    assert 0 <= bucket_of(duration_ns) < HISTOGRAM_SIZE


def test_floors_are_the_smallest_of_their_buckets() -> None:
    """Each bucket's floor is in it, and one ns less is in the one before."""
    for index in range(bucket_of(8) + 1, HISTOGRAM_SIZE):
        floor_ns = bucket_floor_ns(index)
        assert bucket_of(floor_ns) == index
        assert bucket_of(floor_ns - 1) == index - 1


def test_no_floor_for_buckets_that_cannot_be_hit() -> None:
    """Under 8 ns there is nothing."""
    assert {bucket_floor_ns(index) for index in range(bucket_of(0))} == {0}


def test_merge_and_sparse() -> None:
    """Sums bucket by bucket, and only what is not empty goes over the wire."""
    one, other = new_histogram(), new_histogram()
    one[bucket_of(1000)] = 2
    other[bucket_of(1000)] = 3
    other[bucket_of(10**9)] = 1
    merged = merge_histograms((one, other))
    assert sparse(merged) == [(960, 5), (bucket_floor_ns(bucket_of(10**9)), 1)]
    assert sparse(new_histogram()) == []


# Counters


@pytest.mark.usefixtures("_often")
def test_a_node_counts_exactly_from_many_threads() -> None:
    """8 threads and a switch interval of a microsecond: not one operation or byte is lost."""
    node = Null(NullOptions(node_name="n"))
    count, threads = 2000, 8

    def work() -> None:
        buffer = memoryview(bytearray(512))
        for _ in range(count):
            node.pread(buffer, 0)
            node.pwrite(buffer[:100], 0, 0)
            node.trim(7, 0, 0)
            node.zero(3, 0, 0)
            node.flush()

    with workers([work] * threads):
        for _ in range(200):
            assert node.stats.in_flight() >= 0
    total = count * threads
    assert node.stats.as_dict() == dict.fromkeys(COUNTERS, 0) | {
        "rd_bytes": 512 * total,
        "rd_operations": total,
        "wr_bytes": (100 + 3) * total,
        "wr_operations": 2 * total,
        "unmap_bytes": 7 * total,
        "unmap_operations": total,
        "flush_operations": total,
    }
    assert node.stats.in_flight() == 0


class Interrupting:
    """A buffer during whose ``len`` other requests run, as a thread switch could have it."""

    def __init__(self, other: Callable[[], None]) -> None:
        self._other = other

    def __len__(self) -> int:
        self._other()
        return 512

    def __setitem__(self, key: object, value: object) -> None:
        """Take what is read."""


@pytest.mark.parametrize("kind", ["rd", "wr"])
def test_no_call_while_a_counter_is_loaded(kind: str) -> None:
    """A switch can only happen in a call, so there must be none between load and store."""
    node = Null(NullOptions(node_name="n"))
    plain = memoryview(bytearray(512))

    def request(buffer: object) -> None:
        view: memoryview = buffer  # type: ignore[assignment]  # only its len is used
        if kind == "rd":
            node.pread(view, 0)
        else:
            node.pwrite(view, 0, 0)

    calls = 0

    def other() -> None:
        nonlocal calls
        calls += 1
        request(plain)

    request(Interrupting(other))
    assert calls
    assert node.stats.as_dict()[f"{kind}_bytes"] == 512 * (1 + calls)
    assert node.stats.as_dict()[f"{kind}_operations"] == 1 + calls


def test_failures_are_counted_apart() -> None:
    """§9.8: a failed operation counts no bytes and is no longer in flight."""

    class Broken(Null):
        def do_pread(self, buf: memoryview, offset: int) -> None:
            raise OSError(5, "broken")

        def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
            raise OSError(5, "broken")

        def do_zero(self, count: int, offset: int, flags: int) -> None:
            raise OSError(5, "broken")

        def do_trim(self, count: int, offset: int, flags: int) -> None:
            raise OSError(5, "broken")

        def do_flush(self) -> None:
            raise OSError(5, "broken")

    node = Broken(NullOptions(node_name="n"))
    buffer = memoryview(bytearray(8))
    requests: list[Callable[[], None]] = [
        lambda: node.pread(buffer, 0),
        lambda: node.pwrite(buffer, 0, 0),
        lambda: node.zero(8, 0, 0),
        lambda: node.trim(8, 0, 0),
        node.flush,
    ]
    for request in requests:
        with pytest.raises(OSError, match="broken"):
            request()
    assert node.stats.in_flight() == 0
    assert {name: value for name, value in node.stats.as_dict().items() if value} == {
        "failed_rd_operations": 1,
        "failed_wr_operations": 2,
        "failed_unmap_operations": 1,
        "failed_flush_operations": 1,
    }


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from((*COUNTERS, "started")), st.integers(0, 2**60))))
def test_counters_add_up(parts: list[dict[str, int]]) -> None:
    """The sum of all is the sum of each."""
    total = Counters()
    for part in parts:
        counters = Counters()
        for name, value in part.items():
            setattr(counters, name, value)
        total.add(counters)
    for name in COUNTERS:
        assert getattr(total, name) == sum(part.get(name, 0) for part in parts)


def test_slots_fold_into_the_export() -> None:
    """A connection's counts and latencies stay in the export's totals when it has gone."""
    export = Export("e", ExportOptions(node="n"))
    slots = [Slot() for _ in range(3)]
    for number, slot in enumerate(slots, 1):
        export.add_slot(slot)
        slot.started = slot.rd_operations = number
        slot.rd_bytes = 512 * number
        slot.read_latency[bucket_of(1000)] += number
        slot.write_latency[bucket_of(8)] += 1

    def seen() -> tuple[object, ...]:
        totals = export.totals()
        reads, writes = export.latency()
        return totals.rd_operations, totals.rd_bytes, totals.in_flight(), sparse(reads), writes

    before = seen()
    assert before[:4] == (6, 6 * 512, 0, [(960, 6)])
    export.retire_slots(slots[:2])
    assert seen() == before
    export.retire_slots(slots[2:])
    assert seen() == before
    assert export.under_way() == []
