"""QEMU's leaky buckets: arithmetic only, time passed in (qemu-semantics §1).

A bucket holds what was let through and leaks at the limit's rate.  A request may go when the
bucket is not over its size, whatever the request's own cost, and is charged in full when it
goes ("pay after").  Invariant, held by every operation: 0 ≤ level, 0 ≤ burst_level.

The group's lock is held by whoever calls anything here, but for one thing: ``ThrottleGroup.admit``
uses a bucket that is the only one of its direction without the lock, in a stretch of code in which
CPython does not switch threads.  So level and ``at_ns`` of a bucket are read and written back in
such stretches everywhere: without a call or a loop in between.
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
    at_ns: int = 0
    """Up to when it has leaked."""
    room: float = 0.0
    """Its size; kept, as every request asks."""
    by_bytes: bool = False
    iops_size: int = 0
    """Requests of more bytes cost more than one operation; 0: none does."""

    def __post_init__(self) -> None:
        self.room = self.size()

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

    def leak(self, now_ns: int) -> None:
        """Let time pass up to now.

        Threads read the clock before they take the lock, so an older time may come later.
        """
        elapsed_ns = now_ns - self.at_ns
        if elapsed_ns <= 0:
            return
        level = self.level - self.average * elapsed_ns / NS_PER_S
        self.level = level if level > 0.0 else 0.0  # noqa: FURB136 - max() is a call
        self.at_ns = now_ns
        if self.burst_seconds > 1:
            self.burst_level = max(self.burst_level - self.burst * elapsed_ns / NS_PER_S, 0.0)

    def wait_ns(self) -> int:
        """How long until a request may go; 0: now.  A bucket exactly full does not block."""
        if not self.average:
            return 0
        extra = self.level - self.room
        if extra > 0:
            return int(extra * NS_PER_S / self.average)
        if self.burst_seconds > 1:
            extra = self.burst_level - self.burst / 10
            if extra > 0:
                return int(extra * NS_PER_S / self.burst)
        return 0

    def charge(self, count: int) -> None:
        """Account a request of ``count`` bytes.  Above iops-size it costs count / iops-size."""
        units: float = count
        if not self.by_bytes:
            units = count / self.iops_size if 0 < self.iops_size < count else 1.0
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

    __slots__ = ("_lanes", "_named", "limited", "limits", "sole")
    sole: tuple[Bucket | None, Bucket | None]
    """For each direction the bucket that alone decides, if one does, and by its level alone."""

    def __init__(self, limits: ThrottleLimits, now_ns: int) -> None:
        self._build(limits, {}, now_ns)

    def retune(self, limits: ThrottleLimits, now_ns: int) -> None:
        """New limits take effect for what has passed too: buckets stay as full as they were.

        QEMU empties them, so that saving a file again and again would grant burst after burst.
        """
        self.sole = (None, None)  # first: nothing is charged to a bucket that has been copied
        self._leak(now_ns)
        self._build(limits, self._named, now_ns)

    def levels(self, now_ns: int) -> dict[str, Bucket]:
        """Limited buckets by option name (``iops-total``), leaked up to now."""
        self._leak(now_ns)
        return {name.replace("_", "-"): bucket for name, bucket in self._named.items()}

    def wait_ns(self, direction: int, now_ns: int) -> int:
        """The longest wait of the direction's buckets, after leaking up to now."""
        self._leak(now_ns)
        wait = 0
        for bucket in self._lanes[direction]:
            if bucket.level > bucket.room or bucket.burst_seconds > 1:  # seldom: most have room
                wait = max(wait, bucket.wait_ns())
        return wait

    def take(self, direction: int, count: int, now_ns: int) -> bool:
        """Let a request of ``count`` bytes through if it need not wait, charged; or say no.

        ``Bucket.leak`` and ``Bucket.charge`` without calls, which others would wait for.
        """
        lane = self._lanes[direction]
        for bucket in lane:
            if bucket.burst_seconds > 1:
                bucket.leak(now_ns)
            elif (elapsed_ns := now_ns - bucket.at_ns) > 0:
                level = bucket.level - bucket.average * elapsed_ns / NS_PER_S
                bucket.level = level if level > 0.0 else 0.0  # noqa: FURB136 - max() is a call
                bucket.at_ns = now_ns
            if bucket.level > bucket.room or (bucket.burst_seconds > 1 and bucket.wait_ns()):
                return False
        for bucket in lane:
            if bucket.burst_seconds > 1:
                bucket.charge(count)
            elif bucket.by_bytes:
                bucket.level += count
            else:
                bucket.level += count / bucket.iops_size if 0 < bucket.iops_size < count else 1.0
        return True

    def charge(self, direction: int, count: int) -> None:
        """A request of ``count`` bytes goes."""
        for bucket in self._lanes[direction]:
            bucket.charge(count)

    def _leak(self, now_ns: int) -> None:
        for bucket in self._named.values():
            bucket.leak(now_ns)

    def _build(self, limits: ThrottleLimits, old: dict[str, Bucket], now_ns: int) -> None:
        self.limits = limits
        self._named = {
            name: bucket for name in BUCKETS if (bucket := _bucket(limits, name, old, now_ns))
        }
        self._lanes = (self._lane("read"), self._lane("write"))
        self.limited = (bool(self._lanes[READ]), bool(self._lanes[WRITE]))
        self.sole = (_sole(self._lanes[READ]), _sole(self._lanes[WRITE]))

    def _lane(self, direction: str) -> tuple[Bucket, ...]:
        names = [f"{unit}_{which}" for unit in ("bps", "iops") for which in ("total", direction)]
        return tuple(bucket for name in names if (bucket := self._named.get(name)) is not None)


def _sole(lane: tuple[Bucket, ...]) -> Bucket | None:
    return lane[0] if len(lane) == 1 and lane[0].burst_seconds <= 1 else None


def _bucket(
    limits: ThrottleLimits, name: str, old: dict[str, Bucket], now_ns: int
) -> Bucket | None:
    average = getattr(limits, name)
    if not average:
        return None
    bucket = Bucket(
        average=average,
        burst=getattr(limits, f"{name}_max"),
        burst_seconds=getattr(limits, f"{name}_max_length"),
        at_ns=now_ns,
        by_bytes=name.startswith("bps"),
        iops_size=limits.iops_size,
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
