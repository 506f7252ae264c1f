"""What a job's users, the graph's edits and the job's own thread agree on: its state and verbs.

States, events and refusals are QEMU's (qemu-semantics §8).  ``blkrun.server.jobs.job`` has the
thread, and what a job does.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any, ClassVar

from blkrun.errors import CommandError
from blkrun.server.events import Events
from blkrun.server.jobs.pace import NS_PER_S, Pace
from blkrun.server.jobs.policy import Conduct, IoStatus, check_speed
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

_LONGEST_WAIT_NS = 3600 * NS_PER_S


class JobCancelled(Exception):  # noqa: N818 - no error: somebody wanted it
    """Ends ``run``; raised by everything there that waits."""


class JobControl:
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
        """It has ended by leading edges elsewhere: a mirror everybody's, a stream its overlay's."""
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
        self._forget: Callable[[JobControl], None] = _nobody
        self._parked = False
        self._idle = False

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
            if self.pivoted or self._transaction.verdict is Verdict.COMMITTED:
                raise CommandError(not_now(Verb.CANCEL, self.status, self.id))
            if force or not self.completable or not self.is_ready:
                self.be_cancelled()
                return
            self.completing, self.pivots = True, False
            self._let_go()

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

    # What is to be seen of it

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

    # What the graph's edits ask for

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

    def forget(self) -> None:
        """Cancel it if that is possible still, and let it vanish once it has ended."""
        with self._lock:
            self.auto_dismiss = True
            if self.status is Status.CONCLUDED:
                self._vanish()
        self.end_if_possible()

    def end_if_possible(self) -> None:
        """Cancel, unless it is too late for that, or it was never started."""
        with contextlib.suppress(CommandError):
            self.cancel()

    # What the transaction does, with the lock held

    def become_pending(self) -> None:
        """All of its group have done their work."""
        self._to(Status.PENDING)
        if not self.auto_finalize:
            self._events.emit("BLOCK_JOB_PENDING", {"type": self.type, "id": self.id})

    def be_cancelled(self) -> None:
        """Cancel for good, in any state before concluded; but what has pivoted is a success."""
        if self.pivoted:
            return
        self.cancelled = True
        if not self.in_run and self.status is not Status.CREATED:
            self._transaction.abort(self)  # its thread only waits, and may be told to commit first
        self._let_go()

    # For the thread, with the lock held

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

    def _decide(self, *, pivots: bool) -> None:
        """Right before the end of it becomes true: cancel comes too late from now on, or came."""
        with self._lock:
            if self.cancelled:
                raise JobCancelled
            self.pivoted = pivots

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

    # Within

    def _set_speed(self, speed: int) -> None:
        with self._lock:
            self._pace.set_speed(speed, monotonic_ns())
            self._changed.notify_all()

    def _check(self, verb: Verb) -> None:
        problem = refusal(verb, self.status, user_paused=self.user_paused, job_id=self.id)
        if problem is not None:
            raise CommandError(problem)

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


def _nobody(job: JobControl) -> None:
    """Before it is in the registry."""
