"""The grace period of freed clusters: how reads do without a lock.

A read looks up where the data are, and reads there.  In between a writer may free that cluster and
give it to another guest offset; the read would return what is written there.  So nothing is given
again while nobody notices: ``release`` raises ``count`` before it makes freed clusters allocatable,
and a read that finds another count at its end than at its beginning is done again (a sequence
lock).  One that has bad luck several times holds the next release off.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Reuse:
    """Of one image.  Reads look at ``count`` before the look-up and after the data."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._holders = 0

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """No freed cluster becomes allocatable inside."""
        with self._lock:
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1

    def release(self, give: Callable[[], None]) -> bool:
        """Let ``give`` make freed clusters allocatable, unless a read holds it off.

        Before this, no table that reads may look at still leads to these clusters.
        """
        with self._lock:
            if self._holders:
                return False
            self.count += 1
            give()
            return True
