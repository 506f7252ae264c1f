"""Where each key of a TOML text is: key path → line, column, length.

tomllib gives values and no positions, so this scans the text a second time, for shape only.
It runs on text that tomllib has accepted, and so need not judge it: on anything else it ends
early and knows fewer places, no more.  One regular expression match a token, so it is linear.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from blkrun.decode import Path

Range = tuple[int, int]
"""Offsets in the text, the end exclusive."""

# No possessive quantifiers: Python before 3.11.5 gets those around a group wrong (gh-106052).
_GAP = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BASIC = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_LITERAL = r"'[^']*'"
_WORD = re.compile(  # of a key or header, with the dot or equals sign after it
    rf"[ \t]*([A-Za-z0-9_-]+|{_BASIC}|{_LITERAL})[ \t]*([.=]?)[ \t]*"
)
_SCALAR = re.compile(
    r'"{3}[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"{3,5}'  # one or two quotes may precede the last three
    r"|'{3}[^']*(?:'(?!'')[^']*)*'{3,5}"
    rf"|{_BASIC}|{_LITERAL}"
    r"|\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*"  # the one bare value that may have a space in it
    r"|[^\s,\]}#]+",
    re.DOTALL,
)


class Span(NamedTuple):
    """A place for a caret: line and column count from 1, the length stays on that line."""

    line: int
    column: int
    length: int


@dataclass(frozen=True, slots=True)
class Positions:
    """Places by key path; list items are named by their index.

    A key's *name* is the word itself.  Its *value* is what follows the ``=``; for a table
    with a header, the header.  ``pairs`` says of each key with a value where it begins, with the
    words before its dots, and which table that is written in: one with a header, one in braces, or
    ``()`` above all headers.
    """

    text: str
    names: dict[Path, Range]
    values: dict[Path, Range]
    line_starts: list[int]
    pairs: dict[Path, tuple[int, Path]]
    headers: tuple[Path, ...]

    def name(self, path: Path) -> Span | None:
        """The key's own name, or the nearest table around it that is written down."""
        return self._first(path, self.names, self.values)

    def value(self, path: Path) -> Span | None:
        """The key's value or table header, or the nearest table around it."""
        return self._first(path, self.values, self.names)

    def also(self, path: Path, name: str) -> None:
        """Find a key under another name too."""
        for places in (self.names, self.values):
            if path in places:
                places[(*path[:-1], name)] = places[path]

    def at(self, start: int, end: int) -> Span:
        """Offsets → line, column and length, cut at the end of the first line."""
        line = bisect_right(self.line_starts, start)
        line_end = self.text.find("\n", start)
        end = end if line_end < 0 else min(end, line_end)
        return Span(line, start - self.line_starts[line - 1] + 1, max(1, end - start))

    def _first(self, path: Path, *tables: dict[Path, Range]) -> Span | None:
        for table in tables:
            if path in table:
                return self.at(*table[path])
        return self.value(path[:-1]) if path else None


def locate(text: str) -> Positions:
    """Scan a whole text that tomllib has accepted.

    ``at`` and what uses it count columns as if its line ends were plain newlines.
    """
    scanner = _Scanner(text)
    scanner.document()
    line_starts = [0, *(found.end() for found in re.finditer("\n", text))]
    headers = tuple(scanner.headers)
    return Positions(text, scanner.names, scanner.values, line_starts, scanner.pairs, headers)


class _Scanner:
    """Each method starts at an offset and gives the offset after what it read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: dict[Path, Range] = {}
        self.values: dict[Path, Range] = {}
        self.pairs: dict[Path, tuple[int, Path]] = {}
        self.headers: list[Path] = []
        self._last_index: dict[Path, int] = {}  # of each array of tables: [[name]]

    def document(self) -> None:
        at, table = self._skip(_GAP, 0), Path()
        while at < len(self.text):
            if self.text[at] == "[":
                at, table = self._header(at)
            else:
                at = self._pair(at, table)
            at = self._skip(_GAP, at)

    def _header(self, start: int) -> tuple[int, Path]:
        brackets = 2 if self.text.startswith("[[", start) else 1
        words, at = self._words(start + brackets)
        path = Path()
        for word, place in words:
            path = (*self._current_item(path), word)
            self.names.setdefault(path, place)
        if brackets == 2:
            self._last_index[path] = self._last_index.get(path, -1) + 1
            path = self._current_item(path)
        self.values[path] = (start, at + brackets)
        self.headers.append(path)
        return at + brackets, path

    def _current_item(self, path: Path) -> Path:
        # [[disk]] [disk.cache]: the second header is about the disk named last.
        return (*path, self._last_index[path]) if path in self._last_index else path

    def _pair(self, at: int, table: Path) -> int:
        start, path = at, table
        words, at = self._words(at)
        for word, place in words:
            path = (*path, word)
            self.names.setdefault(path, place)
        self.pairs[path] = (start, table)
        return self._value(at, path)

    def _words(self, at: int) -> tuple[list[tuple[str, Range]], int]:
        words = []
        while (found := _WORD.match(self.text, at)) is not None:
            words.append((_unquote(found[1]), found.span(1)))
            at = found.end()
            if found[2] != ".":
                return words, at
        return words, len(self.text)  # not TOML: go no further

    def _value(self, start: int, path: Path) -> int:
        if self.text.startswith("[", start):
            end = self._items(start, "]", lambda at, n: self._value(at, (*path, n)))
        elif self.text.startswith("{", start):
            end = self._items(start, "}", lambda at, _: self._pair(at, path))
        else:
            end = self._skip(_SCALAR, start)
        self.values[path] = (start, end)
        return end

    def _items(self, at: int, close: str, item: Callable[[int, int], int]) -> int:
        count, at = 0, self._skip(_GAP, at + 1)
        while at < len(self.text) and self.text[at] != close:
            at = self._skip(_GAP, item(at, count))
            if self.text.startswith(",", at):
                at = self._skip(_GAP, at + 1)
            count += 1
        return at + 1

    def _skip(self, pattern: re.Pattern[str], at: int) -> int:
        found = pattern.match(self.text, at)
        return found.end() if found else len(self.text)  # as above


def _unquote(word: str) -> str:
    if word[0] not in ("'", '"'):
        return word
    if "\\" not in word or word[0] == "'":
        return word[1:-1]
    try:
        return str(tomllib.loads(f"k={word}")["k"])  # which knows every escape
    except tomllib.TOMLDecodeError:
        return word[1:-1]
