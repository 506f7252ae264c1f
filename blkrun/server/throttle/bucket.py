"""QEMU's leaky buckets: arithmetic only, time passed in (qemu-semantics §1).

A bucket holds what was let through and leaks at the limit's rate.  A request may go when the
bucket is not over its size, whatever the request's own cost, and is charged in full when it
goes ("pay after").  Invariant, held by every operation: 0 ≤ level, 0 ≤ burst_level.
"""

from dataclasses import dataclass
from typing import Final

from blkrun.limits import BUCKETS
from blkrun.options import ThrottleLimits

NS_PER_S = 1_000_000_000


READ: Final = 0
WRITE: Final = 1
"""Reads and writes queue apart; zeroes and trims are writes.  Plain ints: they index tuples."""

DIRECTIONS: Final = (READ, WRITE)


@dataclass(slots=True)
class Bucket:
    """One limit and its level.  ``average`` 0 means no limit; units are bytes or operations."""

    average: int = 0
    burst: int = 0
    burst_seconds: int = 1
    level: float = 0.0
    burst_level: float = 0.0

    def size(self) -> float:
        """What may have gone through at once; above it requests wait."""
        return self.burst * self.burst_seconds if self.burst else self.average / 10

    def carry(self, old: "Bucket") -> None:
        """Go on where the same limit, with other values, has been: as full, as long in debt.

        The plain level would be days of debt for a limit that is lowered from thousands to one.
        """
        self.level = _carried(old.level, (old.size(), old.average), (self.size(), self.average))
        if self.burst_seconds > 1 and old.burst_seconds > 1:
            self.burst_level = _carried(
                old.burst_level, (old.burst / 10, old.burst), (self.burst / 10, self.burst)
            )

    def leak(self, elapsed_ns: int) -> None:
        """Let ``elapsed_ns`` pass."""
        level = self.level - self.average * elapsed_ns / NS_PER_S
        self.level = level if level > 0.0 else 0.0  # noqa: FURB136 - max() is a call
        if self.burst_seconds > 1:
            self.burst_level = max(self.burst_level - self.burst * elapsed_ns / NS_PER_S, 0.0)

    def wait_ns(self) -> int:
        """How long until a request may go; 0: now.  A bucket exactly full does not block."""
        if not self.average:
            return 0
        extra = self.level - self.size()
        if extra > 0:
            return int(extra * NS_PER_S / self.average)
        if self.burst_seconds > 1:
            extra = self.burst_level - self.burst / 10
            if extra > 0:
                return int(extra * NS_PER_S / self.burst)
        return 0

    def charge(self, units: float) -> None:
        """Account what went through."""
        self.level += units
        if self.burst_seconds > 1:
            self.burst_level += units

    def valid(self) -> bool:
        """The invariant."""
        return self.level >= 0 and self.burst_level >= 0


class Buckets:
    """The buckets of a group that have a limit; those without cost nothing.

    A direction looks at the totals and at its own: at most four.
    """

    __slots__ = (
        "_bytes",
        "_iops_size",
        "_limited",
        "_named",
        "_operations",
        "_previous_ns",
        "_sizes",
        "limited",
        "limits",
    )

    def __init__(self, limits: ThrottleLimits, now_ns: int) -> None:
        self._previous_ns = now_ns
        self._build(limits, {})

    def retune(self, limits: ThrottleLimits, now_ns: int) -> None:
        """New limits take effect for what has passed too: buckets stay as full as they were.

        QEMU empties them, so that saving a file again and again would grant burst after burst.
        """
        self._leak(now_ns)
        self._build(limits, self._named)

    def levels(self, now_ns: int) -> dict[str, Bucket]:
        """Limited buckets by option name (``iops-total``), leaked up to now."""
        self._leak(now_ns)
        return {name.replace("_", "-"): bucket for name, bucket in self._named.items()}

    def wait_ns(self, direction: int, now_ns: int) -> int:
        """The longest wait of the direction's buckets, after leaking up to now."""
        self._leak(now_ns)
        wait = 0
        for bucket, size in self._sizes[direction]:
            if bucket.level > size or bucket.burst_seconds > 1:  # seldom: most have room
                wait = max(wait, bucket.wait_ns())
        return wait

    def take(self, direction: int, count: int, now_ns: int) -> bool:
        """Let a request of ``count`` bytes through if it need not wait, charged; or say no.

        ``wait_ns`` and ``charge`` in one, without calls: this is what nearly every request does.
        """
        elapsed_ns = now_ns - self._previous_ns
        if elapsed_ns > 0:
            self._previous_ns = now_ns
            for bucket in self._limited:
                level = bucket.level - bucket.average * elapsed_ns / NS_PER_S
                bucket.level = level if level > 0.0 else 0.0  # noqa: FURB136 - max() is a call
                if bucket.burst_seconds > 1:
                    level = bucket.burst_level - bucket.burst * elapsed_ns / NS_PER_S
                    bucket.burst_level = level if level > 0.0 else 0.0  # noqa: FURB136
        for bucket, size in self._sizes[direction]:
            if bucket.level > size:
                return False
            if bucket.burst_seconds > 1 and bucket.burst_level > bucket.burst / 10:
                return False
        self.charge(direction, count)
        return True

    def charge(self, direction: int, count: int) -> None:
        """A request of ``count`` bytes goes.  Above iops-size it costs count / iops-size."""
        for bucket in self._bytes[direction]:
            bucket.level += count
            if bucket.burst_seconds > 1:
                bucket.burst_level += count
        if operations := self._operations[direction]:
            size = self._iops_size
            units = count / size if 0 < size < count else 1.0
            for bucket in operations:
                bucket.level += units
                if bucket.burst_seconds > 1:
                    bucket.burst_level += units

    def _leak(self, now_ns: int) -> None:
        elapsed_ns = now_ns - self._previous_ns
        # Threads read the clock before they take the lock, so an older time may come later.
        if elapsed_ns > 0:
            self._previous_ns = now_ns
            for bucket in self._limited:
                bucket.leak(elapsed_ns)

    def _build(self, limits: ThrottleLimits, old: dict[str, Bucket]) -> None:
        self.limits = limits
        self._iops_size = limits.iops_size
        self._named = {name: bucket for name in BUCKETS if (bucket := _bucket(limits, name, old))}
        self._limited = tuple(self._named.values())
        self._bytes = self._by_direction("bps")
        self._operations = self._by_direction("iops")
        self._sizes = tuple(
            tuple((bucket, bucket.size()) for bucket in (*by_bytes, *by_operations))
            for by_bytes, by_operations in zip(self._bytes, self._operations, strict=True)
        )
        self.limited = tuple(
            bool(self._bytes[direction] or self._operations[direction]) for direction in DIRECTIONS
        )

    def _by_direction(self, unit: str) -> tuple[tuple[Bucket, ...], tuple[Bucket, ...]]:
        def pick(direction: str) -> tuple[Bucket, ...]:
            names = (f"{unit}_total", f"{unit}_{direction}")
            return tuple(self._named[name] for name in names if name in self._named)

        return pick("read"), pick("write")


def _bucket(limits: ThrottleLimits, name: str, old: dict[str, Bucket]) -> Bucket | None:
    average = getattr(limits, name)
    if not average:
        return None
    bucket = Bucket(
        average=average,
        burst=getattr(limits, f"{name}_max"),
        burst_seconds=getattr(limits, f"{name}_max_length"),
    )
    if name in old:
        bucket.carry(old[name])
    return bucket


def _carried(level: float, old: tuple[float, int], new: tuple[float, int]) -> float:
    """A level, from one (size, rate) to another: a share of the size, then time at the rate."""
    (old_size, old_rate), (size, rate) = old, new
    if level <= old_size:
        return level * size / old_size
    return size + (level - old_size) * rate / old_rate
