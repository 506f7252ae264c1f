"""What an edit changes, in a file's lines: as ``diff -u`` has it, coloured."""

from collections.abc import Iterable, Iterator
from difflib import unified_diff

from rich.text import Text

from blkrun.cli.output import console

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def text_diff(name: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    """Lines without their ends; None is a file that is not there."""
    if old != new:
        before, after = (name if text is not None else "/dev/null" for text in (old, new))
        yield from unified_diff(_lines(old), _lines(new), before, after, lineterm="")


def print_diff(diff: Iterable[str]) -> None:
    """On standard output."""
    out = console()
    for line in diff:
        style = "bold" if line.startswith(("--- ", "+++ ")) else _STYLES.get(line[:1], "")
        out.print(Text(line, style=style))


def _lines(source: bytes | None) -> list[str]:
    if not source:
        return []
    lines = source.decode(errors="replace").replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else [*lines[:-1], f"{lines[-1]}\\ no newline at the end"]
