"""What an edit changes, in colours: the lines are ``blkrun.reconcile.text_diff``'s."""

from collections.abc import Iterable

from rich.text import Text

from blkrun.cli.output import console

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def print_diff(diff: Iterable[str]) -> None:
    """On standard output."""
    out = console()
    for line in diff:
        style = "bold" if line.startswith(("--- ", "+++ ")) else _STYLES.get(line[:1], "")
        out.print(Text(line, style=style))
