"""Nudging limits: the steps, what a burst has to do with it, and presses that come together."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.dashboard.model.nudge import TOGETHER_S, Move, Nudge, Nudges, moved, with_burst, written
from blkrun.limits import check_limits
from blkrun.options import MAX_LIMIT, ThrottleLimits
from blkrun.units import parse_bytes

values = st.integers(1, MAX_LIMIT)
keys = st.sampled_from(["iops-total", "bps-read"])
moves: st.SearchStrategy[Move] = st.sampled_from(get_args(Move))


def walk(key: str, value: int, presses: int) -> list[int]:
    """Up again and again."""
    found = [value]
    for _ in range(presses):
        found.append(moved(key, found[-1], "up"))
    return found


def test_steps_are_regular() -> None:
    """Two digits, a tenth at most, the same in every decade."""
    assert walk("iops-total", 1000, 4) == [1000, 1100, 1200, 1300, 1400]
    assert walk("iops-total", 1900, 3) == [1900, 2000, 2200, 2400]
    assert walk("iops-total", 4800, 3) == [4800, 5000, 5500, 6000]
    assert walk("iops-total", 9500, 3) == [9500, 10_000, 11_000, 12_000]
    assert walk("iops-total", 1, 11) == list(range(1, 13))
    assert walk("iops-total", 1234, 2) == [1234, 1300, 1400]
    assert moved("iops-total", 1234, "down") == 1200
    assert moved("iops-total", 10_000, "down") == 9500
    assert moved("iops-total", 10_400, "down") == 10_000


def test_sizes_stay_in_their_unit() -> None:
    """A file that says 100MiB goes on reading well."""
    mib = 2**20
    assert [written("bps-read", each) for each in walk("bps-read", 100 * mib, 2)] == [
        "100MiB",
        "110MiB",
        "120MiB",
    ]
    assert written("bps-read", moved("bps-read", 2**30, "up")) == "1100MiB"
    assert written("bps-read", moved("bps-read", 8192, "up")) == "9KiB"
    assert written("bps-read", moved("bps-read", 10**8, "up")) == "110000000"
    assert written("iops-total", 2048) == "2048"


@given(key=keys, value=values)
def test_up_and_down_undo_each_other(key: str, value: int) -> None:
    """On the steps; from beside them one press leads to one."""
    step = moved(key, value, "up")
    if step < MAX_LIMIT:
        again = moved(key, step, "down")
        assert again <= value or value == 1
        if key == "iops-total":
            assert moved(key, again, "up") == step


@given(key=keys, value=values, move=moves)
def test_never_none_never_too_much(key: str, value: int, move: Move) -> None:
    """Never 0, never above QEMU's limit, never against the direction, never by more than asked."""
    new = moved(key, value, move)
    assert 1 <= new <= MAX_LIMIT
    assert new >= value if move in ("up", "double") else new <= value
    assert move != "up" or new <= max(value * 11 // 10 + 1, value + 1024)
    assert parse_bytes(written(key, new)) == new


@given(
    average=values, burst=st.integers(0, MAX_LIMIT), key=st.sampled_from(["iops-total"]), move=moves
)
def test_a_burst_stays_one(average: int, burst: int, key: str, move: Move) -> None:
    """Whatever is nudged, QEMU takes all of it."""
    burst = 0 if burst < average else burst
    limits = {key: average, f"{key}-max": burst}
    for each in (key, f"{key}-max"):
        new = moved(each, limits[each] or 1, move)
        if limits[each]:
            all_of_it = limits | with_burst(limits, each, new)
            made = ThrottleLimits(iops_total=all_of_it[key], iops_total_max=all_of_it[f"{key}-max"])
            assert check_limits(made) is None


def test_presses_that_come_together_are_one_edit() -> None:
    """It is due when they have ceased, and says from where to where."""
    nudges, limits = Nudges(), {"iops-total": 1000}
    for press in range(3):
        wanted = nudges.press(press * 0.3, "gold", "iops-total", limits, "up")
        assert wanted == 1100 + press * 100
        assert nudges.due(press * 0.3) == ()
    assert nudges.next_s() == pytest.approx(0.6 + TOGETHER_S)
    assert nudges.wanted("gold", "iops-total") == 1300
    assert nudges.due(0.6 + TOGETHER_S) == (Nudge("gold", {"iops-total": (1000, 1300)}),)
    assert nudges.due(9) == ()
    assert nudges.next_s() is None


def test_presses_while_an_edit_is_under_way() -> None:
    """They go on from what it makes, and wait for its end."""
    nudges, limits = Nudges(), {"iops-total": 1000}
    nudges.press(0, "gold", "iops-total", limits, "up")
    nudges.due(1)
    assert nudges.press(1, "gold", "iops-total", limits, "up") == 1200
    assert nudges.due(2) == ()
    assert nudges.next_s() is None
    nudges.ended("gold")
    assert nudges.due(2) == (Nudge("gold", {"iops-total": (1100, 1200)}),)
    nudges.ended("gold")
    assert nudges.wanted("gold", "iops-total") is None
    assert nudges.press(3, "gold", "iops-total", limits, "up") == 1100


def test_there_and_back_is_no_edit() -> None:
    """Nor is a limit that is not set."""
    nudges, limits = Nudges(), {"iops-total": 1000, "bps-read": 0}
    nudges.press(0, "gold", "iops-total", limits, "up")
    nudges.press(0, "gold", "iops-total", limits, "down")
    assert nudges.press(0, "gold", "bps-read", limits, "up") is None
    assert nudges.press(0, "gold", "bps-write", limits, "up") is None
    assert nudges.due(1) == ()


def test_an_average_takes_its_burst_along() -> None:
    """In the same edit, and only as far as it must."""
    nudges, limits = Nudges(), {"iops-total": 1000, "iops-total-max": 1100}
    nudges.press(0, "gold", "iops-total", limits, "up")
    nudges.press(0, "gold", "iops-total", limits, "up")
    nudges.press(0, "silver", "iops-total", {"iops-total": 5}, "halve")
    gold = {"iops-total": (1000, 1200), "iops-total-max": (1100, 1200)}
    assert nudges.due(1) == (Nudge("gold", gold), Nudge("silver", {"iops-total": (5, 2)}))
    assert nudges.press(2, "gold", "iops-total-max", limits, "halve") == 1200
