"""What the commands share that edit a file: the diff first, then the save, then what came of it.

::

    read ─▶ steps ─▶ diff shown ─▶ parse ─▶ save ─▶ wait for the runner, or apply
                                   (wrong: nothing is written)

The save never goes over another edit: if there was one meanwhile, all begins again.
"""

import argparse
import asyncio
import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from blkrun.cli import Exit
from blkrun.cli.asking import connect, propose_to
from blkrun.cli.output import console, print_proposal
from blkrun.cli.text_diff import print_diff
from blkrun.client import Client
from blkrun.config import Sources, locate, parse, read, render
from blkrun.config.edit import document_in, perform_in
from blkrun.config.references import Document
from blkrun.config.save import save_sources
from blkrun.config.steps import Step
from blkrun.errors import FileError, WaitError
from blkrun.messages import report_text
from blkrun.model import Config
from blkrun.reconcile.apply import RefusedError, transaction_of
from blkrun.reconcile.carry_out import carry_out, postponed
from blkrun.reconcile.chronicle import Chronicle
from blkrun.reconcile.jobs import cancelled_by
from blkrun.reconcile.lease import holder_of
from blkrun.reconcile.outcome import wait_for_outcome
from blkrun.reconcile.proposal import Proposal
from blkrun.reconcile.reports import about, stakes
from blkrun.reconcile.text_diff import text_diff
from blkrun.toml.source import document_of, encoding_fault

OUTCOME_TIMEOUT_S = 60.0
_TRIES = 5
_STYLES = {"+": "green", "-": "red", "~": "yellow"}
_EXITS = {"applied": Exit.DONE, "pending": Exit.PENDING}

Ask = Callable[[Document], list[Step]]
"""What the file says → what to do to it.  Raises FileError."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A file before and after; ``config`` is what it says then."""

    before: Sources
    after: Sources
    diff: tuple[str, ...]
    config: Config


def add_edit_arguments(parser: argparse.ArgumentParser) -> None:
    """--dry-run, --json and --expect."""
    parser.add_argument(
        "--dry-run", action="store_true", help="show the diff and the plan, write nothing"
    )
    parser.add_argument("--json", action="store_true", help="diff and outcome as one JSON object")
    parser.add_argument(
        "--expect",
        metavar="DIGEST",
        help="only if it comes to the text that --dry-run --json gave this digest of",
    )


def expect(edited: Edited, digest: str | None) -> None:
    """Raises FileError if it is not what somebody has said yes to."""
    if digest is not None and edited.config.digest != digest:
        file = edited.before.main
        raise FileError(f"{file}: somebody has changed it meanwhile; nothing was done: look again")


def edit_file(args: argparse.Namespace, ask: Ask) -> int:
    """Edit ``args.file`` and see it through.  Raises FileError; then nothing was written."""
    return asyncio.run(_edit_file(args.file, ask, args))


async def _edit_file(file: Path, ask: Ask, args: argparse.Namespace) -> Exit:
    as_json: bool = args.json
    control = locate(file).control  # of the server that runs: the edit may be about the address
    for _ in range(_TRIES):
        edited = edited_by(file, ask, quiet=as_json)
        if edited is None:
            say_unchanged(as_json=as_json)
            return Exit.DONE
        expect(edited, args.expect)
        async with AsyncExitStack() as stack:
            client = await connect(control)
            if client is not None:
                await stack.enter_async_context(client)
            if args.dry_run:
                return await show_plan(client, edited, as_json=as_json)
            followed = holder_of(control) is not None
            if save_sources(edited.before, edited.after):
                return await see_through(client, edited, followed=followed, as_json=as_json)
    raise FileError(f"{file}: changed again and again meanwhile; nothing was written")


# The file


def edited_by(file: Path, ask: Ask, *, quiet: bool) -> Edited | None:
    """What an edit makes of the file; None if there is nothing to change.  Raises FileError."""
    before = read(file)
    if any(document_of(text) is None or encoding_fault(text) for text in before.texts.values()):
        parse(before)  # says where it is no TOML
    after = perform_in(before, ask(document_in(before)))
    diff = tuple(_diff(before, after))
    if not diff:
        return None
    if not quiet:
        print_diff(diff)
    config = _parsed(after)
    if config.warnings and not quiet:
        console(stderr=True).print(Text(render(config.warnings, after.texts)))
    return Edited(before, after, diff, config)


def _parsed(after: Sources) -> Config:
    try:
        return parse(after)
    except FileError as error:
        raise FileError(f"{error}\nnothing was written", error.problems) from error


def _diff(before: Sources, after: Sources) -> Iterator[str]:
    """Lines without their ends."""
    for file, text in after.texts.items():
        yield from text_diff(str(file), before.texts[file], text)


# The server


async def show_plan(client: Client | None, edited: Edited, *, as_json: bool) -> Exit:
    """For --dry-run: what would be done after the save."""
    proposal = await propose_to(client, edited.config)
    return show_proposal(proposal, edited, running=client is not None, as_json=as_json)


def show_proposal(proposal: Proposal, edited: Edited, *, running: bool, as_json: bool) -> Exit:
    """What would be done, to whom, and what the server says to it."""
    if as_json:
        _print_json(edited, saved=False, outcome=_planned(edited.config, proposal))
    else:
        print_proposal(proposal, edited.config, running=running, offer=False)
    return Exit.DONE if proposal.refused is None else Exit.FAILED


def _planned(config: Config, proposal: Proposal) -> dict[str, Any]:
    """As a report about it would have it, and the transaction itself."""
    cancelled = map(cancelled_by, proposal.operations)
    return {
        "kind": "planned",
        **about(config, proposal.operations),
        **stakes(proposal.drains, proposal.taken),
        "cancelled": [job for job in cancelled if job is not None],
        "refused": proposal.refused,
        "why": proposal.why,
        **transaction_of(proposal.operations, hard=True),
    }


async def see_through(
    client: Client | None, edited: Edited, *, followed: bool, as_json: bool, anew: bool = False
) -> Exit:
    """After the save: what came of it.  ``anew``: what was told of this text before is not it."""
    name = shlex.quote(str(edited.before.main))
    if client is None:
        text = "its runner is about to start the server again" if followed else "nothing is served"
        outcome = {"kind": "saved", "message": f"saved; {text} from it now"}
        _say(as_json, outcome["message"], _data(edited, saved=True, outcome=outcome))
        return Exit.DONE
    if not followed:
        report = await _apply(client, edited.config)
    elif (told := await _outcome(client, edited.config, anew=anew)) is not None:
        report = told
    else:
        raise WaitError(
            f"{name} is saved, and its runner has not said what became of it; "
            f"see: blkrun status {name}"
        )
    if as_json:
        print_outcome(edited, report)
    else:
        _print_report(report, name)
    return _EXITS.get(report["kind"], Exit.FAILED)


async def _outcome(client: Client, config: Config, *, anew: bool) -> dict[str, Any] | None:
    return await wait_for_outcome(client, config.digest, OUTCOME_TIMEOUT_S, anew=anew)


async def _apply(client: Client, config: Config) -> dict[str, Any]:
    """Nobody follows the file: apply it here, unless it has to wait for ``blkrun apply``."""
    proposal = await propose_to(client, config)
    if proposal.why is not None:
        return postponed(config, proposal)
    chronicle = Chronicle(config.address.control, "edit", console(stderr=True).print)
    hard = config.runner.apply == "all"
    try:
        return await carry_out(client, config, proposal, chronicle, hard=hard)
    except RefusedError as error:  # which every watcher has been told
        return {"kind": "failed", "file": config.path.name, "message": str(error)}


# What is said


def say_unchanged(*, as_json: bool) -> None:
    """There is nothing to do."""
    _say(as_json, "nothing to change: the file says so already", {"changed": False})


def _print_report(report: dict[str, Any], name: str) -> None:
    failed = report["kind"] in ("rejected", "failed")
    out = console(stderr=failed)
    out.print(Text(report_text(report)))
    for operation in report.get("operations", ()):
        out.print(Text(f"  {operation}", style=_STYLES.get(operation[:1], "")))
    if report["kind"] == "pending":
        out.print(f"the file is saved; what waits is done by: blkrun apply {name}")
    elif failed:
        for line in str(report.get("message", "")).splitlines()[1:]:
            out.print(Text(f"  {line}"))
        out.print("the file is saved so; what runs goes on as it was")


def _data(edited: Edited, *, saved: bool, outcome: dict[str, Any]) -> dict[str, Any]:
    return {
        "changed": True,
        "saved": saved,
        "diff": "\n".join([*edited.diff, ""]),
        "digest": edited.config.digest,
        "outcome": outcome,
    }


def print_outcome(edited: Edited, report: dict[str, Any]) -> None:
    """What came of it, as one JSON object."""
    _print_json(edited, saved=True, outcome=report)


def _print_json(edited: Edited, *, saved: bool, outcome: dict[str, Any]) -> None:
    _say(True, "", _data(edited, saved=saved, outcome=outcome))  # noqa: FBT003 - as its callers


def _say(as_json: bool, text: str, data: dict[str, Any]) -> None:  # noqa: FBT001 - what the user asked for
    if as_json:
        print(json.dumps(data, indent=2))  # noqa: T201 - the command's output
    else:
        console().print(text)
