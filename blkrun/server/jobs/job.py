"""One job: its thread, the verbs it is given, the events it tells of itself (qemu-semantics §8).

::

    start ─ running ─ run() ─ waiting ─ pending ─ prepare() ─ commit() ─┬ clean() ─ concluded
              └─────────────┴─────────┴──────────┴─ aborting ─ abort() ┘

All the methods a subclass has are called in the job's own thread, without any lock; so they may
take the graph's, and who holds that must never wait for a job's thread to end.
"""

import contextlib
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from time import monotonic_ns
from typing import Any, ClassVar

from blkrun.errors import CommandError
from blkrun.server.events import Events
from blkrun.server.jobs.pace import NS_PER_S, Pace
from blkrun.server.jobs.policy import (
    Conduct,
    IoStatus,
    Operation,
    action_on,
    check_speed,
    io_status_after,
)
from blkrun.server.jobs.rate import Rate
from blkrun.server.jobs.state import (
    FOLLOWING,
    PARKED,
    UNPARKED,
    Status,
    Verb,
    not_now,
    refusal,
)
from blkrun.server.jobs.transaction import JobTransaction, Verdict
from blkrun.server.node import Node

CANCELED = "Operation canceled"

_RETRY_NS = NS_PER_S // 10
"""Before something that failed is tried again: policy ``ignore`` must not flood with events."""
_LONGEST_WAIT_NS = 3600 * NS_PER_S


class JobCancelled(Exception):  # noqa: N818 - no error: somebody wanted it
    """Ends ``run``; raised by everything there that waits."""


class Job(ABC):
    """``_lock``, the transaction's, covers all but the progress, which clients' threads add to.

    Every attribute without underscore may be read at any time.
    """

    type: ClassVar[str]
    completable: ClassVar[bool] = False
    """Whether job-complete is for it, and cancelling it when ready, unforced, a success."""

    def __init__(
        self, options: Conduct, events: Events, transaction: JobTransaction | None = None
    ) -> None:
        check_speed(options.speed)
        self.options = options
        self.id = options.id
        self.auto_finalize = options.auto_finalize
        self.auto_dismiss = options.auto_dismiss
        self.status = Status.CREATED
        self.io_status: IoStatus = "ok"
        self.error: str | None = None
        self.offset_bytes = 0
        self.len_bytes = 0
        self.user_paused = False
        self.pause_count = 0
        self.cancelled = False
        self.completing = False
        """Once ready: job-complete, or an unforced cancel, has been asked for."""
        self.pivots = False
        """With ``completing``: it was job-complete."""
        self.pivoted = False
        """It has ended by giving its target to everybody who used its device."""
        self.in_run = False
        self._events = events
        self._transaction = transaction or JobTransaction()
        self._lock = self._transaction.lock
        self._changed = self._transaction.changed
        self._progress_lock = threading.Lock()
        self._pace = Pace(options.speed)
        self._rate = Rate(monotonic_ns())
        self._began_ns = 0
        self._ended_ns = 0
        self._thread = threading.Thread(
            target=self._main, name=f"blkrun-job-{self.id}", daemon=True
        )
        self._forget: Callable[[Job], None] = _nobody
        self._parked = False
        self._idle = False
        self._woken = False

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

    def change(self, changes: Mapping[str, Any]) -> Callable[[], None]:
        """Check options that may change while it runs, by wire name; the result cannot fail.

        Raises CommandError.
        """
        if unknown := changes.keys() - {"speed"}:
            raise CommandError(f"Cannot change the option '{min(unknown)}'")
        self._check_under_lock(Verb.SET_SPEED)
        speed = changes.get("speed", self.speed)
        check_speed(speed)
        return lambda: self._set_speed(speed)

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
        """Wait, at most so long, for ``completing`` or ``wake``.  Whether it is ``completing``.

        A pause point too: a job told to complete while it is paused goes on when it is resumed.
        """
        until_ns = monotonic_ns() + (_LONGEST_WAIT_NS if timeout_s is None else _ns(timeout_s))
        with self._lock:
            self._park()
            while not (self.completing or self._woken):
                left_ns = until_ns - monotonic_ns()
                if left_ns <= 0:
                    break
                self._sleep(left_ns)
                self._park()
            self._woken = False
            return self.completing

    def idle(self, seconds: float) -> None:
        """Wait for others.  A pause point too."""
        with self._lock:
            self._nap(_ns(seconds))

    def wake(self) -> None:
        """End ``wait_completion``, this or the next one.  From any thread."""
        with self._lock:
            self._woken = True
            self._changed.notify_all()

    # What a user asks for.  Each raises CommandError in QEMU's words.

    def pause(self) -> None:
        """Stand still at the next pause point."""
        with self._lock:
            self._check(Verb.PAUSE)
            self.user_paused = True
            self.pause_count += 1
            self._changed.notify_all()

    def resume(self) -> None:
        """Go on, also after an error that stopped it."""
        with self._lock:
            self._check(Verb.RESUME)
            self._resume()

    def set_speed(self, speed: int) -> None:
        """A new limit in bytes/s, 0 for none; counts at once."""
        with self._lock:
            self._check(Verb.SET_SPEED)
            check_speed(speed)
        self._set_speed(speed)

    def complete(self) -> None:
        """End what goes on until it is told to."""
        with self._lock:
            self._check(Verb.COMPLETE)
            if not self.completable or self.cancelled or (self.completing and not self.pivots):
                raise CommandError(f"The active block job '{self.id}' cannot be completed")
            self.completing = self.pivots = True
            self._changed.notify_all()

    def finalize(self) -> None:
        """Let it, and those it is grouped with, commit."""
        with self._lock:
            self._check(Verb.FINALIZE)
            if self._transaction.verdict is not Verdict.OPEN:
                raise CommandError(not_now(Verb.FINALIZE, self.status, self.id))
            self._transaction.finalize()

    def dismiss(self) -> None:
        """Forget it."""
        with self._lock:
            self._check(Verb.DISMISS)
            self._vanish()

    def cancel(self, *, force: bool = True) -> None:
        """End it; a paused job goes on to its end.

        Not forced, a job that is ready ends as a success, with things left as they are.
        """
        with self._lock:
            self._check(Verb.CANCEL)
            if self._transaction.verdict is Verdict.COMMITTED:
                raise CommandError(not_now(Verb.CANCEL, self.status, self.id))
            if force or not self.completable or not self.is_ready:
                self.be_cancelled()
                return
            self.completing, self.pivots = True, False
            self._let_go()

    # What the graph and the registry ask for

    @property
    def speed(self) -> int:
        """The limit in bytes/s; 0 for none."""
        return self._pace.speed

    @property
    def rate(self) -> int:
        """Bytes/s over the last seconds."""
        with self._progress_lock:
            return self._rate.bytes_per_s(self.offset_bytes, monotonic_ns())

    @property
    def running_ns(self) -> int:
        """How long ago it was started, or how long it took."""
        if not self._began_ns:
            return 0
        return (self._ended_ns or monotonic_ns()) - self._began_ns

    @property
    def is_ready(self) -> bool:
        """Ready, moving or not."""
        return self.status in (Status.READY, Status.STANDBY)

    @property
    def busy(self) -> bool:
        """Whether it is working right now, not waiting for anybody or its pace."""
        return self.in_run and not self._idle

    def enlist(self, forget: Callable[["Job"], None]) -> None:
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
        """Begin.  Cannot fail, and waits for nobody."""
        with self._lock:
            self.in_run = True
            self._began_ns = monotonic_ns()
            self._rate = Rate(self._began_ns, self.offset_bytes)
            self._to(Status.RUNNING)
            self._changed.notify_all()

    def forget(self) -> None:
        """Cancel it if that is possible still, and let it vanish once it has ended."""
        with self._lock:
            self.auto_dismiss = True
            if self.status is Status.CONCLUDED:
                self._vanish()
        self.end_if_possible()

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

    def drain_begin(self) -> None:
        """Stand still, whatever the user says, until ``drain_end``.  Needs no lock of the graph."""
        with self._lock:
            self.pause_count += 1
            self._changed.notify_all()

    def drain_end(self) -> None:
        """Once for each ``drain_begin``."""
        with self._lock:
            self.pause_count -= 1
            self._changed.notify_all()

    def at_rest(self) -> bool:
        """After ``drain_begin``: whether it does no I/O and will not."""
        return self._parked or not self.in_run

    def end_if_possible(self) -> None:
        """Cancel, unless it is too late for that, or it was never started."""
        with contextlib.suppress(CommandError):
            self.cancel()

    def alive(self) -> bool:
        """Whether its thread still has something to do; from ``enlist`` on."""
        return self.status is not Status.NULL or self._thread.is_alive()

    def join(self, timeout_s: float) -> bool:
        """Wait for its thread.  Not with a lock of the graph.  Whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # What the transaction does, with the lock held

    def become_pending(self) -> None:
        """All of its group have done their work."""
        self._to(Status.PENDING)
        if not self.auto_finalize:
            self._events.emit("BLOCK_JOB_PENDING", {"type": self.type, "id": self.id})

    def be_cancelled(self) -> None:
        """Cancel for good, in any state before concluded."""
        self.cancelled = True
        if not self.in_run and self.status is not Status.CREATED:
            self._transaction.abort(self)  # its thread only waits, and may be told to commit first
        self._let_go()

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

    # All below with the lock held

    def _park(self) -> None:
        if self.pause_count and not self.cancelled:
            self._to(PARKED[self.status])
            self._parked = self._idle = True
            while self.pause_count and not self.cancelled:
                self._changed.wait()
            self._parked = self._idle = False
            self._to(UNPARKED[self.status])
        if self.cancelled:
            raise JobCancelled

    def _sleep(self, wait_ns: int) -> None:
        self._idle = True
        self._changed.wait(min(wait_ns, _LONGEST_WAIT_NS) / NS_PER_S)
        self._idle = False

    def _nap(self, wait_ns: int) -> None:
        until_ns = monotonic_ns() + wait_ns
        self._park()
        while (left_ns := until_ns - monotonic_ns()) > 0:
            self._sleep(left_ns)
            self._park()

    def _stop(self, io_status: IoStatus) -> None:
        """After an error: what follows is a pause as by the user, who resumes it."""
        if not self.user_paused:
            self.user_paused = True
            self.pause_count += 1
        if self.io_status == "ok":
            self.io_status = io_status

    def _set_speed(self, speed: int) -> None:
        with self._lock:
            self._pace.set_speed(speed, monotonic_ns())
            self._changed.notify_all()

    def _check_under_lock(self, verb: Verb) -> None:
        with self._lock:
            self._check(verb)

    def _let_go(self) -> None:
        if self.user_paused:
            self._resume()
        self._changed.notify_all()

    def _resume(self) -> None:
        self.user_paused = False
        self.pause_count -= 1
        self.io_status = "ok"
        self._changed.notify_all()

    def _check(self, verb: Verb) -> None:
        problem = refusal(verb, self.status, user_paused=self.user_paused, job_id=self.id)
        if problem is not None:
            raise CommandError(problem)

    def _withdraw(self) -> None:
        self._transaction.leave(self)
        self._vanish()
        self._changed.notify_all()

    def _vanish(self) -> None:
        self._forget(self)  # first: who sees the event may use the id again
        self._to(Status.NULL)

    def _to(self, status: Status) -> None:
        if status not in FOLLOWING[self.status]:
            raise AssertionError(f"job {self.id}: {self.status} is not followed by {status}")
        self.status = status
        self._emit_status()

    def _emit_status(self) -> None:
        self._events.emit("JOB_STATUS_CHANGE", {"id": self.id, "status": self.status.value})

    def _tell(self, event: str, **more: str) -> None:
        data = {
            "device": self.id,
            "type": self.type,
            "len": self.len_bytes,
            "offset": self.offset_bytes,
            "speed": self.speed,
        }
        self._events.emit(event, data | more)


def _nobody(job: Job) -> None:
    """Before it is in the registry."""


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
