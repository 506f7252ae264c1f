"""What a mirror's source and target differ in, and who has to wait for whom (qemu-semantics §8.6).

Only the bookkeeping, with its lock.  Two ways for a write to be told of:

* in the background it marks its clusters when it has ended, before its client hears of it.  Who
  copies takes the mark off first and reads then, so a write that the copy may have missed is
  marked again afterwards, and copied again;
* while blocking, it claims its clusters, goes to both, and nothing is left to copy.  Writes and
  copies that overlap come one after the other, so both disks have them in one order.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from blkrun.server.bitmap import Bitmap, Run
from blkrun.server.transfer import MOST_AT_ONCE_BYTES


class Divergence:
    """``dirty`` clusters may differ, all others are equal, but for what is under way."""

    def __init__(self, size_bytes: int, granularity_bytes: int, *, blocking: bool) -> None:
        self.dirty = Bitmap(size_bytes, granularity_bytes)
        self.blocking = blocking
        self._all_claimed = blocking
        self._most = max(1, MOST_AT_ONCE_BYTES // granularity_bytes)
        self._changed = threading.Condition()
        self._writing: list[Run] = []
        self._copying: list[Run] = []

    def block(self) -> None:
        """From now on writes claim.  Those that are under way have not, and mark when they end."""
        self.blocking = True

    # Writes

    def mark(self, offset: int, count: int) -> None:
        """A range may differ.  Without the lock if that is known, as ``DirtyBitmap.mark``."""
        if not self.dirty.all(offset, count):
            with self._changed:
                self.dirty.set(offset, count)

    @contextmanager
    def writing(self, offset: int, count: int) -> Iterator[None]:
        """A range is written on both sides; nobody else copies or writes there meanwhile."""
        run = self.dirty.touched(offset, count)
        with self._changed:
            while any(_overlap(run, other) for other in (*self._writing, *self._copying)):
                self._changed.wait()
            self._writing.append(run)
        try:
            yield
        finally:
            with self._changed:
                self._writing.remove(run)
                self._changed.notify_all()

    def written(self, offset: int, count: int) -> None:
        """Inside ``writing``: both sides have it; of a cluster of which it is a part, that part.

        Unless some writes have not claimed: such a one may have come to one side after this one,
        and its mark must stay.
        """
        if self._all_claimed and self.dirty.any(offset, count):
            with self._changed:
                self.dirty.reset(offset, count)

    # Copying

    def claim(self, start: int) -> Run | None:
        """The next run from ``start`` on, or from the beginning, to copy, and only for the caller.

        Its marks are taken off.  None: nothing is to be copied just now, or others are at it.
        """
        with self._changed:
            run = self._free(start) or self._free(0)
            if run is not None:
                self.dirty.reset_clusters(*run)
                self._copying.append(run)
            return run

    def copied(self, run: Run, past: int) -> None:
        """Of a claimed run, what is before ``past`` is on the target; the rest may differ."""
        with self._changed:
            self.dirty.set_clusters(past, run[1])
            self._copying.remove(run)
            self._changed.notify_all()

    def is_clean(self) -> bool:
        """Whether nothing is left to copy, nor being copied; what is being written aside."""
        with self._changed:
            return not self._copying and not self.dirty.any(0, self.dirty.size_bytes)

    def remaining_bytes(self) -> int:
        """In whole clusters, with what is being copied."""
        with self._changed:
            copying = sum(past - first for first, past in self._copying)
            return self.dirty.count_bytes() + copying * self.dirty.granularity_bytes

    def _free(self, start: int) -> Run | None:
        """The first dirty run that nobody has claimed a part of; cut where somebody has."""
        end, at = self.dirty.clusters, start
        claimed = (*self._writing, *self._copying)
        while (run := self.dirty.next_run(at, True, end, self._most)) is not None:  # noqa: FBT003
            past = [other[1] for other in claimed if other[0] <= run[0] < other[1]]
            if not past:
                starts = [other[0] for other in claimed if run[0] < other[0] < run[1]]
                return run[0], min(starts, default=run[1])
            at = max(past)
        return None


def _overlap(one: Run, other: Run) -> bool:
    return one[0] < other[1] and other[0] < one[1]
