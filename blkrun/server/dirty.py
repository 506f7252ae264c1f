"""Dirty bitmaps: what a node's writes have touched, for backups and mirrors (QEMU's, in memory).

While a bitmap records, every write, zero and trim that passes its node marks its clusters: when it
has ended, well or not, and before its client hears of it (QEMU's bdrv_co_write_req_finish).  So
whoever finds a cluster clean knows that no write to it has been acknowledged since it was cleared.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from blkrun.server.bitmap import Bitmap
from blkrun.server.way import Late, Way


class DirtyBitmap:
    """A named bitmap of a node.  ``bits`` are what is marked; ``frozen`` is what a job works on.

    ``mark`` comes from many threads at once.  Whoever changes ``bits``, or puts other bits in
    their place, holds ``lock``, for as short as can be: writers wait for it.  Nobody marks
    ``frozen``, it belongs to the job.  ``recording`` is changed by the graph's edits only.
    ``of_file``: a file has a table for it, rather than somebody with a QMP client.

    ``mark`` takes no lock if the clusters are dirty already.  That is right, though the bits may
    be replaced (cleared, frozen) while it looks: bits that were replaced are never set again, so
    what is dirty there was so before; and the write had ended before that.
    """

    def __init__(
        self, name: str, size_bytes: int, granularity_bytes: int, *, recording: bool = True
    ) -> None:
        self.name = name
        self.of_file = False
        self.granularity_bytes = granularity_bytes
        self.recording = recording
        self.lock = threading.Lock()
        self.bits = Bitmap(size_bytes, granularity_bytes)
        self.frozen: Bitmap | None = None

    @property
    def busy(self) -> bool:
        """A job has it: commands are refused."""
        return self.frozen is not None

    def mark(self, offset: int, count: int) -> None:
        """A range in bytes has been written."""
        if not self.bits.all(offset, count):
            with self.lock:
                self.bits.set(offset, count)

    def mark_all(self) -> None:
        """Everything is dirty."""
        with self.lock:
            self.bits.set_clusters(0, self.bits.clusters)

    def copy(self) -> Bitmap:
        """What the name stands for, at this instant: while it is busy, what is frozen."""
        with self.lock:
            return (self.bits if self.frozen is None else self.frozen).copy()

    def clear(self, size_bytes: int | None = None) -> None:
        """Nothing is dirty any more; perhaps on a disk of another size."""
        with self.lock:
            size_bytes = self.bits.size_bytes if size_bytes is None else size_bytes
            self.bits = Bitmap(size_bytes, self.granularity_bytes)

    def merge(self, others: Iterable[Bitmap]) -> None:
        """Dirty is also what is set in others, of any granularity."""
        with self.lock:
            for other in others:
                self.bits.merge(other)

    def resize(self, size_bytes: int) -> None:
        """The node's size has changed.  What is new is dirty, if this records (as in QEMU)."""
        with self.lock:
            old_bytes = self.bits.size_bytes
            for bits in (self.bits, self.frozen):
                if bits is not None:
                    bits.resize(size_bytes)
            if self.recording:
                self.bits.set(old_bytes, size_bytes - old_bytes)

    def freeze(self) -> Bitmap:
        """Give a job what is dirty until now; what is written from now on is kept apart.

        To be one instant together with other edits it is a drained section's (``actions.freeze``).
        """
        with self.lock:
            if self.frozen is not None:
                raise AssertionError(f"two jobs have bitmap '{self.name}'")
            self.frozen = self.bits
            self.bits = Bitmap(self.frozen.size_bytes, self.granularity_bytes)
            return self.frozen

    def thaw(self, kept: Bitmap | None) -> None:
        """The job has ended: dirty is what was written since ``freeze``, and ``kept``.

        ``kept`` is None if the job has copied everything, what ``freeze`` gave if that does not
        count, or what of it is left to do.  One step; marks go on meanwhile.
        """
        with self.lock:
            if kept is not None:
                self.bits.merge(kept)
            self.frozen = None

    def describe(self) -> list[dict[str, Any]]:
        """QEMU's BlockDirtyInfo; while it is busy, first what is marked now, without a name.

        A busy one is always ``recording``: that is QEMU's word for it.
        """
        with self.lock:
            bits, frozen = self.bits.copy(), None if self.frozen is None else self.frozen.copy()
        if frozen is None:
            return [{"name": self.name, **self._info(bits, busy=False)}]
        return [self._info(bits, busy=False), {"name": self.name, **self._info(frozen, busy=True)}]

    def _info(self, bits: Bitmap, *, busy: bool) -> dict[str, Any]:
        return {
            "recording": busy or self.recording,
            "busy": busy,
            "persistent": False,
            "granularity": self.granularity_bytes,
            "count": bits.count_bytes(),
        }


def marking(way: Way, bitmaps: Iterable[DirtyBitmap]) -> Way:
    """``way``, and what is written on it is marked in ``bitmaps``."""
    for bitmap in bitmaps:
        way = _marking(way, bitmap.mark)
    return way


def _marking(way: Way, mark: Callable[[int, int], None]) -> Way:
    go_write = way.pwrite

    def pwrite(buf: memoryview, offset: int, flags: int) -> Late | None:
        try:
            return go_write(buf, offset, flags)
        finally:
            mark(offset, len(buf))

    def ranged(
        go_on: Callable[[int, int, int], Late | None],
    ) -> Callable[[int, int, int], Late | None]:
        def marked(count: int, offset: int, flags: int) -> Late | None:
            try:
                return go_on(count, offset, flags)
            finally:
                mark(offset, count)

        return marked

    return way._replace(pwrite=pwrite, zero=ranged(way.zero), trim=ranged(way.trim))
