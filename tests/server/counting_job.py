"""A job that copies nothing: it counts chunks through a disk that the test fails as it likes."""

import threading
from collections import deque
from collections.abc import Callable

from blkrun.errors import CommandError
from blkrun.server.events import Events
from blkrun.server.jobs.job import Job
from blkrun.server.jobs.policy import Conduct, Operation
from blkrun.server.jobs.transaction import JobTransaction

CHUNK_BYTES = 65536
CHUNKS = 4
LENGTH_BYTES = CHUNKS * CHUNK_BYTES


class CountingJob(Job):
    """``failures`` are raised by the next chunks, ``calls`` has what was called at the end.

    With speed 1 it copies one chunk and then waits for its pace, until the test changes that.
    """

    type = "backup"

    def __init__(
        self, options: Conduct, events: Events, transaction: JobTransaction | None = None
    ) -> None:
        super().__init__(options, events, transaction)
        self.failures: deque[tuple[Operation, OSError]] = deque()
        self.prepare_fails: OSError | CommandError | None = None
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self.at_prepare: Callable[[], object] = bool
        self.at_abort: Callable[[], object] = bool

    def run(self) -> None:
        """Chunk after chunk."""
        self.set_length(LENGTH_BYTES)
        for _ in range(CHUNKS):
            self.await_pace()
            self.charge(CHUNK_BYTES)
            self._chunk()

    def _chunk(self) -> None:
        while self.failures:
            self.pause_point()
            self.on_error(*self.failures.popleft())
        self.progress(CHUNK_BYTES)

    def prepare(self) -> None:
        """May fail, if the test says so."""
        self.at_prepare()
        self._called("prepare")
        if self.prepare_fails is not None:
            raise self.prepare_fails

    def commit(self) -> None:
        """Noted."""
        self._called("commit")

    def abort(self) -> None:
        """Noted."""
        self.at_abort()
        self._called("abort")

    def clean(self) -> None:
        """Noted."""
        self._called("clean")

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.threads.add(threading.current_thread().name)


class MirroringJob(CountingJob):
    """Is ready after the last chunk, and goes on until it is told to end."""

    type = "mirror"
    completable = True

    def run(self) -> None:
        """As a mirror does."""
        super().run()
        self.ready()
        while not self.wait_completion():
            pass
