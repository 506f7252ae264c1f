"""``blkrun plan FILE``: the operations that applying the file would do, in order."""

import argparse
import asyncio
import json
from pathlib import Path

from blkrun.cli import Exit
from blkrun.cli.output import console, print_proposal
from blkrun.client import Client
from blkrun.config import load
from blkrun.errors import NoServerError
from blkrun.model import EMPTY, Config
from blkrun.reconcile.apply import ask_live, transaction_of
from blkrun.reconcile.live import Live
from blkrun.reconcile.proposal import Proposal, propose, proposed

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
    asked = asyncio.run(_ask(config))
    proposal = asked or proposed(config, Live(graph=EMPTY, clients={}, pid=0))
    if args.json:
        _print_transaction(proposal)
    else:
        print_proposal(proposal, config, running=asked is not None)
    if proposal.refused is not None:
        return Exit.FAILED
    return Exit.PENDING if proposal.operations and args.exit_code else Exit.DONE


async def _ask(config: Config) -> Proposal | None:
    """None if there is no server.  One that goes away, or hangs, is an error."""
    try:
        client = await Client.connect(config.address.control)
    except NoServerError:
        return None
    async with client:
        return await propose(client, config, await ask_live(client))


def _print_transaction(proposal: Proposal) -> None:
    """As it would be sent; why it would be refused is told beside it."""
    transaction = transaction_of(proposal.operations, hard=True)
    print(json.dumps({"execute": "transaction", "arguments": transaction}, indent=2))  # noqa: T201 - the command's output
    if proposal.refused is not None:
        console(stderr=True).print(f"refused, nothing would be changed: {proposal.refused}")
