"""When files have changed and are whole again: looks and times are passed in."""

from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given

from blkrun.reconcile.settle import PATIENCE_NS, RESTLESS_NS, Look, Scene, Settler

TICK_NS = 50_000_000


def seen(number: int, size_bytes: int = 100) -> Look:
    """What a file looks like after its change ``number``."""
    return Look((1, 10), size_bytes, number, number)


OLD, NEW, NEWER = seen(0), seen(1), seen(2)
EMPTIED = seen(1, size_bytes=0)
RENAMED = Look((1, 11), 100, 0, 5)


def only(look: Look | None) -> Scene:
    """One file by itself."""
    return {"vm.toml": look}


def settler_on(known: Scene) -> Settler:
    """One whose reader has seen this."""
    settler = Settler()
    assert [settler.observe(known, at) for at in (-PATIENCE_NS, 0)] == [False, True]
    return settler


def told(looks: list[Look | None], known: Look | None = OLD) -> list[int]:
    """At which of these looks, a tick apart, the change is told."""
    return told_of([only(each) for each in looks], only(known))


def told_of(scenes: list[Scene], known: Scene) -> list[int]:
    """The same for several files."""
    settler = settler_on(known)
    return [at for at, each in enumerate(scenes) if settler.observe(each, at * TICK_NS)]


PATIENCE_TICKS = PATIENCE_NS // TICK_NS


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([OLD] * 5, []),
        ([OLD, NEW, NEW, NEW, NEW], [2]),
        ([NEW, NEWER, NEWER, NEWER], [2]),
        ([RENAMED, RENAMED, RENAMED], [1]),
        ([EMPTIED, EMPTIED, EMPTIED, NEW, NEW, NEW], [4]),
        ([None, None, RENAMED, RENAMED, RENAMED], [3]),
        ([None, OLD, OLD, OLD], []),
        ([NEW, OLD, OLD, OLD], []),
        ([NEW, NEW, NEWER, NEWER], [1, 3]),
        ([NEW, NEW, OLD, OLD, OLD], [1, 3]),
    ],
    ids=[
        "nothing",
        "one save",
        "in place, in two steps",
        "rename over",
        "empty, then full",
        "deleted, then recreated",
        "gone for a moment",
        "changed and changed back",
        "two saves",
        "saved and restored",
    ],
)
def test_each_change_is_told_once(looks: list[Look | None], expected: list[int]) -> None:
    """A look counts when it equals the one before."""
    assert told(looks) == expected


@pytest.mark.parametrize("state", [None, EMPTIED], ids=["deleted", "empty"])
def test_what_stays_gone_is_told_after_patience(state: Look | None) -> None:
    """An empty or missing file is an edit after two seconds, once."""
    assert told([state] * (3 * PATIENCE_TICKS)) == [PATIENCE_TICKS]


def test_patience_starts_with_each_look_that_differs() -> None:
    """Truncated again and again is still in the middle of a save."""
    looks: list[Look | None] = [seen(at // 10, size_bytes=0) for at in range(1, 100)]
    assert told(looks) == []


def test_recreated_after_it_was_told_gone() -> None:
    """Its coming back is a change of its own."""
    looks = [None] * (PATIENCE_TICKS + 1) + [RENAMED] * 3
    assert told(looks) == [PATIENCE_TICKS, PATIENCE_TICKS + 2]


@given(st.lists(st.sampled_from([OLD, NEW, NEWER, EMPTIED, None]), max_size=60))
def test_what_is_told_is_settled_and_new(looks: list[Look | None]) -> None:
    """Whatever is seen: told only when seen twice, and never the same twice in a row."""
    last: Look | None = OLD
    for at in told(looks):
        assert at > 0
        assert looks[at] == looks[at - 1]
        assert looks[at] != last
        last = looks[at]


@given(st.lists(st.sampled_from([OLD, NEW, None, EMPTIED]), max_size=30))
def test_a_last_save_is_always_told(looks: list[Look | None]) -> None:
    """After any mess, a file that is whole and stays so is read."""
    settler = settler_on(only(OLD))
    for at, each in enumerate([*looks, NEWER, NEWER]):
        last = settler.observe(only(each), at * TICK_NS)
    assert last


def test_what_there_is_at_first_is_read() -> None:
    """Whoever read it before has seen what was there before: it may be another by now."""
    assert settler_on(only(OLD)).settled
    assert not Settler().settled


def test_once_more() -> None:
    """What was told is told again when it is asked for, or when its reader could not use it."""
    settler = settler_on(only(OLD))
    for again in (settler.forget, settler.retract):
        again()
        assert not settler.settled
        assert settler.observe(only(OLD), TICK_NS)
        assert not settler.observe(only(OLD), 2 * TICK_NS)
        assert settler.settled


def test_what_the_reader_has_found_is_known() -> None:
    """Files that the text includes, of which nobody knew before it was read."""
    settler = settler_on(only(OLD))
    more = {**only(OLD), "a.toml": NEW}
    settler.accept(more)
    assert settler.settled
    assert not any(settler.observe(more, at * TICK_NS) for at in range(5))


# Several files

A, B, C = ("tenants/a.toml", "tenants/b.toml", "tenants/c.toml")
BOTH = {"vm.toml": OLD, A: OLD}


@pytest.mark.parametrize(
    ("scenes", "expected"),
    [
        ([{**BOTH, A: NEW}] * 3, [1]),
        ([{**BOTH, B: NEW}] * 3, [1]),
        ([{**BOTH, A: NEW}, {**BOTH, A: NEW, B: NEW}, *[{**BOTH, A: NEW, B: NEW}] * 3], [2]),
        ([only(OLD), only(OLD), BOTH, BOTH], []),
        ([only(OLD), only(OLD), {**BOTH, A: RENAMED}, {**BOTH, A: RENAMED}], [3]),
        ([only(OLD)] * (PATIENCE_TICKS + 3), [PATIENCE_TICKS]),
        ([{**BOTH, B: EMPTIED}] * 5 + [{**BOTH, B: NEW}] * 3, [6]),
    ],
    ids=[
        "one of them saved",
        "one more",
        "two saves in a burst",
        "gone for a moment",
        "renamed over in two steps",
        "deleted",
        "made, and written later",
    ],
)
def test_files_that_are_included(scenes: list[Scene], expected: list[int]) -> None:
    """They are as much of the file as the main one is."""
    assert told_of(scenes, BOTH) == expected


def test_one_that_is_empty_for_good_holds_up_nobody() -> None:
    """A tenant that has nothing: an edit elsewhere is told at once."""
    known = {**BOTH, C: EMPTIED}
    assert told_of([{**known, A: NEW}] * 2, known) == [1]


# Saves without rest


def test_saves_without_rest_are_told_about_once_a_second() -> None:
    """A save between any two looks: after a second looks are taken more often, and two agree."""
    settler = settler_on(only(OLD))
    now_ns, told_ns = 0, [0]
    while now_ns < 10_000_000_000:
        now_ns += 10_000_000 if settler.is_hurried(now_ns) else TICK_NS
        version = now_ns // 49_000_000  # not quite with the looks
        if settler.observe(only(seen(version)), now_ns):
            told_ns.append(now_ns)
    pauses_ns = [after - before for before, after in pairwise(told_ns)]
    assert len(pauses_ns) >= 8
    assert max(pauses_ns) <= RESTLESS_NS + 3 * TICK_NS
    assert min(pauses_ns) >= RESTLESS_NS - 3 * TICK_NS


def test_a_read_that_came_to_nothing_keeps_the_hurry() -> None:
    """Otherwise each of them would cost another second."""
    settler = settler_on(only(OLD))
    for at in range(1, 30):
        settler.observe(only(seen(at)), at * TICK_NS)
    now_ns = 30 * TICK_NS
    assert settler.is_hurried(now_ns)
    assert settler.observe(only(seen(29)), now_ns)
    assert not settler.is_hurried(now_ns)
    settler.retract()
    assert settler.is_hurried(now_ns)


class Saver:
    """Saves in place, again and again: emptied, a half, the whole; times in milliseconds."""

    def __init__(self, period: int, gap: int, size: int) -> None:
        self.period, self.gap, self.size = period, gap, size

    def at(self, time: int) -> Look:
        """What a look sees: time stamps as coarse as a kernel's tick."""
        number, within = divmod(time, self.period)
        stamps = number * self.period, number * self.period + self.gap
        if within < self.gap:
            stamp = stamps[0] // 4
            return Look((1, 1), 0 if within == 0 else self.size // 2, stamp, stamp)
        return Look((1, 1), self.size, stamps[1] // 4, stamps[1] // 4)


@given(st.integers(21, 200), st.integers(1, 9), st.integers(2, 1000), st.integers(0, 49))
def test_a_half_is_never_told(period: int, gap: int, size: int, begin: int) -> None:
    """As long as the pause between the halves is shorter than two looks are apart in a hurry.

    A longer one is seen by who reads: somebody has the file open.
    """
    saver, settler, now = Saver(period, gap, size), settler_on(only(OLD)), begin
    last = begin
    while now < begin + 6000:
        now += 10 if settler.is_hurried(now * 1_000_000) else 50
        if settler.observe(only(saver.at(now)), now * 1_000_000):
            assert saver.at(now).size_bytes == size
            assert saver.at(now) == saver.at(now - 9), "it had rest"
            last = now
    assert now - last < 1100 + 10 * period
