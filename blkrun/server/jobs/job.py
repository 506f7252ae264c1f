"""One job: its thread, the verbs it is given, the events it tells of itself (qemu-semantics §8).

::

    start ─ running ─ run() ─ waiting ─ pending ─ prepare() ─ commit() ─┬ clean() ─ concluded
              └─────────────┴─────────┴──────────┴─ aborting ─ abort() ┘

All the methods a subclass has are called in the job's own thread, without any lock; so they may
take the graph's, and who holds that must never wait for a job's thread to end.
"""

import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from time import monotonic_ns
from typing import Any

from blkrun.errors import CommandError
from blkrun.server.events import Events
from blkrun.server.jobs.control import JobCancelled, JobControl
from blkrun.server.jobs.pace import NS_PER_S
from blkrun.server.jobs.policy import Conduct, Operation, action_on, io_status_after
from blkrun.server.jobs.rate import Rate
from blkrun.server.jobs.state import Status
from blkrun.server.jobs.transaction import JobTransaction, Verdict
from blkrun.server.node import Node

CANCELED = "Operation canceled"

_RETRY_NS = NS_PER_S // 10
"""Before something that failed is tried again: policy ``ignore`` must not flood with events."""
_LONGEST_WAIT_S = 3600.0


class Job(JobControl, ABC):
    """A thread that is made with the job and begins with ``start``."""

    def __init__(
        self, options: Conduct, events: Events, transaction: JobTransaction | None = None
    ) -> None:
        super().__init__(options, events, transaction)
        self._thread = threading.Thread(
            target=self._main, name=f"blkrun-job-{self.id}", daemon=True
        )

    # What a subclass does

    @abstractmethod
    def run(self) -> None:
        """The work.  Raises OSError or CommandError to fail; lets JobCancelled through."""

    def prepare(self) -> None:
        """What may fail of the end, as ``run`` does.  All of a group do it, then commit."""

    def commit(self) -> None:
        """It is a success.  Must not fail."""

    def abort(self) -> None:
        """It failed or was cancelled, perhaps after ``prepare``.  Must not fail."""

    def clean(self) -> None:
        """After either of them.  Must not fail."""

    def nodes(self) -> Collection[Node[Any]]:
        """Those that it does I/O on, now."""
        return ()

    def describe(self) -> dict[str, Any]:
        """What is particular to its type, for ``x-blkrun-query-graph``."""
        return {}

    # What a subclass calls in run()

    def pause_point(self) -> None:
        """Stand still while paused or drained.  Raises JobCancelled.  Nothing may be in flight."""
        if self.pause_count or self.cancelled:
            with self._lock:
                self._park()

    def await_pace(self) -> None:
        """Before each chunk: wait until the speed limit lets it go.  A pause point too."""
        if not (self._pace.speed or self.pause_count or self.cancelled):
            return
        with self._lock:
            self._park()
            while wait_ns := self._pace.wait_ns(monotonic_ns()):
                self._sleep(wait_ns)
                self._park()

    def charge(self, length_bytes: int) -> None:
        """A chunk that goes now, or has gone: the next one waits for it."""
        with self._lock:
            self._pace.charge(length_bytes, monotonic_ns())

    def progress(self, length_bytes: int) -> None:
        """So much more is done.  From any thread."""
        with self._progress_lock:
            self.offset_bytes += length_bytes
            self._rate.look(self.offset_bytes, monotonic_ns())

    def set_length(self, length_bytes: int) -> None:
        """How much there is to do, all in all, with what has been done."""
        self.len_bytes = length_bytes

    def on_error(self, operation: Operation, error: OSError) -> None:
        """Do with an error as the job's policy says.  Raises it, or returns: try again.

        A pause point too.
        """
        action = action_on(self.options.on_error(operation), error.errno)
        with self._lock:
            data = {"device": self.id, "operation": operation, "action": action}
            self._events.emit("BLOCK_JOB_ERROR", data)
            if action == "report":
                raise error
            if action == "stop":
                self._stop(io_status_after(error.errno))
                self._park()
            else:
                self._nap(_RETRY_NS)

    def ready(self) -> None:
        """From here on it may be completed."""
        with self._lock:
            self._to(Status.READY)
            self._tell("BLOCK_JOB_READY")

    def wait_completion(self, timeout_s: float | None = None) -> bool:
        """Wait, at most so long, for ``completing``.  Whether it came.

        A pause point too: a job told to complete while it is paused goes on when it is resumed.
        """
        until_ns = monotonic_ns() + (_ns(_LONGEST_WAIT_S if timeout_s is None else timeout_s))
        with self._lock:
            self._park()
            while not self.completing:
                left_ns = until_ns - monotonic_ns()
                if left_ns <= 0:
                    break
                self._sleep(left_ns)
                self._park()
            return self.completing

    def idle(self, seconds: float) -> None:
        """Wait for others.  A pause point too."""
        with self._lock:
            self._nap(_ns(seconds))

    # What the registry and an edit that starts it ask for

    def enlist(self, forget: Callable[[JobControl], None]) -> None:
        """It exists from now on; ``forget`` takes it out of the registry.

        Its thread is made here, so that ``start`` cannot fail.  Raises RuntimeError: no thread.
        """
        self._forget = forget
        with self._lock:
            self._transaction.join(self)
            try:
                self._thread.start()
            except RuntimeError:
                self._transaction.leave(self)
                raise
            self._emit_status()

    def start(self) -> None:
        """Begin.  Waits for nobody, and cannot fail: the edit that starts it is in force already.

        Its thread is there since ``enlist``, and nothing leads out of ``created`` but this,
        ``give_up`` and ``roll_back``; who cancels it before only notes that.
        """
        with self._lock:
            self.in_run = True
            self._began_ns = monotonic_ns()
            self._rate = Rate(self._began_ns, self.offset_bytes)
            self._to(Status.RUNNING)
            self._changed.notify_all()

    def give_up(self) -> None:
        """Instead of ``start``: something else failed.  Nothing of the subclass is called."""
        with self._lock:
            self._withdraw()

    def roll_back(self) -> None:
        """Instead of ``start``: the action was rolled back, as all that it staged."""
        with self._lock:
            self.error = CANCELED
            self._to(Status.ABORTING)
            self._to(Status.CONCLUDED)
            self._withdraw()

    def alive(self) -> bool:
        """Whether its thread still has something to do; from ``enlist`` on."""
        return self.status is not Status.NULL or self._thread.is_alive()

    def join(self, timeout_s: float) -> bool:
        """Wait for its thread.  Not with a lock of the graph.  Whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # The thread

    def _main(self) -> None:
        with self._lock:
            while self.status is Status.CREATED and not self.in_run:
                self._changed.wait()
            if not self.in_run:
                return
        self._end(_failure_of(self._work))

    def _work(self) -> None:
        self.pause_point()
        self.run()

    def _end(self, error: str | None) -> None:
        with self._lock:
            self.in_run = False
            if not self._failed(error):
                self._to(Status.WAITING)
                self._transaction.arrive()
                self._wait_while(Verdict.OPEN)
            good = not self._failed(None)
        if good:
            error = _failure_of(self.prepare)
            with self._lock:
                if not self._failed(error):
                    self._transaction.prepared()
                    self._wait_while(Verdict.FINALIZING)
                good = not self._failed(None)
        _failure_of(self.commit if good else self.abort)
        _failure_of(self.clean)
        with self._lock:
            self._conclude()

    def _failed(self, error: str | None) -> bool:
        """Whether it has failed, with this error, an earlier one, or by being cancelled."""
        if self.error is None and (error is not None or self.cancelled):
            self.error = error or CANCELED
            self._to(Status.ABORTING)
            self._transaction.abort(self)
        return self.error is not None

    def _wait_while(self, verdict: Verdict) -> None:
        while self._transaction.verdict is verdict and not self.cancelled:
            self._changed.wait()

    def _conclude(self) -> None:
        if self.cancelled:
            self._tell("BLOCK_JOB_CANCELLED")
        elif self.error is not None:
            self._tell("BLOCK_JOB_COMPLETED", error=self.error)
        else:
            self._tell("BLOCK_JOB_COMPLETED")
        self._transaction.leave(self)
        self._ended_ns = monotonic_ns()
        self._to(Status.CONCLUDED)
        if self.auto_dismiss:
            self._vanish()


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)


def _failure_of(work: Callable[[], None]) -> str | None:
    """What is wrong, in words.  The top of the thread: a defect fails the job, and is logged."""
    try:
        work()
    except JobCancelled:
        return CANCELED
    except OSError as error:
        return error.strerror or str(error)
    except CommandError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - see above
        traceback.print_exc()
        return f"internal error: {error!r}"
    return None
