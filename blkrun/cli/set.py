"""``blkrun set FILE KEY VALUE``: any key of any table."""

import argparse
from pathlib import Path

from blkrun.cli.edit_file import add_edit_arguments, edit_file
from blkrun.config.changes import set_keys
from blkrun.errors import FileError

EXAMPLES = """
blkrun set vm.toml exports.vda.read-only true
blkrun set vm.toml backends.disk.size 20GiB nodes.alarm.write-threshold 18GiB
blkrun set vm.toml --unset exports.vda.read-only
blkrun set vm.toml exports.vda.description '"500"'  a string
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE [KEY VALUE]… [--unset KEY]…."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="KEY VALUE",
        help="such as exports.vda.read-only true; strings need no quotes",
    )
    parser.add_argument(
        "--unset", metavar="KEY", action="append", default=[], help="take a key out of its table"
    )
    add_edit_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """All of them in one edit."""
    keys, values = args.words[::2], args.words[1::2]
    if len(keys) != len(values):
        raise FileError(f"blkrun: {keys[-1]} has no value: write blkrun set FILE KEY VALUE")
    if not keys and not args.unset:
        raise FileError("blkrun: nothing to set: write blkrun set FILE KEY VALUE")
    pairs = list(zip(keys, values, strict=True))
    return edit_file(args, lambda document: set_keys(document, pairs, args.unset))
