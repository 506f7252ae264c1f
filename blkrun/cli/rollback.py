"""``blkrun rollback FILE``: write the file as it was, and see it through."""

import argparse
import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from blkrun.cli import Exit
from blkrun.cli.asking import connect
from blkrun.cli.edit_file import (
    Edited,
    add_edit_arguments,
    expect,
    say_unchanged,
    see_through,
    show_plan,
)
from blkrun.cli.output import confirmed, console
from blkrun.cli.text_diff import print_diff
from blkrun.config import Sources, locate, parse, read
from blkrun.config.restore import Texts, restore
from blkrun.errors import BlkrunError, FileError
from blkrun.history import Change, History, history_path
from blkrun.reconcile.chronicle import Chronicle, sources_of
from blkrun.reconcile.lease import holder_of
from blkrun.reconcile.text_diff import text_diff

EXAMPLES = """
blkrun rollback vm.toml --dry-run  shows what would be written, and done
blkrun rollback vm.toml            as it was before the last change
blkrun rollback vm.toml 17 --yes   as of change 17, unasked
"""

_REMEDY = {
    "rejected": "it had a mistake and never was in force",
    "failed": "the server refused it",
    "pending": "it waited for a yes; if it was given, that is a change of its own",
    "followed": "the change after it is the file as it was then",
    "drifted": "the graph was changed then, not the file",
    "reverted": "the graph was brought back then, the file is that of the change before",
    "rolled-back": "it has what was written before that rollback; the next one is what came of it",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, N, --yes, and what all edits have."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the TOML file")
    parser.add_argument(
        "number",
        metavar="N",
        type=int,
        nargs="?",
        help="the change to go back to: see blkrun history (the one before the last applied)",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_edit_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Every file of that time is restored; one that is included now and was not is removed."""
    return asyncio.run(_rollback(args))


@dataclass(frozen=True, slots=True)
class Rollback:
    """What is written instead of what; ``now`` is None if the main file is not there."""

    target: Change
    now: Sources | None
    before: Texts
    after: Texts
    edited: Edited


async def _rollback(args: argparse.Namespace) -> Exit:
    control = locate(args.file).control
    history = History(history_path(control))
    plan = prepare(history, args.file, args.number)
    if not args.json:
        console().print(f"to change {plan.target.number}")
        print_diff(plan.edited.diff)
    if not plan.edited.diff:
        say_unchanged(as_json=args.json)
        return Exit.DONE
    expect(plan.edited, args.expect)
    async with AsyncExitStack() as stack:
        client = await connect(control)
        if client is not None:
            await stack.enter_async_context(client)
        if args.dry_run:
            return await show_plan(client, plan.edited, as_json=args.json)
        if not (args.yes or confirmed("write this?")):
            console(stderr=True).print("nothing was written: --yes does it, unasked")
            return Exit.PENDING
        followed = holder_of(control) is not None
        await _write(plan, Chronicle(control, "rollback", console(stderr=True).print))
        return await see_through(client, plan.edited, followed=followed, as_json=args.json)


async def _write(plan: Rollback, chronicle: Chronicle) -> None:
    if not restore(plan.before, plan.after):
        raise FileError(f"{plan.edited.after.main}: changed meanwhile; nothing was written")
    data = {"to": plan.target.number, "digest": plan.now.digest if plan.now else ""}
    await chronicle.write("rolled-back", data, plan.now)


def prepare(history: History, file: Path, number: int | None) -> Rollback:
    """Raises BlkrunError if there is nothing to go back to."""
    target = _target(history, number)
    then = sources_of(history.texts(target.digest), file)
    now = _now(file)
    texts: dict[Path, bytes | None] = dict.fromkeys(now.texts if now is not None else ())
    after: Texts = texts | then.texts
    before: Texts = {path: _text(path) for path in after}
    diff = [line for path in after for line in text_diff(str(path), before[path], after[path])]
    edited = Edited(now or then, then, tuple(diff), parse(then))
    return Rollback(target, now, before, after, edited)


def _target(history: History, number: int | None) -> Change:
    if number is not None:
        return _applied(history, number)
    last = history.last_applied()
    before = history.applied_before(last) if last is not None else None
    if before is None:
        raise BlkrunError("there is nothing to go back to: see blkrun history")
    return before


def _applied(history: History, number: int) -> Change:
    """Raises FileError: it is not kept, or the file never was in force so."""
    change = history.change(number)
    if change is None:
        raise FileError(f"blkrun: change {number} is not in the history: see blkrun history")
    if change.kind != "applied":
        why = _REMEDY.get(change.kind, "")
        raise FileError(f"blkrun: change {number} was {change.kind}, not applied: {why}")
    if not history.texts(change.digest):
        raise FileError(f"blkrun: the texts of change {number} were not kept")
    return change


def _now(file: Path) -> Sources | None:
    """Also if it is wrong; None if it is not there."""
    return read(file) if file.exists() else None


def _text(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
