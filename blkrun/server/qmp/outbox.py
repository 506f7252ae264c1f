"""What is on its way to one client, who may not read it."""

import threading
from collections import deque
from typing import Final

MOST_MESSAGES: Final = 10_000
MOST_BYTES: Final = 64 * 2**20
"""Some replies about large graphs are of megabytes, and a client may ask for a few ahead."""


class Outbox:
    """``put`` never waits: once that would be too much, nothing is kept, nor taken any more."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # the four below
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._is_full = False
        self._is_finished = False

    def put(self, message: bytes) -> bool:
        """Queue it; False if the client does not read."""
        with self._changed:
            if self._is_full:
                return False
            if self._messages and self._is_too_much(len(message)):
                self._is_full = True
                self._messages.clear()
                self._bytes = 0
                self._changed.notify()
                return False
            self._messages.append(message)
            self._bytes += len(message)
            self._changed.notify()
            return True

    def _is_too_much(self, more_bytes: int) -> bool:
        return len(self._messages) >= MOST_MESSAGES or self._bytes + more_bytes > MOST_BYTES

    def get(self) -> bytes | None:
        """The next message, when there is one; None after the last."""
        with self._changed:
            while not (self._messages or self._is_full or self._is_finished):
                self._changed.wait()
            if not self._messages:
                return None
            message = self._messages.popleft()
            self._bytes -= len(message)
            return message

    def finish(self) -> None:
        """What is queued is the last."""
        with self._changed:
            self._is_finished = True
            self._changed.notify()
