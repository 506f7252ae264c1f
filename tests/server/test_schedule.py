"""Whose turn it is: QEMU's completion times (qemu-semantics §1.4, §2), by event simulation.

Nothing waits: requests are submitted at a time, and the schedule is fired at whatever it says
is due next.
"""

from collections import Counter
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from blkrun.options import ThrottleLimits
from blkrun.server.throttle.bucket import DIRECTIONS, NS_PER_S, READ, WRITE, Buckets
from blkrun.server.throttle.schedule import Member, Schedule, Ticket

TOLERANCE_S = 1e-6


@dataclass
class Simulation:
    """A group, a clock that jumps from event to event, and when each request went."""

    limits: ThrottleLimits
    now_ns: int = 0
    went_s: dict[str, list[float]] = field(default_factory=dict)
    bytes_gone: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.limits, self.now_ns, self._went)

    def member(self, name: str = "m") -> Member:
        """A throttle node joins."""
        member = Member(name)
        self.schedule.join(member)
        return member

    def submit(
        self, member: Member, *sizes: int, direction: int = READ, label: str | None = None
    ) -> None:
        """Requests of these sizes arrive now."""
        owner = label or member.name
        for size in sizes:
            ticket = Ticket(size, owner)
            if self.schedule.arrive(member, direction, size, self.now_ns):
                self._went(ticket)
            else:
                self.schedule.enqueue(member, direction, ticket)

    def run(self, until_s: float | None = None) -> None:
        """Fire whatever is due, in order of time; then it is ``until_s``."""
        end_ns = None if until_s is None else round(until_s * NS_PER_S)
        while True:
            dues = {d: due for d in DIRECTIONS if (due := self.schedule.due_ns(d)) is not None}
            if not dues:
                break
            direction = min(dues, key=dues.__getitem__)
            if end_ns is not None and dues[direction] > end_ns:
                break
            self.now_ns = max(self.now_ns, dues[direction])
            self.schedule.fire(direction, self.now_ns)
        if end_ns is not None:
            self.now_ns = end_ns

    def _went(self, ticket: Ticket) -> None:
        self.went_s.setdefault(ticket.owner, []).append(self.now_ns / NS_PER_S)
        self.bytes_gone[ticket.owner] += ticket.count


def close_to(*times_s: float) -> object:
    """These times, to a microsecond."""
    return pytest.approx(list(times_s), abs=TOLERANCE_S)


# §1.4: the measured table.

TABLE: list[tuple[str, ThrottleLimits, list[int], list[float]]] = [
    ("iops 10", ThrottleLimits(iops_total=10), [512] * 5, [0, 0, 0.1, 0.2, 0.3]),
    (
        "iops 100",
        ThrottleLimits(iops_total=100),
        [512] * 14,
        [0.0] * 11 + [0.01, 0.02, 0.03],
    ),
    ("iops 1", ThrottleLimits(iops_total=1), [512] * 3, [0, 0.9, 1.9]),
    (
        "burst",
        ThrottleLimits(iops_total=10, iops_total_max=20),
        [512] * 23,
        [0.0] * 21 + [0.1, 0.2],
    ),
    (
        "burst length",
        ThrottleLimits(iops_total=10, iops_total_max=20, iops_total_max_length=2),
        [512] * 78,
        [0.0] * 3 + [0.05 * step for step in range(1, 76)],
    ),
    (
        "iops-size 8 KiB",
        ThrottleLimits(iops_total=10, iops_size=4096),
        [8192] * 5,
        [0, 0.1, 0.3, 0.5, 0.7],
    ),
    (
        "iops-size 6 KiB",
        ThrottleLimits(iops_total=10, iops_size=4096),
        [6144] * 5,
        [0, 0.05, 0.2, 0.35, 0.5],
    ),
    ("bps", ThrottleLimits(bps_total=51200), [5120] * 4, [0, 0, 0.1, 0.2]),
    ("bps mixed", ThrottleLimits(bps_total=10240), [10240, 512, 512], [0, 0.9, 0.95]),
    (
        "the longer of two waits",
        ThrottleLimits(bps_read=5120, iops_total=100),
        [1024] * 5,
        [0, 0.1, 0.3, 0.5, 0.7],
    ),
    ("other direction", ThrottleLimits(bps_write=1), [2**20] * 3, [0, 0, 0]),
]


@pytest.mark.parametrize(
    ("limits", "sizes", "times_s"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_completion_times(limits: ThrottleLimits, sizes: list[int], times_s: list[float]) -> None:
    """§1.4: what qemu-storage-daemon 7.2 did with reads submitted at once into an idle group."""
    simulation = Simulation(limits)
    simulation.submit(simulation.member(), *sizes)
    simulation.run()
    assert simulation.went_s["m"] == close_to(*times_s)


def test_recovery_after_idle_time() -> None:
    """§1.4: a second of idling at 10/s fills the bucket's tenth again, and no more."""
    simulation = Simulation(ThrottleLimits(iops_total=10))
    member = simulation.member()
    simulation.submit(member, *[512] * 4)
    simulation.run(until_s=1)
    simulation.submit(member, *[512] * 4)
    simulation.run()
    assert simulation.went_s["m"] == close_to(0, 0, 0.1, 0.2, 1.0, 1.0, 1.1, 1.2)


@settings(deadline=None)
@given(st.integers(1, 1000), st.integers(1, 60))
def test_closed_form(average: int, count: int) -> None:
    """§1.4: request k goes at max(0, ((k - 1) - size) / avg)."""
    simulation = Simulation(ThrottleLimits(iops_total=average))
    simulation.submit(simulation.member(), *[512] * count)
    simulation.run()
    expected = [max(0.0, (k - average / 10) / average) for k in range(count)]
    assert simulation.went_s["m"] == pytest.approx(expected, abs=1e-5)


# §2: sharing.


def test_reads_and_writes_share_the_total() -> None:
    """§2.4: two queues, one bucket: about 10/s together, the directions in turn."""
    simulation = Simulation(ThrottleLimits(iops_total=10))
    member = simulation.member()
    simulation.submit(member, *[512] * 5, direction=READ, label="read")
    simulation.submit(member, *[512] * 5, direction=WRITE, label="write")
    simulation.run()
    assert simulation.went_s["read"] == close_to(0, 0, 0.1, 0.2, 0.4)
    assert simulation.went_s["write"] == close_to(0.1, 0.3, 0.5, 0.7, 0.8)


def test_two_members_take_turns() -> None:
    """§2.7: round robin by request from the moment that the second one comes."""
    simulation = Simulation(ThrottleLimits(iops_total=10))
    a, b = simulation.member("a"), simulation.member("b")
    simulation.submit(a, *[512] * 6)
    simulation.run(until_s=0.05)
    simulation.submit(b, *[512] * 6)
    simulation.run()
    assert simulation.went_s["a"] == close_to(0, 0, 0.1, 0.3, 0.5, 0.7)
    assert simulation.went_s["b"] == close_to(0.2, 0.4, 0.6, 0.8, 0.9, 1.0)


def test_a_large_request_holds_up_its_own_member_only_once() -> None:
    """§2.7: turns are by request, not by byte."""
    simulation = Simulation(ThrottleLimits(iops_total=10, iops_size=512))
    a, b = simulation.member("a"), simulation.member("b")
    simulation.submit(a, 512, 512, 5120, 512)
    simulation.submit(b, 512, 512, 512)
    simulation.run()
    assert simulation.went_s["a"] == close_to(0, 0, 0.1, 1.2)
    assert simulation.went_s["b"] == close_to(1.1, 1.3, 1.4)


def test_stacked_groups_compose() -> None:
    """§3.1: 5/s over 10/s: what leaves the upper one waits in the lower one too."""
    upper, lower = (
        Simulation(ThrottleLimits(iops_total=5)),
        Simulation(ThrottleLimits(iops_total=10)),
    )
    upper.submit(upper.member(), *[512] * 5)
    upper.run()
    member = lower.member()
    for time_s in upper.went_s["m"]:
        lower.run(until_s=time_s)
        lower.submit(member, 512)
    lower.run()
    assert lower.went_s["m"] == close_to(0, 0.1, 0.3, 0.5, 0.7)


# §2.8, §2.9: drain and leave.


def test_drain_lets_all_go_now() -> None:
    """§2.8: 1/s, five queued, drained at 0.3 s: the four that wait go at 0.3 s."""
    simulation = Simulation(ThrottleLimits(iops_total=1))
    member = simulation.member()
    simulation.submit(member, *[512] * 5)
    simulation.run(until_s=0.3)
    simulation.schedule.release_all(member, simulation.now_ns)
    assert simulation.went_s["m"] == close_to(0, 0.3, 0.3, 0.3, 0.3)
    assert simulation.schedule.due_ns(READ) is None


def test_what_a_drain_lets_go_is_accounted() -> None:
    """§2.8: the debt stays in the group, so the other member waits until 1.1 s."""
    simulation = Simulation(ThrottleLimits(iops_total=10))
    first, second = simulation.member("first"), simulation.member("second")
    simulation.submit(first, *[512] * 12)
    simulation.run(until_s=0.05)
    simulation.schedule.release_all(first, simulation.now_ns)
    simulation.submit(second, *[512] * 3)
    simulation.run()
    assert simulation.went_s["first"] == close_to(0, 0, *[0.05] * 10)
    assert simulation.went_s["second"] == close_to(1.1, 1.2, 1.3)


def test_a_drained_member_does_not_wait_but_pays() -> None:
    """§2.8: inside the section requests pass at once and are charged."""
    simulation = Simulation(ThrottleLimits(iops_total=10))
    drained, other = simulation.member("drained"), simulation.member("other")
    drained.drains = 1
    simulation.submit(drained, *[512] * 11)
    simulation.submit(other, 512)
    simulation.run()
    assert simulation.went_s["drained"] == close_to(*[0] * 11)
    assert simulation.went_s["other"] == close_to(1.0)


def test_leaving_lets_go_and_hands_on() -> None:
    """§2.9: m0's queued reads go at .08 when it leaves; m1's goes at 1.9, as the debt predicts."""
    simulation = Simulation(ThrottleLimits(bps_read=4096))
    m0, m1 = simulation.member("m0"), simulation.member("m1")
    simulation.submit(m0, 4096, 2048, 2048)
    simulation.submit(m1, 4096)
    simulation.run(until_s=0.08)
    assert simulation.went_s == {"m0": close_to(0)}
    simulation.schedule.leave(m0, simulation.now_ns)
    assert simulation.went_s["m0"] == close_to(0, 0.08, 0.08)
    assert simulation.schedule.members == (m1,)
    ticket = simulation.schedule.armed_ticket(READ)
    assert ticket is m1.queues[READ][0]  # RHBZ 1535914: it is not stranded
    simulation.run()
    assert simulation.went_s["m1"] == close_to(1.9)


def test_the_newest_member_is_first_in_the_ring() -> None:
    """§2.1: a member joins at the head."""
    simulation = Simulation(ThrottleLimits())
    members = [simulation.member(name) for name in "abc"]
    assert simulation.schedule.members == tuple(reversed(members))


def test_the_last_member_leaves_nothing_behind() -> None:
    """§2.1: with it go token and timer, and who joins later starts well."""
    simulation = Simulation(ThrottleLimits(iops_total=1))
    member = simulation.member()
    simulation.submit(member, 512, 512)
    simulation.schedule.leave(member, 0)
    assert [simulation.schedule.due_ns(direction) for direction in DIRECTIONS] == [None, None]
    newcomer = simulation.member("n")
    simulation.submit(newcomer, 512)
    simulation.run()
    assert simulation.went_s["n"] == close_to(1.9)


def test_fire_before_its_time_does_nothing() -> None:
    """A thread that wakes early must not let anybody go early."""
    simulation = Simulation(ThrottleLimits(iops_total=10))
    simulation.submit(simulation.member(), *[512] * 3)
    due_ns = simulation.schedule.due_ns(READ)
    assert due_ns == 100_000_000
    simulation.schedule.fire(READ, due_ns - 1)
    simulation.schedule.fire(WRITE, due_ns)
    assert simulation.went_s["m"] == close_to(0, 0)
    assert simulation.schedule.due_ns(READ) == due_ns


# Withdraw: ours.  QEMU has such requests keep their place.


def test_a_client_that_leaves_does_not_hold_its_place() -> None:
    """What it has waiting is not charged: the other member has all turns from then on."""
    simulation = Simulation(ThrottleLimits(iops_total=10))
    leaves, stays = simulation.member("leaves"), simulation.member("stays")
    simulation.submit(leaves, *[512] * 6)
    simulation.submit(stays, *[512] * 4)
    simulation.run(until_s=0.25)
    assert simulation.went_s == {"leaves": close_to(0, 0, 0.1), "stays": close_to(0.2)}
    for ticket in list(leaves.queues[READ]):
        simulation.schedule.withdraw(leaves, READ, ticket, simulation.now_ns)
    simulation.run()
    assert simulation.went_s["leaves"] == close_to(0, 0, 0.1)
    assert simulation.went_s["stays"] == close_to(0.2, 0.3, 0.4, 0.5)


def test_withdrawing_the_next_hands_its_time_on() -> None:
    """The armed request of a member that has no other: whoever is next goes at the same time."""
    simulation = Simulation(ThrottleLimits(iops_total=10))
    a, b = simulation.member("a"), simulation.member("b")
    simulation.submit(a, 512, 512, 512)
    simulation.submit(b, 512)
    simulation.run(until_s=0.05)
    armed = simulation.schedule.armed_ticket(READ)
    assert armed is a.queues[READ][0]
    simulation.schedule.withdraw(a, READ, armed, simulation.now_ns)
    simulation.run()
    assert simulation.went_s == {"a": close_to(0, 0), "b": close_to(0.1)}


def test_withdrawing_the_last_leaves_nobody_armed() -> None:
    """Then nothing is due, and who comes later is served as if it had never been."""
    simulation = Simulation(ThrottleLimits(iops_total=10))
    member = simulation.member()
    simulation.submit(member, 512, 512, 512)
    (ticket,) = member.queues[READ]
    simulation.schedule.withdraw(member, READ, ticket, simulation.now_ns)
    assert simulation.schedule.due_ns(READ) is None
    assert not simulation.schedule.anybody_waits()
    simulation.submit(member, 512)
    simulation.run()
    assert simulation.went_s["m"] == close_to(0, 0, 0.1)


# §1.7: retune.  Ours, where QEMU leaves waiting requests to their old date.


def test_retune_takes_effect_at_once_for_those_who_wait() -> None:
    """1/s raised to 1000/s at 0.5 s: the debt of one goes as before, then a ms each."""
    simulation = Simulation(ThrottleLimits(iops_total=1))
    simulation.submit(simulation.member(), *[512] * 5)
    simulation.run(until_s=0.89)
    assert simulation.went_s["m"] == close_to(0)
    simulation.schedule.retune(ThrottleLimits(iops_total=1000), simulation.now_ns)
    simulation.run()
    assert simulation.went_s["m"] == close_to(0, 0.9, 0.901, 0.902, 0.903)


def test_lifting_the_limit_lets_all_go() -> None:
    """Unlimited at 0.5 s: whoever waits goes at 0.5 s (QEMU: at the old date, 0.9 s)."""
    simulation = Simulation(ThrottleLimits(iops_total=1))
    member = simulation.member()
    simulation.submit(member, *[512] * 5)
    simulation.submit(member, *[512] * 2, direction=WRITE, label="w")
    simulation.run(until_s=0.5)
    simulation.schedule.retune(ThrottleLimits(), simulation.now_ns)
    assert simulation.went_s["m"] == close_to(0, *[0.5] * 4)
    assert simulation.went_s["w"] == close_to(0.5, 0.5)


@pytest.mark.parametrize(
    "changes",
    [
        [ThrottleLimits(iops_total=100)],
        [ThrottleLimits(iops_total=100, iops_total_max=1000), ThrottleLimits(iops_total=100)],
        [ThrottleLimits(iops_total=100), ThrottleLimits(iops_total=10)],
        [
            ThrottleLimits(iops_total=100, iops_total_max=200, iops_total_max_length=5),
            ThrottleLimits(iops_total=1),
        ],
    ],
    ids=["same", "burst and none", "high and low", "long burst and low"],
)
def test_a_hundred_retunes_a_second_grant_nothing(changes: list[ThrottleLimits]) -> None:
    """What goes in 10 s is no more than the highest limit gives, with its burst once."""
    simulation = Simulation(changes[0])
    member = simulation.member()
    simulation.submit(member, *[512] * 20_000)
    for step in range(1000):
        simulation.run(until_s=step / 100)
        simulation.schedule.retune(changes[step % len(changes)], simulation.now_ns)
    first = changes[0]
    burst = first.iops_total_max * first.iops_total_max_length or first.iops_total / 10
    assert len(simulation.went_s["m"]) <= 10 * first.iops_total + burst + 2


def test_retune_does_not_starve_anybody() -> None:
    """Rearming a hundred times a second keeps the turns of two members even."""
    limits = ThrottleLimits(iops_total=100)
    simulation = Simulation(limits)
    for name in "ab":
        simulation.submit(simulation.member(name), *[512] * 2000)
    for step in range(1, 1000):
        simulation.run(until_s=step / 100)
        simulation.schedule.retune(limits, simulation.now_ns)
    a, b = (len(simulation.went_s[name]) for name in "ab")
    assert a + b == pytest.approx(1000, abs=20)
    assert abs(a - b) <= 20


# §10.1: iotest 093, in virtual time.


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(
    "limit", ["bps_total", "bps_read", "bps_write", "iops_total", "iops_read", "iops_write"]
)
def test_093_all(limit: str, count: int) -> None:
    """Twice of what 5 s allow, from 1 to 3 members: each gets its share, within a tenth."""
    average = (4096 if limit.startswith("bps") else 10) * count
    simulation = Simulation(ThrottleLimits(**{limit: average}))
    members = [simulation.member(str(number)) for number in range(count)]
    per_second = average / 512 if limit.startswith("bps") else average
    for member in members:
        for direction in DIRECTIONS:
            simulation.submit(member, *[512] * round(per_second * 10 / count), direction=direction)
    simulation.run(until_s=5)
    free = 0 if limit.endswith("total") else round(per_second * 10 / count)
    for member in members:
        went = len(simulation.went_s[member.name]) - free
        assert went == pytest.approx(5 * per_second / count, rel=0.1)


def test_093_one() -> None:
    """A member alone gets what three could have."""
    simulation = Simulation(ThrottleLimits(bps_total=3 * 4096))
    members = [simulation.member(str(number)) for number in range(3)]
    simulation.submit(members[1], *[512] * 500)
    simulation.run(until_s=5)
    assert simulation.bytes_gone["1"] == pytest.approx(5 * 3 * 4096, rel=0.1)


def test_093_burst() -> None:
    """Rate r, max 7r for 4 s: after a rest 4 s at 7r, then r."""
    rate = 10
    limits = ThrottleLimits(iops_total=rate, iops_total_max=7 * rate, iops_total_max_length=4)
    simulation = Simulation(limits)
    simulation.run(until_s=28)
    simulation.submit(simulation.member(), *[512] * 1000)
    simulation.run(until_s=32)
    in_burst = len(simulation.went_s["m"])
    assert in_burst == pytest.approx(4 * 7 * rate, rel=0.1)
    # The main bucket has leaked during the burst: the rest of its 280 first, then the rate.
    leaked = 4 * rate
    simulation.run(until_s=37)
    after = len(simulation.went_s["m"]) - in_burst
    assert after == pytest.approx(5 * rate + leaked, rel=0.2)


# Whatever happens, in whatever order.

LIMITS = [
    ThrottleLimits(),
    ThrottleLimits(iops_total=10),
    ThrottleLimits(bps_read=4096, iops_write=3),
    ThrottleLimits(iops_total=10, iops_total_max=20, iops_total_max_length=2),
    ThrottleLimits(bps_total=10**15, iops_size=512, iops_read=1),
]

STEPS = st.one_of(
    st.tuples(st.just("arrive"), st.integers(0, 3), st.sampled_from(DIRECTIONS)),
    st.tuples(st.just("pass"), st.integers(0, 3 * 10**8), st.just(READ)),
    st.tuples(st.just("fire"), st.just(0), st.sampled_from(DIRECTIONS)),
    st.tuples(st.just("retune"), st.integers(0, len(LIMITS) - 1), st.just(READ)),
    st.tuples(st.just("drain"), st.integers(0, 3), st.just(READ)),
    st.tuples(st.just("undrain"), st.integers(0, 3), st.just(READ)),
    st.tuples(st.just("leave"), st.integers(0, 3), st.just(READ)),
    st.tuples(st.just("withdraw"), st.integers(0, 20), st.just(READ)),
)


def size_of(number: int) -> int:
    """Bytes of a request, by its number."""
    return 512 * (1 + number % 5)


class Machine:
    """A schedule, up to four members, and a ledger of every request."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.schedule = Schedule(LIMITS[1], 0, self._released)
        self.members: dict[int, Member] = {}
        self.waiting: dict[int, tuple[Member, int]] = {}
        self.gone: list[int] = []
        self.withdrawn: list[int] = []
        self.last: dict[tuple[int, int], int] = {}
        self.number = 0

    def _released(self, ticket: Ticket) -> None:
        assert ticket.owner in self.waiting, "released twice, or never queued"
        member, direction = self.waiting.pop(ticket.owner)
        self._went(ticket.owner, member, direction)

    def _went(self, number: int, member: Member, direction: int) -> None:
        key = (id(member), direction)
        assert self.last.get(key, -1) < number, "not first in, first out"
        self.last[key] = number
        self.gone.append(number)

    def member(self, index: int) -> Member:
        """Joins when it is first needed."""
        if index not in self.members:
            self.members[index] = Member(str(index))
            self.schedule.join(self.members[index])
        return self.members[index]

    def step(self, what: str, value: int, direction: int) -> None:
        """One thing that can happen."""
        if what == "arrive":
            self._arrive(self.member(value), direction)
        elif what == "pass":
            self.now_ns += value
        elif what == "fire":
            self.schedule.fire(direction, self.now_ns)
        elif what == "retune":
            self.schedule.retune(LIMITS[value], self.now_ns)
        elif what == "drain":
            member = self.member(value)
            member.drains += 1
            self.schedule.release_all(member, self.now_ns)
        elif what == "undrain":
            member = self.member(value)
            member.drains = max(member.drains - 1, 0)
        elif what == "withdraw":
            self._withdraw(value)
        elif value in self.members:
            self.schedule.leave(self.members.pop(value), self.now_ns)

    def _arrive(self, member: Member, direction: int) -> None:
        number, self.number = self.number, self.number + 1
        if self.schedule.arrive(member, direction, size_of(number), self.now_ns):
            self._went(number, member, direction)
        else:
            self.waiting[number] = (member, direction)
            self.schedule.enqueue(member, direction, Ticket(size_of(number), number))

    def _withdraw(self, which: int) -> None:
        """One of those that wait leaves; only what that lets go is charged."""
        if not self.waiting:
            return
        number = sorted(self.waiting)[which % len(self.waiting)]
        member, direction = self.waiting[number]
        (ticket,) = (each for each in member.queues[direction] if each.owner == number)
        levels, gone = self._levels(), len(self.gone)
        self.schedule.withdraw(member, direction, ticket, self.now_ns)
        del self.waiting[number]
        self.withdrawn.append(number)
        charged = Buckets(self.schedule.buckets.limits, self.now_ns)
        for other in self.gone[gone:]:
            charged.charge(direction, size_of(other))
        for name, bucket in charged.levels(self.now_ns).items():
            assert self._levels()[name] == pytest.approx(levels[name] + bucket.level)

    def _levels(self) -> dict[str, float]:
        levels = self.schedule.buckets.levels(self.now_ns)
        return {name: bucket.level for name, bucket in levels.items()}

    def check(self) -> None:
        """The invariants."""
        levels = self.schedule.buckets.levels(self.now_ns)
        assert all(bucket.valid() for bucket in levels.values())
        queued = [t.owner for m in self.members.values() for queue in m.queues for t in queue]
        assert sorted(queued) == sorted(self.waiting)
        for direction in DIRECTIONS:
            armed = self.schedule.armed_ticket(direction)
            if any(member.queues[direction] for member in self.members.values()):
                assert armed is not None, "somebody waits and nothing is armed"
                assert self.schedule.due_ns(direction) is not None
            else:
                assert armed is None

    def finish(self) -> None:
        """Let time pass until nobody waits."""
        for _ in range(2 * self.number + 2):
            for direction in DIRECTIONS:
                due_ns = self.schedule.due_ns(direction)
                if due_ns is not None:
                    self.now_ns = max(self.now_ns, due_ns)
                    self.schedule.fire(direction, self.now_ns)
        assert not self.waiting
        assert sorted(self.gone + self.withdrawn) == list(range(self.number))


@settings(deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_any_sequence_keeps_the_invariants(steps: list[tuple[str, int, int]]) -> None:
    """§2: levels, order, somebody armed for whoever waits, and each let go exactly once."""
    machine = Machine()
    for what, value, direction in steps:
        machine.step(what, value, direction)
        machine.check()
    machine.finish()
