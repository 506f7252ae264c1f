"""A proposal, done by a command: what the runner does of itself, where somebody asks for it."""

from time import monotonic_ns
from typing import Any

from blkrun.client import Client
from blkrun.model import Config
from blkrun.reconcile.apply import apply
from blkrun.reconcile.proposal import Proposal
from blkrun.reconcile.reports import about, milliseconds_since, stakes


async def carry_out(
    client: Client, config: Config, proposal: Proposal, *, hard: bool
) -> dict[str, Any]:
    """Apply it and tell every watcher; the report, with its ``kind``.

    ``hard``: also take disks from connected clients.  Raises RefusedError.
    """
    begin_ns = monotonic_ns()
    drains: dict[str, int] = {}
    if proposal.operations:
        drains = await apply(client, proposal.operations, config, hard=hard)
    data = about(config, proposal.operations) | stakes(drains, proposal.taken)
    data |= {"milliseconds": milliseconds_since(begin_ns), "digest": config.digest}
    await client.execute("x-blkrun-report", {"kind": "applied", "data": data})
    return {"kind": "applied", **data}


def postponed(config: Config, proposal: Proposal) -> dict[str, Any]:
    """The report of one that waits for a yes, with its ``kind``."""
    data = about(config, proposal.operations) | stakes(proposal.drains or {}, proposal.taken)
    return {"kind": "pending", **data, "digest": config.digest, "why": proposal.why}
