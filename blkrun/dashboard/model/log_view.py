"""What of the event log is shown: filtered, searched, and standing still while somebody reads.

A view hangs on records' numbers, so that neither new records nor the dropping of old ones moves
what is being read.  Of the log only what is new is looked at; all of it when the filter changes.
"""

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from blkrun.dashboard.lines import clean
from blkrun.dashboard.model.record import Log, Record
from blkrun.messages import Level

LEVELS: tuple[Level, ...] = (Level.INFO, Level.GOOD, Level.WARNING, Level.ERROR)
LEVEL_WORDS = {Level.INFO: "", Level.GOOD: "ok+", Level.WARNING: "warnings+", Level.ERROR: "errors"}

_number = attrgetter("number")


class Query:
    """Words that all must hold: ``held`` is in it, ``!held`` is not, ``~hld`` is with gaps."""

    def __init__(self, text: str = "") -> None:
        self.text = text.strip()
        self._wanted: list[re.Pattern[str]] = []
        self._unwanted: list[re.Pattern[str]] = []
        self._fuzzy: list[str] = []
        for word in self.text.split():
            kind, rest = (word[0], word[1:]) if word[0] in "!~" else ("", word)
            if not rest:
                continue  # a word that is still being typed
            if kind == "~":
                self._fuzzy.append(rest.lower())
            else:
                pattern = re.compile(re.escape(rest), re.IGNORECASE)
                (self._unwanted if kind else self._wanted).append(pattern)

    def __bool__(self) -> bool:
        return bool(self._wanted or self._unwanted or self._fuzzy)

    def matches(self, text: str) -> bool:
        """Whether all words hold; so they do when there are none."""
        return (
            all(pattern.search(text) for pattern in self._wanted)
            and not any(pattern.search(text) for pattern in self._unwanted)
            and all(_has_letters(text, word) for word in self._fuzzy)
        )

    def hits(self, text: str) -> list[tuple[int, int]]:
        """Where the words stand in a text that matches: begin and end, neither touching nor twice.

        Words with gaps, and words that are not there, stand nowhere.
        """
        found = sorted(match.span() for pattern in self._wanted for match in pattern.finditer(text))
        merged: list[tuple[int, int]] = []
        for begin, end in found:
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        return merged


def _has_letters(text: str, letters: str) -> bool:
    """Whether they come one after the other, whatever is between."""
    text, at = text.lower(), 0
    for letter in letters:
        at = text.find(letter, at) + 1
        if not at:
            return False
    return True


class Found(NamedTuple):
    """A hit of the search: its row, and whether the end was passed on the way."""

    row: int
    wrapped: bool


class LogView:
    """Rows are records that pass ``filter`` and are at least ``least``.

    ``top``: the number of the record in the first line.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._frozen: tuple[Record, ...] | None = None
        self._rows: list[Record] = []
        self._next = 0  # numbers from here on have not been looked at
        self._seen = 0
        self.filter = Query()
        self.search = Query()
        self.least = Level.INFO
        self._levels = LEVELS
        self.top = 0
        self._hits: list[int] = []
        self._unread: deque[Record] = deque()
        self.catch_up()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Record:
        return self._rows[row]

    @property
    def total(self) -> int:
        """Records of which the rows are those that pass."""
        return len(self._log if self._frozen is None else self._frozen)

    @property
    def is_narrowed(self) -> bool:
        """Whether something may be hidden."""
        return bool(self.filter) or self.least is not Level.INFO

    @property
    def hits(self) -> int:
        """Rows that the search finds."""
        return len(self._hits)

    @property
    def news(self) -> int:
        """Records that pass and came since ``read()``; while frozen they are not yet rows."""
        return len(self._unread)

    @property
    def new_errors(self) -> int:
        """Those among the news that nobody should miss."""
        return sum(record.level is Level.ERROR for record in self._unread)

    @property
    def dropped(self) -> int:
        """Records that the log has no more."""
        return self._log.first

    @property
    def _source(self) -> Sequence[Record]:
        return self._log.records if self._frozen is None else self._frozen

    # The log goes on

    def catch_up(self) -> int:
        """Take in what is new; gives how many rows went at the front."""
        passing = self._passing_since(self._next)
        self._next = self._log.next
        self._note_unread(passing)
        if self._frozen is not None:
            return 0
        self._refold()
        self._rows += passing
        self._hits += [record.number for record in passing if self._is_hit(record)]
        gone = bisect_left(self._rows, self._log.first, key=_number)
        del self._rows[:gone]
        del self._hits[: bisect_left(self._hits, self._log.first)]
        return gone

    def _passing_since(self, number: int) -> list[Record]:
        first = self._log.first
        fresh = (self._log[each - first] for each in range(max(number, first), self._log.next))
        return [record for record in fresh if self._passes(record)]

    def _note_unread(self, records: list[Record]) -> None:
        self._unread.extend(records)
        while self._unread and self._unread[0].number < self._log.first:
            self._unread.popleft()

    def _refold(self) -> None:
        """Only the record that was the last may have been said again."""
        first = self._log.first
        if self._rows and (number := self._rows[-1].number) >= first:
            self._rows[-1] = self._log[number - first]

    def freeze(self) -> None:
        """Stand still: what is kept now stays, also what the log drops meanwhile."""
        self.catch_up()
        self._frozen = self._log.records

    def thaw(self) -> None:
        """The present again."""
        self._frozen = None
        self._sift()

    def read(self) -> None:
        """All there is has been seen."""
        self._seen = self._log.next
        self._unread.clear()

    # What passes

    def narrow(self, query: Query | None = None, least: Level | None = None) -> None:
        """Another filter, another least level, or both."""
        self.filter = self.filter if query is None else query
        self.least = self.least if least is None else least
        self._levels = LEVELS[LEVELS.index(self.least) :]
        self._sift()

    def look_for(self, query: Query) -> None:
        """Another search; it hides nothing."""
        self.search = query
        self._hits = [record.number for record in self._rows if self._is_hit(record)]

    def _sift(self) -> None:
        """Take all of the log anew."""
        self._next = self._log.next
        self._rows = [record for record in self._source if self._passes(record)]
        self._unread.clear()
        if self._frozen is None:
            self._note_unread(self._rows[bisect_left(self._rows, self._seen, key=_number) :])
        else:
            self._note_unread(self._passing_since(self._seen))
        self.look_for(self.search)

    def _passes(self, record: Record) -> bool:
        return record.level in self._levels and self.filter.matches(clean(record.text))

    def _is_hit(self, record: Record) -> bool:
        return bool(self.search) and self.search.matches(clean(record.text))

    # Where

    def row_of(self, number: int) -> int:
        """The row of a record, or of the next one that is shown; the last if there is none."""
        row = bisect_left(self._rows, number, key=_number)
        return max(min(row, len(self._rows) - 1), 0)

    def top_row(self, page: int) -> int:
        """The row of ``top``, or the one from which on a page is full to its end."""
        return max(min(self.row_of(self.top), len(self._rows) - page), 0)

    def see(self, row: int) -> None:
        """This row is in the first line now."""
        if self._rows:
            self.top = self._rows[max(min(row, len(self._rows) - 1), 0)].number

    def hit_number(self, row: int) -> int | None:
        """Which hit of all a row is, from 1."""
        if not row < len(self._rows):
            return None
        number = self._rows[row].number
        index = bisect_left(self._hits, number)
        return index + 1 if index < len(self._hits) and self._hits[index] == number else None

    def next_hit(self, row: int, step: int) -> Found | None:
        """The hit after a row, or with -1 before it; from the other end when there is none."""
        if not self._hits or not self._rows:
            return None
        number = self._rows[row].number
        if step > 0:
            index = bisect_left(self._hits, number + 1)
        else:
            index = bisect_left(self._hits, number) - 1
        wrapped = not 0 <= index < len(self._hits)
        return Found(self.row_of(self._hits[index % len(self._hits)]), wrapped)
