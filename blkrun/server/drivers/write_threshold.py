"""Tells, once, that a write goes beyond an offset (qemu-semantics §5).

A write, zero or trim that gets here and ends beyond ``write-threshold`` emits
``BLOCK_WRITE_THRESHOLD`` before it goes down, whether it will succeed or not, and is neither
delayed nor failed.  Then the filter is spent, until ``block-set-write-threshold`` or another number
in its options arms it again.

The event's ``node-name`` is this filter's: the node that carries the threshold, as in QEMU 7.2.
(QEMU's ``notify`` branch, which had this filter, named the child.)
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blkrun.options import WriteThresholdOptions
from blkrun.server.node import Filter
from blkrun.server.route import Key
from blkrun.server.staging import Staging
from blkrun.server.way import Late, Way

if TYPE_CHECKING:
    from blkrun.server.graph import Graph

_NEVER = 2**64
"""No request ends beyond this."""

Ranged = Callable[[int, int, int], Late | None]
"""A zero or a trim: (count, offset, flags)."""


class WriteThreshold(Filter[WriteThresholdOptions]):
    """``fired`` counts events.  While it is armed, every request that may come here looks.

    So a request looks at the threshold of the moment at which it gets here, though it may have
    waited above since before that was set; see ``stage_threshold``.
    """

    driver = "write-threshold"
    _graph: "Graph"

    def __init__(self, options: WriteThresholdOptions) -> None:
        super().__init__(options)
        self.fired = 0
        self.spent = False
        self._armings = 0
        self._threshold = options.write_threshold or _NEVER
        self._firing = threading.Lock()  # what is above; held until the event has been sent

    def open(self, staging: Staging) -> None:
        """Be ready to tell, and to leave."""
        self._graph = staging.graph
        self._prepare_to_leave(self.options)

    def prepare_reopen(
        self, options: WriteThresholdOptions, staging: Staging
    ) -> Callable[[], None]:
        """Another number arms it; if it is spent and now to leave when it is, it does."""
        del staging
        self._prepare_to_leave(options)

        def commit() -> None:
            if options.write_threshold != self.options.write_threshold:
                self._arm(options.write_threshold)
            self.options = options
            self._leave_if_due()

        return commit

    def stage_threshold(self, threshold: int, staging: Staging) -> None:
        """Arm with an offset, or with 0 not at all.

        Without a threshold nobody looks, so for one to be set requests that are on their way, in
        a throttle above perhaps, have to end first.
        """
        if self._threshold == _NEVER:
            staging.disturbed.add(self)
        staging.commits.append(lambda: self._arm(threshold))

    def write_threshold(self) -> int:
        """The offset, or 0."""
        threshold = self._threshold
        return 0 if threshold == _NEVER else threshold

    def describe(self) -> dict[str, Any]:
        """Armed, spent or off (no threshold was set); with what; and how often it has fired."""
        threshold, idle = self.write_threshold(), "spent" if self.spent else "off"
        return {
            "state": "armed" if threshold else idle,
            "write-threshold": threshold,
            "fired": self.fired,
        }

    def form(self) -> Key:
        """Also whether anybody has to look, and since when.

        It may fire before ``lower`` is called, which then has nobody look: the next time that it is
        armed the route has to be another.
        """
        return (*super().form(), None if self._threshold == _NEVER else self._armings)

    def lower(self, below: Way, late: Way) -> Way:
        """Look where the request ends, then go on; spent, only that."""
        del late
        if self._threshold == _NEVER:
            return below
        go_on = below.pwrite

        def pwrite(buf: memoryview, offset: int, flags: int) -> Late | None:
            if offset + len(buf) > self._threshold:
                self._fire(offset + len(buf))
            return go_on(buf, offset, flags)

        return below._replace(
            pwrite=pwrite, zero=self._watched(below.zero), trim=self._watched(below.trim)
        )

    def _watched(self, go_on: Ranged) -> Ranged:
        def watched(count: int, offset: int, flags: int) -> Late | None:
            if offset + count > self._threshold:
                self._fire(offset + count)
            return go_on(count, offset, flags)

        return watched

    def _fire(self, end: int) -> None:
        """Tell that a request ends there, if no other has been first."""
        with self._firing:
            threshold = self._threshold
            if end <= threshold:
                return
            data = {
                "node-name": self.name,
                "amount-exceeded": end - threshold,
                "write-threshold": threshold,
            }
            self._graph.events.emit("BLOCK_WRITE_THRESHOLD", data)
            self.fired += 1
            self.spent = True
            self._threshold = _NEVER
        self._leave_if_due()

    def _arm(self, threshold: int) -> None:
        with self._firing:
            self.spent = False
            self._armings += 1
            self._threshold = threshold or _NEVER

    # Leaving

    def _prepare_to_leave(self, options: WriteThresholdOptions) -> None:
        if options.when_spent == "remove":
            self._graph.later.start()

    def _leave_if_due(self) -> None:
        """Not here: the client whose write it was does not wait for an edit."""
        if self._is_due():
            self._graph.later.do(self._leave)

    def _is_due(self) -> bool:
        return self.spent and self.options.when_spent == "remove"

    def _leave(self) -> None:
        """Give whoever is above the child, unless it was armed again or removed meanwhile."""
        left = False

        def retire(staging: Staging) -> None:
            nonlocal left
            if staging.node(self.name) is self and self._is_due():
                staging.retire(self)
                left = True

        self._graph.transaction([retire])
        if left:
            data = {"node-name": self.name, "reason": "spent"}
            self._graph.events.emit("X_BLKRUN_NODE_REMOVED", data)
