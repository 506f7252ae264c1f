"""``blkrun remove FILE NODE``: take a table out of the file."""

import argparse
from pathlib import Path

from blkrun.cli.edit_file import add_edit_arguments, edit_file
from blkrun.config.changes import remove

EXAMPLES = """
blkrun remove vm.toml limit                what is above gets its child
blkrun remove vm.toml exports.vdb          any other table by its whole name
blkrun remove vm.toml throttle-groups.old  refused while it is in use
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and NODE."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument("node", help="a node's name, or a table's: exports.vdb, jobs.nightly")
    add_edit_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """The table and the comments that belong to it go."""
    return edit_file(args, lambda document: remove(document, args.node))
