"""Who changes what of an image at the moment: only the bookkeeping, with its locks.

* ``Claims``: whoever changes what guest clusters map to claims them first; whoever comes to the
  same clusters meanwhile waits, and then finds them changed.
* ``Grace``: writes into clusters that are allocated already claim nothing.  A cluster that is freed
  is given to nobody else before all those have ended that may have seen it as theirs.
"""

import threading

Run = tuple[int, int]
"""(first, past): the second one not included."""


class Claims:
    """Runs of numbers, each of which one thread has for itself."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._waiting = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    def claim(self, first: int, past: int) -> Run:
        """Have a run for oneself, once nobody else has any of it.  ``release`` is to follow."""
        run = first, past
        with self._lock:
            while any(other[0] < past and first < other[1] for other in self._runs):
                self._waiting += 1
                self._changed.wait()
                self._waiting -= 1
            self._runs.append(run)
        return run

    def release(self, run: Run) -> None:
        """Let the others have it."""
        with self._lock:
            self._runs.remove(run)
            if self._waiting:
                self._changed.notify_all()


class Slot:
    """``inside``: how many are at work that came while this slot was the one to come in by."""

    __slots__ = ("inside",)

    def __init__(self) -> None:
        self.inside = 0


class Grace:
    """Who comes does ``slot = grace.slot; slot.inside += 1``, and takes it off in the end.

    In neither of the two lines is there a call: no other thread comes in between (see
    ``blkrun.server.route``).
    """

    def __init__(self) -> None:
        self.slot = Slot()

    def turn(self) -> Slot:
        """From now on all come in by another slot; when the old one is empty, they have ended."""
        old = self.slot
        self.slot = Slot()
        return old
