"""Who may touch which range: some together, some alone, each in its turn.

A request waits for those before it whose ranges overlap, unless all of them go together.  Turns are
in order of arrival, so nobody waits for ever.  No I/O is done with the lock.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class _Claim:
    start: int
    end: int
    is_alone: bool


class Overlaps:
    """Ranges in bytes, [``start``, ``end``)."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._claims: list[_Claim] = []  # in order of arrival; protected by the above

    @contextmanager
    def together(self, start: int, end: int) -> Iterator[None]:
        """With others that go together."""
        with self._claimed(_Claim(start, end, is_alone=False)):
            yield

    @contextmanager
    def alone(self, start: int, end: int) -> Iterator[None]:
        """With nobody else in this range."""
        with self._claimed(_Claim(start, end, is_alone=True)):
            yield

    @contextmanager
    def _claimed(self, claim: _Claim) -> Iterator[None]:
        with self._changed:
            self._claims.append(claim)
            while self._is_held_up(claim):
                self._changed.wait()
        try:
            yield
        finally:
            with self._changed:
                self._claims.remove(claim)
                self._changed.notify_all()

    def _is_held_up(self, claim: _Claim) -> bool:
        for other in self._claims:
            if other is claim:
                return False
            overlap = other.start < claim.end and claim.start < other.end
            if overlap and (other.is_alone or claim.is_alone):
                return True
        return False
