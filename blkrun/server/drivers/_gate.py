"""Requests that may run together, and those that have to be alone: reading and changing a block."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Whoever wants to be alone keeps others from coming in, so that it gets its turn."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # protects the two below
        self._together = 0
        self._alone = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """With others of this kind."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """With nobody."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = True
            self._changed.wait_for(lambda: not self._together)
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()
