"""``blkrun insert FILE NODE``: put a new node between one that there is and what is above it."""

import argparse
from pathlib import Path

from blkrun.cli.edit_file import add_edit_arguments, edit_file
from blkrun.config.asked import assignments
from blkrun.config.changes import INSERTABLE, insert

EXAMPLES = """
blkrun insert vm.toml q --driver throttle --above disk --set throttle-group=g
blkrun insert vm.toml win --driver raw --above disk --below vdb --set size=1G
blkrun insert vm.toml win --driver raw --above disk --dry-run  write nothing
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE NODE --driver D --above CHILD [--below PARENT] [--set KEY=VALUE]…."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument("node", help="the new node's name")
    parser.add_argument(
        "--driver",
        required=True,
        help=f"a filter, or raw for a window of the child: {', '.join(INSERTABLE)}",
    )
    parser.add_argument(
        "--above",
        required=True,
        metavar="CHILD",
        help="the node or backend below; what led to it leads to NODE, "
        "but for bitmaps, jobs and what reads a snapshot of it",
    )
    parser.add_argument(
        "--below", metavar="PARENT", help="the one node or export that is to lead to NODE"
    )
    parser.add_argument(
        "--set",
        dest="values",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="another key of NODE; as often as there are keys",
    )
    add_edit_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """One table more, and edges that lead to it."""
    values = tuple(assignments(args.values))
    return edit_file(
        args,
        lambda document: insert(
            document,
            args.node,
            driver=args.driver,
            above=args.above,
            below=args.below,
            values=values,
        ),
    )
