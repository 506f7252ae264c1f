"""All jobs by id, from created to null (qemu-semantics §6.3, 8.1)."""

import re
import threading
from collections.abc import Container
from time import monotonic

from blkrun.errors import CommandError, DeviceNotActive
from blkrun.server.jobs.control import JobControl
from blkrun.server.jobs.job import Job

_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")


class Jobs:
    """``_lock`` covers the table; it is the innermost: nobody waits for anything inside it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._threads: set[Job] = set()  # with those that are null but not yet at their end
        self._ended_at: float | None = None

    def add(self, job: Job) -> None:
        """A job is created; then it must be started, given up or rolled back.

        Raises CommandError: the id is no id or in use, there is no thread to be had, or the server
        is ending.
        """
        with self._lock:
            self._check_new(job.id)
            self._jobs[job.id] = job
            self._threads = {each for each in self._threads if each.alive()}
            self._threads.add(job)
        try:
            job.enlist(self._forget)
        except BaseException as error:
            with self._lock:
                self._threads.discard(job)
                del self._jobs[job.id]
            if isinstance(error, RuntimeError):
                text = f"Job '{job.id}' could not be given a thread: {error}"
                raise CommandError(text) from error
            raise

    def check_new(self, job_id: str, others: Container[str] = ()) -> None:
        """Whether ``add`` would take a job of this id, after ``others``.  Raises CommandError."""
        with self._lock:
            self._check_new(job_id, others)

    def find(self, job_id: str) -> Job:
        """For job-*."""
        job = self._jobs.get(job_id)
        if job is None:
            raise CommandError("Job not found")
        return job

    def find_block(self, device: str) -> Job:
        """For block-job-*, which have words and a class of their own."""
        job = self._jobs.get(device)
        if job is None:
            raise DeviceNotActive(f"Block job '{device}' not found")
        return job

    def listing(self) -> list[Job]:
        """In order of creation."""
        with self._lock:
            return list(self._jobs.values())

    def cancel_all(self) -> None:
        """The server ends: cancel what can be, and take no more.  Waits for nobody."""
        with self._lock:
            self._ended_at = self._ended_at or monotonic()
        for job in self.listing():
            job.end_if_possible()

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads, until so long after ``cancel_all``.  Whether all have ended.

        Not with a lock of the graph, which they may want.
        """
        with self._lock:
            jobs = list(self._threads)
            deadline = (self._ended_at or monotonic()) + timeout_s
        ended = [job.join(max(0.0, deadline - monotonic())) for job in jobs]
        return all(ended)

    def _check_new(self, job_id: str, others: Container[str] = ()) -> None:
        if self._ended_at is not None:
            raise CommandError(f"Job '{job_id}' cannot start: the server is ending")
        if not _ID.fullmatch(job_id):
            raise CommandError(f"Invalid job ID '{job_id}'")
        if job_id in self._jobs or job_id in others:
            raise CommandError(f"Job ID '{job_id}' already in use")

    def _forget(self, job: JobControl) -> None:
        with self._lock:
            del self._jobs[job.id]
