"""Buckets: QEMU's unit-test numbers (qemu-semantics §10.1), and what blkrun does its own way."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from blkrun.limits import BUCKETS, check_limits
from blkrun.options import ThrottleLimits
from blkrun.server.throttle.bucket import NS_PER_S, READ, WRITE, Bucket, Buckets

EVERY = ThrottleLimits(**dict.fromkeys(BUCKETS, 1))


def levels(buckets: Buckets) -> dict[str, float]:
    """Every limited bucket's level, without letting time pass."""
    return {name: bucket.level for name, bucket in buckets.levels(0).items()}


def test_leak_of_the_level() -> None:
    """§10.1: avg 150, level 1.5; each 1/150 s takes one unit, and never below nothing."""
    bucket = Bucket(average=150, burst=15, level=1.5)
    seen = []
    for step in (1, 2, 3):
        bucket.leak(step * NS_PER_S // 150)
        seen.append(bucket.level)
    assert seen == pytest.approx([0.5, 0, 0], abs=1e-6)


def test_leak_of_the_burst_level() -> None:
    """§10.1: max 250 over 2 s, burst level 6; each 10 ms takes 2.5."""
    bucket = Bucket(average=1, burst=250, burst_seconds=2, burst_level=6)
    seen = []
    for step in (1, 2, 3, 4):
        bucket.leak(step * NS_PER_S // 100)
        seen.append(bucket.burst_level)
    assert seen == pytest.approx([3.5, 1, 0, 0], abs=1e-6)


def test_no_burst_level_without_a_burst_length() -> None:
    """§1.1: the burst level is kept only where the burst may last longer than a second."""
    bucket = Bucket(average=1, burst=250, burst_seconds=1, by_bytes=True)
    bucket.charge(7)
    assert (bucket.level, bucket.burst_level) == (7, 0)


@pytest.mark.parametrize(
    ("average", "burst", "level", "wait_ns"),
    [
        (0, 0, 1.5, 0),
        (150, 15, 15, 0),
        (150, 15, 9, 0),
        (150, 15, 15.5, 3_333_333),
        (100, 0, 10, 0),
        (100, 0, 11, 10_000_000),
        (1, 0, 1, 900_000_000),
        (10**9, 0, 10**8 + 0.5, 0),
    ],
)
def test_wait(average: int, burst: int, level: float, wait_ns: int) -> None:
    """§1.3, §10.1: strictly above the size waits, in whole ns, less than one being none."""
    assert Bucket(average=average, burst=burst, level=level).wait_ns() == wait_ns


def test_burst_of_22_iterations() -> None:
    """§10.1: 20 units each 0.1 s at avg 10, max 200 over 2 s pass 21 times, not 22."""
    bucket = Bucket(average=10, burst=200, burst_seconds=2, by_bytes=True)
    for iteration in range(22):
        bucket.charge(20)
        bucket.leak((iteration + 1) * NS_PER_S // 10)
        assert bucket.burst_level == pytest.approx(0, abs=1e-6)
        assert bucket.level == pytest.approx((iteration + 1) * 19)
        expected_ns = 1_800_000_000 if iteration == 21 else 0
        assert bucket.wait_ns() == pytest.approx(expected_ns, abs=1)


def test_burst_bucket_waits_at_the_burst_rate() -> None:
    """§1.3 step 4: a tenth of max may come at once, then max is the rate."""
    bucket = Bucket(average=10, burst=20, burst_seconds=2, level=3, burst_level=3)
    assert bucket.wait_ns() == NS_PER_S // 20


@pytest.mark.parametrize("size_bytes", [512, 1024])
@pytest.mark.parametrize("iops_size", [0, 17])
def test_bytes_are_charged_to_total_and_direction(size_bytes: int, iops_size: int) -> None:
    """§10.1 accounting: a read and a write; iops-size makes no difference to bytes."""
    limits = ThrottleLimits(bps_total=1, bps_read=1, bps_write=1, iops_size=iops_size)
    buckets = Buckets(limits, 0)
    buckets.charge(READ, size_bytes)
    buckets.charge(WRITE, size_bytes)
    expected = {"bps-total": 2 * size_bytes, "bps-read": size_bytes, "bps-write": size_bytes}
    assert levels(buckets) == expected


@pytest.mark.parametrize(
    ("size_bytes", "iops_size", "units"),
    [
        (512, 0, 1),
        (1024, 0, 1),
        (64 * 512, 13 * 512, 64 / 13),
        (8192, 4096, 2),
        (6144, 4096, 1.5),
        (4096, 4096, 1),
        (1, 4096, 1),
        (0, 4096, 1),
        (0, 0, 1),
    ],
)
def test_operations_are_charged_by_iops_size(size_bytes: int, iops_size: int, units: float) -> None:
    """§1.4, §10.1: above iops-size (strictly) size / iops-size, else one; also for no bytes."""
    limits = ThrottleLimits(iops_total=1, iops_read=1, iops_write=1, iops_size=iops_size)
    buckets = Buckets(limits, 0)
    buckets.charge(READ, size_bytes)
    buckets.charge(WRITE, size_bytes)
    assert levels(buckets) == pytest.approx(
        {"iops-total": 2 * units, "iops-read": units, "iops-write": units}
    )


def test_a_direction_looks_at_its_own_buckets_and_the_totals() -> None:
    """§1.4: the longest wait of four; writes never look at read buckets."""
    buckets = Buckets(ThrottleLimits(bps_read=5120, iops_total=100), 0)
    buckets.charge(READ, 1024)
    buckets.charge(READ, 1024)
    assert buckets.wait_ns(READ, 0) == int((2048 - 512) * NS_PER_S / 5120)
    assert buckets.wait_ns(WRITE, 0) == 0


@pytest.mark.parametrize("bucket", BUCKETS)
def test_limited(bucket: str) -> None:
    """§1.5: one average limits its directions, and no others."""
    limits = ThrottleLimits(**{bucket: 150})
    read, write = not bucket.endswith("write"), not bucket.endswith("read")
    assert Buckets(limits, 0).limited == (read, write)
    assert Buckets(ThrottleLimits(), 0).limited == (False, False)


def test_a_new_group_is_empty() -> None:
    """§1.1: all levels begin at 0, and the limits read back as they were given."""
    buckets = Buckets(EVERY, 12345)
    assert set(levels(buckets).values()) == {0.0}
    assert buckets.limits == EVERY


def test_an_older_time_leaks_nothing() -> None:
    """Threads read the clock before the lock, so time may come out of order; none is lost."""
    buckets = Buckets(ThrottleLimits(iops_total=10), 0)
    buckets.charge(READ, 1)
    buckets.charge(READ, 1)
    assert buckets.wait_ns(READ, 50_000_000) == 50_000_000
    assert buckets.wait_ns(READ, 10_000_000) == 50_000_000
    assert buckets.wait_ns(READ, 100_000_000) == 0


# Retuning: ours.  QEMU empties the buckets (§1.7), so that each change grants a burst.


def test_retune_to_the_same_limits_changes_nothing() -> None:
    """Saving a file again and again is no way to get more than the limit."""
    limits = ThrottleLimits(iops_total=10, iops_total_max=20, iops_total_max_length=2)
    buckets = Buckets(limits, 0)
    for _ in range(50):
        buckets.charge(READ, 512)
    before = [(bucket.level, bucket.burst_level) for bucket in buckets.levels(0).values()]
    buckets.retune(limits, 0)
    after = [(bucket.level, bucket.burst_level) for bucket in buckets.levels(0).values()]
    assert after == [pytest.approx(pair) for pair in before]


def test_lowering_a_limit_does_not_make_a_debt() -> None:
    """A full bucket of 2000/s with a burst of 8000/s for 10 s is no 800 s of debt at 100/s."""
    wide = ThrottleLimits(iops_total=2000, iops_total_max=8000, iops_total_max_length=10)
    buckets = Buckets(wide, 0)
    buckets.charge(READ, 0)
    for _ in range(80_000):
        buckets.charge(READ, 0)
    buckets.retune(ThrottleLimits(iops_total=100), 0)
    assert buckets.wait_ns(READ, 0) <= NS_PER_S // 100


def test_a_debt_takes_as_long_as_before() -> None:
    """What a large request owes is owed in time, so a retune neither forgives nor stretches it."""
    buckets = Buckets(ThrottleLimits(bps_total=1000), 0)
    buckets.charge(READ, 5100)
    assert buckets.wait_ns(READ, 0) == 5 * NS_PER_S
    for rate in (10, 10**6, 777):
        buckets.retune(ThrottleLimits(bps_total=rate), 0)
        assert buckets.wait_ns(READ, 0) == pytest.approx(5 * NS_PER_S, rel=1e-9)


def test_a_new_limit_starts_empty_and_the_others_stay() -> None:
    """A bucket that was not there has let nothing through."""
    buckets = Buckets(ThrottleLimits(iops_total=10), 0)
    buckets.charge(READ, 512)
    buckets.retune(ThrottleLimits(iops_total=10, bps_read=4096), 0)
    assert levels(buckets) == {"iops-total": 1, "bps-read": 0}


@st.composite
def limits_of_one_bucket(draw: st.DrawFn) -> ThrottleLimits:
    """Valid limits of iops-total, with or without a burst."""
    average = draw(st.integers(1, 10_000))
    burst = draw(st.one_of(st.just(0), st.integers(average, 100_000)))
    length = draw(st.integers(1, 20)) if burst else 1
    limits = ThrottleLimits(iops_total=average, iops_total_max=burst, iops_total_max_length=length)
    assert check_limits(limits) is None
    return limits


@settings(deadline=None)
@given(
    limits_of_one_bucket(),
    st.lists(
        st.one_of(
            st.tuples(st.just("charge"), st.integers(0, 2**40)),
            st.tuples(st.just("pass"), st.integers(-(10**9), 10**11)),
            st.tuples(st.just("retune"), limits_of_one_bucket()),
        )
    ),
)
def test_buckets_stay_valid(first: ThrottleLimits, steps: list[tuple[str, object]]) -> None:
    """Whatever is charged, whatever time passes (backwards too), no level goes below nothing."""
    buckets, now_ns = Buckets(first, 0), 0
    for what, value in steps:
        if what == "charge":
            assert isinstance(value, int)
            buckets.charge(READ, value)
        elif what == "pass":
            assert isinstance(value, int)
            now_ns += value
            assert buckets.wait_ns(READ, now_ns) >= 0
        else:
            assert isinstance(value, ThrottleLimits)
            buckets.retune(value, now_ns)
        assert all(bucket.valid() for bucket in buckets.levels(now_ns).values())


@settings(deadline=None)
@given(limits_of_one_bucket(), st.integers(0, 1000))
def test_a_wait_is_enough(limits: ThrottleLimits, operations: int) -> None:
    """§1.3: after the main bucket's wait, and then the burst bucket's, a request may go."""
    bucket = Buckets(limits, 0).levels(0)["iops-total"]
    for _ in range(operations):
        bucket.charge(512)
    for _ in range(2):
        bucket.leak(bucket.at_ns + bucket.wait_ns() + 1)
    assert bucket.wait_ns() == 0
