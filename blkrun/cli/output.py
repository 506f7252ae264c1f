"""How commands print: colours on a terminal, plain text into a pipe, NO_COLOR honoured."""

import os
import re
import select
import shlex
import sys
from collections.abc import Iterator
from typing import Never

from rich.console import Console
from rich.text import Text

from blkrun.model import Config
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.plan import summarise
from blkrun.reconcile.proposal import Proposal

_PIPE_WIDTH = 1000
_STYLES = {"+": "green", "-": "red", "~": "yellow"}
_CHANGE = re.compile(r"(?P<old>\S+) → (?P<new>[^\s,)]+)")


class _Console(Console):
    """A closed pipe is the command line's business: see ``blkrun.cli.main``."""

    def on_broken_pipe(self) -> Never:
        """Rich would end the process with an error."""
        raise BrokenPipeError


def output_is_closed() -> bool:
    """Whether nobody reads what is written: known before anything is, as there may be nothing."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))


def console(*, stderr: bool = False) -> Console:
    """No markup, no highlighting: names are text, whatever is in them.

    A terminal has a width; a pipe has none, so that one row stays one line for grep.
    """
    file = sys.stderr if stderr else sys.stdout
    fixed = file.isatty() or "COLUMNS" in os.environ
    return _Console(
        file=file,
        markup=False,
        highlight=False,
        soft_wrap=True,
        width=None if fixed else _PIPE_WIDTH,
    )


def confirmed(question: str) -> bool:
    """A question only where somebody can answer it."""
    if not sys.stdin.isatty():
        return False
    return console().input(f"{question} [y/N] ").strip().lower() == "y"


def print_proposal(
    proposal: Proposal, config: Config, *, running: bool = True, offer: bool = True
) -> None:
    """Operations in order, coloured by what they do; whom they hurt; what becomes of them.

    ``running``: there is a server that was asked.  ``offer``: say what applies it.
    """
    out = console()
    operations = proposal.operations
    if not running:
        out.print("no server runs: this is what starting it would do")
    if not operations:
        out.print("nothing to do: the server is as the file says")
        return
    for operation in operations:
        out.print(_operation_line(operation))
    noun = "operation" if len(operations) == 1 else "operations"
    out.print(f"{len(operations)} {noun} in one transaction: {summarise(operations)}")
    for line in _export_lines(proposal, running=running):
        out.print(line)
    for line in _verdict(proposal, config, running=running, offer=offer):
        out.print(line)


def _operation_line(operation: Operation) -> Text:
    style = _STYLES[operation.sign]
    line = Text(f"  {operation.sign} {operation.text}", style=style)
    for change in _CHANGE.finditer(line.plain):
        line.stylize("dim", *change.span("old"))
        line.stylize("bold", *change.span("new"))
    return line.append(f"  {operation.type}", style="dim")


def _export_lines(proposal: Proposal, *, running: bool) -> Iterator[Text]:
    """One for each export that clients would notice something of, or would have to wait at."""
    drains = proposal.drains or {}
    for name in sorted({*proposal.taken, *drains, *proposal.clients}):
        count = max(each.get(name, 0) for each in (proposal.taken, drains, proposal.clients))
        parts = ["taken from them"] if name in proposal.taken else []
        if name in drains:
            parts.append("its requests wait while it is done")
        who = f"{count} connected client{'s' * (count != 1)}" if count else "nobody connected"
        text = f"export {name}, {who}: {'; '.join(parts) or 'changes, and nobody waits'}"
        yield Text(text, style="bold red" if name in proposal.taken else "")
    if running and proposal.drains is None:
        yield Text("whose requests wait is not known: an older blkrun has started the server")


def _verdict(proposal: Proposal, config: Config, *, running: bool, offer: bool) -> Iterator[Text]:
    """What becomes of it.  What is refused is not offered."""
    file = shlex.quote(min(str(config.path), os.path.relpath(config.path), key=len))
    if proposal.refused is not None:
        yield Text(f"refused, nothing would be changed: {proposal.refused}", style="bold red")
        return
    if proposal.why is not None and running:
        yield Text(f"waits for a yes: {proposal.why}", style="yellow")
    if offer:
        yes = " --yes" if proposal.taken else ""
        yield Text(f"do it with: blkrun {f'apply {file}{yes}' if running else f'run {file}'}")
