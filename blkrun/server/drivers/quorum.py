"""Several copies of a disk that vote: QEMU's quorum (qemu-semantics §7).

What changes data goes to all children and has succeeded if at ``vote-threshold`` of them it has.  A
read asks all, and what most say wins, if they are enough; or, with ``read-pattern = "fifo"``, it
asks one after the other until one can be read.  Whoever loses is told of, by QUORUM_REPORT_BAD, and
with ``rewrite-corrupted`` is given what has won.

A child that is added has what it has: nothing is copied to it.  Until it has been written to in
full, reads report it, and ``rewrite-corrupted`` repairs what is read.
"""

import errno
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from blkrun.errors import CommandError
from blkrun.options import QuorumOptions
from blkrun.server.fork import Branch, Branches, Failures, Fork
from blkrun.server.node import Node
from blkrun.server.staging import Staging
from blkrun.server.voting import Verdict, agreed_extents, difference, elect
from blkrun.server.way import EXTENT_DATA, Extent, Way

_SECTOR_BYTES = 512


class Quorum(Fork[QuorumOptions]):
    """Counts are exact, also of what no event has told, as those have a rate.

    ``failures``: requests that too few could do; ``bad``: answers that were wrong, or none;
    ``rewritten``: wrong ones that were put right.
    """

    driver = "quorum"

    def __init__(self, options: QuorumOptions) -> None:
        super().__init__(options)
        self.failures = 0
        self.bad = 0
        self.rewritten = 0
        self._counting = threading.Lock()

    # Control

    def open(self, staging: Staging) -> None:
        """Be ready to tell.  Raises CommandError in QEMU's words."""
        self._events = staging.graph.events
        _check_options(self.options, len(staging.children(self)))

    def prepare_reopen(self, options: QuorumOptions, staging: Staging) -> Callable[[], None]:
        """QEMU cannot do this."""
        _check_options(options, len(staging.children(self)))
        return super().prepare_reopen(options, staging)

    def detach(self, role: str, *, by_itself: bool = False) -> None:
        """Let a child go; the others keep their roles, which leaves a gap."""
        del by_itself
        del self.children[role]

    def check_addition(self) -> None:
        """Whether it can have one child more.  Raises CommandError."""
        if self.options.blkverify and self.options.read_pattern == "quorum":
            raise CommandError("Cannot add a child to a quorum in blkverify mode")

    def check_removal(self, staging: Staging) -> None:
        """Whether it can do without one of its children.  Raises CommandError."""
        if len(staging.children(self)) <= self.options.vote_threshold:
            raise CommandError(
                "The number of children cannot be lower than the vote threshold "
                f"{self.options.vote_threshold}"
            )

    def describe(self) -> dict[str, Any]:
        """What has gone wrong."""
        return {"failures": self.failures, "bad": self.bad, "rewritten": self.rewritten}

    # Requests

    def fork(self, branches: Branches) -> Way:
        """Over as many children as there are now."""
        ranges = self._ranges
        read = self._read_first if self.options.read_pattern == "fifo" else self._read_and_vote

        def pread(buf: memoryview, offset: int) -> None:
            span = ranges.read(offset, len(buf))
            try:
                read(branches, buf, offset)
            finally:
                ranges.leave(span)

        def pwrite(buf: memoryview, offset: int, flags: int) -> None:
            span = ranges.write(offset, len(buf))
            try:
                failures = self._write_all(branches, buf, offset, flags)
            finally:
                ranges.leave(span)
            self._settle("write", branches, failures, offset, len(buf))

        def zero(count: int, offset: int, flags: int) -> None:
            span = ranges.write(offset, count)
            try:
                failures = self._zero_all(branches, count, offset, flags)
            finally:
                ranges.leave(span)
            self._settle("write", branches, failures, offset, count)

        def trim(count: int, offset: int, flags: int) -> None:
            span = ranges.write(offset, count)
            try:
                failures = self._trim_all(branches, count, offset, flags)
            finally:
                ranges.leave(span)
            self._settle("write", branches, failures, offset, count)

        def flush() -> None:
            self._settle("flush", branches, self._flush_all(branches), 0, 0)

        def extents(count: int, offset: int, flags: int) -> list[Extent]:
            return self._extents(branches, count, offset, flags)

        def cache(count: int, offset: int) -> None:
            self._cache(branches, count, offset)

        return Way(pread, pwrite, zero, trim, flush, extents, cache, *self._one_size(branches))

    def _read_first(self, branches: Branches, buf: memoryview, offset: int) -> None:
        """The first that can; if none can, the last one's error."""
        for branch in branches:
            try:
                branch.way.pread(buf, offset)
            except OSError as error:
                self._report_bad("read", branch, offset, len(buf), error)
                failure = error
            else:
                return
        raise failure

    def _read_and_vote(self, branches: Branches, buf: memoryview, offset: int) -> None:
        others = [self._scratch.take(len(buf)) for _ in branches[1:]]
        try:
            failures = self._read_all(branches, (buf, *others), offset)
            self._settle("read", branches, failures, offset, len(buf))
            # A bytearray on the left compares as memcmp does, a memoryview byte by byte.
            if any(failures) or any(other != buf for other in others):
                answers = [bytes(each) for each in (buf, *others)]
                self._vote(branches, failures, answers, buf, offset)
        finally:
            for other in others:
                self._scratch.give(other)

    def _vote(
        self,
        branches: Branches,
        failures: Failures,
        answers: list[bytes],
        buf: memoryview,
        offset: int,
    ) -> None:
        """Have the winner in ``buf``, or raise EIO; enough children have answered at all."""
        valid = [
            None if failure is not None else answer
            for answer, failure in zip(answers, failures, strict=True)
        ]
        verdict = elect(valid)
        if verdict is None:
            raise AssertionError("at least one has answered")
        if self.options.blkverify and verdict.losers:
            self._report_mismatch(answers, offset)
        if verdict.votes < self.options.vote_threshold:
            self._report_failure(offset, len(buf))
            raise OSError(errno.EIO, f"{self.name}: the children do not agree (read at {offset})")
        buf[:] = verdict.winner
        for place in verdict.losers:
            self._report_bad("read", branches[place], offset, len(buf), None)
        if self.options.rewrite_corrupted and not self.options.read_only:
            self._rewrite(branches, verdict, offset)

    def _rewrite(self, branches: Branches, verdict: Verdict[bytes], offset: int) -> None:
        """No write is under way in this range, and other reads of it would write the same.

        An error is nobody's here: the next read finds it again.
        """
        for place in verdict.losers:
            with suppress(OSError):
                branches[place].way.pwrite(memoryview(verdict.winner), offset, 0)
                with self._counting:
                    self.rewritten += 1

    def _settle(
        self, operation: str, branches: Branches, failures: Failures, offset: int, count: int
    ) -> None:
        """Tell of those who have failed.  Raises the error that most have, if too few are left."""
        found = [failure for failure in failures if failure is not None]
        if not found:
            return
        for branch, failure in zip(branches, failures, strict=True):
            if failure is not None:
                self._report_bad(operation, branch, offset, count, failure)
        if len(branches) - len(found) >= self.options.vote_threshold:
            return
        if operation == "flush":  # as QEMU, which sends no event then
            with self._counting:
                self.failures += 1
        else:
            self._report_failure(offset, count)
        raise _voted(found)

    def _extents(self, branches: Branches, count: int, offset: int, flags: int) -> list[Extent]:
        """Whoever fails has data, as far as anybody knows."""
        answers: list[Sequence[Extent]] = []
        for branch in branches:
            try:
                answers.append(branch.way.extents(count, offset, flags))
            except OSError as error:
                self._report_bad("read", branch, offset, count, error)
                return [(offset, count, EXTENT_DATA)]
        return agreed_extents(answers, offset, offset + count)

    def _cache(self, branches: Branches, count: int, offset: int) -> None:
        """It is advice: one child that has taken it is enough."""
        failures = []
        for branch in branches:
            try:
                branch.way.cache(count, offset)
            except OSError as error:
                failures.append(error)
        if len(failures) == len(branches):
            raise _voted(failures)

    # Telling

    def _report_bad(
        self, operation: str, branch: Branch, offset: int, count: int, error: OSError | None
    ) -> None:
        with self._counting:
            self.bad += 1
        data = {"type": operation, "node-name": branch.name, **_sectors(offset, count)}
        if error is not None:
            data["error"] = error.strerror or str(error)
        self._events.emit_limited("QUORUM_REPORT_BAD", data, branch.name)

    def _report_failure(self, offset: int, count: int) -> None:
        with self._counting:
            self.failures += 1
        data = {"reference": self.name, **_sectors(offset, count)}
        self._events.emit_limited("QUORUM_FAILURE", data)

    def _report_mismatch(self, answers: Sequence[bytes], offset: int) -> None:
        """With ``blkverify``, where QEMU ends the process."""
        first, past = difference(*answers) or (0, len(answers[0]))
        data = {
            "node-name": self.name,
            "operation": "read",
            "offset": offset + first,
            "length": past - first,
        }
        self._events.emit_limited("X_BLKRUN_BLKVERIFY_MISMATCH", data, self.name)


def as_quorum(node: Node[Any], what: str) -> Quorum:
    """A node whose children come and go.  Raises CommandError in QEMU's words."""
    if not isinstance(node, Quorum):
        raise CommandError(f"The node {node.name} does not support {what} a child")
    return node


def _check_options(options: QuorumOptions, children: int) -> None:
    """QEMU's checks, in its order and words."""
    if children < 1:
        raise CommandError("Number of provided children must be 1 or more")
    if options.vote_threshold < 1:
        raise CommandError("Parameter 'vote-threshold' expects a value >= 1")
    if options.vote_threshold > children:
        raise CommandError("threshold may not exceed children count")
    if options.read_pattern == "fifo":
        return
    if options.blkverify and (children, options.vote_threshold) != (2, 2):
        raise CommandError(
            "blkverify=on can only be set if there are exactly two files and vote-threshold is 2"
        )
    if options.rewrite_corrupted and options.blkverify:
        raise CommandError("rewrite-corrupted=on cannot be used with blkverify=on")


def _voted(failures: Sequence[OSError]) -> OSError:
    """One of those with the errno that most have."""
    verdict = elect([failure.errno for failure in failures])
    if verdict is None:
        return failures[0]
    return next(failure for failure in failures if failure.errno == verdict.winner)


def _sectors(offset: int, count: int) -> dict[str, Any]:
    """Those that a range touches."""
    first = offset // _SECTOR_BYTES
    past = -(-(offset + count) // _SECTOR_BYTES)
    return {"sector-num": first, "sectors-count": past - first}
