"""``blkrun limit FILE GROUP KEY=VALUE…``: the limits of a throttle group, or of an export."""

import argparse
from pathlib import Path

from blkrun.cli.edit_file import add_edit_arguments, edit_file
from blkrun.config.changes import limit

EXAMPLES = """
blkrun limit vm.toml tenant-a iops-total=500 bps-read=10MiB
blkrun limit vm.toml tenant-a iops-total=none    no limit, and so no burst
blkrun limit vm.toml exports.vda iops-total=500  an export's own
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE GROUP KEY=VALUE…."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument("group", help="a throttle group's name, or an export's")
    parser.add_argument(
        "limits",
        nargs="+",
        metavar="KEY=VALUE",
        help="iops-total=500, bps-read=10MiB, …; 0 or none takes the limit out",
    )
    add_edit_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """All of them in one edit."""
    return edit_file(args, lambda document: limit(document, args.group, args.limits))
