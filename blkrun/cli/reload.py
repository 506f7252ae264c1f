"""``blkrun reload FILE``: have the runner read its file again now, and say what came of it."""

import argparse
import asyncio
import shlex
from pathlib import Path
from typing import Any

from blkrun.cli import Exit
from blkrun.cli.output import console
from blkrun.client import Client
from blkrun.config import locate
from blkrun.config.sources import read
from blkrun.errors import NoServerError, WaitError
from blkrun.messages import report_text
from blkrun.reconcile.lease import holder_of
from blkrun.reconcile.outcome import wait_for_outcome

_TIMEOUT_S = 100.0
"""A transaction may take 90 s."""

_EXITS = {"applied": Exit.DONE, "rejected": Exit.USAGE, "pending": Exit.PENDING}

EXAMPLES = """
blkrun reload vm.toml   as a unit's ExecReload; a save does it by itself
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the TOML file")


def run(args: argparse.Namespace) -> int:
    """Without a runner nobody would read it: exit code 3."""
    report = asyncio.run(_reload(args.file, locate(args.file).control))
    code = _EXITS.get(report["kind"], Exit.FAILED)
    out = console(stderr=code is not Exit.DONE)
    out.print(report_text(report))
    if code in (Exit.USAGE, Exit.FAILED):
        for line in str(report.get("message", "")).splitlines()[1:]:
            out.print(f"  {line}")
    return code


async def _reload(file: Path, control: Path) -> dict[str, Any]:
    name = shlex.quote(str(file))
    async with await Client.connect(control) as client:
        if holder_of(control) is None:
            raise NoServerError(
                f"no runner follows {name}; start one with: blkrun run {name}, "
                f"or apply it once with: blkrun apply {name}"
            )
        digest = read(file).digest
        await client.execute("x-blkrun-ask-runner", {"kind": "reload", "data": {}})
        report = await wait_for_outcome(client, digest, _TIMEOUT_S, anew=True)
    if report is None:
        raise WaitError(f"the runner has not said what became of {name}; see: blkrun status {name}")
    return report
