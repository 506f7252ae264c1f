"""Events: numbered, kept for latecomers, delivered to every subscriber from the moment it came.

``emit`` may be called from any thread, also from a request's: it never waits for a reader.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

KEPT_EVENTS = 1000

Event = dict[str, Any]
Subscriber = Callable[[Event], None]


class Events:
    """The stream.  ``_lock`` covers the ring, the numbers and the subscribers together."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._subscribers: list[Subscriber] = []
        self._past: deque[tuple[int, Event]] = deque(maxlen=KEPT_EVENTS)
        self._number = 0

    @property
    def number(self) -> int:
        """The last event's; 0 before the first."""
        return self._number

    def emit(self, name: str, data: dict[str, Any] | None = None) -> None:
        """Send one event to everybody.  ``name`` as on the wire."""
        seconds, fraction = divmod(self._clock(), 1)
        timestamp = {"seconds": int(seconds), "microseconds": int(fraction * 1e6)}
        event: Event = {"timestamp": timestamp, "event": name}
        if data is not None:
            event["data"] = data
        with self._lock:
            self._number += 1
            self._past.append((self._number, event))
            for subscriber in self._subscribers:
                subscriber(event)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber`` with every event from now on; it must not block."""
        with self._lock:
            self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """No more."""
        with self._lock:
            self._subscribers.remove(subscriber)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No event is emitted inside; emitters wait."""
        with self._lock:
            yield

    def since(self, number: int) -> list[dict[str, Any]]:
        """Kept events with a number above ``number``, each with its number."""
        with self._lock:
            return [{"number": n, **event} for n, event in self._past if n > number]
