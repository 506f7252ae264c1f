"""``blkrun dump FILE``: the graph in force as a file, on standard output."""

import argparse
import asyncio
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from blkrun.cli import Exit
from blkrun.cli.shipped import SCHEMA
from blkrun.client import Client
from blkrun.config import locate, parse, read
from blkrun.config.edit import document_in
from blkrun.config.sections import SETTINGS
from blkrun.errors import BlkrunError, FileError
from blkrun.reconcile.apply import ask_live
from blkrun.reconcile.dump import dump
from blkrun.reconcile.live import Live

EXAMPLES = """
blkrun dump vm.toml > now.toml  as it is, whoever changed it, and how
blkrun dump vm.toml --json      for a script
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and --json."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument("--json", action="store_true", help="the file's tables as one JSON object")


def run(args: argparse.Namespace) -> int:
    """[server] and the other settings are as in the file; all else is as the server has it."""
    live = asyncio.run(_ask(locate(args.file).control))
    title = f"{args.file.name}, as its server {live.pid} has it"
    text = f"#:schema {SCHEMA}\n{dump(live.graph, _settings(args.file), title)}"
    shown = json.dumps(tomllib.loads(text), indent=2) + "\n" if args.json else text
    sys.stdout.write(shown)
    try:
        parse(text, args.file)
    except FileError as error:
        raise BlkrunError(f"this can be made by QMP only, no file may say it:\n{error}") from error
    return Exit.DONE


async def _ask(control: Path) -> Live:
    async with await Client.connect(control) as client:
        return await ask_live(client)


def _settings(file: Path) -> dict[str, Any]:
    """Empty if the file cannot be read just now."""
    try:
        document = document_in(read(file))
    except FileError:
        return {}
    return {name: document[name] for name in SETTINGS if isinstance(document.get(name), dict)}
