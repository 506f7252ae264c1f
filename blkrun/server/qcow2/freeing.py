"""Clusters that are not referred to any more, on their way to being used again.

Each step has its reason:

1. A reference is gone from the tables in memory and in the file (``add``).
2. That is durable: the file has been flushed since (``flushed``).  Otherwise, after a crash, the
   old entry would lead to what somebody else has written there.
3. Writes that came before have ended (``Grace``), and reads notice (``Reuse``).
4. The cluster is discarded in the file if nothing else refers to it, and its refcount is lowered.
"""

import threading
from collections import deque
from collections.abc import Sequence

from blkrun.server.qcow2.allocation import Grace, Slot
from blkrun.server.qcow2.image import Image
from blkrun.server.qcow2.refcounts import Refcounts, Run
from blkrun.server.qcow2.reserve import Reserve


class Freeing:
    """Of one image."""

    def __init__(self, image: Image, grace: Grace, refcounts: Refcounts, reserve: Reserve) -> None:
        self._image = image
        self._cluster_bytes = image.geometry.cluster_bytes
        self._grace = grace
        self._refcounts = refcounts
        self._reserve = reserve
        self._lock = threading.Lock()
        self._unflushed: list[Run] = []
        self._waiting: deque[tuple[Slot, list[Run]]] = deque()
        self.count = 0
        """Clusters that wait for a flush."""

    def add(self, runs: Sequence[Run]) -> None:
        """What is in the file does not refer to them any more, but may again after a crash."""
        if runs:
            with self._lock:
                self._unflushed += runs
                self.count += sum(past - first for first, past in runs)

    def before_flush(self) -> list[Run]:
        """Those that a flush that begins now makes durable."""
        with self._lock:
            runs, self._unflushed = self._unflushed, []
            self.count = 0
            return runs

    def not_flushed(self, runs: list[Run]) -> None:
        """The flush has failed."""
        self.add(runs)

    def flushed(self, runs: list[Run]) -> None:
        """It has not; free what can be freed by now."""
        if runs:
            with self._lock:
                self._waiting.append((self._grace.turn(), runs))
        self.poll()

    def has_any(self) -> bool:
        """Whether a flush, or patience, would give the image free clusters."""
        return bool(self._unflushed or self._waiting)

    def poll(self) -> None:
        """Free those that nobody may be at any more."""
        while (runs := self._next()) is not None:
            try:
                self._image.event("cluster_free")
                if self._image.settings.pass_discards:
                    self._discard(runs)
                freed = self._refcounts.free(runs)
            except OSError as error:  # they stay leaked: nothing refers to them
                self._image.settings.log(f"cannot free clusters: {error}")
                continue
            if freed:
                self._reserve.note_free(freed[0][0])

    def _next(self) -> list[Run] | None:
        with self._lock:
            if not self._waiting or self._waiting[0][0].inside:
                return None
            if not self._image.reuse.release(_nothing):
                return None
            return sorted(self._waiting.popleft()[1])

    def _discard(self, runs: list[Run]) -> None:
        """Advice; but nobody else may use them before it is done."""
        for first, past in self._refcounts.unshared(runs):
            offset, count = first * self._cluster_bytes, (past - first) * self._cluster_bytes
            try:
                self._image.store.trim(count, offset)
            except OSError as error:
                self._image.settings.log(f"cannot discard freed clusters: {error}")


def _nothing() -> None:
    """The clusters are given out later; reads notice from now on."""
