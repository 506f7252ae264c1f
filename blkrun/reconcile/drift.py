"""A graph that somebody has changed beside the file: what is to be done about it.  Pure.

::

    plan(what is in force, live) ─▶ operations that would bring it back ─▶ DriftWatch ─▶ Step

Drift is what differs from the text that was applied last: a file that waits for a yes, or that was
rejected, has nothing to do with it.  Jobs and bitmaps that no file has a table for, a mirror's
pivot and filters that have left by themselves are no drift: a plan leaves them as they are.
"""

from collections import deque
from enum import Enum
from typing import Any

from blkrun.model import Config
from blkrun.reconcile.marks import marks
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.reports import about

FLAPS = 5
FLAP_NS = 10_000_000_000

GAVE_UP = f"it was brought back {FLAPS} times within {FLAP_NS // 10**9} s, and changed again"


class Step(Enum):
    """What a look at the live graph comes to."""

    NOTHING = "nothing"
    LOOK_AGAIN = "look again"
    TELL = "tell"
    REVERT = "revert"
    ENDED = "ended"


_Key = tuple[tuple[str, str], ...]


class DriftWatch:
    """What is known of it.  Each drift is told, or brought back, once."""

    def __init__(self) -> None:
        self._seen: _Key = ()
        self._told: _Key | None = None
        self._reverts_ns: deque[int] = deque(maxlen=FLAPS)

    @property
    def is_told(self) -> bool:
        """Whether watchers believe that there is drift."""
        return self._told is not None

    def recall(self) -> None:
        """A runner before this one has told of drift; what it was is not known any more."""
        self._told = ()

    def ended(self) -> None:
        """The graph is as the file says."""
        self._seen, self._told = (), None

    def reverted(self, now_ns: int) -> None:
        """It was brought back."""
        self._reverts_ns.append(now_ns)
        self.ended()

    def why_not_again(self, now_ns: int) -> str | None:
        """Why it is not brought back any more: somebody does it again and again."""
        reverts = self._reverts_ns
        flaps = len(reverts) == FLAPS and now_ns - reverts[0] < FLAP_NS
        return GAVE_UP if flaps else None

    def observe(self, operations: tuple[Operation, ...], policy: str, why_not: str | None) -> Step:
        """``operations`` would bring it back; ``why_not`` they must not be done unasked.

        It counts when two looks agree: a job that ends is seen in several steps.
        """
        if not operations:
            was_told = self.is_told
            self.ended()
            return Step.ENDED if was_told else Step.NOTHING
        if policy == "ignore":
            return Step.NOTHING
        key = tuple((operation.type, operation.text) for operation in operations)
        if key != self._seen:
            self._seen = key
            return Step.LOOK_AGAIN
        if key == self._told:
            return Step.NOTHING
        self._told = key
        return Step.REVERT if policy == "revert" and why_not is None else Step.TELL


def drift_report(
    config: Config, operations: tuple[Operation, ...], why_not: str | None
) -> dict[str, Any]:
    """What would bring it back, and why that is not done."""
    policy = config.runner.on_drift
    why = {"why": why_not} if policy == "revert" and why_not else {}
    return about(config, operations) | marks(operations) | {"on-drift": policy} | why
