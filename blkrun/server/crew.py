"""The same at several children at once: whoever is slow does not hold up the others.

A child that answers within microseconds (memory, a file in the page cache) is asked by the
requesting thread itself: to hand work to another thread and to hear of its end takes longer than
that.  One that has been slow of late is given a thread, so a request takes as long as its slowest
child and not as long as all together.

Threads are made when there is none to spare, and end when they have had nothing to do for a while.
So no work waits for a thread that hangs in a child; and there are never more than the requests in
flight ask for.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from time import perf_counter_ns

SLOW_NS = 100_000
"""What asking by another thread must be worth: about twice what it costs (README, measured)."""

_IDLE_S = 5.0

Failure = BaseException | None


class Pace:
    """How long somebody takes of late.  Not exact: threads may overwrite each other's numbers."""

    __slots__ = ("recent_ns",)

    def __init__(self) -> None:
        self.recent_ns = 0

    def note(self, elapsed_ns: int) -> None:
        """A mean in which the last few count most."""
        self.recent_ns += (elapsed_ns - self.recent_ns) >> 2

    @property
    def is_slow(self) -> bool:
        """Whether asking it by another thread is worth the while."""
        return self.recent_ns > SLOW_NS


class Crew:
    """``_lock`` protects the list of threads that have nothing to do."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[_Hand] = []
        self._closed = False

    def do_all(self, works: Sequence[Callable[[], None]], paces: Sequence[Pace]) -> list[Failure]:
        """Do all, and give what each has raised.  Returns when the last has ended."""
        failures: list[Failure] = [None] * len(works)
        done: SimpleQueue[None] = SimpleQueue()
        slow = [place for place, pace in enumerate(paces) if pace.is_slow]
        away = []
        for place in slow[1:]:  # one of them is the requesting thread's
            task = partial(_attempt, works[place], paces[place], failures, place)
            if self._hand_over(partial(_tell, task, done)):
                away.append(place)
        for place, work in enumerate(works):
            if place not in away:
                _attempt(work, paces[place], failures, place)
        for _ in away:
            done.get()
        return failures

    def close(self) -> None:
        """Nobody asks for anything any more: let the threads end."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for hand in idle:
            hand.tasks.put(None)

    def _hand_over(self, task: Callable[[], None]) -> bool:
        """To a thread; False if the system has none to give."""
        with self._lock:
            hand = self._idle.pop() if self._idle else None
        if hand is None:
            hand = _Hand()
            work = partial(self._work, hand)
            try:
                threading.Thread(target=work, name=f"blkrun-{self._name}", daemon=True).start()
            except RuntimeError:  # can't start new thread
                return False
        hand.tasks.put(task)
        return True

    def _work(self, hand: "_Hand") -> None:
        while True:
            try:
                task = hand.tasks.get(timeout=_IDLE_S)
            except Empty:
                if self._may_end(hand):
                    return
                continue  # somebody has just given it a task
            if task is None:
                return
            task()
            with self._lock:
                if self._closed:
                    return
                self._idle.append(hand)

    def _may_end(self, hand: "_Hand") -> bool:
        with self._lock:
            if hand in self._idle:
                self._idle.remove(hand)
                return True
            return False


class _Hand:
    """A thread, as those who have work for it see it."""

    __slots__ = ("tasks",)

    def __init__(self) -> None:
        self.tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()


def _attempt(work: Callable[[], None], pace: Pace, failures: list[Failure], place: int) -> None:
    begin_ns = perf_counter_ns()
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - whoever asked looks at all of them
        failures[place] = error
    pace.note(perf_counter_ns() - begin_ns)


def _tell(task: Callable[[], None], done: "SimpleQueue[None]") -> None:
    task()
    done.put(None)
