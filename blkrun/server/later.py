"""Edits that the graph makes of its own accord, in a thread of their own.

What causes one is often a client's request, which must not wait for the graph's lock, nor for a
thread to be made.
"""

import sys
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from time import sleep

from blkrun.errors import CommandError

RETRY_S = 1.0

Work = Callable[[], None]


class Later:
    """One thing after the other.  One that is refused is tried again, as nobody else will."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Be ready for ``do``.  Called under the graph's lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="blkrun-later", daemon=True)
            self._thread.start()

    def do(self, work: Work) -> None:
        """From any thread; never waits."""
        self._queue.put(work)

    def stop(self) -> None:
        """Nothing more; what has begun goes on."""
        self._queue.put(None)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except CommandError as error:
                print(f"trying again: {error}", file=sys.stderr)  # noqa: T201 - the server's log
                sleep(RETRY_S)
                self._queue.put(work)
            except Exception:  # noqa: BLE001 - a defect is logged whole, and the next one done
                traceback.print_exc()
