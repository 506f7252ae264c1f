"""What a throttle group holds its members to."""

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

MAX_LIMIT = 10**15
"""QEMU's THROTTLE_VALUE_MAX: the largest average or burst."""


_Limit = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Ops = Annotated[_Limit, Meta(extra={"unit": "count"})]
_OpsBytes = Annotated[_Limit, Meta(extra={"unit": "bytes"})]
_Length = Annotated[int, Meta(ge=0, le=2**63 - 1, extra={"unit": "seconds"})]


_OLDER_LIMITS = {
    "bps": "bps-total",
    "bps_rd": "bps-read",
    "bps_wr": "bps-write",
    "iops": "iops-total",
    "iops_rd": "iops-read",
    "iops_wr": "iops-write",
}
_OLDER_SUFFIXES = {"": "", "_max": "-max", "_max_length": "-max-length"}


class ThrottleLimits(Struct, frozen=True, kw_only=True, rename="kebab"):
    """QEMU's ``limits`` of a throttle-group object: averages, bursts, burst lengths.

    0 is "no limit" for averages and "no burst" for ``-max``; lengths are whole seconds.
    """

    renamed: ClassVar[dict[str, str]] = {
        "iops_size": "iops-size",
        **{
            f"{old}{old_suffix}": f"{new}{suffix}"
            for old, new in _OLDER_LIMITS.items()
            for old_suffix, suffix in _OLDER_SUFFIXES.items()
        },
    }
    """QEMU's names in ``-drive`` and ``block_set_io_throttle`` (qemu-semantics §3.2)."""

    bps_total: Annotated[
        _OpsBytes, Meta(description="bytes per second, reads and writes; 0: no limit")
    ] = 0
    bps_total_max: Annotated[
        _OpsBytes, Meta(description="what a burst may reach, over bps-total; 0: none may")
    ] = 0
    bps_total_max_length: Annotated[
        _Length, Meta(description="how long a burst may stay at bps-total-max")
    ] = 1
    bps_read: Annotated[_OpsBytes, Meta(description="bytes per second read; 0: no limit")] = 0
    bps_read_max: Annotated[
        _OpsBytes, Meta(description="what a burst may reach, over bps-read; 0: none may")
    ] = 0
    bps_read_max_length: Annotated[
        _Length, Meta(description="how long a burst may stay at bps-read-max")
    ] = 1
    bps_write: Annotated[_OpsBytes, Meta(description="bytes per second written; 0: no limit")] = 0
    bps_write_max: Annotated[
        _OpsBytes, Meta(description="what a burst may reach, over bps-write; 0: none may")
    ] = 0
    bps_write_max_length: Annotated[
        _Length, Meta(description="how long a burst may stay at bps-write-max")
    ] = 1
    iops_total: Annotated[
        _Ops, Meta(description="requests per second, reads and writes; 0: no limit")
    ] = 0
    iops_total_max: Annotated[
        _Ops, Meta(description="what a burst may reach, over iops-total; 0: none may")
    ] = 0
    iops_total_max_length: Annotated[
        _Length, Meta(description="how long a burst may stay at iops-total-max")
    ] = 1
    iops_read: Annotated[_Ops, Meta(description="read requests per second; 0: no limit")] = 0
    iops_read_max: Annotated[
        _Ops, Meta(description="what a burst may reach, over iops-read; 0: none may")
    ] = 0
    iops_read_max_length: Annotated[
        _Length, Meta(description="how long a burst may stay at iops-read-max")
    ] = 1
    iops_write: Annotated[_Ops, Meta(description="write requests per second; 0: no limit")] = 0
    iops_write_max: Annotated[
        _Ops, Meta(description="what a burst may reach, over iops-write; 0: none may")
    ] = 0
    iops_write_max_length: Annotated[
        _Length, Meta(description="how long a burst may stay at iops-write-max")
    ] = 1
    iops_size: Annotated[
        _OpsBytes,
        Meta(description="a request larger than this counts as several; 0: each counts as one"),
    ] = 0
