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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from blkrun.errors import CommandError
from blkrun.options import CopyBeforeWriteOptions
from blkrun.server.bitmap import Bitmap, Run
from blkrun.server.export import Export
from blkrun.server.node import Node
from blkrun.server.point_in_time import MOST_AT_ONCE_BYTES, PointInTime
from blkrun.server.route import Key
from blkrun.server.staging import Staging
from blkrun.server.way import EXTENT_ZERO, FLAG_MAY_TRIM, Extent

CLUSTER_BYTES = 2**16
"""What is copied for a single byte: QEMU's least."""

_NS_PER_S = 10**9


class TargetError(OSError):
    """It was the target that failed; with its errno."""


class CopyBeforeWrite(Node[CopyBeforeWriteOptions]):
    """``moment`` is what it keeps; ``on_copied`` is told how many bytes more have been copied."""

    driver = "copy-before-write"
    is_filter = True
    starts_at_rest = True
    file: Node[Any]
    target: Node[Any]
    moment: PointInTime

    def __init__(self, options: CopyBeforeWriteOptions) -> None:
        super().__init__(options)
        self.on_copied: Callable[[int], None] = _nobody
        self._disk: Node[Any] | None = None
        self._emit: Callable[[str, dict[str, Any]], None] = lambda *_: None

    # Control

    def open(self, staging: Staging) -> None:
        """Nothing is copied yet, so until it is in the way it shows the disk as it is."""
        if staging.read_only(self.target):
            raise CommandError(f"Node '{self.name}': the target '{self.target.name}' is read-only")
        everything = Bitmap(staging.size(self), CLUSTER_BYTES)
        everything.set_clusters(0, everything.clusters)
        self.moment = PointInTime(everything)
        self._disk = unfiltered(staging, self.file)
        self._emit = staging.graph.events.emit

    def close(self) -> None:
        """Copies that a write gave up waiting for are waited for here."""
        self.moment.await_copies()

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """Both have to be of one size."""
        if sizes["file"] != sizes["target"]:
            raise CommandError(
                f"Node '{self.name}': '{self.options.file}' has {sizes['file']} bytes and the "
                f"target '{self.options.target}' {sizes['target']}; they must be of one size"
            )
        return sizes["file"]

    def check(self, staging: Staging) -> None:
        """Below must be the same disk for ever, and while anybody is above, nobody writes past.

        QEMU has permissions for the latter: the filter unshares write on ``file``.
        """
        file = staging.child(self, "file")
        if file is not None and unfiltered(staging, file) is not self._disk:
            raise CommandError(
                f"Node '{self.name}' keeps a point in time of '{_name(self._disk)}'; it cannot go "
                "on over another disk: take it out, and add a new one"
            )
        if not staging.parents(self):
            return
        for export in staging.exports.values():
            if not export.options.read_only and self._disk in _written_past(staging, export, self):
                raise CommandError(
                    f"Export '{export.name}' writes to '{self.options.file}' past node "
                    f"'{self.name}', which could not keep the old data; export it read-only, or "
                    f"lead it through '{self.name}'"
                )

    def taken_out(self) -> None:
        """No request comes by any more, so what is written now is not kept."""
        self._break(errno.EACCES, "it was taken out of the graph")

    def form(self) -> Key:
        """Options are looked at per request."""
        return (self,)

    def describe(self) -> dict[str, Any]:
        """How far it is, and whether it still holds."""
        return {
            "to-copy": self.moment.remaining_bytes(),
            "cluster-size": CLUSTER_BYTES,
            "snapshot": "broken" if self.moment.broken else "intact",
        }

    # Requests

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """The disk as it is now."""
        self.file.pread(buf, offset)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """The old data first."""
        self._keep(len(buf), offset)
        self.file.pwrite(buf, offset, flags)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """The old data first."""
        self._keep(count, offset)
        self.file.zero(count, offset, flags)

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """The old data first."""
        self._keep(count, offset)
        self.file.trim(count, offset, flags)

    def do_flush(self) -> None:
        """The disk's: what is on the target is worth no more than the point in time."""
        self.file.flush()

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """The disk's."""
        return self.file.extents(count, offset, flags)

    def do_cache(self, count: int, offset: int) -> None:
        """The disk's."""
        self.file.cache(count, offset)

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
        while (run := self.moment.claim(first, past)) is not None:
            self.copy_run(run)

    def copy_run(self, run: Run) -> None:
        """Copy what has been claimed.  Raises OSError; then what is left is still to be copied."""
        offset, end = run[0] * CLUSTER_BYTES, min(run[1] * CLUSTER_BYTES, self.size_bytes)
        past = run[0]
        try:
            for done in self._transfer(offset, end):
                past = run[1] if done == end else done // CLUSTER_BYTES
        finally:
            # told first: once nothing is left to copy, all has been told
            self.on_copied(min(past * CLUSTER_BYTES, end) - offset)
            self.moment.copied(run, past)

    def _transfer(self, offset: int, end: int) -> Iterator[int]:
        """Copy piece by piece; each time, up to where that is done.

        What reads as zeroes is not read, and takes no space if the target can do that.
        """
        while offset < end:
            for start, length, kind in self.file.extents(end - offset, offset):
                count = min(start + length, end) - offset
                if kind & EXTENT_ZERO:
                    with _target_errors():
                        self.target.zero(count, offset, FLAG_MAY_TRIM)
                else:
                    self._transfer_data(offset, count)
                offset += count
                yield offset

    def _transfer_data(self, offset: int, count: int) -> None:
        buf = memoryview(bytearray(min(count, MOST_AT_ONCE_BYTES)))
        for at in range(offset, offset + count, MOST_AT_ONCE_BYTES):
            piece = buf[: min(MOST_AT_ONCE_BYTES, offset + count - at)]
            self.file.pread(piece, at)
            with _target_errors():
                self.target.pwrite(piece, at, 0)

    def _copy_within(self, timeout_ns: int, first: int, past: int) -> None:
        """Copy, but wait only so long; a copy that takes longer goes on by itself."""
        failure: list[OSError] = []
        done = threading.Event()

        def work() -> None:
            try:
                self.copy(first, past)
            except OSError as error:
                failure.append(error)
            finally:
                done.set()

        threading.Thread(target=work, name=f"blkrun-cbw-{self.name}", daemon=True).start()
        if not done.wait(timeout_ns / _NS_PER_S):
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        if failure:
            raise failure[0]


@contextmanager
def _target_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TargetError(error.errno, error.strerror) from error


def _nobody(copied_bytes: int) -> None:
    """Nobody counts."""


def unfiltered(staging: Staging, node: Node[Any]) -> Node[Any]:
    """The node below all filters: it is what has the data."""
    while node.is_filter and (child := staging.child(node, "file")) is not None:
        node = child
    return node


def _written_past(staging: Staging, export: Export, keeper: Node[Any]) -> set[Node[Any]]:
    """The nodes that an export's writes may come to without passing ``keeper``."""
    root = staging.child(export, "root")
    found: set[Node[Any]] = set()
    rest = [] if root is None else [root]
    while rest:
        node = rest.pop()
        if node is not keeper and node not in found:
            found.add(node)
            if not node.options.only_reads:
                rest.extend(staging.children(node).values())
    return found


def _name(node: Node[Any] | None) -> str:
    return "nothing" if node is None else node.name
