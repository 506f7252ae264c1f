"""What the tests of backup and mirror share: jobs step by step, clients beside them, their end."""

import errno
import threading

import hypothesis.strategies as st

from blkrun.server.jobs.job import Job
from tests.server.copy_server import CLUSTER, CopyServer
from tests.server.inprocess import PATIENCE_S, eventually
from tests.server.job_server import ended

SMALL = 16 * CLUSTER
steps = st.lists(
    st.tuples(
        st.sampled_from(["write", "zero", "trim", "chunk", "chunk", "fail", "filter"]),
        st.integers(0, SMALL - 1),
        st.integers(1, 5 * CLUSTER),
    ),
    max_size=14,
)


class Stepped:
    """A backup that goes on by one chunk when it is told to, whose next chunk may fail."""

    def __init__(self) -> None:
        self.turns = threading.Semaphore(0)
        self.waiting = threading.Event()
        self.fails = False

    def await_pace(self, job: Job) -> None:
        """In the job's place: without a claim."""
        self.waiting.set()
        assert self.turns.acquire(timeout=PATIENCE_S)
        job.pause_point()

    def before_write(self, offset: int, count: int) -> None:
        """The target's: only the job's own copying fails."""
        if self.fails and threading.current_thread().name.startswith("blkrun-job"):
            self.fails = False
            raise OSError(errno.EIO, "as told")

    def chunk(self, job: Job) -> None:
        """One, or the end of the job."""
        self.waiting.clear()
        self.turns.release()
        eventually(lambda: self.waiting.is_set() or not job.in_run)

    def finish(self, job: Job) -> None:
        """All that are left."""
        for _ in range(40):
            self.turns.release()
        ended(job)


def client_does(server: CopyServer, number: int, what: str, offset: int, count: int) -> None:
    """A write of whatever kind; or an edit above the job's filter."""
    if what == "write":
        server.fill(number, offset, count)
    elif what == "zero":
        server.client.zero(count, offset, 0)
    elif what == "trim":
        server.client.trim(count, offset, 0)
    else:
        inserted = server.graph.exports["vda"].root.name == "limit"
        command = "block-remove-node" if inserted else "block-insert-node"
        server.execute(command, {"parent": "vda", "child": "disk", "node": "limit"})


def finish(server: CopyServer) -> None:
    """Nothing may be left."""
    server.context.jobs.cancel_all()
    assert server.context.jobs.join(PATIENCE_S)
    assert all(node.job_id is None for node in server.graph.nodes.values())


def unpaced(sent: list[str]) -> list[str]:
    """Without the pauses of drained sections, whose number is not contractual (§8.3)."""
    return [
        each
        for number, each in enumerate(sent)
        if each != "paused" and not (each == "running" and sent[number - 1] == "paused")
    ]
