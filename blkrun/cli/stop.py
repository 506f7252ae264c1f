"""``blkrun stop FILE``: end the server; its runner, if there is one, ends with it."""

import argparse
import asyncio
import sys
from pathlib import Path

from blkrun.cli import Exit
from blkrun.cli.output import console
from blkrun.client import Client
from blkrun.config import locate
from blkrun.model import ServerAddress
from blkrun.reconcile.apply import ask_live
from blkrun.reconcile.control import stop_server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and --yes."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument("--yes", action="store_true", help="also with clients connected, unasked")


def run(args: argparse.Namespace) -> int:
    """Ask if clients are connected and somebody can answer."""
    return asyncio.run(_stop(locate(args.file), yes=args.yes))


async def _stop(address: ServerAddress, *, yes: bool) -> Exit:
    client = await Client.connect(address.control)
    try:
        live = await ask_live(client)
        connected = {name: count for name, count in live.clients.items() if count}
        if connected and not yes and not _confirmed(connected):
            return Exit.PENDING
        await stop_server(client, live.pid, address)
    finally:
        await client.close()
    console().print(f"stopped (pid {live.pid})")
    return Exit.DONE


def _confirmed(connected: dict[str, int]) -> bool:
    who = ", ".join(f"{name}: {count} client(s)" for name, count in connected.items())
    if not sys.stdin.isatty():
        console(stderr=True).print(f"blkrun: still in use ({who}); stop it anyway with --yes")
        return False
    return console().input(f"{who}. Stop anyway? [y/N] ").strip().lower() == "y"
