"""A point in time of a disk: which clusters still have to be kept, and who has to wait for whom.

What copy-before-write, and a backup over it, agree on (qemu-semantics §6.1, §6.4).  Only the
bookkeeping, with its lock: copying is the business of whoever claims a run of clusters.  Three
rules make it right, whatever comes in whatever order:

* a cluster is copied by one at a time, and once it has been copied, never again;
* a write goes on only when nothing that it touches is still to be kept, so what a copy reads is
  from before;
* who reads the point in time from the disk itself, since there is no copy yet, freezes that range:
  a write there waits, after its copy, until the reader has finished.
"""

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from blkrun.server.bitmap import Bitmap, Run
from blkrun.server.transfer import MOST_AT_ONCE_BYTES


class PointInTime:
    """``access`` is what may be read of it, ``to_copy`` what of that is not on the target yet.

    ``broken`` is the errno that ended it, or 0: from then on nothing is kept, or can be read.
    """

    def __init__(self, access: Bitmap) -> None:
        self.access = access
        self.to_copy = access.copy()
        self.broken = 0
        self._most = max(1, MOST_AT_ONCE_BYTES // access.granularity_bytes)
        self._changed = threading.Condition()
        self._copying: list[Run] = []
        self._frozen: list[Run] = []

    # Keeping

    def passes(self, offset: int, count: int) -> bool:
        """Whether a write need not do anything first.  Without the lock, for nearly all writes.

        Bits only ever go off, and a reader that freezes a range has seen them on: who finds them
        off, and then nobody frozen, comes after all readers of that range.
        """
        return not self.to_copy.any(offset, count) and not self._frozen  # in this order

    def ahead(self, start: int) -> Run | None:
        """The next run from ``start`` on that is still to be copied, perhaps by others by now."""
        return self.to_copy.next_run(start, True, self.to_copy.clusters, self._most)  # noqa: FBT003

    def leave_out(self, offset: int, count: int) -> None:
        """A range need not be kept after all; of a cluster that it has a part of, the rest must."""
        with self._changed:
            first, past = self.to_copy.covered(offset, count)
            for run in sorted(self._copying):  # a write must not pass a copy that is reading there
                if _overlap(run, (first, past)):
                    self.to_copy.reset_clusters(first, run[0])
                    first = run[1]
            self.to_copy.reset_clusters(first, past)
            self._changed.notify_all()

    def claim(self, first: int, past: int, reach: int = 1) -> Run | None:
        """The next run in [``first``, ``past``) to copy, and only for the caller to; None: no more.

        Around it, in a window of ``reach`` clusters, what is to be copied as well and by nobody
        else.  Waits while others copy in the range itself.  To be followed by ``copied``.
        """
        with self._changed:
            while True:
                run = self.to_copy.next_run(first, True, past, self._most)  # noqa: FBT003 - a bit
                if run is None or self.broken:
                    return None
                clashes = [other[0] for other in self._copying if _overlap(run, other)]
                free = run[0], min(clashes, default=run[1])  # up to where another copies
                if free[0] < free[1]:
                    free = self._widen(free, reach)
                    self._copying.append(free)
                    return free
                self._changed.wait()

    def _widen(self, run: Run, reach: int) -> Run:
        first, past = run
        low, high = first - first % reach, min(past + -past % reach, self.to_copy.clusters)
        while first > low and self._is_free(first - 1):
            first -= 1
        while past < high and self._is_free(past):
            past += 1
        return first, past

    def _is_free(self, cluster: int) -> bool:
        one = cluster, cluster + 1
        return self.to_copy.get(cluster) and not any(_overlap(one, run) for run in self._copying)

    def copied(self, run: Run, past: int) -> None:
        """Of a claimed run, what is before ``past`` is on the target; the rest is still to be."""
        with self._changed:
            self.to_copy.reset_clusters(run[0], past)
            self._copying.remove(run)
            self._changed.notify_all()

    def await_readers(self, offset: int, count: int) -> None:
        """Until nobody reads the point in time from this range of the disk itself.

        It has been copied, so whoever freezes some of it has done so by now; see ``passes``.
        """
        if not self._frozen:
            return
        touched = self.access.touched(offset, count)
        with self._changed:
            while any(_overlap(touched, frozen) for frozen in self._frozen):
                self._changed.wait()

    def break_off(self, number: int) -> bool:
        """It cannot be kept any more.  Whether this is news."""
        with self._changed:
            news = not self.broken
            self.broken = self.broken or number or errno.EIO
            self._changed.notify_all()
            return news

    def is_copying(self) -> bool:
        """Whether anybody copies."""
        return bool(self._copying)

    def await_copies(self) -> None:
        """Until nobody copies."""
        with self._changed:
            while self._copying:
                self._changed.wait()

    # Reading

    @contextmanager
    def reading(self, offset: int, count: int) -> Iterator[tuple[int, bool]]:
        """How many bytes from ``offset`` on are in one place, and whether that is the target.

        While inside, they stay as they are.  Raises OSError (EACCES) if they cannot be read.
        """
        touched = self.access.touched(offset, count)
        with self._changed:
            self._check_readable(touched)
            run, is_copied = self._in_one_place(touched)
            if not is_copied:
                self._frozen.append(run)
        length = min(run[1] * self.access.granularity_bytes, offset + count) - offset
        try:
            yield length, is_copied
            if self.broken:  # a write that could not keep it has not waited for this
                self._check_readable(touched)
        finally:
            if not is_copied:
                with self._changed:
                    self._frozen.remove(run)
                    self._changed.notify_all()

    def _in_one_place(self, touched: Run) -> tuple[Run, bool]:
        first, past = touched
        is_copied = not self.to_copy.get(first)
        run = self.to_copy.next_run(first, not is_copied, past)
        if run is None:
            raise AssertionError("the first of them has that bit")
        return run, is_copied

    def _check_readable(self, touched: Run) -> None:
        first, past = touched
        if self.broken:
            raise OSError(errno.EACCES, "the point in time could not be kept")
        if self.access.next_run(first, False, past) is not None:  # noqa: FBT003 - a bit
            raise OSError(errno.EACCES, "this is not part of the point in time")

    def remaining_bytes(self) -> int:
        """What is not on the target yet, in whole clusters."""
        with self._changed:
            return self.to_copy.count_bytes()


def _overlap(one: Run, other: Run) -> bool:
    return one[0] < other[1] and other[0] < one[1]
