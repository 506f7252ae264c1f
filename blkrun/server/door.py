"""Clients that come before the file is in force wait for it at the door.

A server starts with an empty graph, and for the moment until the runner has filled it every export
is one that is not there.  A client that connects again after a crash, or one whom systemd's socket
let in before there was a server, must not be told so.
"""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from blkrun.server.events import Event, Events

_OPENERS: Final = ("X_BLKRUN_CONFIG_", "X_BLKRUN_SERVER_")


class Door:
    """Opens for good with the runner's first report, whatever it says, or after ``patience_s``."""

    def __init__(
        self, events: Events, patience_s: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._clock = clock
        self._until_s = clock() + patience_s
        self._open = threading.Event()
        events.subscribe(self._hear)

    def open(self) -> None:
        """Nobody waits any more; also when the server ends."""
        self._open.set()

    def wait(self) -> None:
        """Until it is open, or has been shut for too long: then the graph is what there is."""
        if not self._open.is_set():
            self._open.wait(max(0.0, self._until_s - self._clock()))

    def _hear(self, event: Event) -> None:
        if event["event"].startswith(_OPENERS):
            self._open.set()
