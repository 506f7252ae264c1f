"""A proposal, done by a command: what the runner does of itself, where somebody asks for it."""

import contextlib
from time import monotonic_ns
from typing import Any

from blkrun.client import Client
from blkrun.config import Sources, read
from blkrun.errors import FileError
from blkrun.model import Config
from blkrun.reconcile.apply import RefusedError, apply
from blkrun.reconcile.chronicle import Chronicle
from blkrun.reconcile.proposal import Proposal
from blkrun.reconcile.reports import about, milliseconds_since, stakes


async def carry_out(
    client: Client, config: Config, proposal: Proposal, chronicle: Chronicle, *, hard: bool
) -> dict[str, Any]:
    """Apply it, write it down and tell every watcher; the report, with its ``kind``.

    ``hard``: also take disks from connected clients.  Raises RefusedError, which is told as well.
    """
    begin_ns = monotonic_ns()
    drains: dict[str, int] = {}
    sources = _sources_of(config)
    try:
        if proposal.operations:
            drains = await apply(client, proposal.operations, config, hard=hard)
    except RefusedError as error:
        failed: dict[str, Any] = {
            "file": config.path.name,
            "message": str(error),
            "digest": config.digest,
        }
        failed |= {"milliseconds": milliseconds_since(begin_ns)}
        await chronicle.tell(client, "failed", failed, sources)
        raise
    data = about(config, proposal.operations) | stakes(drains, proposal.taken)
    data |= {"milliseconds": milliseconds_since(begin_ns), "digest": config.digest}
    return {"kind": "applied", **await chronicle.tell(client, "applied", data, sources)}


def _sources_of(config: Config) -> Sources | None:
    """The texts that it was read from, if they are still the same."""
    with contextlib.suppress(FileError):
        if (sources := read(config.path)).digest == config.digest:
            return sources
    return None


def postponed(config: Config, proposal: Proposal) -> dict[str, Any]:
    """The report of one that waits for a yes, with its ``kind``."""
    data = about(config, proposal.operations) | stakes(proposal.drains or {}, proposal.taken)
    return {"kind": "pending", **data, "digest": config.digest, "why": proposal.why}
