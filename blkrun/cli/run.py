"""``blkrun run FILE``: serve what a file describes and follow its edits.

This half is quick: it gets nbdkit going before the rest is imported.
"""

import argparse
from pathlib import Path

from blkrun.config import load
from blkrun.reconcile import nbdkit
from blkrun.reconcile.lease import Lease
from blkrun.reconcile.watch import look

EXAMPLES = """
blkrun run vm.toml             serve, with the dashboard in this terminal
blkrun run vm.toml --headless  one line an event, as in a service
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and --headless."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument("--headless", action="store_true", help="no dashboard: one line an event")


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    seen = look(args.file)  # before it is read: a save in between is an edit
    config = load(args.file)
    lease = Lease(config)
    try:
        server = None if nbdkit.answers(config.address) else nbdkit.start(config)
        # Imported while nbdkit starts on another core: it is as much work.
        from blkrun.cli.serve import serve  # noqa: PLC0415

        return serve(config, server, shown=args.file, seen=seen, headless=args.headless)
    finally:
        lease.close()
