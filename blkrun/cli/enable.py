"""``blkrun enable FILE NODE``: switch a filter or a job on."""

import argparse
from pathlib import Path

from blkrun.cli.edit_file import add_edit_arguments, edit_file
from blkrun.cli.start_again import start_again, switched_on

EXAMPLES = """
blkrun enable vm.toml limit            nobody has to reconnect
blkrun enable vm.toml jobs.nightly     a job, where a node has that name too
blkrun enable vm.toml nightly --again  start a job once more that has ended
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, NODE and --again."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument("node", help="a filter's name, or a job's")
    parser.add_argument(
        "--again", action="store_true", help="a job: once more, if it has ended; else as without"
    )
    add_edit_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """``enabled = true`` in its table, if it does not say so already."""
    if args.again and (code := start_again(args)) is not None:
        return code
    return edit_file(args, switched_on(args))
