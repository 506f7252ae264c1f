"""QEMU's rules for throttle limits: their order, their messages, their boundaries.

From qemu-semantics §1.6, "Validation rules, in evaluation order": applied to the complete
resulting config; the first failing rule wins.

    1. For each of {bps avg, iops avg, bps max, iops max}: total non-zero together with read or
       write non-zero.
    2. op_size ≠ 0 while all three iops avg are 0.
    3. Then per bucket in index order, each bucket going through:
       a. avg or max > 10^15    b. burst_length == 0    c. burst_length > 1 and max == 0
       d. max ≠ 0 and burst_length > 10^15 / max (integer division)
       e. max ≠ 0 and avg == 0  f. max ≠ 0 and max < avg (max == avg is fine).

    Before those: a ``*-max-length`` > 2^32-1 → ``<member> value must be in the range ...``.
"""

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from blkrun.limits import BUCKETS, LimitProblem, check_limits
from blkrun.options import ThrottleLimits

TOP = 10**15

LENGTH_RANGE = "{} value must be in the range [0, 4294967295]"
EXCLUSIVE = "bps/iops/max total values and read/write values cannot be used at the same time"
SIZE = "iops size requires an iops value to be set"
RANGE = "bps/iops/max values must be within [0, 1000000000000000]"
LENGTH_0 = "the burst length cannot be 0"
NO_RATE = "burst length set without burst rate"
TOO_LONG = "burst length too high for this burst rate"
NO_AVERAGE = "bps_max/iops_max require corresponding bps/iops values"
LOW_BURST = "bps_max/iops_max cannot be lower than bps/iops"


def wire(bucket: str, suffix: str = "") -> str:
    """An option's name in the file."""
    return bucket.replace("_", "-") + suffix


def bucket_limits(bucket: str, average: int, burst: int = 0, length: int = 1) -> ThrottleLimits:
    """Limits of one bucket only."""
    values = {bucket: average, f"{bucket}_max": burst, f"{bucket}_max_length": length}
    return ThrottleLimits(**values)


def test_no_limits_are_valid() -> None:
    """A group without limits is legal and unlimited."""
    assert check_limits(ThrottleLimits()) is None


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize(
    ("average", "burst", "length"),
    [
        (TOP, 0, 1),
        (TOP, TOP, 1),
        (1, 2, 2**32 - 1),
        (1, 1, 2**32 - 1),
        (100, 100, 1),
        (100, 0, 1),
        (1, TOP, 1),
        (1, TOP // 4, 4),
        (0, 0, 1),
    ],
)
def test_valid_boundaries(bucket: str, average: int, burst: int, length: int) -> None:
    """The largest values that QEMU's unit test takes, in every bucket."""
    assert check_limits(bucket_limits(bucket, average, burst, length)) is None


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize(
    ("values", "option", "message"),
    [
        ((TOP + 1, 0, 1), "", RANGE),
        ((1, TOP + 1, 1), "-max", RANGE),
        ((1, TOP, 2), "-max-length", TOO_LONG),
        ((1, TOP // 4, 5), "-max-length", TOO_LONG),
        ((1, 3 * 10**6, 333_333_334), "-max-length", TOO_LONG),
        ((1, 1, 0), "-max-length", LENGTH_0),
        ((1, 0, 2), "-max-length", NO_RATE),
        ((0, 100, 1), "-max", NO_AVERAGE),
        ((100, 30, 1), "-max", LOW_BURST),
        ((100, 99, 1), "-max", LOW_BURST),
    ],
)
def test_invalid_boundaries(
    bucket: str, values: tuple[int, int, int], option: str, message: str
) -> None:
    """One more than that is refused, with QEMU's message, at the option it is about."""
    limits = bucket_limits(bucket, *values)
    assert check_limits(limits) == LimitProblem(wire(bucket, option), message)


@pytest.mark.parametrize("bucket", BUCKETS)
def test_length_range(bucket: str) -> None:
    """A length must fit in 32 bits, and the message has the option's name in it."""
    option = wire(bucket, "-max-length")
    problem = check_limits(bucket_limits(bucket, 1, 1, 2**32))
    assert problem == LimitProblem(option, LENGTH_RANGE.format(option))


@pytest.mark.parametrize("unit", ["bps", "iops"])
@pytest.mark.parametrize("suffix", ["", "_max"])
@pytest.mark.parametrize("direction", ["read", "write"])
def test_total_excludes_read_and_write(unit: str, suffix: str, direction: str) -> None:
    """Within one unit, averages and bursts apart."""
    values = {f"{unit}_total{suffix}": 1, f"{unit}_{direction}{suffix}": 1}
    assert check_limits(ThrottleLimits(**values)) == LimitProblem(
        wire(f"{unit}_total{suffix}"), EXCLUSIVE
    )


def test_bps_and_iops_are_independent() -> None:
    """A total of one unit goes with read and write of the other."""
    assert check_limits(ThrottleLimits(bps_total=1, iops_read=1, iops_write=1)) is None
    assert check_limits(ThrottleLimits(iops_total=1, bps_read=1, bps_write=1)) is None


@pytest.mark.parametrize("bucket", ["iops_total", "iops_read", "iops_write"])
def test_iops_size(bucket: str) -> None:
    """It needs one of the three averages of iops, and any will do."""
    assert check_limits(ThrottleLimits(iops_size=4096)) == LimitProblem("iops-size", SIZE)
    with_bps = ThrottleLimits(iops_size=4096, bps_total=1)
    assert check_limits(with_bps) == LimitProblem("iops-size", SIZE)
    assert check_limits(ThrottleLimits(iops_size=4096, **{bucket: 1})) is None


BROKEN: list[tuple[dict[str, int], str, str]] = [
    ({"iops_write_max_length": 2**32}, "iops-write-max-length", LENGTH_RANGE),
    ({"bps_total": 1, "bps_read": 1}, "bps-total", EXCLUSIVE),
    ({"iops_total": 1, "iops_read": 1}, "iops-total", EXCLUSIVE),
    ({"bps_total_max": 1, "bps_write_max": 1}, "bps-total-max", EXCLUSIVE),
    ({"iops_total_max": 1, "iops_read_max": 1}, "iops-total-max", EXCLUSIVE),
    ({"iops_size": 1}, "iops-size", SIZE),
    ({"bps_read": TOP + 1}, "bps-read", RANGE),
    ({"bps_write_max_length": 0}, "bps-write-max-length", LENGTH_0),
    ({"iops_write_max": 5}, "iops-write-max", NO_AVERAGE),
]
"""Ways to break a rule, in the order in which QEMU finds them."""


@pytest.mark.parametrize("first", range(len(BROKEN)))
def test_the_first_rule_wins(first: int) -> None:
    """With everything from one rule on broken, that rule is the one reported."""
    values: dict[str, int] = {}
    for broken, _, _ in reversed(BROKEN[first:]):
        values |= broken
    _, option, message = BROKEN[first]
    problem = check_limits(ThrottleLimits(**values))
    assert problem == LimitProblem(option, message.format(option))


@pytest.mark.parametrize("bucket", BUCKETS)
def test_order_within_a_bucket(bucket: str) -> None:
    """Range, length 0, length without rate, too long, no average, low burst."""
    assert check_limits(bucket_limits(bucket, TOP + 1, 0, 0)) == LimitProblem(wire(bucket), RANGE)
    no_average = check_limits(bucket_limits(bucket, 0, TOP, 2))
    assert no_average == LimitProblem(wire(bucket, "-max-length"), TOO_LONG)
    low = check_limits(bucket_limits(bucket, TOP, TOP - 1, 0))
    assert low == LimitProblem(wire(bucket, "-max-length"), LENGTH_0)


VALUES = st.sampled_from([0, 1, 2, 100, TOP, TOP + 1, 2**32 - 1, 2**32])
OPTIONS = dict.fromkeys(ThrottleLimits.__struct_fields__, VALUES)


@given(st.fixed_dictionaries({}, optional=OPTIONS))
def test_a_problem_names_an_option(values: dict[str, int]) -> None:
    """Whatever the limits are, what is wrong is about an option that exists."""
    problem = check_limits(ThrottleLimits(**values))
    options = {field.encode_name for field in msgspec.structs.fields(ThrottleLimits)}
    assert problem is None or problem.option in options
