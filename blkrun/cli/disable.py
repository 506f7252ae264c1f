"""``blkrun disable FILE NODE``: switch a filter or a job off; its table stays."""

import argparse
from pathlib import Path

from blkrun.cli.edit_file import add_edit_arguments, edit_file
from blkrun.config.changes import switch

EXAMPLES = """
blkrun disable vm.toml limit    what is above it gets its child
blkrun disable vm.toml nightly  a job is cancelled
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and NODE."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument("node", help="a filter's name, or a job's")
    add_edit_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """``enabled = false`` in its table, if it does not say so already."""
    return edit_file(args, lambda document: switch(document, args.node, on=False))
