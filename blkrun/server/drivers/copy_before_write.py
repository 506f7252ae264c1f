"""A write first saves what it is about to overwrite: the disk as it was stays readable.

QEMU's copy-before-write (qemu-semantics §6.1).  The point in time is the instant at which the
filter comes into the way of the disk's requests: the graph brings them to rest for that, so no
write is half before it.  ``target`` then has what has been overwritten since, and a
``snapshot-access`` node over this one reads the whole.

What is counted at ``file`` are the clients' requests and the copies' reads.
"""

import errno
import os
import threading
from collections.abc import Callable
from typing import Any

from blkrun.errors import CommandError
from blkrun.options import BitmapPlace, CopyBeforeWriteOptions
from blkrun.server import bitmap_actions
from blkrun.server.bitmap import Bitmap, Run
from blkrun.server.bitmap_actions import Place
from blkrun.server.keeper import Keeper
from blkrun.server.point_in_time import PointInTime
from blkrun.server.staging import Staging
from blkrun.server.transfer import transfer
from blkrun.server.way import FLAG_WRITE_UNCHANGED

CLUSTER_BYTES = 2**16
"""What is copied for a single byte: QEMU's least."""

_NS_PER_S = 10**9


class CopyBeforeWrite(Keeper[CopyBeforeWriteOptions]):
    """``moment`` is what it keeps; ``on_copied`` is told how many bytes more have been copied."""

    driver = "copy-before-write"
    keeps = "keeps a point in time of"
    moment: PointInTime

    def __init__(self, options: CopyBeforeWriteOptions) -> None:
        super().__init__(options)
        self.on_copied: Callable[[int], None] = _nobody
        self.reach = 1  # clusters that a write has copied at once, where they are to be copied
        self._emit: Callable[[str, dict[str, Any]], None] = lambda *_: None

    # Control

    def open(self, staging: Staging) -> None:
        """Nothing is copied yet, so until it is in the way it shows the disk as it is."""
        super().open(staging)
        self._emit = staging.graph.events.emit
        everything = Bitmap(staging.size(self), CLUSTER_BYTES)
        everything.set_clusters(0, everything.clusters)
        self.moment = PointInTime(everything)
        if self.options.bitmap is not None:
            self._keep_only(self.options.bitmap, staging)

    def _keep_only(self, place: BitmapPlace, staging: Staging) -> None:
        """What is dirty when the edit becomes true; later marks change nothing."""
        node, bitmap = bitmap_actions.find_usable(staging, Place(place.node, place.name))
        size_bytes = staging.size(node)
        if size_bytes != staging.size(self):
            raise CommandError(
                f"Node '{self.name}': bitmap '{place.name}' is of a disk of {size_bytes} bytes, "
                f"and '{self.file.name}' has {staging.size(self)}; they must be of one size"
            )

        def commit() -> None:
            wanted = Bitmap(size_bytes, CLUSTER_BYTES)
            wanted.merge(bitmap.copy())
            self.moment = PointInTime(wanted)

        staging.disturbed.add(node)
        staging.commits.append(commit)

    def is_busy(self) -> bool:
        """With copies that a write gave up waiting for."""
        return self.moment.is_copying()

    def close(self) -> None:
        """Copies that a write gave up waiting for are waited for here."""
        self.moment.await_copies()

    def taken_out(self) -> None:
        """No request comes by any more, so what is written now is not kept."""
        self._break(errno.EACCES, "it was taken out of the graph")

    def describe(self) -> dict[str, Any]:
        """How far it is, and whether it still holds."""
        return {
            "to-copy": self.moment.remaining_bytes(),
            "cluster-size": CLUSTER_BYTES,
            "snapshot": "broken" if self.moment.broken else "intact",
        }

    # Requests

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """The old data first, unless they stay what they are."""
        if not flags & FLAG_WRITE_UNCHANGED:
            self._keep(len(buf), offset)
        self.file.pwrite(buf, offset, flags)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Likewise."""
        if not flags & FLAG_WRITE_UNCHANGED:
            self._keep(count, offset)
        self.file.zero(count, offset, flags)

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """The old data first."""
        self._keep(count, offset)
        self.file.trim(count, offset, flags)

    def _keep(self, count: int, offset: int) -> None:
        """Before a write: nothing that it touches may still have to be kept."""
        moment = self.moment
        if moment.broken or moment.passes(offset, count):
            return
        first, past = moment.access.touched(offset, count)
        try:
            if timeout_ns := self.options.cbw_timeout * _NS_PER_S:
                self._copy_within(timeout_ns, first, past)
            else:
                self.copy(first, past)
        except OSError as error:
            if self.options.on_cbw_error == "break-guest-write":
                raise
            self._break(error.errno or errno.EIO, error.strerror or "copying failed")
            return
        moment.await_readers(offset, count)

    def _break(self, number: int, why: str) -> None:
        if self.moment.break_off(number):
            self._emit("X_BLKRUN_SNAPSHOT_BROKEN", {"node-name": self.name, "error": why})

    # Copying, also for jobs

    def copy(self, first: int, past: int) -> None:
        """Have everything in [``first``, ``past``) on the target that is to be kept."""
        reach = self.reach
        while first < past and (run := self.moment.claim(first, past, reach)) is not None:
            try:
                self.copy_run(run)
            except OSError:
                if reach == 1:
                    raise
                reach = 1  # what fails may be a neighbour: nobody asked for that
            else:
                first = run[1]

    def copy_run(self, run: Run) -> None:
        """Copy what has been claimed.  Raises OSError; then what is left is still to be copied."""
        offset, end = run[0] * CLUSTER_BYTES, min(run[1] * CLUSTER_BYTES, self.size_bytes)
        past = run[0]
        try:
            for done in transfer(self.file, self.target, offset, end):
                past = run[1] if done == end else done // CLUSTER_BYTES
        finally:
            # told first: once nothing is left to copy, all has been told
            self.on_copied(min(past * CLUSTER_BYTES, end) - offset)
            self.moment.copied(run, past)

    def _copy_within(self, timeout_ns: int, first: int, past: int) -> None:
        """Copy, but wait only so long; a copy that takes longer goes on by itself."""
        failure: list[BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                self.copy(first, past)
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                failure.append(error)
            finally:
                done.set()

        threading.Thread(target=work, name=f"blkrun-cbw-{self.name}", daemon=True).start()
        if not done.wait(timeout_ns / _NS_PER_S):
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        if failure:
            raise failure[0]


def _nobody(copied_bytes: int) -> None:
    """Nobody counts."""
