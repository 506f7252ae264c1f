"""``blkrun apply FILE``: apply a file now, also what waits for a yes."""

import argparse
import asyncio
from pathlib import Path

from blkrun.cli import Exit
from blkrun.cli.edit_file import (
    Edited,
    add_edit_arguments,
    expect,
    print_outcome,
    say_unchanged,
    show_proposal,
)
from blkrun.cli.output import confirmed, console, print_proposal
from blkrun.client import Client
from blkrun.config import parse, read
from blkrun.reconcile.apply import ask_live
from blkrun.reconcile.carry_out import carry_out
from blkrun.reconcile.chronicle import Chronicle
from blkrun.reconcile.proposal import propose

EXAMPLES = """
blkrun apply vm.toml        shows the plan, and asks where it hurts
blkrun apply vm.toml --yes  takes disks from connected clients unasked
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --yes, and what all edits have."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument(
        "--yes", action="store_true", help="also take disks from connected clients, unasked"
    )
    add_edit_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Show the plan, ask where it hurts, do it.  What would be refused is not asked about."""
    sources = read(args.file)
    edited = Edited(sources, sources, (), parse(sources))
    expect(edited, args.expect)
    return asyncio.run(_apply(edited, args))


async def _apply(edited: Edited, args: argparse.Namespace) -> Exit:
    config = edited.config
    async with await Client.connect(config.address.control) as client:
        proposal = await propose(client, config, await ask_live(client))
        if not proposal.operations and args.json:
            say_unchanged(as_json=True)
            return Exit.DONE
        if args.dry_run or proposal.refused is not None:
            return show_proposal(proposal, edited, running=True, as_json=args.json)
        if not args.json:
            print_proposal(proposal, config, offer=False)
        if not proposal.operations:
            return Exit.DONE
        if proposal.taken and not (args.yes or confirmed("take the disks from these clients?")):
            console(stderr=True).print("nothing was changed: --yes takes them, unasked")
            return Exit.PENDING
        chronicle = Chronicle(config.address.control, "apply", console(stderr=True).print)
        report = await carry_out(client, config, proposal, chronicle, hard=True)
        if args.json:
            print_outcome(edited, report)
        return Exit.DONE
