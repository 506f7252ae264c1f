"""``blkrun enable FILE NODE``: switch a filter or a job on."""

import argparse
from pathlib import Path

from blkrun.cli.edit_file import add_edit_arguments, edit_file
from blkrun.config.changes import switch

EXAMPLES = """
blkrun enable vm.toml limit         nobody has to reconnect
blkrun enable vm.toml jobs.nightly  a job, where a node has that name too
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and NODE."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument("node", help="a filter's name, or a job's")
    add_edit_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """``enabled = true`` in its table, if it does not say so already."""
    return edit_file(args, lambda document: switch(document, args.node, on=True))
