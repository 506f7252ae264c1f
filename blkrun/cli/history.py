"""``blkrun history FILE``: every change of the file and of the graph beside it, with its number."""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.text import Text

from blkrun.cli import Exit
from blkrun.cli.output import console
from blkrun.cli.text_diff import print_diff
from blkrun.config import locate
from blkrun.errors import FileError
from blkrun.history import Change, History, history_path
from blkrun.reconcile.text_diff import text_diff

EXAMPLES = """
blkrun history vm.toml      the last 20 changes
blkrun history vm.toml 17   one of them: its plan, and what was edited
blkrun history vm.toml --json -n 1000
"""

_SHOWN = 20
_HEADS = ("NUMBER", "TIME", "WHAT", "BY", "TOOK")
_STYLES = {
    "applied": "green",
    "followed": "green",
    "reverted": "green",
    "rejected": "bold red",
    "failed": "bold red",
    "pending": "yellow",
    "drifted": "yellow",
    "rolled-back": "cyan",
}
_SIGNS = {"+": "green", "-": "red", "~": "yellow"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, NUMBER, -n and --json."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the TOML file")
    parser.add_argument(
        "number", metavar="NUMBER", type=int, nargs="?", help="show this change as a whole"
    )
    parser.add_argument(
        "-n", dest="count", type=int, default=_SHOWN, metavar="N", help=f"how many ({_SHOWN})"
    )
    parser.add_argument("--json", action="store_true", help="everything that is known of each")


def run(args: argparse.Namespace) -> int:
    """Also when nothing is served."""
    history = History(history_path(locate(args.file).control))
    if args.number is not None:
        _show(history, _found(history, args.number), as_json=args.json)
    elif args.json:
        _print_json([_row(change) for change in history.changes(max(args.count, 0))])
    else:
        _list(history.changes(max(args.count, 0)))
    return Exit.DONE


def _found(history: History, number: int) -> Change:
    change = history.change(number)
    if change is not None:
        return change
    kept = history.changes()
    known = f"{kept[0].number} to {kept[-1].number} are kept" if kept else "it is empty"
    raise FileError(f"blkrun: change {number} is not in the history: {known}")


def _list(changes: list[Change]) -> None:
    if not changes:
        console().print("nothing has been applied yet")
        return
    rows = [
        (str(change.number), when(change), change.kind, change.by, _took(change))
        for change in changes
    ]
    columns = list(zip(_HEADS, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    out = console()
    out.print(Text("  ".join((*map(_padded, _HEADS, widths), "CHANGES")), style="bold"))
    for change, row in zip(changes, rows, strict=True):
        line = Text("  ".join(map(_padded, row, widths)) + "  ", _STYLES.get(change.kind, ""))
        line.append(told(change), style="default")
        line.truncate(out.width, overflow="ellipsis")
        out.print(line)


def _padded(word: str, width: int) -> str:
    """Numbers to the right."""
    return word.rjust(width) if word[:1].isdigit() and "-" not in word else word.ljust(width)


def when(change: Change) -> str:
    """Local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(change.time))


def told(change: Change) -> str:
    """Its plan or its message in a line."""
    data = change.data
    if message := str(data.get("message", "")):
        return message.splitlines()[0]
    if "to" in data:
        return f"to {data['to']}"
    words = "; ".join(change.operations or data.get("changes", ()))
    if change.kind == "applied" and not words:
        return "nothing to change"
    return words


def _took(change: Change) -> str:
    took = change.data.get("milliseconds")
    return f"{took} ms" if took is not None else ""


def _row(change: Change) -> dict[str, Any]:
    """For ``--json``."""
    return dict(msgspec.to_builtins(change))


def _show(history: History, change: Change, *, as_json: bool) -> None:
    diff = list(_diff(history, change))
    if as_json:
        _print_json(_row(change) | {"diff": "\n".join([*diff, ""]) if diff else ""})
        return
    out = console()
    took = f", in {_took(change)}" if _took(change) else ""
    head = f"{change.number}: {change.kind} by {change.by}, {when(change)}{took}"
    out.print(Text(head, style=_STYLES.get(change.kind, "")))
    for line in (*str(change.data.get("message", "")).splitlines(), *_notes(change.data)):
        out.print(Text(f"  {line}"))
    for operation in change.operations:
        out.print(Text(f"  {operation}", style=_SIGNS.get(operation[:1], "")))
    print_diff(diff)


def _notes(data: dict[str, Any]) -> Iterator[str]:
    if "why" in data:
        yield str(data["why"])
    if "to" in data:
        yield f"what was written before, to {data['to']}"
    yield from map(str, data.get("changes", ()))
    yield from map(str, data.get("notes", ()))


def _diff(history: History, change: Change) -> Iterator[str]:
    """Against the texts before it; nothing where it was about no text of its own."""
    if change.kind in ("drifted", "reverted"):
        return
    new = history.texts(change.digest)
    old = history.texts_before(change) if new else {}
    for name in {**old, **new}:
        yield from text_diff(name, old.get(name), new.get(name))


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))  # noqa: T201 - the command's output
