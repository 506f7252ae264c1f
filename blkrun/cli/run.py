"""``blkrun run FILE``: serve what a file describes and follow its edits.

This half is quick: it gets nbdkit going before the rest is imported.
"""

import argparse
import signal
from functools import partial
from pathlib import Path

from blkrun.cli.background import Tell, in_background
from blkrun.config import Sources, parse, read
from blkrun.model import Config
from blkrun.reconcile import nbdkit
from blkrun.reconcile.activation import activated_socket, check_agrees
from blkrun.reconcile.lease import Lease

EXAMPLES = """
blkrun run vm.toml             serve, with the dashboard in this terminal
blkrun run vm.toml --headless  one line an event, as in a service
blkrun run vm.toml --detach    in the background
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --headless, --detach and --own."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the TOML file")
    parser.add_argument("--headless", action="store_true", help="no dashboard: one line an event")
    parser.add_argument(
        "--detach", action="store_true", help="go on in the background, headless; see: blkrun logs"
    )
    parser.add_argument(
        "--own",
        action="store_true",
        help="Ctrl-C and SIGTERM end the server also if it was running before",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    sources = read(args.file)
    config = parse(sources)
    if args.detach:
        log = nbdkit.log_path(config.address)
        return in_background(log, lambda tell: _run(args, config, sources, tell))
    return _run(args, config, sources, None)


def _run(args: argparse.Namespace, config: Config, sources: Sources, tell: Tell | None) -> int:
    """A signal that comes before the file is in force leaves nothing running."""
    given = activated_socket()
    if given is not None:
        check_agrees(given, config.address)
    start_server = partial(nbdkit.start, given=given)
    lease, server = Lease(config), None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server = None if nbdkit.answers(config.address) else start_server(config)
        # Imported while nbdkit starts on another core: it is as much work.
        from blkrun.cli.serve import serve  # noqa: PLC0415

        return serve(
            config,
            server,
            start_server=start_server,
            sources=sources,
            shown=args.file,
            headless=args.headless or args.detach,
            own=args.own,
            tell=tell,
        )
    except KeyboardInterrupt:
        if server is not None:
            server.end()
        raise
    finally:
        lease.close()
