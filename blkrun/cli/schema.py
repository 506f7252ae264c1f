"""``blkrun schema``: the JSON Schema of the file, for editors."""

import argparse
import sys

from blkrun.cli import Exit
from blkrun.cli.shipped import SCHEMA
from blkrun.config.schema import schema_text

EXAMPLES = """
blkrun schema > schema.json  beside your file, whose first line is then
                             #:schema ./schema.json
blkrun schema --path         where it is installed already
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--path."""
    parser.add_argument(
        "--path", action="store_true", help="print where the installed copy is instead"
    )


def run(args: argparse.Namespace) -> int:
    """Draft-07, which Even Better TOML and taplo read; made anew from the declarations."""
    sys.stdout.write(f"{SCHEMA}\n" if args.path else schema_text())
    return Exit.DONE
