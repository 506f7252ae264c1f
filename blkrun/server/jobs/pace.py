"""A job's speed limit: arithmetic only, time passed in (qemu-semantics §6.3).

The first chunk goes at once, whatever its size; each later one when those before it have been
paid for.  A 1 MiB chunk at 1 MiB/s is followed by one second of waiting.  What is still to be
paid is kept in bytes, so that a new speed counts from the moment it is set.
"""

from dataclasses import dataclass

NS_PER_S = 1_000_000_000


@dataclass(slots=True)
class Pace:
    """``speed`` in bytes/s, 0 for no limit.  Invariant: 0 ≤ debt_bytes, 0 if there is no limit."""

    speed: int = 0
    debt_bytes: float = 0.0
    at_ns: int = 0
    """Up to when it has been paid."""

    def wait_ns(self, now_ns: int) -> int:
        """How long until the next chunk may go; 0: now."""
        self._pay(now_ns)
        if not self.debt_bytes:
            return 0
        return max(1, round(self.debt_bytes * NS_PER_S / self.speed))

    def charge(self, length_bytes: int, now_ns: int) -> None:
        """A chunk goes."""
        self._pay(now_ns)
        if self.speed:
            self.debt_bytes += length_bytes

    def set_speed(self, speed: int, now_ns: int) -> None:
        """What is not yet paid is paid at the new speed."""
        self._pay(now_ns)
        self.speed = speed
        if not speed:
            self.debt_bytes = 0.0

    def _pay(self, now_ns: int) -> None:
        paid_bytes = (now_ns - self.at_ns) * self.speed / NS_PER_S
        self.debt_bytes = max(0.0, self.debt_bytes - paid_bytes)
        if self.debt_bytes * NS_PER_S < self.speed:  # less than a nanosecond's worth
            self.debt_bytes = 0.0
        self.at_ns = now_ns
