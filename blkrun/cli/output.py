"""How commands print: colours on a terminal, plain text into a pipe, NO_COLOR honoured."""

import os
import select
import sys
from typing import Never

from rich.console import Console
from rich.text import Text

from blkrun.reconcile.operation import Operation
from blkrun.reconcile.plan import summarise

_PIPE_WIDTH = 1000
_STYLES = {"+": "green", "-": "red", "~": "yellow"}


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


def print_plan(operations: tuple[Operation, ...], taken: dict[str, int], *, running: bool) -> None:
    """Operations in order, coloured by what they do, and whom they hurt."""
    out = console()
    if not running:
        out.print("no server runs: this is what starting it would do")
    if not operations:
        out.print("nothing to do: the server is as the file says")
        return
    for operation in operations:
        line = Text(f"  {operation.sign} ", style=_STYLES[operation.sign])
        line.append(operation.text, style=_STYLES[operation.sign])
        line.append(f"  {operation.type}", style="dim")
        out.print(line)
    noun = "operation" if len(operations) == 1 else "operations"
    out.print(f"{len(operations)} {noun} in one transaction: {summarise(operations)}")
    for name, count in taken.items():
        out.print(Text(f"takes export {name} from {count} connected client(s)", style="bold red"))
    if taken:
        out.print("so it waits for: blkrun apply FILE --yes")
