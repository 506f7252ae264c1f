"""A throttle group with real threads: whoever waits is let go, by whatever should do it.

The clock is the test's own and stands still unless it is moved, so no thread is ever let go by
time passing.
"""

import errno
import sys
import threading
from collections.abc import Iterator
from functools import partial
from time import monotonic_ns

import pytest

from blkrun.options import ThrottleLimits, ThrottleOptions
from blkrun.server.drivers.throttle import Throttle
from blkrun.server.throttle import group as group_module
from blkrun.server.throttle.bucket import NS_PER_S, READ, WRITE
from blkrun.server.throttle.group import ThrottleGroup
from blkrun.server.throttle.schedule import Member
from blkrun.server.way import Way
from tests.server.inprocess import Worker, eventually, workers

SLOW = ThrottleLimits(iops_total=1)


class Clock:
    """Time in ns, moved by hand."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.asked = 0

    def __call__(self) -> int:
        """Now."""
        self.asked += 1
        return self.now_ns

    def stands_still(self) -> bool:
        """Whether nobody asks for the time."""
        asked = self.asked
        threading.Event().wait(0.02)
        return self.asked == asked


class Scene:
    """A group at 1/s on a clock that stands still, with its members and their threads.

    A member's requests are of a client of the same name, who is still there until it ``has_left``.
    """

    def __init__(self, limits: ThrottleLimits = SLOW) -> None:
        self.clock = Clock()
        self.group = ThrottleGroup("g", limits, self.clock, self._client_gone)
        self.threads: list[Worker] = []
        self.gone: list[tuple[str, int]] = []
        self.dropped: list[tuple[str, int | None]] = []
        self.has_left: set[str] = set()
        self.looks = 0
        self._here = threading.local()

    def member(self, name: str = "m") -> Member:
        """Join."""
        member = Member(name)
        self.group.join(member)
        return member

    def requests(self, member: Member, count: int, direction: int = READ) -> None:
        """Each on a thread of its own, and either gone or waiting when this returns."""
        for _ in range(count):
            self.threads.append(Worker(partial(self._admit, member, direction)))
            eventually(lambda: len(self.gone) + self.waiting() == len(self.threads))

    def _admit(self, member: Member, direction: int) -> None:
        self._here.client = member.name
        try:
            waited_ns = self.group.admit(member, direction, 512)
        except OSError as error:
            self.dropped.append((member.name, error.errno))
        else:
            self.gone.append((member.name, waited_ns))

    def _client_gone(self) -> bool:
        self.looks += 1
        return self._here.client in self.has_left

    def level(self) -> float:
        """Of iops-total."""
        return float(self.group.describe()["levels"]["iops-total"])

    def waiting(self) -> int:
        """How many requests wait in the group."""
        return sum(member["waiting"] for member in self.group.describe()["members"])

    def all_end(self) -> None:
        """No thread is left behind."""
        for thread in self.threads:
            thread.finish()


def test_drain_lets_waiting_threads_go() -> None:
    """§2.8: all at once, and nobody waits until the section ends."""
    scene = Scene()
    member = scene.member()
    scene.requests(member, 5)
    assert (len(scene.gone), scene.waiting()) == (1, 4)
    scene.group.drain_begin(member)
    scene.all_end()
    assert scene.waiting() == 0
    scene.requests(member, 2)
    assert len(scene.gone) == 7
    scene.group.drain_end(member)
    scene.requests(member, 1)
    assert scene.waiting() == 1
    scene.group.drain_begin(member)
    scene.all_end()


def test_drain_of_one_member_leaves_the_others_waiting() -> None:
    """§2.8: and they have a timer still (RHBZ 1535914): with time they go."""
    scene = Scene()
    drained, other = scene.member("drained"), scene.member("other")
    scene.requests(drained, 3)
    scene.requests(other, 1, WRITE)
    scene.requests(other, 1)
    scene.group.drain_begin(drained)
    eventually(lambda: len(scene.gone) == 3)
    assert scene.waiting() == 2
    for now_s in (10, 20):
        scene.clock.now_ns = now_s * NS_PER_S
        scene.group.retune(SLOW)  # has those who are next look at the clock
        eventually(lambda: scene.waiting() == 2 - scene.clock.now_ns // (10 * NS_PER_S))
    scene.all_end()


def test_the_next_read_and_the_next_write_let_each_other_sleep() -> None:
    """Both know when they are due; else they wake each other until then, on a whole CPU."""
    scene = Scene()
    member = scene.member()
    scene.requests(member, 2)
    scene.requests(member, 1, WRITE)
    eventually(scene.clock.stands_still)
    scene.group.leave(member)
    scene.all_end()


def test_leaving_lets_waiting_threads_go() -> None:
    """§2.9: no request is failed or lost, and the group is not in use any more."""
    scene = Scene()
    member = scene.member()
    scene.requests(member, 3)
    scene.requests(member, 3, WRITE)
    assert scene.group.in_use
    scene.group.leave(member)
    scene.all_end()
    assert len(scene.gone) == 6
    assert not scene.group.in_use


def test_retune_wakes_those_who_wait() -> None:
    """A limit that is lifted lets everybody go now, not when the old wait is over."""
    scene = Scene()
    member = scene.member()
    scene.requests(member, 4)
    scene.group.retune(ThrottleLimits())
    scene.all_end()
    assert scene.group.limits == ThrottleLimits()


@pytest.fixture
def _looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after clients every few ms."""
    monkeypatch.setattr(group_module, "LOOK_AFTER_S", 0.005)


@pytest.mark.usefixtures("_looking_often")
def test_requests_of_a_client_that_has_gone_are_dropped() -> None:
    """They fail, uncharged, and the next in turn is another's."""
    scene = Scene()
    leaves, stays = scene.member("leaves"), scene.member("stays")
    scene.requests(leaves, 3)
    scene.requests(leaves, 2, WRITE)
    scene.requests(stays, 1)
    level = scene.level()
    scene.has_left.add("leaves")
    eventually(lambda: len(scene.dropped) == 4)
    assert scene.dropped == [("leaves", errno.ESHUTDOWN)] * 4
    assert scene.level() == level == 1
    assert (scene.gone, scene.waiting()) == ([("leaves", 0)], 1)
    scene.clock.now_ns = NS_PER_S
    scene.all_end()
    assert scene.gone == [("leaves", 0), ("stays", NS_PER_S)]


@pytest.mark.usefixtures("_looking_often")
def test_requests_of_a_client_that_stays_go_on_waiting() -> None:
    """However often it is looked, and until its time has come."""
    scene = Scene()
    scene.requests(scene.member(), 3)
    scene.looks = 0
    eventually(lambda: scene.looks > 10)
    assert (scene.waiting(), scene.dropped) == (2, [])
    scene.clock.now_ns = 2 * NS_PER_S
    scene.all_end()
    assert len(scene.gone) == 3


@pytest.mark.usefixtures("_looking_often")
def test_a_request_that_was_let_go_meanwhile_is_not_dropped() -> None:
    """It has been charged, so it is performed, gone or not."""
    member = Member("m")

    def let_go_while_looking() -> bool:
        group.drain_begin(member)
        return True

    group = ThrottleGroup("g", SLOW, Clock(), let_go_while_looking)
    group.join(member)
    assert group.admit(member, READ, 512) == 0
    assert group.admit(member, READ, 512) == 0
    assert group.describe()["levels"] == {"iops-total": 2}


def test_time_waited_is_told() -> None:
    """What admit gives is the time between coming and going."""
    scene = Scene()
    member = scene.member()
    scene.requests(member, 2)
    scene.clock.now_ns = 3 * NS_PER_S
    scene.group.retune(SLOW)
    scene.all_end()
    assert scene.gone == [("m", 0), ("m", 3 * NS_PER_S)]


def test_unlimited_directions_cost_nothing() -> None:
    """§1.4: a throttle is not even asked by requests that it could not hold back."""
    node = Throttle(ThrottleOptions(node_name="t", file="disk", throttle_group="g"))
    below = Way._make(partial(print, field) for field in Way._fields)
    asked = {}
    for limit in ("bps_read", "iops_write", "iops_total", None):
        limits = ThrottleLimits(**{limit: 1}) if limit else ThrottleLimits()
        node.group = ThrottleGroup("g", limits, Clock())
        way = node.lower(below, below)
        asked[limit] = {f for f in Way._fields if getattr(way, f) is not getattr(below, f)}
    writes = {"pwrite", "zero", "trim"}
    assert asked == {
        "bps_read": {"pread"},
        "iops_write": writes,
        "iops_total": {"pread", *writes},
        None: set(),
    }


def test_describe() -> None:
    """Levels by option name, members with how many wait, newest first."""
    scene = Scene()
    first = scene.member("first")
    scene.member("second")
    scene.requests(first, 2)
    assert scene.group.describe() == {
        "levels": {"iops-total": 1.0},
        "members": [
            {"node-name": "second", "waiting": 0},
            {"node-name": "first", "waiting": 1},
        ],
    }
    scene.group.drain_begin(first)
    scene.all_end()


@pytest.fixture
def _often() -> Iterator[None]:
    """Switch threads as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_often")
def test_real_time_rate_with_many_threads() -> None:
    """With the real clock 8 threads never get more than the limit and its tenth, and all end."""
    group = ThrottleGroup("g", ThrottleLimits(iops_total=2000))
    members = [Member("a"), Member("b")]
    for member in members:
        group.join(member)
    begin_ns = monotonic_ns()

    def work(member: Member) -> None:
        for _ in range(75):
            group.admit(member, READ, 512)

    with workers([partial(work, member) for member in members * 4]):
        pass
    elapsed_s = (monotonic_ns() - begin_ns) / NS_PER_S
    assert elapsed_s >= (600 - 1 - 200) / 2000


@pytest.mark.usefixtures("_often")
def test_edits_while_threads_come_and_go() -> None:
    """Retuning, draining and leaving under load strand nobody."""
    group = ThrottleGroup("g", ThrottleLimits(iops_total=100_000))
    stay, goes = Member("stay"), Member("goes")
    group.join(stay)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            group.admit(stay, READ, 512)
            group.admit(stay, WRITE, 512)

    with workers([work] * 4):
        for step in range(150):
            group.join(goes)
            group.retune(ThrottleLimits(iops_total=1 + step % 3 * 50_000))
            group.drain_begin(stay)
            group.drain_end(stay)
            group.leave(goes)
            goes = Member("goes")
        stop.set()
        group.leave(stay)
    assert not group.in_use


def test_no_charge_is_lost_without_the_lock() -> None:
    """Requests far from a limit take no lock: each is charged all the same, also amid retunes."""
    group = ThrottleGroup("g", ThrottleLimits(iops_total=10**9), clock=lambda: 0)
    members = [Member(str(number)) for number in range(4)]
    for member in members:
        group.join(member)
    each = 20_000
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [
        threading.Thread(target=lambda m=member: [group.admit(m, READ, 4096) for _ in range(each)])
        for member in members
    ]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            group.retune(ThrottleLimits(iops_total=10**9, iops_size=2**20))
            group.retune(ThrottleLimits(iops_total=10**9))
    finally:
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert group.levels() == {"iops-total": 4 * each}
