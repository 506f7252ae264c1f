"""``blkrun apply FILE``: apply a file now, also what waits for a yes."""

import argparse
import asyncio
from pathlib import Path

from blkrun.cli import Exit
from blkrun.cli.output import confirmed, console, print_proposal
from blkrun.client import Client
from blkrun.config import load
from blkrun.model import Config
from blkrun.reconcile.apply import ask_live
from blkrun.reconcile.carry_out import carry_out
from blkrun.reconcile.chronicle import Chronicle
from blkrun.reconcile.proposal import propose

EXAMPLES = """
blkrun apply vm.toml        shows the plan, and asks where it hurts
blkrun apply vm.toml --yes  takes disks from connected clients unasked
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and --yes."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument(
        "--yes", action="store_true", help="also take disks from connected clients, unasked"
    )


def run(args: argparse.Namespace) -> int:
    """Show the plan, ask where it hurts, do it.  What would be refused is not asked about."""
    config = load(args.file)
    return asyncio.run(_apply(config, yes=args.yes))


async def _apply(config: Config, *, yes: bool) -> Exit:
    async with await Client.connect(config.address.control) as client:
        proposal = await propose(client, config, await ask_live(client))
        print_proposal(proposal, config, offer=False)
        if not proposal.operations:
            return Exit.DONE
        if proposal.refused is not None:
            return Exit.FAILED
        if proposal.taken and not (yes or confirmed("take the disks from these clients?")):
            console(stderr=True).print("nothing was changed: --yes takes them, unasked")
            return Exit.PENDING
        chronicle = Chronicle(config.address.control, "apply", console(stderr=True).print)
        await carry_out(client, config, proposal, chronicle, hard=True)
        return Exit.DONE
