"""QEMU's rules for throttle limits, in its order and with its messages (qemu-semantics §1.6)."""

from collections.abc import Iterator
from dataclasses import dataclass

from blkrun.options import MAX_BURST_SECONDS, MAX_LIMIT, ThrottleLimits

BUCKETS = ("bps_total", "bps_read", "bps_write", "iops_total", "iops_read", "iops_write")
"""QEMU's order: rules are checked bucket by bucket in this order."""


@dataclass(frozen=True, slots=True)
class LimitProblem:
    """The first rule that is broken: QEMU's message, and the option it is about (wire name)."""

    option: str
    message: str


def check_limits(limits: ThrottleLimits) -> LimitProblem | None:
    """None if QEMU would take these limits."""
    return next(_problems(limits), None)


def any_average(limits: ThrottleLimits) -> bool:
    """QEMU's "enabled" (§1.5): whether anything is limited at all."""
    return any(getattr(limits, bucket) for bucket in BUCKETS)


def _problems(limits: ThrottleLimits) -> Iterator[LimitProblem]:
    yield from _too_long(limits)
    yield from _conflicts(limits)
    if limits.iops_size and not (limits.iops_total or limits.iops_read or limits.iops_write):
        yield LimitProblem("iops-size", "iops size requires an iops value to be set")
    for bucket in BUCKETS:
        yield from _bucket_problems(limits, bucket)


def _too_long(limits: ThrottleLimits) -> Iterator[LimitProblem]:
    for bucket in BUCKETS:
        option = f"{bucket}_max_length"
        if getattr(limits, option) > MAX_BURST_SECONDS:
            wire = _wire(option)
            message = f"{wire} value must be in the range [0, {MAX_BURST_SECONDS}]"
            yield LimitProblem(wire, message)


def _conflicts(limits: ThrottleLimits) -> Iterator[LimitProblem]:
    for suffix in ("", "_max"):
        for unit in ("bps", "iops"):
            total = getattr(limits, f"{unit}_total{suffix}")
            read = getattr(limits, f"{unit}_read{suffix}")
            write = getattr(limits, f"{unit}_write{suffix}")
            if total and (read or write):
                yield LimitProblem(
                    _wire(f"{unit}_total{suffix}"),
                    "bps/iops/max total values and read/write values "
                    "cannot be used at the same time",
                )


def _bucket_problems(limits: ThrottleLimits, bucket: str) -> Iterator[LimitProblem]:
    average = getattr(limits, bucket)
    burst = getattr(limits, f"{bucket}_max")
    length = getattr(limits, f"{bucket}_max_length")
    for option, value in ((bucket, average), (f"{bucket}_max", burst)):
        if value > MAX_LIMIT:
            message = f"bps/iops/max values must be within [0, {MAX_LIMIT}]"
            yield LimitProblem(_wire(option), message)
    length_option = _wire(f"{bucket}_max_length")
    if length == 0:
        yield LimitProblem(length_option, "the burst length cannot be 0")
    if length > 1 and not burst:
        yield LimitProblem(length_option, "burst length set without burst rate")
    if burst and length > MAX_LIMIT // burst:
        yield LimitProblem(length_option, "burst length too high for this burst rate")
    if burst and not average:
        yield LimitProblem(
            _wire(f"{bucket}_max"), "bps_max/iops_max require corresponding bps/iops values"
        )
    if burst and burst < average:
        yield LimitProblem(_wire(f"{bucket}_max"), "bps_max/iops_max cannot be lower than bps/iops")


def _wire(option: str) -> str:
    return option.replace("_", "-")
