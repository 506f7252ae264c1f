"""A server in this process, with words for what tests do to jobs and hear of them."""

from typing import Any

from blkrun.server.jobs.job import Job
from blkrun.server.jobs.policy import Conduct
from blkrun.server.jobs.transaction import JobTransaction
from tests.server.counting_job import CountingJob
from tests.server.inprocess import PATIENCE_S, InProcess


class JobServer(InProcess):
    """With words for what the tests do to jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.events.subscribe(self.session.on_event)

    def make(
        self,
        name: str = "j",
        kind: type[CountingJob] = CountingJob,
        transaction: JobTransaction | None = None,
        **options: Any,
    ) -> CountingJob:
        """A job that is created, and not started."""
        job = kind(Conduct(id=name, **options), self.events, transaction)
        self.context.jobs.add(job)
        return job

    def begin(self, name: str = "j", **options: Any) -> CountingJob:
        """A job that is running."""
        job = self.make(name, **options)
        job.start()
        return job

    def told(self, name: str = "j") -> list[str]:
        """All events of a job, in order: states in lower case, others by name."""
        told = []
        for message in self.sent:
            data = message.get("data", {})
            if "event" in message and name in (data.get("id"), data.get("device")):
                change = message["event"] == "JOB_STATUS_CHANGE"
                told.append(data["status"] if change else message["event"])
        return told

    def data(self, event: str) -> list[dict[str, Any]]:
        """What all events of a name carried."""
        return [message["data"] for message in self.sent if message.get("event") == event]

    def listed(self, name: str = "j") -> dict[str, Any]:
        """A job's entry in query-block-jobs."""
        (found,) = [each for each in self.execute("query-block-jobs") if each["device"] == name]
        assert isinstance(found, dict)
        return found


def ended(job: Job) -> None:
    """Wait for a job's thread."""
    assert job.join(PATIENCE_S)
