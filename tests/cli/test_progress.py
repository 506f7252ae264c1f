"""The headless log's lines on running jobs."""

import asyncio
from typing import Any, cast

from blkrun.cli.progress import JobProgress
from blkrun.client import Client
from blkrun.errors import NoServerError


class Server:
    """Answers with its jobs, and counts the questions."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.asked = 0
        self.away = False

    async def execute(self, command: str) -> dict[str, Any]:
        """The one question."""
        assert command == "x-blkrun-query-graph"
        self.asked += 1
        if self.away:
            raise NoServerError("no server")
        return {"jobs": self.jobs}


def job(status: str) -> dict[str, Any]:
    """As x-blkrun-query-graph has it."""
    progress = {"current-progress": 5, "total-progress": 10, "rate": 1}
    return {"id": "nightly", "type": "backup", "status": status, **progress}


async def turns() -> None:
    """Let the other task do what it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_line_as_long_as_a_job_runs() -> None:
    """The first look is for jobs that ran before; without one nothing is asked until one starts."""

    async def story() -> None:
        server, lines = Server(), list[str]()
        progress = JobProgress(lambda: cast("Client", server), lines.append)
        task = asyncio.create_task(progress.run(interval_s=0))
        await turns()
        assert (server.asked, lines) == (1, [])

        progress.hear({"event": "SHUTDOWN"})
        progress.hear({"event": "JOB_STATUS_CHANGE", "data": {"status": "concluded"}})
        await turns()
        assert server.asked == 1

        server.jobs = [job("running"), job("paused")]
        progress.hear({"event": "JOB_STATUS_CHANGE", "data": {"status": "running"}})
        await turns()
        assert len(lines) == server.asked - 1 > 1
        assert lines[0] == "backup nightly: 50%, 5B of 10B, 1B/s, 5s left"

        server.jobs = [job("concluded")]
        await turns()
        asked = server.asked
        await turns()
        assert server.asked == asked
        task.cancel()

    asyncio.run(story())


def test_a_server_that_is_away() -> None:
    """Nothing is said of it here, and a job that starts later is told of."""

    async def story() -> None:
        server, lines = Server(), list[str]()
        progress = JobProgress(lambda: cast("Client", server), lines.append)
        server.away = True
        task = asyncio.create_task(progress.run(interval_s=0))
        await turns()
        server.away, server.jobs = False, [job("running")]
        progress.hear({"event": "JOB_STATUS_CHANGE", "data": {"status": "running"}})
        await turns()
        assert lines
        task.cancel()

    asyncio.run(story())
