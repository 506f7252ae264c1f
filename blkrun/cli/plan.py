"""``blkrun plan FILE``: the operations that applying the file would do, in order."""

import argparse
import asyncio
import json
from pathlib import Path

from blkrun.cli import Exit
from blkrun.cli.asking import connect, propose_to
from blkrun.cli.output import console, print_proposal
from blkrun.config import load
from blkrun.model import Config
from blkrun.reconcile.apply import transaction_of
from blkrun.reconcile.proposal import Proposal

EXAMPLES = """
blkrun plan vm.toml              what saving this file would do
blkrun plan vm.toml --exit-code  for a script: 5 if there is anything to do
blkrun plan vm.toml --json       the transaction itself, as QMP has it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --json and --exit-code."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument("--json", action="store_true", help="print the transaction itself")
    parser.add_argument(
        "--exit-code", action="store_true", help=f"exit with {Exit.PENDING} if there are changes"
    )


def run(args: argparse.Namespace) -> int:
    """Without a server the plan is what a start would do.  One that is refused is a failure."""
    config = load(args.file)
    proposal, running = asyncio.run(_ask(config))
    if args.json:
        _print_transaction(proposal)
    else:
        print_proposal(proposal, config, running=running)
    if proposal.refused is not None:
        return Exit.FAILED
    return Exit.PENDING if proposal.operations and args.exit_code else Exit.DONE


async def _ask(config: Config) -> tuple[Proposal, bool]:
    """And whether there is a server."""
    client = await connect(config.address.control)
    if client is None:
        return await propose_to(None, config), False
    async with client:
        return await propose_to(client, config), True


def _print_transaction(proposal: Proposal) -> None:
    """As it would be sent; why it would be refused is told beside it."""
    transaction = transaction_of(proposal.operations, hard=True)
    print(json.dumps({"execute": "transaction", "arguments": transaction}, indent=2))  # noqa: T201 - the command's output
    if proposal.refused is not None:
        console(stderr=True).print(f"refused, nothing would be changed: {proposal.refused}")
