"""``blkrun replay FILE``: the dashboard of a recording, at any speed and from any time."""

import argparse
import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from blkrun.cli import Exit
from blkrun.cli.output import console
from blkrun.dashboard import replay
from blkrun.dashboard.feed import Happened, Lost, Seen
from blkrun.dashboard.recording import VERSION, Recorded, Recording
from blkrun.errors import BlkrunError

EXAMPLES = """
blkrun replay today.rec           play it, halt, leap: with a slider
blkrun replay today.rec --json    for a program, one object a line
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and --json."""
    parser.add_argument(
        "recording", metavar="FILE", type=Path, help="what attach --record has written"
    )
    parser.add_argument(
        "--json", action="store_true", help="print what is in it: one JSON object a line"
    )


def run(args: argparse.Namespace) -> int:
    """What is no recording is said before anything is shown."""
    with Recording.open(args.recording) as recording:
        if args.json:
            _print(recording)
        else:
            _show(recording)
        if recording.unreadable:
            rows = "1 row" if recording.unreadable == 1 else f"{recording.unreadable} rows"
            console(stderr=True).print(f"{rows} of {args.recording} cannot be read: left out")
    return Exit.DONE


def _show(recording: Recording) -> None:
    instead = f"see: blkrun replay {recording.path} --json"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BlkrunError(f"no terminal for a dashboard; {instead}")
    if find_spec("textual") is None:
        raise BlkrunError(f"no dashboard: pip install 'blkrun[dashboard]'; without it {instead}")
    asyncio.run(replay(recording))


def _print(recording: Recording) -> None:
    meta = recording.meta
    about = {"title": meta.title, "blkrun": meta.blkrun, "format": VERSION}
    _print_line({"at": meta.begin_ms / 1000, "recording": about})
    for at_s, report in recording.reports():
        _print_line({"at": at_s, **_fields(report)})


def _fields(report: Recorded) -> dict[str, Any]:
    match report:
        case Seen(snapshot):
            return {"look": snapshot}
        case Happened(events):
            return {"events": events}
        case Lost(why):
            return {"lost": why}


def _print_line(fields: dict[str, Any]) -> None:
    print(msgspec.json.encode(fields).decode())  # noqa: T201 - the command's output
