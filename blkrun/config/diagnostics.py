"""What is wrong with a file, as a person reads it.

::

    lab.toml:41:1: error: unknown key "iops-totl" in throttle-groups.gold — did you mean …?
       41 | iops-totl = 12000
          | ^^^^^^^^^
    lab.toml:3:11: note: backends.disk is here

A :class:`~blkrun.decode.Problem` leads to a key; a :class:`Diagnostic` to a place in a text.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blkrun.config.positions import Positions, Span
from blkrun.config.source import text_of
from blkrun.decode import Kind, Problem
from blkrun.decode import Path as KeyPath

# A wrong value is shown at the value, a missing key at its table's header, all else at the name.
_AT_THE_VALUE = frozenset({Kind.TYPE, Kind.VALUE, Kind.REFERENCE, Kind.MISSING})

_RED, _CYAN, _BOLD, _PLAIN = "\x1b[1;31m", "\x1b[1;36m", "\x1b[1m", "\x1b[0m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """Another place that explains a diagnostic: where the thing referred to is written."""

    line: int
    column: int
    length: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """A problem and its place.  ``line`` is 0 when it is about the file as a whole."""

    file: Path
    line: int
    column: int
    length: int
    message: str
    suggestion: str | None
    related: Related | None
    problem: Problem

    def row(self) -> dict[str, Any]:
        """For ``--json``."""
        related = self.related
        return {
            "file": str(self.file),
            "line": self.line,
            "column": self.column,
            "length": self.length,
            "message": self.message,
            "suggestion": self.suggestion,
            "related": related
            and {
                "line": related.line,
                "column": related.column,
                "length": related.length,
                "message": related.message,
            },
        }


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
        message=problem.message,
        suggestion=problem.suggestion,
        related=related,
        problem=problem,
    )


def diagnose(file: Path, problems: Iterable[Problem], at: Positions) -> list[Diagnostic]:
    """Every problem with the place of its key, in the order of the text."""
    found = []
    for problem in problems:
        look_up = at.value if problem.kind in _AT_THE_VALUE else at.name
        span, related = look_up(problem.path), _related(problem.related, at)
        found.append(place(file, problem, span, related))
    return sorted(found, key=lambda diagnostic: (diagnostic.line, diagnostic.column))


def _related(path: KeyPath | None, at: Positions) -> Related | None:
    span = at.name(path) if path is not None else None
    if path is None or span is None:
        return None
    message = f"{dotted(path)} is here"
    return Related(line=span.line, column=span.column, length=span.length, message=message)


def dotted(path: KeyPath) -> str:
    """A key path as TOML writes it: ``exports."my disk".node``, ``backends.far.command[1]``."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += f".{key}" if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'."{key}"'
    return text.removeprefix(".")


def render(diagnostics: Iterable[Diagnostic], text: bytes | str, *, colour: bool = False) -> str:
    """All of them, each with its line and a caret.  No newline at the end."""
    lines = text_of(text).split("\n")
    shown = "\n".join(part for each in diagnostics for part in _lines_of(each, lines))
    return shown if colour else re.sub(r"\x1b\[[0-9;]*m", "", shown)


def _lines_of(diagnostic: Diagnostic, lines: list[str]) -> Iterator[str]:
    file = _printable(str(diagnostic.file))
    where = f"{file}:{diagnostic.line}:{diagnostic.column}" if diagnostic.line else file
    message = _printable(diagnostic.message)
    if diagnostic.suggestion is not None:
        message += f' — did you mean "{diagnostic.suggestion}"?'
    yield f"{_BOLD}{where}:{_PLAIN} {_RED}error:{_PLAIN} {message}"
    yield from _excerpt(diagnostic, lines, _RED)
    if (related := diagnostic.related) is not None:
        where = f"{file}:{related.line}:{related.column}"
        yield f"{_BOLD}{where}:{_PLAIN} {_CYAN}note:{_PLAIN} {_printable(related.message)}"
        yield from _excerpt(related, lines, _CYAN)


def _excerpt(at: Diagnostic | Related, lines: list[str], colour: str) -> Iterator[str]:
    if not 1 <= at.line <= len(lines):
        return
    line = lines[at.line - 1]
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
