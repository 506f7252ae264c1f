"""``blkrun ps``: the servers that run on this machine, whatever file each is for."""

import argparse
import asyncio

import msgspec
from rich.table import Table

from blkrun.cli import Exit
from blkrun.cli.output import console
from blkrun.reconcile.instances import Instance, instances
from blkrun.units import format_seconds

EXAMPLES = """
blkrun ps
blkrun ps --json    for a program
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="a list of objects")


def run(args: argparse.Namespace) -> int:
    """One row a server; one that hangs has no numbers."""
    found = asyncio.run(instances())
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())  # noqa: T201 - the command's output
    elif found:
        console().print(_table(found))
    else:
        console().print("no server of yours runs")
    return Exit.DONE


def _table(found: list[Instance]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("FILE", "SERVER", "RUNNER", "LISTEN", "EXPORTS", "CLIENTS", "UP"):
        right = column in ("SERVER", "RUNNER", "CLIENTS", "UP")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for each in found:
        table.add_row(
            each.file or "-",
            str(each.server),
            str(each.runner or "-"),
            each.listen,
            "does not answer" if each.exports is None else " ".join(each.exports) or "none",
            "-" if each.clients is None else str(each.clients),
            "-" if each.uptime_ns is None else format_seconds(each.uptime_ns / 1e9),
        )
    return table
