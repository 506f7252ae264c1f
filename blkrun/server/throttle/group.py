"""A throttle group at work: the lock, the clock, and threads that wait for their turn.

The only layer with a lock.  A waiting request parks on a lock of its own.  The request whose
turn is next parks until it is due and then fires the schedule itself, which lets others go and
may arm another; so there is no timer thread, and nobody is woken but those who have something
to do.  Now and then each looks whether its client is still there, since nobody else would notice:
all threads that could are waiting here.
"""

import errno
import threading
from collections.abc import Callable
from math import inf
from time import monotonic_ns
from typing import Any

from blkrun.options import ThrottleLimits
from blkrun.server.client import gone as client_gone
from blkrun.server.throttle.bucket import DIRECTIONS, NS_PER_S
from blkrun.server.throttle.schedule import Member, Schedule, Ticket

LOOK_AFTER_S = 0.2
"""How long a request waits without news until it looks whether its client is still there."""


class _Parking:
    """Where one request waits: a lock that is held until somebody has news for it.

    ``due_ns`` is when it is going to fire the schedule, or None if it thinks that another does.
    """

    __slots__ = ("_lock", "due_ns", "may_go")

    def __init__(self) -> None:
        self.may_go = False
        self.due_ns: int | None = None
        self._lock = threading.Lock()
        self._lock.acquire()

    def park(self, timeout_s: float) -> bool:
        """Sleep until there is news, or until the time is over: then it gives False."""
        return self._lock.acquire(timeout=timeout_s)

    def wake(self) -> None:
        """There is news.  Called with the group's lock held, so that it cannot be given twice."""
        if self._lock.locked():
            self._lock.release()


class ThrottleGroup:
    """Limits shared by members.  ``_lock`` protects the schedule and every member's queues.

    ``client_gone`` tells whether the client of the calling thread's request has gone: what such
    a client has waiting is dropped, so that it holds nobody up.
    """

    def __init__(
        self,
        name: str,
        limits: ThrottleLimits,
        clock: Callable[[], int] = monotonic_ns,
        client_gone: Callable[[], bool] = client_gone,
    ) -> None:
        self.name = name
        self._clock = clock
        self._client_gone = client_gone
        self._lock = threading.Lock()
        self._acquire, self._release = self._lock.acquire, self._lock.release
        self._schedule = Schedule(limits, clock(), _let_go)

    @property
    def limits(self) -> ThrottleLimits:
        """The limits in force."""
        return self._schedule.buckets.limits

    @property
    def limited(self) -> tuple[bool, ...]:
        """Whether reads and writes have a limit."""
        return self._schedule.buckets.limited

    @property
    def in_use(self) -> bool:
        """Whether any node is a member."""
        return bool(self._schedule.members)

    def retune(self, limits: ThrottleLimits) -> None:
        """Put new limits in force, also for requests that wait."""
        with self._lock:
            self._schedule.retune(limits, self._clock())
            self._rearm()

    def join(self, member: Member) -> None:
        """Add a member."""
        with self._lock:
            self._schedule.join(member)

    def leave(self, member: Member) -> None:
        """Let its requests go, then forget it."""
        with self._lock:
            self._schedule.leave(member, self._clock())
            self._rearm()

    def drain_begin(self, member: Member) -> None:
        """Let its requests go, and hold none back until ``drain_end``."""
        with self._lock:
            member.drains += 1
            self._schedule.release_all(member, self._clock())
            self._rearm()

    def drain_end(self, member: Member) -> None:
        """Throttle again."""
        with self._lock:
            member.drains -= 1

    def admit(self, member: Member, direction: int, count: int) -> int:
        """Wait until a request of ``count`` bytes may go; gives the ns that it waited.

        Raises OSError (ESHUTDOWN) if its client goes away meanwhile: it is not charged.
        """
        schedule = self._schedule
        now_ns = self._clock()
        # Far from a limit: what Bucket.leak, Schedule.arrive and Bucket.charge do, without calls,
        # and so without another thread in between, and without the lock.
        bucket = schedule.buckets.sole[direction]
        if bucket is not None and not schedule.waiting[direction]:
            level = bucket.level
            elapsed_ns = now_ns - bucket.at_ns
            if elapsed_ns > 0:
                level -= bucket.average * elapsed_ns / NS_PER_S
                if level < 0.0:
                    level = 0.0
            if level <= bucket.room:
                if elapsed_ns > 0:
                    bucket.at_ns = now_ns
                if bucket.by_bytes:
                    bucket.level = level + count
                elif 0 < bucket.iops_size < count:
                    bucket.level = level + count / bucket.iops_size
                else:
                    bucket.level = level + 1.0
                return 0
        self._acquire()  # half as long as ``with``
        try:
            if schedule.arrive(member, direction, count, now_ns):
                if schedule.anybody_waits():
                    self._rearm()
                return 0
            ticket = Ticket(count, _Parking())
            schedule.enqueue(member, direction, ticket)
            self._rearm(besides=ticket)
        finally:
            self._release()
        self._wait(member, direction, ticket)
        return self._clock() - now_ns

    def _wait(self, member: Member, direction: int, ticket: Ticket) -> None:
        parking: _Parking = ticket.owner
        while not parking.may_go:
            timeout_s = self._take_turn(direction, ticket)
            has_news = parking.park(min(timeout_s, LOOK_AFTER_S))
            if not has_news and timeout_s > LOOK_AFTER_S and self._client_gone():
                self._withdraw(member, direction, ticket)

    def _take_turn(self, direction: int, ticket: Ticket) -> float:
        """Let go who may go, if this is the armed request.  Gives when to come again, in s."""
        schedule = self._schedule
        with self._lock:
            now_ns = self._clock()
            if schedule.armed_ticket(direction) is ticket:
                schedule.fire(direction, now_ns)
                self._rearm(besides=ticket)
            is_armed = schedule.armed_ticket(direction) is ticket
            ticket.owner.due_ns = due_ns = schedule.due_ns(direction) if is_armed else None
        return inf if due_ns is None else (due_ns - now_ns) / NS_PER_S

    def _withdraw(self, member: Member, direction: int, ticket: Ticket) -> None:
        """Drop a request, unless it has been let go just now.  Raises OSError (ESHUTDOWN)."""
        with self._lock:
            if ticket.owner.may_go:
                return
            self._schedule.withdraw(member, direction, ticket, self._clock())
            self._rearm()
        raise OSError(errno.ESHUTDOWN, "the client has gone: its request is dropped")

    def _rearm(self, besides: Ticket | None = None) -> None:
        """Tell the requests that are next when they are due, unless they know.

        Telling them again would have the next read and the next write wake each other for ever.
        """
        for direction in DIRECTIONS:
            ticket = self._schedule.armed_ticket(direction)
            if ticket is None or ticket is besides:
                continue
            parking: _Parking = ticket.owner
            if parking.due_ns != self._schedule.due_ns(direction):
                parking.wake()

    def levels(self) -> dict[str, float]:
        """How full the buckets are that have a limit, by its name."""
        with self._lock:
            levels = self._schedule.buckets.levels(self._clock())
            return {name: bucket.level for name, bucket in levels.items()}

    def describe(self) -> dict[str, Any]:
        """Levels and waiting requests, for ``x-blkrun-query-graph``."""
        with self._lock:
            levels = self._schedule.buckets.levels(self._clock())
            return {
                "levels": {name: bucket.level for name, bucket in levels.items()},
                "members": [
                    {"node-name": member.name, "waiting": sum(map(len, member.queues))}
                    for member in self._schedule.members
                ],
            }


def _let_go(ticket: Ticket) -> None:
    parking: _Parking = ticket.owner
    parking.may_go = True
    parking.wake()
