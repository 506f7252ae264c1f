"""Byte ranges in flight at a node: which requests have to come one after the other.

For nodes that send a request to several children.  Two writes of the same bytes that go on at once
could reach one child in one order and another in the other, for ever; a read beside a write of the
same bytes could find it done at one child and not at another.  Requests that touch different bytes,
and reads of the same, do not wait for each other.

In order of arrival: who comes waits for whoever came earlier and conflicts, waiting ones among
them, so that nobody is passed over for ever.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Span:
    """[``start``, ``end``) of one request.  ``turn`` is released when it may go on."""

    __slots__ = ("alone", "end", "start", "turn")

    def __init__(self, start: int, end: int, *, alone: bool) -> None:
        self.start = start
        self.end = end
        self.alone = alone
        self.turn: threading.Lock | None = None

    def conflicts(self, other: "_Span") -> bool:
        """Whether the two may not be in flight at once."""
        return (self.alone or other.alone) and self.start < other.end and other.start < self.end


class Ranges:
    """``_lock`` protects the spans: those that are in flight and those that wait, as they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[_Span] = []
        self._waiting = 0

    @contextmanager
    def reading(self, offset: int, count: int) -> Iterator[None]:
        """Together with other reads."""
        span = self._enter(_Span(offset, offset + count, alone=False))
        try:
            yield
        finally:
            self._leave(span)

    @contextmanager
    def writing(self, offset: int, count: int) -> Iterator[None]:
        """With nobody else in these bytes."""
        span = self._enter(_Span(offset, offset + count, alone=True))
        try:
            yield
        finally:
            self._leave(span)

    def _enter(self, span: _Span) -> _Span:
        with self._lock:
            must_wait = any(map(span.conflicts, self._spans))
            self._spans.append(span)
            if not must_wait:
                return span
            span.turn = turn = threading.Lock()
            turn.acquire()
            self._waiting += 1
        turn.acquire()
        return span

    def _leave(self, span: _Span) -> None:
        with self._lock:
            self._spans.remove(span)
            if self._waiting:
                self._let_go_on()

    def _let_go_on(self) -> None:
        for index, span in enumerate(self._spans):
            if span.turn is not None and not any(map(span.conflicts, self._spans[:index])):
                span.turn.release()
                span.turn = None
                self._waiting -= 1
