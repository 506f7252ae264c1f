"""``blkrun schema``: the JSON Schema of the file, for editors."""

import argparse
import sys
from pathlib import Path

from blkrun.cli import Exit
from blkrun.config.schema import schema_text

SHIPPED = Path(__file__).resolve().parents[1] / "schema.json"
"""The same text as a file, for the line ``#:schema PATH`` that an editor reads."""

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
    sys.stdout.write(f"{SHIPPED}\n" if args.path else schema_text())
    return Exit.DONE
