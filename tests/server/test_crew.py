"""Asking several at once: who is slow gets a thread, nobody waits for one that hangs elsewhere."""

import threading
from collections.abc import Callable, Sequence
from functools import partial

from blkrun.server.crew import SLOW_NS, Crew, Failure, Pace
from tests.server.inprocess import PATIENCE_S, Worker, eventually


def pace(*, slow: bool) -> Pace:
    """Of somebody who has been so."""
    found = Pace()
    for _ in range(8):
        found.note(2 * SLOW_NS if slow else 1000)
    return found


def ask(crew: Crew, works: Sequence[Callable[[], object]], *, slow: bool) -> list[Failure]:
    """Of those who have all been slow of late, or fast."""
    return crew.do_all([(pace(slow=slow), work, ()) for work in works])


def threads_of(name: str) -> int:
    """How many it has made that are there."""
    return sum(thread.name == f"blkrun-{name}" for thread in threading.enumerate())


def test_the_fast_are_asked_by_whoever_wants_to_know() -> None:
    """One after the other, in the requesting thread."""
    crew, seen = Crew("fast"), list[str]()
    works: list[Callable[[], None]] = [
        lambda: seen.append(threading.current_thread().name) for _ in range(3)
    ]
    assert ask(crew, works, slow=False) == [None] * 3
    assert seen == [threading.current_thread().name] * 3
    assert threads_of("fast") == 0


def test_the_slow_are_asked_at_once() -> None:
    """All of them are inside before any may end; what they raise is in their order."""
    crew, barrier = Crew("slow"), threading.Barrier(3, timeout=PATIENCE_S)
    errors = [OSError(number, "as told") for number in range(3)]

    def fail(error: OSError) -> None:
        barrier.wait()
        raise error

    works = [partial(fail, error) for error in errors]
    assert ask(crew, works, slow=True) == errors
    assert threads_of("slow") == 2
    crew.close()
    eventually(lambda: threads_of("slow") == 0)


def test_threads_are_used_again() -> None:
    """A hundred requests one after the other need no more than one."""
    crew = Crew("again")
    for _ in range(100):
        ask(crew, [lambda: None, lambda: None], slow=True)
    assert threads_of("again") <= 2  # the one that has just told is not idle at once
    crew.close()


def test_one_that_hangs_keeps_no_thread_from_others() -> None:
    """However many wait for ever, the next request has a thread of its own."""
    crew, hang = Crew("hangs"), threading.Event()
    both = threading.Barrier(2, timeout=PATIENCE_S)

    def wait() -> None:
        assert hang.wait(PATIENCE_S)

    def meet() -> None:
        both.wait()

    def both_do(work: Callable[[], None]) -> None:
        assert ask(crew, [work, work], slow=True) == [None, None]

    stuck = [Worker(lambda: both_do(wait)) for _ in range(20)]
    eventually(lambda: threads_of("hangs") == 20)
    both_do(meet)
    hang.set()
    for each in stuck:
        each.finish()
    crew.close()
    eventually(lambda: threads_of("hangs") == 0)


def test_pace_follows() -> None:
    """A few slow requests make one slow, a few fast ones fast; one alone does not."""
    found = pace(slow=False)
    found.note(3 * SLOW_NS)
    seen = [found.is_slow]
    for elapsed_ns, count in ((3 * SLOW_NS, 4), (1000, 12)):
        for _ in range(count):
            found.note(elapsed_ns)
        seen.append(found.is_slow)
    assert seen == [False, True, False]
