"""What commands ask of a server that need not run."""

from pathlib import Path

from blkrun.client import Client
from blkrun.errors import NoServerError
from blkrun.model import EMPTY, Config
from blkrun.reconcile.apply import ask_live
from blkrun.reconcile.live import Live
from blkrun.reconcile.proposal import Proposal, propose, proposed


async def connect(control: Path) -> Client | None:
    """None: nothing is served.  One that goes away, or hangs, is an error."""
    try:
        return await Client.connect(control)
    except NoServerError:
        return None


async def propose_to(client: Client | None, config: Config) -> Proposal:
    """What applying a file would do; without a server, what starting one would."""
    if client is None:
        return proposed(config, Live(graph=EMPTY, clients={}, pid=0))
    return await propose(client, config, await ask_live(client))
