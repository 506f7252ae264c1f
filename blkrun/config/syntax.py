"""The ``parse`` and ``locate`` passes: text → mapping and places, or the one syntax error."""

import re
import tomllib
from pathlib import Path

from blkrun.config.diagnostics import dotted, place, relate
from blkrun.config.parts import Part
from blkrun.config.positions import Span, locate
from blkrun.config.source import encoding_fault, text_of
from blkrun.decode import Kind, Problem
from blkrun.diagnostic import Diagnostic

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def parse_toml(source: bytes, file: Path) -> Part | Diagnostic:
    """What the text says and where; a Diagnostic if it is not TOML."""
    text = text_of(source)
    if (fault := encoding_fault(source)) is not None:
        offset, message = fault
        return place(file, _problem(message), _span(text, offset))
    try:
        return Part(file, tomllib.loads(text), locate(text))
    except tomllib.TOMLDecodeError as error:
        return _syntax_error(file, text, str(error))
    except RecursionError:
        return place(file, _problem("arrays or tables are nested too deeply"))


def _problem(message: str) -> Problem:
    return Problem(path=(), kind=Kind.SYNTAX, message=message)


def _syntax_error(file: Path, text: str, error: str) -> Diagnostic:
    """From tomllib's message, which ends with the place."""
    found = _PLACE.search(error)
    if found is None or found[1] is None:
        offset = len(text.rstrip())
    else:
        offset = _offset(text, int(found[1]), int(found[2]))
    message = _PLACE.sub("", error)
    if message.startswith("Cannot "):
        twice = _written_twice(file, text, offset)
        if twice is not None:
            return twice
    return place(file, _problem(message[:1].lower() + message[1:]), _span(text, offset))


def _written_twice(file: Path, text: str, offset: int) -> Diagnostic | None:
    """Which key it is whose second writing ends where tomllib stopped, and where the first is."""
    at = locate(text)
    for path, (start, end) in at.values.items():
        first = at.names.get(path)
        header = text.startswith("[", start) and start < offset < end
        if (end == offset or header) and first is not None and first[1] <= start:
            related = relate(file, at.at(*first), f"{dotted(path)} is first written here")
            problem = _problem(f"{dotted(path)} is written twice")
            return place(file, problem, at.at(start, end), related)
    return None


def _offset(text: str, line: int, column: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
    return start + column - 1


def _span(text: str, offset: int) -> Span:
    return Span(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset), 1)
