"""``blkrun plan FILE``: the operations that applying the file would do, in order."""

import argparse
import asyncio
import json
from pathlib import Path

import msgspec

from blkrun.cli import Exit
from blkrun.cli.output import print_plan
from blkrun.client import Client
from blkrun.config import load
from blkrun.errors import NoServerError
from blkrun.model import EMPTY, Config
from blkrun.reconcile.apply import ask_live, taken_from_clients
from blkrun.reconcile.live import Live
from blkrun.reconcile.pivots import with_recorded
from blkrun.reconcile.plan import plan

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
    """Without a server the plan is what a start would do."""
    config = load(args.file)
    live = asyncio.run(_live(config))
    graph = with_recorded(live.graph, config.graph, config.address.control)
    live = msgspec.structs.replace(live, graph=graph)
    operations = plan(config.graph, live.graph)
    if args.json:
        actions = [operation.action() for operation in operations]
        print(json.dumps({"execute": "transaction", "arguments": {"actions": actions}}, indent=2))  # noqa: T201 - the command's output
    else:
        taken = taken_from_clients(operations, config.graph, live)
        print_plan(operations, taken, running=live.pid != 0)
    return Exit.PENDING if operations and args.exit_code else Exit.DONE


async def _live(config: Config) -> Live:
    try:
        async with await Client.connect(config.address.control) as client:
            return await ask_live(client)
    except NoServerError:
        return Live(graph=EMPTY, clients={}, pid=0)
