"""Events: numbered, kept for latecomers, delivered to every subscriber from the moment it came.

``emit`` may be called from any thread, also from a request's: it never waits for a reader.  What a
broken disk would send at each request goes by ``emit_limited``, at QEMU's rate.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from blkrun.server.rate_limit import RateLimit

KEPT_EVENTS = 1000

INTERVAL_NS = 10**9
"""QEMU's, for events that are limited."""

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
        self._limited_lock = threading.Lock()  # the two below; taken before _lock
        self._limit: RateLimit[tuple[str, dict[str, Any]]] = RateLimit(INTERVAL_NS)
        self._timer: threading.Timer | None = None

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

    def emit_limited(self, name: str, data: dict[str, Any], about: str = "") -> None:
        """At most one a second of this name ``about`` the same (qemu-semantics §9.7).

        Of those that come in between, the last is sent when the second is over.
        """
        with self._limited_lock:
            self._send_due()
            if self._limit.offer((name, about), (name, data), time.monotonic_ns()):
                self.emit(name, data)
            else:
                self._wait_for_due()

    def _send_kept(self) -> None:
        with self._limited_lock:
            self._timer = None
            self._send_due()
            self._wait_for_due()

    def _send_due(self) -> None:
        for name, data in self._limit.due(time.monotonic_ns()):
            self.emit(name, data)

    def _wait_for_due(self) -> None:
        """A thread only while there is something to be sent later."""
        next_ns = self._limit.next_ns()
        if next_ns is not None and self._timer is None:
            wait_s = max(0, next_ns - time.monotonic_ns()) / 1e9
            self._timer = threading.Timer(wait_s, self._send_kept)
            self._timer.name, self._timer.daemon = "blkrun-events", True
            self._timer.start()

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
