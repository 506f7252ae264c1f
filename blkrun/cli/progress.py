"""The headless log's line on every running job, each ten seconds.  No job, no question asked."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from blkrun.client import Client
from blkrun.errors import BlkrunError
from blkrun.messages import job_progress

INTERVAL_S = 10.0

_AT_WORK = ("created", "running")


class JobProgress:
    """``client`` gives the conversation with the server of the moment; ``tell`` prints a line."""

    def __init__(self, client: Callable[[], Client], tell: Callable[[str], None]) -> None:
        self._client = client
        self._tell = tell
        self._at_work = asyncio.Event()
        self._at_work.set()  # until the first look: jobs of a server that was running before

    def hear(self, event: dict[str, Any]) -> None:
        """An event of the server: a job may have begun, or gone on."""
        if event["event"] == "JOB_STATUS_CHANGE" and event["data"]["status"] in _AT_WORK:
            self._at_work.set()

    async def run(self, interval_s: float = INTERVAL_S) -> None:
        """Until cancelled."""
        while True:
            await self._at_work.wait()
            await asyncio.sleep(interval_s)
            self._at_work.clear()
            with contextlib.suppress(BlkrunError):  # the runner tells of a server that is away
                await self._look()

    async def _look(self) -> None:
        for job in (await self._client().execute("x-blkrun-query-graph")).get("jobs", ()):
            if job["status"] == "running":
                self._at_work.set()
                self._tell(f"{job['type']} {job['id']}: {job_progress(job)}")
