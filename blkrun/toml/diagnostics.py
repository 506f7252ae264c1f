"""What is wrong with a file, as a person reads it.

::

    lab.toml:41:1: error: unknown key "iops-totl" in throttle-groups.gold — did you mean …?
       41 | iops-totl = 12000
          | ^^^^^^^^^
    lab.toml:3:11: note: backends.disk is here
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from blkrun.decode import WARNINGS, Problem
from blkrun.decode import Path as KeyPath
from blkrun.diagnostic import Diagnostic, Related
from blkrun.toml.positions import Span
from blkrun.toml.source import text_of

_RED, _YELLOW, _CYAN = "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;36m"
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
_COLOURS = {"error": _RED, "warning": _YELLOW}


def place(
    file: Path, problem: Problem, span: Span | None = None, related: Related | None = None
) -> Diagnostic:
    """One problem at a place that is known, or about the whole file."""
    line, column, length = span or (0, 0, 0)
    return Diagnostic(
        file=file,
        line=line,
        column=column,
        length=length,
        severity="warning" if problem.kind in WARNINGS else "error",
        message=problem.message,
        suggestion=problem.suggestion,
        related=related,
        problem=problem,
    )


def relate(file: Path, span: Span, message: str) -> Related:
    """A place that explains another."""
    return Related(
        file=file, line=span.line, column=span.column, length=span.length, message=message
    )


def dotted(path: KeyPath) -> str:
    """A key path as TOML writes it: ``exports."my disk".node``, ``backends.far.command[1]``."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += f".{key}" if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'."{key}"'
    return text.removeprefix(".")


def render(
    diagnostics: Iterable[Diagnostic], texts: Mapping[Path, bytes], *, colour: bool = False
) -> str:
    """All of them, each with its line and a caret.  No newline at the end."""
    lines = {file: text_of(text).split("\n") for file, text in texts.items()}
    shown = "\n".join(part for each in diagnostics for part in _lines_of(each, lines))
    return shown if colour else re.sub(r"\x1b\[[0-9;]*m", "", shown)


def _lines_of(diagnostic: Diagnostic, lines: Mapping[Path, list[str]]) -> Iterator[str]:
    message, colour = _printable(diagnostic.message), _COLOURS[diagnostic.severity]
    if diagnostic.suggestion is not None:
        message += f' — did you mean "{_printable(diagnostic.suggestion)}"?'
    yield f"{_where(diagnostic)} {colour}{diagnostic.severity}:{_PLAIN} {message}"
    yield from _excerpt(diagnostic, lines, colour)
    if (related := diagnostic.related) is not None:
        yield f"{_where(related)} {_CYAN}note:{_PLAIN} {_printable(related.message)}"
        yield from _excerpt(related, lines, _CYAN)


def _where(at: Diagnostic | Related) -> str:
    file = _printable(str(at.file))
    return f"{_BOLD}{file}:{at.line}:{at.column}:{_PLAIN}" if at.line else f"{_BOLD}{file}:{_PLAIN}"


def _excerpt(
    at: Diagnostic | Related, lines: Mapping[Path, list[str]], colour: str
) -> Iterator[str]:
    if not 1 <= at.line <= len(lines.get(at.file, ())):
        return
    line = lines[at.file][at.line - 1]
    start, end = at.column - 1, at.column - 1 + at.length
    indent = "".join("\t" if each == "\t" else " " * _width(each) for each in line[:start])
    carets = "^" * max(1, sum(map(_width, line[start:end])))
    yield f"{at.line:5} | {_printable(line)}"
    yield f"{'':5} | {indent}{colour}{carets}{_PLAIN}"


def _printable(text: str) -> str:
    """The text without what a terminal would obey, such as an escape in a quoted key."""
    return "".join(each if each.isprintable() or each == "\t" else "\ufffd" for each in text)


def _width(character: str) -> int:
    """Terminal columns: CJK takes two, a combining accent none."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
