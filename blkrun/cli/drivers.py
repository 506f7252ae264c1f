"""``blkrun drivers [NAME]``: what can be written in a file, and what each key means."""

import argparse
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any

from rich.table import Table
from rich.text import Text

from blkrun.cli import Exit
from blkrun.cli.output import console
from blkrun.cli.shipped import example_of
from blkrun.config.catalogue import Entry, Option, catalogue
from blkrun.config.changes import INSERTABLE
from blkrun.decode import nearest
from blkrun.errors import FileError
from blkrun.units import format_ns

EXAMPLES = """
blkrun drivers                  what there is, one sentence each
blkrun drivers nodes            the same, of one table
blkrun drivers throttle         every key of a driver, with its meaning
blkrun drivers backup           ... of a type of job
blkrun drivers throttle-groups  ... of another table
blkrun drivers throttle --json  ... for a script
"""

_WIDTH = 78
_INDENT = 4

_UNITS = {
    "bytes": 'Sizes are integers or strings with a unit: 4096, "64KiB", "10GB".',
    "count": 'Counts are integers or strings: 2000, "2k".',
    "seconds": 'Times in seconds are integers or strings: 10, "10s", "2min".',
    "ns": 'Times are strings with a unit, or integers of nanoseconds: "250ms", "1s".',
}
_TYPES = {
    "array": "list of strings",
    "boolean": "boolean",
    "integer": "integer",
    "object": "table",
    "string": "string",
}
_NAMES = {"bytes": "bytes", "count": "count", "seconds": "seconds", "ns": "time", "errno": "errno"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME and --json."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a driver, a type of job, or a table of the file"
    )
    parser.add_argument("--json", action="store_true", help="all there is to know, for a script")


def run(args: argparse.Namespace) -> int:
    """Without NAME one row for each; with it all that one has."""
    entries, one = _asked_for(args.name)
    if args.json:
        rows = [_row(entry) for entry in entries]
        print(json.dumps(rows[0] if one else rows, indent=2))  # noqa: T201 - the command's output
    elif one:
        out = console()
        for line in lines_of(entries[0], _example(entries[0])):
            out.print(line)
    else:
        _print_all(entries)
    return Exit.DONE


def _asked_for(name: str | None) -> tuple[list[Entry], bool]:
    """The entries, and whether it is one that was asked for by its name."""
    entries = catalogue()
    if name is not None and name in entries:
        return [entries[name]], True
    listed = [entry for entry in entries.values() if name is None or _section(entry) == name]
    if listed:
        return listed, False
    meant = nearest(str(name), [*entries, *map(_section, entries.values())])
    remedy = f'did you mean "{meant}"?' if meant else "blkrun drivers lists what there is"
    raise FileError(f'blkrun: there is no driver, type of job or table "{name}"; {remedy}')


def _section(entry: Entry) -> str:
    return entry.table.removesuffix(".NAME")


def _print_all(entries: Collection[Entry]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("NAME", "TABLE", "KIND", "WHAT IT IS"):
        table.add_column(column, overflow="fold", no_wrap=column != "WHAT IT IS")
    for entry in entries:
        table.add_row(entry.name, _section(entry), entry.kind, entry.text)
    console().print(table)


def lines_of(entry: Entry, example: str | None) -> Iterator[Text]:
    """One entry, to read: at most 80 columns, whatever the terminal has."""
    yield Text(f"{entry.name}: {_what(entry)}", style="bold")
    yield from _paragraph(entry.text)
    for option in entry.options:
        if option.renamed is None:
            yield Text()
            yield from _option(option)
    yield Text()
    yield from _legend(entry)
    if example is not None:
        yield Text(f"Example: {example}")


def _what(entry: Entry) -> str:
    article = "" if entry.kind == "settings" else "a "
    return f"{article}{entry.kind}, [{entry.table}]"


def _option(option: Option) -> Iterator[Text]:
    head = f"{option.name}  {type_of(option)}, {_standing(option)}"
    first, *rest = _wrapped(head, first="  ", others=" " * 8)
    yield Text.assemble("  ", (option.name, "bold"), first[2 + len(option.name) :])
    yield from map(Text, rest)
    yield from _paragraph(option.text, indent=_INDENT)
    inner = option.value.get("items", option.value)
    for key, value in inner.get("properties", {}).items():
        yield from _paragraph(f"{key}: {value['description']}", indent=_INDENT + 2)


def type_of(option: Option) -> str:
    """What may be written, in a word or two."""
    value = option.value
    if "const" in value:
        return json.dumps(value["const"])
    if "enum" in value:
        return " | ".join(json.dumps(choice) for choice in value["enum"])
    word = _NAMES[option.unit] if option.unit else _TYPES[value["type"]]
    if "properties" in value.get("items", ()):
        word = "list of tables"
    if "minimum" not in value or (option.unit and not value["minimum"]):
        return word
    shown = format_ns if option.unit == "ns" else str
    most = f" to {shown(value['maximum'])}" if "maximum" in value else " on"
    return f"{word} from {shown(value['minimum'])}{most}"


def _standing(option: Option) -> str:
    live = ", live" if option.live else ""
    if option.required:
        return f"required{live}"
    default = option.value.get("default")
    return f"optional{live}" if default is None else f"default {json.dumps(default)}{live}"


def _legend(entry: Entry) -> Iterator[Text]:
    """What the words above mean, as far as they are there."""
    units = {option.unit for option in entry.options if option.unit}
    for unit, text in _UNITS.items():
        if unit in units:
            yield from _paragraph(text)
    live = any(option.live for option in entry.options)
    if live:
        yield from _paragraph("live: an edit changes it in place, while clients do I/O.")
    if entry.otherwise:
        yield from _paragraph(f"A change{' of anything else' if live else ''}: {entry.otherwise}.")
    if old := [option.name for option in entry.options if option.renamed]:
        yield from _paragraph(f"Older names are read too, with a warning: {', '.join(old)}.")


def _paragraph(text: str, *, indent: int = 0) -> Iterator[Text]:
    margin = " " * indent
    yield from map(Text, _wrapped(text, first=margin, others=margin))


def _wrapped(text: str, *, first: str, others: str) -> list[str]:
    """Names keep their hyphens on one line."""
    return wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    )


def _example(entry: Entry) -> str | None:
    """As one would type it from here."""
    file = example_of(entry.name, entry.kind)
    if file is None:
        return None
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "table": entry.table,
        "insertable": entry.name in INSERTABLE,
        "description": entry.text,
        "otherwise": entry.otherwise,
        "example": _example(entry),
        "options": [_option_row(option) for option in entry.options],
    }


def _option_row(option: Option) -> dict[str, Any]:
    """Range, choices and default are JSON Schema's, of the value as it is written."""
    return {
        "name": option.name,
        "description": option.text,
        "required": option.required,
        "live": option.live,
        "unit": option.unit,
        "default": option.value.get("default"),
        "renamed": option.renamed,
        "schema": option.value,
    }
