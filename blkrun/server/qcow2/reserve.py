"""Clusters reserved ahead: one flush of the child pays for many allocations.

What is reserved counts as used in the file already.  A crash leaves the rest of a batch as leaked
clusters, which ``qemu-img check -r leaks`` drops; ``close`` gives it back.

A cluster is *blank* if it reads as zeroes, durably: the child has zeroed it before the flush that
made its refcount durable, or the file ended before it.  Into one that is blank a part can be
written and the rest is as it should be, also after a crash.
"""

import errno
import threading
from collections import deque
from typing import NamedTuple

from blkrun.server.qcow2.refcounts import MOST_CLUSTERS, Refcounts, Run
from blkrun.server.qcow2.store import Store
from blkrun.server.way import FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM

_FIRST_BATCH_BYTES = 2**20
_MOST_BATCH_BYTES = 2**26
_LEAST_BATCH = 8
_SECTOR = memoryview(bytes(512))


class Taken(NamedTuple):
    """A run of clusters that belongs to whoever took it."""

    first: int
    past: int
    is_blank: bool


class Reserve:
    """Takes batches of the image's free clusters, each twice as large as the one before."""

    def __init__(self, refcounts: Refcounts, store: Store, cluster_bytes: int) -> None:
        self._refcounts = refcounts
        self._store = store
        self._cluster_bytes = cluster_bytes
        self._batch = max(_FIRST_BATCH_BYTES // cluster_bytes, _LEAST_BATCH)
        self._most_batch = max(_MOST_BATCH_BYTES // cluster_bytes, _LEAST_BATCH)
        self._runs: deque[Taken] = deque()
        self._left = 0
        self._low = 0  # when so few are left, who takes one gets more
        self._hint = 0  # no free cluster is before it
        self._noted = MOST_CLUSTERS  # the first that has become free since clusters were looked for
        self._is_refilling = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    def take_blank(self) -> int:
        """One blank cluster, if that can be had at once; 0 is nobody's: then not."""
        with self._lock:
            runs = self._runs
            if self._left <= self._low or not runs:
                return 0
            run = runs[0]
            first = run.first
            if not run.is_blank or first + 1 == run.past:
                return 0
            runs[0] = Taken(first + 1, run.past, is_blank=True)
            self._left -= 1
            return first

    def take(self, most: int) -> Taken:
        """Between 1 and ``most`` clusters in a row.  Raises ENOSPC, and what the child raises."""
        while True:
            with self._lock:
                while not self._runs and self._is_refilling:
                    self._changed.wait()
                taken = self._pop(most) if self._runs else None
                refill = not self._is_refilling and self._left <= self._low
                self._is_refilling = self._is_refilling or refill
            if not refill:
                if taken is not None:
                    return taken
                continue
            try:
                self._refill()
            except OSError:
                if taken is None:
                    raise
                # whoever finds nothing left tries again, and is told
            if taken is not None:
                return taken

    def give_back(self, first: int, past: int) -> None:
        """Clusters taken that nothing refers to, nor ever did.  What is in them is not known."""
        with self._lock:
            self._push(Taken(first, past, is_blank=False))

    def note_free(self, first: int) -> None:
        """The image has free clusters again, from ``first`` on."""
        with self._lock:
            self._noted = min(self._noted, first)

    def close(self) -> None:
        """Give back to the image what is left, and to the child what of that is at its end.

        Nobody allocates, or will.
        """
        runs = sorted((run.first, run.past) for run in self._runs)
        self._runs.clear()
        self._left = 0
        self._refcounts.free(runs)
        end = before = self._store.end_bytes
        for first, past in reversed(runs):
            if past * self._cluster_bytes >= end:
                end = first * self._cluster_bytes
        if end < before:
            self._shorten(end)

    def _pop(self, most: int) -> Taken:
        run = self._runs.popleft()
        past = min(run.past, run.first + most)
        if past < run.past:
            self._runs.appendleft(run._replace(first=past))
        self._left -= past - run.first
        return run._replace(past=past)

    def _push(self, run: Taken) -> None:
        self._runs.append(run)
        self._left += run.past - run.first
        self._changed.notify_all()

    def _refill(self) -> None:
        """The one that reserves; the others take what is left, or wait."""
        found: list[Taken] = []
        with self._lock:
            self._hint = min(self._hint, self._noted)
            self._noted = MOST_CLUSTERS
        try:
            found = self._reserve(self._hint)
        finally:
            with self._lock:
                self._is_refilling = False
                self._low = self._batch // 4
                self._batch = min(self._batch * 2, self._most_batch)
                for run in found:
                    self._push(run)
                if found:
                    self._hint = found[-1].past
                self._changed.notify_all()

    def _reserve(self, start: int) -> list[Taken]:
        """Where the child cannot grow by a whole batch, what it has by now is used up."""
        found: list[Taken] = []

        def prepare(run: Run) -> bool:
            taken, is_durable = self._make_blank(run)
            found.extend(taken)
            return is_durable

        try:
            self._refcounts.reserve(start, self._batch, prepare)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            found.clear()
            limit = self._store.end_bytes // self._cluster_bytes
            self._refcounts.reserve(start, self._batch, prepare, limit)
        return found

    def _make_blank(self, run: Run) -> tuple[list[Taken], bool]:
        """Have the file reach to the end of a run, and read as zeroes there if it can be.

        An entry that leads past the end of the file is a fault to ``qemu-img check``; so the file's
        length must be as durable as the refcounts.  Also gives whether that is so without a flush.
        """
        first, past = run
        old_end = -(-self._store.end_bytes // self._cluster_bytes)
        if past > old_end:
            end = past * self._cluster_bytes
            self._store.make_room(end)  # what is added reads as zeroes
            self._store.pwrite(_SECTOR, end - len(_SECTOR), FLAG_FUA)
        middle = min(max(first, old_end), past)
        taken = []
        if first < middle:
            taken.append(Taken(first, middle, self._zero(middle - first, first)))
        if middle < past:
            taken.append(Taken(middle, past, is_blank=True))
        return taken, first >= middle

    def _shorten(self, end_bytes: int) -> None:
        try:
            self._store.node.truncate(end_bytes, exact=True)
        except OSError as error:
            if error.errno != errno.ENOSPC:  # it is of one size for ever
                raise
        else:
            self._store.end_bytes = end_bytes

    def _zero(self, clusters: int, first: int) -> bool:
        count, offset = clusters * self._cluster_bytes, first * self._cluster_bytes
        try:
            self._store.zero(count, offset, FLAG_MAY_TRIM | FLAG_FAST_ZERO)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return False
        return True
