"""A TOML text as lines: which of them belong to a table, comments among them.

A table's block are its header, its keys, the comment directly above the header and the one
directly below the last key, if no header follows it at once.  A comment with blank lines on both
sides belongs to nobody, one in the file's first line to the file.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

from blkrun.decode import Path
from blkrun.toml.positions import Positions, locate

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


class Block(NamedTuple):
    """Indices of lines, the end exclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Lines:
    """A text that tomllib has accepted, in lines with their ends."""

    at: Positions
    lines: list[str]

    @property
    def newline(self) -> str:
        """How the first line ends."""
        return "\r\n" if self.lines and self.lines[0].endswith("\r\n") else "\n"

    def __len__(self) -> int:
        return len(self.lines)

    def number(self, offset: int) -> int:
        """The index of the line with this offset in it."""
        return bisect_right(self.at.line_starts, offset) - 1

    def indent(self, offset: int) -> str:
        """What is before this offset in its line."""
        return self.at.text[self.at.line_starts[self.number(offset)] : offset]

    def is_blank(self, index: int) -> bool:
        """Whether there is nothing in it."""
        return not self.lines[index].strip()

    def blanks_from(self, index: int, step: int) -> int:
        """How many lines with nothing in them there are from here up (-1) or down (1)."""
        count = 0
        while 0 <= index < len(self) and self.is_blank(index):
            count, index = count + 1, index + step
        return count

    def blocks(self, table: Path) -> list[Block]:
        """Those of a table with a header, and of the tables in it; ``()``: above all headers."""
        if table == ():
            return [Block(0, self._below(self._last_line(())))] if self.direct(()) else []
        return [self._block(path) for path in self.at.headers if path[: len(table)] == table]

    def direct(self, table: Path) -> list[Path]:
        """Key paths of what is written below one header, or above all of them."""
        return [path for path, (_, place) in self.at.pairs.items() if place == table]

    def _block(self, header: Path) -> Block:
        return Block(self.comment_above(self.at.values[header][0]), self._below_last(header))

    def comment_above(self, offset: int) -> int:
        """The first line of the comment directly above, or the line itself."""
        line = start = self.number(offset)
        bound = max((end + 1 for end in self._content() if end < line), default=0)
        while start > bound and self.lines[start - 1].lstrip().startswith("#"):
            start -= 1
        return start if start > 0 else line

    def _below_last(self, header: Path) -> int:
        return self._below(self._last_line(header))

    def _below(self, last: int) -> int:
        end = last + 1
        while end < len(self) and self.lines[end].lstrip().startswith("#"):
            end += 1
        return end if end == len(self) or self.is_blank(end) else last + 1

    def _last_line(self, table: Path) -> int:
        ends = [
            self.at.values[path][1] for path in (*self.direct(table), *([table] if table else ()))
        ]
        return self.number(max(ends) - 1)

    def _content(self) -> list[int]:
        """The last line of each header, and of each value."""
        places = [*self.at.headers, *self.at.pairs]
        return [self.number(self.at.values[path][1] - 1) for path in places]


def lines_of(text: str) -> Lines:
    """Scanned and cut."""
    return Lines(locate(text), _LINE.findall(text))
