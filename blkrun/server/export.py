"""Exports: the named root edges that NBD clients open, and how they come to rest.

Three questions about the requests under way through an export are answered by the slots of its
connections' threads, without a lock on the data path:

* *drain*: close the gate, wait until no slot is busy;
* *grace*: wait until every slot that was busy has left the request it was in, so that a node
  that is no longer reachable can be closed;
* *in flight*: how many slots are busy.

This is right because a thread sets ``slot.busy`` before it looks at ``gate`` and ``root``, and
the editor changes ``gate`` or ``root`` before it looks at ``slot.busy``; under the GIL one of the
two sees the other.
"""

import errno
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from blkrun.options import BlockdevOptions, ExportOptions
from blkrun.server.node import Extent, Node
from blkrun.server.stats import Counters, Slot, merge_histograms, new_histogram


@dataclass(frozen=True, slots=True)
class UnderWay:
    """One request that a thread was inside of when somebody looked."""

    slot: Slot
    sequence: int

    def ended(self) -> bool:
        """Whether that request is over; the thread may be in another by now."""
        return not (self.slot.busy and self.slot.sequence == self.sequence)


class Export:
    """A root edge.  ``gate`` is None, or an event that requests wait for in a drained section."""

    def __init__(self, name: str, options: ExportOptions) -> None:
        self.name = name
        self.options = options
        self.children: dict[str, Node[Any]] = {}
        self.root: Node[Any] = _GONE
        self.gate: threading.Event | None = None
        self.shutting_down = False
        self._lock = threading.Lock()  # the four fields below, and consistency between them
        self._slots: set[Slot] = set()
        self._past = Counters()
        self._past_read_latency = new_histogram()
        self._past_write_latency = new_histogram()

    def attach(self, role: str, child: Node[Any]) -> None:
        """Point the root edge at a node: new requests go there at once."""
        self.children[role] = child
        self.root = child

    def shut_down(self) -> None:
        """Answer every further request with ESHUTDOWN: the export has been deleted."""
        self.shutting_down = True
        self.root = _GONE

    def enter(self, slot: Slot) -> None:
        """Wait until the gate is open.  ``slot.busy`` is set before and after."""
        while (gate := self.gate) is not None:
            slot.busy = False
            gate.wait()
            slot.busy = True

    def add_slot(self, slot: Slot) -> None:
        """A worker thread's first request."""
        with self._lock:
            self._slots.add(slot)

    def retire_slots(self, slots: Iterable[Slot]) -> None:
        """Their threads have ended: keep the counts, drop the slots."""
        with self._lock:
            for slot in slots:
                self._slots.discard(slot)
                self._past.add(slot)
                self._past_read_latency = merge_histograms(
                    (self._past_read_latency, slot.read_latency)
                )
                self._past_write_latency = merge_histograms(
                    (self._past_write_latency, slot.write_latency)
                )

    def under_way(self) -> list["UnderWay"]:
        """The requests that threads are inside of now."""
        with self._lock:
            slots = list(self._slots)
        return [UnderWay(slot, slot.sequence) for slot in slots if slot.busy]

    def totals(self) -> Counters:
        """The sum over all connections, past and present."""
        with self._lock:
            total = Counters()
            for counters in (self._past, *self._slots):
                total.add(counters)
        return total

    def latency(self) -> tuple[list[int], list[int]]:
        """(reads, writes): histograms since the export began."""
        with self._lock:
            reads = [self._past_read_latency, *(slot.read_latency for slot in self._slots)]
            writes = [self._past_write_latency, *(slot.write_latency for slot in self._slots)]
        return merge_histograms(reads), merge_histograms(writes)


class _Gone(Node[Any]):
    """What is left of a deleted export for the clients that still have it open."""

    driver = "gone"

    def __init__(self) -> None:
        """In no graph, so without options."""
        super().__init__(BlockdevOptions(node_name="gone"))

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Refuse."""
        raise _shut_down()

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Refuse."""
        raise _shut_down()

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Refuse."""
        raise _shut_down()

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Refuse."""
        raise _shut_down()

    def do_flush(self) -> None:
        """Refuse: what was written before may not have been flushed."""
        raise _shut_down()

    def do_extents(self, count: int, offset: int) -> list[Extent]:
        """Refuse."""
        raise _shut_down()


def _shut_down() -> OSError:
    return OSError(errno.ESHUTDOWN, "this export has been deleted")


_GONE = _Gone()
