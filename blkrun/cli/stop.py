"""``blkrun stop FILE``: end the server; its runner, if there is one, ends with it."""

import argparse
import asyncio
import sys
from pathlib import Path

from blkrun.cli import Exit
from blkrun.cli.output import confirmed, console
from blkrun.client import Client
from blkrun.config import locate
from blkrun.messages import at_stake
from blkrun.model import ServerAddress
from blkrun.reconcile.apply import ask_live
from blkrun.reconcile.control import stop_server
from blkrun.reconcile.live import Live

EXAMPLES = """
blkrun stop vm.toml        asks first while clients are connected
blkrun stop vm.toml --yes  does not
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and --yes."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument(
        "--yes", action="store_true", help="also with clients connected or jobs not done, unasked"
    )


def run(args: argparse.Namespace) -> int:
    """Ask if clients are connected or jobs run, and somebody can answer."""
    return asyncio.run(_stop(locate(args.file), yes=args.yes))


async def _stop(address: ServerAddress, *, yes: bool) -> Exit:
    client = await Client.connect(address.control)
    try:
        live = await ask_live(client)
        stake = at_stake(live.clients, unfinished(live))
        if stake and not yes and not _confirmed(stake):
            return Exit.PENDING
        await stop_server(client, live.pid, address)
    finally:
        await client.close()
    console().print(f"stopped (pid {live.pid})")
    return Exit.DONE


def unfinished(live: Live) -> list[str]:
    """Jobs whose work is not over."""
    return [name for name, state in live.graph.states.items() if not state.ended]


def _confirmed(stake: str) -> bool:
    if not sys.stdin.isatty():
        console(stderr=True).print(f"blkrun: still in use ({stake}); stop it anyway with --yes")
        return False
    return confirmed(f"{stake}. Stop anyway?")
