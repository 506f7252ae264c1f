"""Where requests run: choosing a CPU is arithmetic, moving there is the kernel's word."""

import os
import threading
from collections.abc import Mapping

import pytest

from blkrun.server.one_cpu import OneCpu, better_than, busy_s, shares

STAT = """cpu  30 0 30 100 5 1 1 3 0 0
cpu0 10 1 20 50 5 1 1 2 0 0
cpu3 20 0 10 50 0 0 0 1 7 0
intr 12345 0
ctxt 99
"""


def test_busy_time() -> None:
    """User, nice, system, interrupts and steal; not idle, not waiting for I/O, no guest twice."""
    ticks = os.sysconf("SC_CLK_TCK")
    assert busy_s(STAT) == {0: 35 / ticks, 3: 31 / ticks}


def test_shares() -> None:
    """Of the time between; a CPU that has just come online has none yet."""
    assert shares({0: 1.0, 1: 5.0}, {0: 2.0, 1: 5.0, 2: 3.0}, 2.0) == {0: 0.5, 1: 0.0}


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({0: 0.0, 1: 0.0}, None),
        ({0: 0.2, 1: 0.0}, None),
        ({0: 0.9, 1: 0.8}, None),
        ({0: 0.9, 1: 0.1}, 1),
        ({0: 0.6, 1: 0.3, 2: 0.0}, 2),
    ],
)
def test_worth_moving(others: Mapping[int, float], expected: int | None) -> None:
    """Others must take a quarter of this CPU, and a quarter less of the other one."""
    assert better_than(0, others) == expected


def test_what_it_does_itself_is_no_reason_to_move() -> None:
    """The CPU is busy with its own requests; what others add is not much."""
    one = OneCpu({0, 1})
    cpu = one.cpu
    assert cpu is not None
    one.look({cpu: 1.0, 1 - cpu: 0.3}, own=0.9)
    assert one.cpu == cpu


def test_no_choice() -> None:
    """On a machine with one CPU nothing is done."""
    one = OneCpu({0})
    one.seat()
    one.look({0: 1.0}, own=0.0)
    assert one.cpu is None


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_seated_threads_move_together() -> None:
    """Threads made by a seated one are there too, and go along; others stay as they are."""
    allowed = sorted(os.sched_getaffinity(0))[:2]
    one = OneCpu(allowed)
    first = one.cpu
    assert first is not None
    second = next(cpu for cpu in allowed if cpu != first)
    seen: list[set[int]] = []
    look, done = threading.Barrier(2), threading.Event()

    def worker() -> None:
        seen.append(os.sched_getaffinity(0))
        look.wait(10)
        done.wait(10)
        seen.append(os.sched_getaffinity(0))

    def connection() -> None:
        one.seat()
        thread = threading.Thread(target=worker)
        thread.start()
        thread.join(20)

    thread = threading.Thread(target=connection)
    thread.start()
    look.wait(10)
    one.look({first: 1.0, second: 0.0}, own=0.0)
    done.set()
    thread.join(20)
    assert seen == [{first}, {second}]
    assert os.sched_getaffinity(0) >= set(allowed)
