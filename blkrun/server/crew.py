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
from typing import Any

SLOW_NS = 200_000
"""What is worth another thread.

To hand work over and to hear of its end takes 20 µs where nothing else goes on, and a multiple of
that where all threads want the interpreter; three children that take 200 µs each are answered in
380 µs instead of 800.
"""

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


Task = tuple[Pace, Callable[..., object], tuple[Any, ...]]
"""Who is asked, and what for: the call and its arguments."""


class Crew:
    """``_lock`` protects the list of threads that have nothing to do."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[_Hand] = []
        self._closed = False

    def do_all(self, tasks: Sequence[Task]) -> list[Failure]:
        """Do all, and give what each has raised.  Returns when the last has ended."""
        slow = [place for place, (pace, _, _) in enumerate(tasks) if pace.recent_ns > SLOW_NS]
        if len(slow) < 2:
            return [_attempt(task) for task in tasks]
        return self._do_at_once(tasks, slow[1:])  # one of them is the requesting thread's

    def _do_at_once(self, tasks: Sequence[Task], slow: Sequence[int]) -> list[Failure]:
        failures: list[Failure] = [None] * len(tasks)
        done: SimpleQueue[None] = SimpleQueue()

        def work(place: int) -> None:
            failures[place] = _attempt(tasks[place])
            done.put(None)

        away = [place for place in slow if self._hand_over(partial(work, place))]
        for place, task in enumerate(tasks):
            if place not in away:
                failures[place] = _attempt(task)
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


def _attempt(task: Task) -> Failure:
    pace, work, arguments = task
    begin_ns = perf_counter_ns()
    failure: Failure = None
    try:
        work(*arguments)
    except BaseException as error:  # noqa: BLE001 - whoever asked looks at all of them
        failure = error
    pace.note(perf_counter_ns() - begin_ns)
    return failure
