"""``blkrun apply FILE``: apply a file now, also what waits for a yes."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from blkrun.cli import Exit
from blkrun.cli.output import console, print_plan
from blkrun.client import Client
from blkrun.config import load
from blkrun.model import Config
from blkrun.reconcile.apply import apply, ask_live, taken_from_clients
from blkrun.reconcile.pivots import with_recorded
from blkrun.reconcile.plan import plan, summarise

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
    """Show the plan, ask where it hurts, do it."""
    config = load(args.file)
    return asyncio.run(_apply(config, yes=args.yes))


async def _apply(config: Config, *, yes: bool) -> Exit:
    async with await Client.connect(config.address.control) as client:
        live = await ask_live(client)
        graph = with_recorded(live.graph, config.graph, config.address.control)
        live = msgspec.structs.replace(live, graph=graph)
        operations = plan(config.graph, live.graph)
        taken = taken_from_clients(operations, config.graph, live)
        print_plan(operations, taken, running=True)
        if not operations:
            return Exit.DONE
        if taken and not (yes or _confirmed()):
            console(stderr=True).print("nothing was changed")
            return Exit.PENDING
        await apply(client, operations, config, hard=True)
        data: dict[str, Any] = {"file": config.path.name, "summary": summarise(operations)}
        data["operations"] = [f"{op.sign} {op.text}" for op in operations]
        await client.execute("x-blkrun-report", {"kind": "applied", "data": data})
        return Exit.DONE


def _confirmed() -> bool:
    """A question only where somebody can answer it."""
    if not sys.stdin.isatty():
        return False
    return console().input("take the disks from these clients? [y/N] ").strip().lower() == "y"
