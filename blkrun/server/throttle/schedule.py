"""Whose turn it is: QEMU's round robin between the members of a group (qemu-semantics §2).

Pure: time is passed in, nothing waits.  Reads and writes are queued apart and share the total
buckets.  In each direction at most one member is *armed*: its first request goes at
``due_ns(direction)``, and until then everybody else in that direction waits behind it.  Being
let go is final; it is charged at that moment and not looked at again.

Beyond QEMU: a member whose turn comes while none of its requests waits in that direction, as
happens to shallow queues and mixed reads and writes, is owed that turn (``Turns``).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from blkrun.options import ThrottleLimits
from blkrun.server.throttle.bucket import DIRECTIONS, Buckets
from blkrun.server.throttle.turns import Account, Turns


@dataclass(eq=False, slots=True)
class Ticket:
    """One waiting request.  ``owner`` is whatever its waiter wants to be found by."""

    count: int
    owner: Any


@dataclass(eq=False, slots=True)
class Member:
    """A throttle node in its group.  ``drains`` > 0: its requests do not wait."""

    name: str
    queues: tuple[deque[Ticket], deque[Ticket]] = field(default_factory=lambda: (deque(), deque()))
    accounts: tuple[Account, Account] = field(default_factory=lambda: (Account(), Account()))
    drains: int = 0

    def waiting(self) -> int:
        """How many requests wait, in both directions."""
        return len(self.queues[0]) + len(self.queues[1])


_NOBODY = [0, 0]


class Schedule:
    """Buckets, members in ring order, and for each direction the token and the armed member.

    ``release`` is called with each ticket that may go, in order, after it has been charged.
    """

    def __init__(
        self, limits: ThrottleLimits, now_ns: int, release: Callable[[Ticket], None]
    ) -> None:
        self.buckets = Buckets(limits, now_ns)
        self._release = release
        self._ring: list[Member] = []
        self._token: list[Member | None] = [None, None]
        self._armed: list[tuple[Member, int] | None] = [None, None]
        self._turns = (Turns(), Turns())
        self._lane = _lanes(limits)
        self.waiting = [0, 0]
        """Requests queued in each direction."""

    @property
    def members(self) -> tuple[Member, ...]:
        """In ring order: the newest first."""
        return tuple(self._ring)

    def join(self, member: Member) -> None:
        """A new member goes to the head of the ring, as in QEMU."""
        self._ring.insert(0, member)
        for direction in DIRECTIONS:
            self._token[direction] = self._token[direction] or member

    def leave(self, member: Member, now_ns: int) -> None:
        """Let all its requests go, hand the token on, forget it.  Its debt stays in the group."""
        member.drains += 1
        self.release_all(member, now_ns)
        for direction in DIRECTIONS:
            if self._token[direction] is member:
                after = self._after(member)
                self._token[direction] = after if after is not member else None
        self._ring.remove(member)

    def arrive(self, member: Member, direction: int, count: int, now_ns: int) -> bool:
        """Whether a request of ``count`` bytes may go at once, and is charged.

        If not, the caller has to ``enqueue`` it; the member may have been armed for it already.
        """
        buckets = self.buckets
        nobody_waits = not self.waiting[direction]
        if nobody_waits and buckets.take(direction, count, now_ns):  # nearly always
            return True
        if member.drains or not buckets.limited[direction]:
            buckets.charge(direction, count)
            return True
        if nobody_waits:  # no turns to take, nobody is armed
            wait_ns = buckets.wait_ns(direction, now_ns)
            if wait_ns == 0:  # over by less than a nanosecond
                buckets.charge(direction, count)
                return True
            self._armed[direction] = (member, now_ns + wait_ns)
            self._token[direction] = member
            return False
        candidate = self._next(member, direction)
        if self._must_wait(candidate, direction, now_ns) or member.queues[direction]:
            return False
        buckets.charge(direction, count)
        self._dispatch(member, direction, now_ns)
        return True

    def enqueue(self, member: Member, direction: int, ticket: Ticket) -> None:
        """Make a request wait that ``arrive`` did not let go."""
        lane = self._lane[direction]
        account = member.accounts[lane]
        self._turns[lane].come(account, len(self._ring))
        member.queues[direction].append(ticket)
        self.waiting[direction] += 1
        armed = self._armed[direction]
        if armed is not None and account.turns < armed[0].accounts[lane].turns:
            self._armed[direction] = (member, armed[1])  # it is owed the turn that comes next
            self._token[direction] = member

    def withdraw(self, member: Member, direction: int, ticket: Ticket, now_ns: int) -> None:
        """Forget a request that waits, uncharged.  If it was the next, another is now."""
        member.queues[direction].remove(ticket)
        self.waiting[direction] -= 1
        armed = self._armed[direction]
        if armed is not None and armed[0] is member and not member.queues[direction]:
            self._armed[direction] = None
            self._dispatch(member, direction, now_ns)

    def anybody_waits(self) -> bool:
        """Whether any request is queued, in either direction."""
        return self.waiting != _NOBODY

    def due_ns(self, direction: int) -> int | None:
        """When ``fire`` wants to be called, or None if nobody is armed."""
        armed = self._armed[direction]
        return armed[1] if armed is not None else None

    def armed_ticket(self, direction: int) -> Ticket | None:
        """The request that goes at ``due_ns``."""
        armed = self._armed[direction]
        if armed is None or not armed[0].queues[direction]:
            return None
        return armed[0].queues[direction][0]

    def fire(self, direction: int, now_ns: int) -> None:
        """The armed request's time has come: let it go, and see who is next."""
        armed = self._armed[direction]
        if armed is None or armed[1] > now_ns:
            return
        self._armed[direction] = None
        member = armed[0]
        if member.queues[direction]:
            self._let_go(member, direction)
        self._dispatch(member, direction, now_ns)

    def release_all(self, member: Member, now_ns: int) -> None:
        """Drain: everything this member holds goes now, unthrottled but accounted."""
        for direction in DIRECTIONS:
            while member.queues[direction]:
                self._let_go(member, direction)
            armed = self._armed[direction]
            if armed is not None and armed[0] is member:
                self._armed[direction] = None
                self._dispatch(member, direction, now_ns)

    def retune(self, limits: ThrottleLimits, now_ns: int) -> None:
        """New limits hold at once, also for those that wait (QEMU leaves them to the old date).

        Whose turn it was, it still is: else retuning again and again could pass somebody over.
        """
        self.buckets.retune(limits, now_ns)
        self._lane = _lanes(limits)
        for direction in DIRECTIONS:
            armed = self._armed[direction]
            self._armed[direction] = None
            if armed is not None and not self._must_wait(armed[0], direction, now_ns):
                self._dispatch(armed[0], direction, now_ns)

    def _after(self, member: Member) -> Member:
        return self._ring[(self._ring.index(member) + 1) % len(self._ring)]

    def _next(self, me: Member, direction: int) -> Member:
        """Of those that wait, who has had the fewest turns; of equals, the first after the token.

        Me, if nobody waits.
        """
        first = self._ring.index(self._token[direction] or me) + 1
        ring = self._ring[first:] + self._ring[:first]
        lane = self._lane[direction]
        waiting = [member for member in ring if member.queues[direction]]
        return min(waiting, key=lambda member: member.accounts[lane].turns, default=me)

    def _must_wait(self, member: Member, direction: int, now_ns: int) -> bool:
        if self._armed[direction] is not None:
            return True
        wait = self.buckets.wait_ns(direction, now_ns)
        if wait == 0:
            return False
        self._armed[direction] = (member, now_ns + wait)
        self._token[direction] = member
        return True

    def _dispatch(self, me: Member, direction: int, now_ns: int) -> None:
        """Let go what may go now; the member served last goes first, as in QEMU."""
        while True:
            member = self._next(me, direction)
            if not member.queues[direction] or self._must_wait(member, direction, now_ns):
                return
            if me.queues[direction]:
                member = me
            self._token[direction] = member
            self._let_go(member, direction)
            me = member

    def _let_go(self, member: Member, direction: int) -> None:
        lane = self._lane[direction]
        self._turns[lane].take(member.accounts[lane])
        ticket = member.queues[direction].popleft()
        self.waiting[direction] -= 1
        self.buckets.charge(direction, ticket.count)
        self._release(ticket)


def _lanes(limits: ThrottleLimits) -> tuple[int, int]:
    """Where the turns of reads and of writes are counted: together, if they share every limit.

    Limits of their own make them two resources: having had the one is no reason to get less of
    the other.
    """
    apart = any(
        getattr(limits, f"{unit}_{direction}")
        for unit in ("bps", "iops")
        for direction in ("read", "write")
    )
    return (0, 1) if apart else (0, 0)
