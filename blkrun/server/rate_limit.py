"""How often an event may be sent: QEMU's rule for those that a broken disk would send in floods.

The first is sent at once; of those that come within the interval after it only the last is kept,
and sent when the interval is over, which begins another.  Pure: times are arguments.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class RateLimit(Generic[T]):
    """For each key its own.  One thread at a time."""

    def __init__(self, interval_ns: int) -> None:
        self.interval_ns = interval_ns
        self._until_ns: dict[Hashable, int] = {}
        self._kept: dict[Hashable, T] = {}

    def offer(self, key: Hashable, item: T, now_ns: int) -> bool:
        """Whether to send it now; otherwise it is kept, in the place of one kept before."""
        until_ns = self._until_ns.get(key)
        if until_ns is not None and (now_ns < until_ns or key in self._kept):
            self._kept[key] = item
            return False
        self._until_ns[key] = now_ns + self.interval_ns
        return True

    def next_ns(self) -> int | None:
        """When something kept will be due; None: nothing is kept."""
        return min((self._until_ns[key] for key in self._kept), default=None)

    def due(self, now_ns: int) -> list[T]:
        """What has been kept until now, to be sent; keys that have been quiet are forgotten."""
        over = [key for key, until_ns in self._until_ns.items() if until_ns <= now_ns]
        found = []
        for key in over:
            if key in self._kept:
                found.append(self._kept.pop(key))
                self._until_ns[key] = now_ns + self.interval_ns
            else:
                del self._until_ns[key]
        return found
