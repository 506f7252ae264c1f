"""Byte ranges in flight at a node: which requests have to come one after the other.

For nodes that send a request to several children.  Two writes of the same bytes that go on at once
could reach one child in one order and another in the other, for ever; a read beside a write of the
same bytes could find it done at one child and not at another.  Requests that touch different bytes,
and reads of the same, do not wait for each other.

In order of arrival: who comes waits for whoever came earlier and conflicts, waiting ones among
them, so that nobody is passed over for ever.
"""

import threading


class Span:
    """[``start``, ``end``) of one request.  ``turn`` is released when it may go on."""

    __slots__ = ("alone", "end", "start", "turn")

    def __init__(self, start: int, end: int, alone: bool) -> None:  # noqa: FBT001
        self.start = start
        self.end = end
        self.alone = alone
        self.turn: threading.Lock | None = None

    def conflicts(self, other: "Span") -> bool:
        """Whether the two may not be in flight at once."""
        return (self.alone or other.alone) and self.start < other.end and other.start < self.end


class Ranges:
    """``_lock`` protects the spans: those that are in flight and those that wait, as they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._waiting = 0

    def read(self, offset: int, count: int) -> Span:
        """Come in together with other reads.  What it gives is to be handed to ``leave``."""
        return self._enter(Span(offset, offset + count, False))  # noqa: FBT003 - the hottest path

    def write(self, offset: int, count: int) -> Span:
        """Come in with nobody else in these bytes."""
        return self._enter(Span(offset, offset + count, True))  # noqa: FBT003

    def _enter(self, span: Span) -> Span:
        spans = self._spans
        with self._lock:
            for other in spans:
                if (
                    other.start < span.end
                    and span.start < other.end
                    and (span.alone or other.alone)
                ):
                    break
            else:
                spans.append(span)
                return span
            spans.append(span)
            span.turn = turn = threading.Lock()
            turn.acquire()
            self._waiting += 1
        turn.acquire()
        return span

    def leave(self, span: Span) -> None:
        """The request has ended, however."""
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
