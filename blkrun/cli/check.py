"""``blkrun check FILE``: is this file right?  No server is asked."""

import argparse
import json
import os
import sys
from pathlib import Path

from blkrun import config
from blkrun.config import Diagnostic, Sources
from blkrun.errors import FileError
from blkrun.model import GraphModel
from blkrun.toml.diagnostics import place

EXAMPLES = """
blkrun check vm.toml         all mistakes at once, with line and caret
blkrun check vm.toml --json  the same, one object a line, for an editor
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and --json."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the TOML file")
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object per problem, warnings too, on standard output",
    )


def run(args: argparse.Namespace) -> int:
    """0 if the file can be used, also with warnings; 2 if not."""
    file: Path = args.file
    sources = Sources(main=file, texts={})
    try:
        sources = config.read(file)
        graph = config.parse(sources).graph
    except FileError as error:
        # A file that could not be read has problems, and no text to place them in.
        unread = [place(file, problem) for problem in error.problems]
        _report(config.check(sources) if sources.texts else unread, sources, as_json=args.json)
        return 2
    _report(config.check(sources), sources, as_json=args.json)
    if not args.json:
        sys.stdout.write(f"{file}: ok, {_summary(graph)}\n")
    return 0


def _report(found: list[Diagnostic], sources: Sources, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.writelines(json.dumps(each.row()) + "\n" for each in found)
    elif found:
        colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        sys.stderr.write(config.render(found, sources.texts, colour=colour) + "\n")


def _summary(graph: GraphModel) -> str:
    counts = (
        (len(graph.nodes), "node"),
        (len(graph.groups), "group"),
        (len(graph.exports), "export"),
        *([(len(graph.bitmaps), "bitmap")] if graph.bitmaps else []),
        *([(len(graph.jobs), "job")] if graph.jobs else []),
    )
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
