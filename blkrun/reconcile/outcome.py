"""What became of an edit: for a command that has saved the file and waits for the runner.

An edit is known by the digest of the file's text (see ``blkrun.config.sources``), which every
report about it carries.
"""

import asyncio
import contextlib
from typing import Any

from blkrun.client import Client

OUTCOMES = ("applied", "rejected", "pending", "failed")

_PREFIX = "X_BLKRUN_CONFIG_"


async def wait_for_outcome(
    client: Client, digest: str, timeout_s: float, *, anew: bool = False
) -> dict[str, Any] | None:
    """The data of the report about the text with this digest, with its ``kind``; None in vain.

    ``client`` must have been connected before the file was saved: it keeps every event since.
    ``anew``: a report from before does not count, as for a text that is to be looked at again.
    In vain: the server goes away, or the time is over, as when somebody has saved something else
    before it was read.
    """
    if not anew and (told := await _told(client, digest)) is not None:
        return told
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            async for event in client.events():
                if (report := _about(event, digest)) is not None:
                    return report
    return None


async def _told(client: Client, digest: str) -> dict[str, Any] | None:
    """The last report, if it is about this text."""
    graph = await client.execute("x-blkrun-query-graph")
    report = graph["reports"].get("config") or {}
    return dict(report) if report.get("digest") == digest else None


def _about(event: dict[str, Any], digest: str) -> dict[str, Any] | None:
    data = event.get("data", {})
    kind = event["event"].removeprefix(_PREFIX).lower()
    if kind not in OUTCOMES or data.get("digest") != digest:
        return None
    return {"kind": kind, **data}
