"""Jobs that end together: all of them commit, or none (qemu-semantics §6.5).

Every job is in one: that of a QMP ``transaction`` with completion-mode ``grouped``, or its own.
A job whose work is done waits here for the others; then all are pending, then all prepare, each
in its thread, and only when the last has succeeded all commit.  One that fails or is cancelled on
the way cancels the others.
"""

import threading
from enum import Enum, auto
from typing import TYPE_CHECKING

from blkrun.server.jobs.state import Status

if TYPE_CHECKING:
    from blkrun.server.jobs.control import JobControl


class Verdict(Enum):
    """How far it has come.  The last two are for good."""

    OPEN = auto()
    FINALIZING = auto()
    COMMITTED = auto()
    ABORTING = auto()


class JobTransaction:
    """``lock`` covers all of its jobs' states, and is needed for every method here.

    Who holds it may emit events and take the registry's lock, but no lock of the graph.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.verdict = Verdict.OPEN
        self._jobs: list[JobControl] = []
        self._prepared = 0

    def join(self, job: "JobControl") -> None:
        """One more.  Before the first one is started, all that belong together have joined."""
        if self.verdict is not Verdict.OPEN:
            raise AssertionError(f"job {job.id} joins jobs that have ended")
        self._jobs.append(job)

    def leave(self, job: "JobControl") -> None:
        """It is concluded, or never began."""
        self._jobs.remove(job)

    def arrive(self) -> None:
        """A job has begun to wait.  The last makes all of them pending, in order of creation."""
        if self.verdict is not Verdict.OPEN:
            return
        if any(job.status is not Status.WAITING for job in self._jobs):
            return
        for job in self._jobs:
            job.become_pending()
        if all(job.auto_finalize for job in self._jobs):
            self.finalize()

    def finalize(self) -> None:
        """All jobs, all of them pending, prepare."""
        self.verdict = Verdict.FINALIZING
        self.changed.notify_all()

    def prepared(self) -> None:
        """One more has prepared.  With the last, the way back is closed."""
        self._prepared += 1
        if self.verdict is Verdict.FINALIZING and self._prepared == len(self._jobs):
            self.verdict = Verdict.COMMITTED
            self.changed.notify_all()

    def abort(self, failed: "JobControl") -> None:
        """One has failed or was cancelled: cancel the others."""
        if self.verdict in (Verdict.COMMITTED, Verdict.ABORTING):
            return
        self.verdict = Verdict.ABORTING
        for job in self._jobs:
            if job is not failed:
                job.be_cancelled()
        self.changed.notify_all()
