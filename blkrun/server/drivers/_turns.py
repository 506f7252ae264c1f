"""Requests that overlap, one after the other in the order in which they came."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Ranges under way, the earliest first; one waits for all before it that it overlaps."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # protects what follows
        self._ranges: dict[int, tuple[int, int]] = {}  # by number, in order
        self._next = 0
        self._waiting = 0

    @contextmanager
    def turn(self, start: int, end: int) -> Iterator[None]:
        """While in it nobody else is with anything in [start, end)."""
        with self._changed:
            number = self._next
            self._next += 1
            self._ranges[number] = (start, end)
            if not self._is_first(number):
                self._waiting += 1
                self._changed.wait_for(lambda: self._is_first(number))
                self._waiting -= 1
        try:
            yield
        finally:
            with self._changed:
                del self._ranges[number]
                if self._waiting:
                    self._changed.notify_all()

    def _is_first(self, number: int) -> bool:
        start, end = self._ranges[number]
        for other, (first, past) in self._ranges.items():
            if other == number:
                break
            if first < end and start < past:
                return False
        return True
