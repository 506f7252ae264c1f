"""Holds one disk against another (qemu-semantics §7): reads compare, writes go to both.

``test`` is on trial, ``raw`` is known to be right, and a client gets what ``test`` says.  Where
QEMU ends the process, this sends X_BLKRUN_BLKVERIFY_MISMATCH, at QEMU's rate for events of broken
disks, and fails the request with EIO (``on-mismatch = "error"``) or not (``"report"``).  An error
of ``test`` is the client's in either case, unchanged.

A flush goes to both, which QEMU's does not: what is on ``raw`` is to be as durable.
"""

import errno
import threading
from typing import Any

from blkrun.options import BlkverifyOptions
from blkrun.server.fork import Branches, Failures, Fork
from blkrun.server.staging import Staging
from blkrun.server.voting import difference
from blkrun.server.way import Extent, Way


class Blkverify(Fork[BlkverifyOptions]):
    """``mismatches`` counts them, also those that no event told of."""

    driver = "blkverify"

    def __init__(self, options: BlkverifyOptions) -> None:
        super().__init__(options)
        self.mismatches = 0
        self._counting = threading.Lock()

    def open(self, staging: Staging) -> None:
        """Be ready to tell."""
        self._events = staging.graph.events

    def describe(self) -> dict[str, Any]:
        """How often they have not agreed."""
        return {"mismatches": self.mismatches}

    def fork(self, branches: Branches) -> Way:
        """Over ``test`` and ``raw``, in this order."""
        ranges, below = self._ranges, branches[0].way

        def pread(buf: memoryview, offset: int) -> None:
            span = ranges.read(offset, len(buf))
            try:
                self._read(branches, buf, offset)
            finally:
                ranges.leave(span)

        def pwrite(buf: memoryview, offset: int, flags: int) -> None:
            span = ranges.write(offset, len(buf))
            try:
                failures = self._write_all(branches, buf, offset, flags)
            finally:
                ranges.leave(span)
            self._settle("write", offset, len(buf), failures)

        def zero(count: int, offset: int, flags: int) -> None:
            span = ranges.write(offset, count)
            try:
                failures = self._zero_all(branches, count, offset, flags)
            finally:
                ranges.leave(span)
            self._settle("write-zeroes", offset, count, failures)

        def trim(count: int, offset: int, flags: int) -> None:
            span = ranges.write(offset, count)
            try:
                failures = self._trim_all(branches, count, offset, flags)
            finally:
                ranges.leave(span)
            self._settle("discard", offset, count, failures)

        def flush() -> None:
            self._settle("flush", 0, 0, self._flush_all(branches))

        def extents(count: int, offset: int, flags: int) -> list[Extent]:
            return below.extents(count, offset, flags)

        def cache(count: int, offset: int) -> None:
            below.cache(count, offset)

        return Way(pread, pwrite, zero, trim, flush, extents, cache, *self._one_size(branches))

    def _read(self, branches: Branches, buf: memoryview, offset: int) -> None:
        other = self._scratch.take(len(buf))
        try:
            failures = self._read_all(branches, (buf, other), offset)
            self._settle("read", offset, len(buf), failures)
            # A bytearray on the left compares as memcmp does, a memoryview byte by byte.
            if failures == [None, None] and other != buf:
                first, past = difference(bytes(buf), bytes(other)) or (0, len(buf))
                self._differ("read", offset + first, past - first)
        finally:
            self._scratch.give(other)

    def _settle(self, operation: str, offset: int, count: int, failures: Failures) -> None:
        """Raises OSError for the client."""
        test, raw = failures
        if (test and test.errno) != (raw and raw.errno):
            errors = {"test": test, "raw": raw}
            words = {who: str(error.strerror) for who, error in errors.items() if error is not None}
            self._differ(operation, offset, count, words, test)
        if test is not None:
            raise test

    def _differ(
        self,
        operation: str,
        offset: int,
        count: int,
        errors: dict[str, str] | None = None,
        own: OSError | None = None,
    ) -> None:
        """Tell of it; raises EIO if it is to, and ``test`` has not failed itself."""
        with self._counting:
            self.mismatches += 1
        data: dict[str, Any] = {
            "node-name": self.name,
            "operation": operation,
            "offset": offset,
            "length": count,
        }
        data |= {"errors": errors} if errors else {}
        self._events.emit_limited("X_BLKRUN_BLKVERIFY_MISMATCH", data, self.name)
        if own is None and self.options.on_mismatch == "error":
            raise OSError(errno.EIO, f"{self.name}: test and raw differ ({operation} at {offset})")
