"""The ``parse`` and ``locate`` passes: text → mapping and places, or the syntax errors.

tomllib stops at the first error.  If that is in a statement of one line, the line is taken out and
the rest looked at too; behind a bracket or a text that is not closed nobody can say where the next
statement begins, and one mistake must not look like ten.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from blkrun.decode import Kind, Problem
from blkrun.diagnostic import Diagnostic
from blkrun.toml.diagnostics import dotted, place, relate
from blkrun.toml.part import Part
from blkrun.toml.positions import Positions, Span, locate
from blkrun.toml.source import encoding_fault, text_of

MAX_ERRORS = 20

_BUDGET_CHARACTERS = 2_000_000
"""To parse for the sake of further errors: a second or two, which only a large file needs."""

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

_LONGEST_NUMBER = 500
"""Characters.  Python neither reads nor writes one of thousands of digits, and says only that."""

_NO_QUOTE = """Expected "'\""""

_TOKEN = re.compile(
    r'"{3}.*?"{3}'  # a text that may have several lines, on one
    r"|'{3}.*?'{3}"
    r"""|(?P<open>"{3}|'{3})"""  # ... that goes on
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'"
    r"""|["'#].*"""  # a comment, or a text that must end with the line and does not
    r"|(?P<bracket>[][{}])"
)


def parse_toml(source: bytes, file: Path) -> Part | list[Diagnostic]:
    """What the text says and where; Diagnostics if it is not TOML."""
    text = text_of(source)
    if (fault := encoding_fault(source)) is not None:
        offset, message = fault
        return [place(file, _problem(message), _span(text, offset))]
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        return list(_syntax_errors(file, text))
    try:
        at = locate(text)
    except RecursionError:  # it goes deeper for each bracket than tomllib does
        return [_too_deep(file)]
    too_long = _too_long(file, at)
    return Part(file, document, at) if too_long is None else [too_long]


def _syntax_errors(file: Path, text: str) -> Iterator[Diagnostic]:
    rounds = max(1, min(MAX_ERRORS, _BUDGET_CHARACTERS // (2 * len(text) + 1)))
    rest: str | None = text
    for _ in range(rounds):
        if rest is None or (error := _error(file, rest)) is None:
            return
        yield error
        rest = _without(rest, error.line)


def _error(file: Path, text: str) -> Diagnostic | None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return _syntax_error(file, text, str(error))
    except ValueError:
        return _too_long(file, locate(text))
    except RecursionError:
        return _too_deep(file)
    return None


def _too_deep(file: Path) -> Diagnostic:
    return place(file, _problem("arrays or tables are nested too deeply"))


def _too_long(file: Path, at: Positions) -> Diagnostic | None:
    """The first number that nobody could work with."""
    for start, end in at.values.values():
        if end - start > _LONGEST_NUMBER and at.text[start] in "+-0123456789":
            return place(file, _problem("a number has too many digits"), _span(at.text, start))
    return None


def _without(text: str, line: int) -> str | None:
    """The text without the statement that a line is, if it is one; lines keep their numbers."""
    if not line:
        return None
    start = _offset(text, line, 1)
    statement, newline, rest = text[start:].partition("\n")
    header = statement.lstrip().startswith("[")
    if not (header or _is_closed(statement)) or not _is_toml(text[:start]):
        return None
    # The keys below a header must not become those of the table before it.
    return text[:start] + (f'["\\u0000{line}"]' if header else "") + newline + rest


def _is_closed(statement: str) -> bool:
    """Whether the next line does not belong to this one."""
    depth = 0
    for token in _TOKEN.finditer(statement):
        if token["open"]:
            return False
        if (bracket := token["bracket"]) is not None:
            depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
    return depth == 0


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _problem(message: str) -> Problem:
    return Problem(path=(), kind=Kind.SYNTAX, message=message)


def _syntax_error(file: Path, text: str, error: str) -> Diagnostic:
    """From tomllib's message, which ends with the place."""
    found, message = _PLACE.search(error), _PLACE.sub("", error)
    if found is not None and found[1] is not None:
        offset = _offset(text, int(found[1]), int(found[2]))
    elif message == _NO_QUOTE:  # tomllib looks for one beyond the line, to the very end
        offset = _end_of_line(text, text.rfind("'"))
    else:
        offset = len(text.rstrip())
    if message.startswith("Cannot "):
        twice = _written_twice(file, text, offset)
        if twice is not None:
            return twice
    return place(file, _problem(message[:1].lower() + message[1:]), _span(text, offset))


def _written_twice(file: Path, text: str, offset: int) -> Diagnostic | None:
    """Which key it is whose second writing ends where tomllib stopped, and where the first is."""
    try:
        at = locate(text[: _end_of_line(text, offset)])
    except RecursionError:
        return None
    for path, (start, end) in at.values.items():
        first = at.names.get(path)
        header = text.startswith("[", start) and start < offset < end
        if (end == offset or header) and first is not None and first[1] <= start:
            related = relate(file, at.at(*first), f"{dotted(path)} is first written here")
            problem = _problem(f"{dotted(path)} is written twice")
            return place(file, problem, at.at(start, end), related)
    return None


def _end_of_line(text: str, offset: int) -> int:
    end = text.find("\n", offset)
    return len(text) if end < 0 else end


def _offset(text: str, line: int, column: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
    return start + column - 1


def _span(text: str, offset: int) -> Span:
    return Span(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset), 1)
