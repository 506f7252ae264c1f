"""``blkrun attach FILE``: the dashboard of a server that runs.  Leaving it leaves the server."""

import argparse
import asyncio
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import msgspec

from blkrun.cli import Exit
from blkrun.cli.browser import (
    ANYWHERE,
    closing_with_the_browser,
    is_for_a_browser,
    serve_to_browsers,
    web_address,
)
from blkrun.cli.output import console
from blkrun.client import Client
from blkrun.config import load, locate
from blkrun.dashboard import show
from blkrun.dashboard.recording_writer import Writer
from blkrun.errors import BlkrunError, FileError
from blkrun.model import ServerAddress
from blkrun.options import DashboardOptions
from blkrun.reconcile.lease import holder_of

EXAMPLES = """
blkrun attach vm.toml                   q leaves it running
blkrun attach vm.toml --read-only       a dashboard that changes nothing
blkrun attach vm.toml --serve           in browsers on this machine
blkrun attach vm.toml --record a.rec    see it again with: blkrun replay a.rec
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --read-only, --record and --serve."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the TOML file")
    parser.add_argument("--read-only", action="store_true", help="only look: change nothing")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="write all that is seen to a file; one that is there is gone on with",
    )
    parser.add_argument(
        "--serve",
        nargs="?",
        type=web_address,
        const=ANYWHERE,
        metavar="HOST:PORT",
        help="in browsers on this machine, until Ctrl-C (127.0.0.1:8000, or the next free port)",
    )


def run(args: argparse.Namespace) -> int:
    """Say so where no dashboard can be shown."""
    if args.serve is not None:
        if args.record is not None:
            raise FileError("blkrun: --record is for one dashboard: leave out --serve")
        asyncio.run(_serve(args))
        return Exit.DONE
    if not is_for_a_browser() and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BlkrunError(f"no terminal for a dashboard; see: blkrun status {args.file}")
    if find_spec("textual") is None:
        raise BlkrunError(
            "no dashboard: pip install 'blkrun[dashboard]'; without it see: "
            f"blkrun status {args.file}"
        )
    asyncio.run(_attach(args, locate(args.file)))
    return Exit.DONE


async def _serve(args: argparse.Namespace) -> None:
    async with await Client.connect(locate(args.file).control):
        pass  # somebody is there
    await serve_to_browsers(args.file, args.serve, read_only=args.read_only)


async def _attach(args: argparse.Namespace, address: ServerAddress) -> None:
    file: Path = args.file
    async with await Client.connect(address.control):
        pass  # somebody is there
    record = _open_record(args.record, title=file.name) if args.record is not None else None
    await show(
        control=address.control,
        file=file,
        uri_of=address.uri,
        refresh_s=_refresh_s(file),
        owner=False,
        read_only=args.read_only,
        record=record,
        runner_of=holder_of,
        closing=closing_with_the_browser() if is_for_a_browser() else None,
    )
    if record is not None:
        console().print(f"look at it again with: blkrun replay {args.record}")
    if not is_for_a_browser() and holder_of(address.control) is None:
        console().print(
            f"nobody follows the edits of {file.name}; go on with: blkrun run {file}",
            style="yellow",
        )


def _open_record(path: Path, *, title: str) -> Writer:
    """Before anything is shown: what is wrong with it is said in the terminal."""
    return Writer.open(path, title=title, begin_ms=round(time.time() * 1000))


def _refresh_s(file: Path) -> float:
    """As the file says; a file that is wrong just now is no reason not to look."""
    try:
        dashboard = load(file).dashboard
    except FileError:
        dashboard = msgspec.convert({}, DashboardOptions)
    return dashboard.refresh / 1e9
