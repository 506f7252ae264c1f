"""L2 tables in memory, as many as a bound allows; reads and writes share them.

Looking up a table that is there is one look in a dictionary, without a lock.  Entries are words
that are read and replaced as a whole, an extended entry by one slice of two words, so a reader sees
an old entry or a new one.

For each L1 index there is at most one table at a time.  Whoever changes entries holds the table
meanwhile: one that is held is not dropped, so nobody writes into a table that others do not see.
"""

import sys
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_OVERHEAD_BYTES = 600
"""What a table takes besides its words: objects, and places in the dictionaries."""

_LARGE_TABLE_BYTES = 2**14
"""From here on that is not counted: who sets a size in QEMU's way, or has it set, to cover the disk
with whole tables gets the last one too."""

_LEAST_TABLES = 2
"""As in QEMU; requests go from one table to the next."""


class Table:
    """One L2 table.  ``offset``: where in the file it is; ``lock`` is for those that change it."""

    __slots__ = ("held", "lock", "offset", "used", "words")

    def __init__(self, offset: int, words: "array[int]") -> None:
        self.offset = offset
        self.words = words
        self.lock = threading.Lock()
        self.held = 0
        self.used = False  # since it came by: one look alone does not keep it


class Tables:
    """``load`` reads the table of an L1 index; None: there is none.  ``find`` only looks."""

    def __init__(
        self, table_bytes: int, most_bytes: int, load: Callable[[int], Table | None]
    ) -> None:
        overhead = _OVERHEAD_BYTES if table_bytes < _LARGE_TABLE_BYTES else 0
        self.most_tables = max(most_bytes // (table_bytes + overhead), _LEAST_TABLES)
        self._load = load
        self._found: dict[int, Table] = {}
        self.find = self._found.get
        self._ring: deque[int] = deque()  # the clock: who is next to be dropped, if not used again
        self._loading: dict[int, threading.Event] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, l1_index: int) -> Table | None:
        """The table, loaded if need be; None if there is none.  Raises what ``load`` raises."""
        while True:
            if (table := self._found.get(l1_index)) is not None:
                table.used = True
                return table
            with self._lock:
                if l1_index in self._found:
                    continue
                loaded = self._loading.get(l1_index)
                if loaded is None:
                    self._loading[l1_index] = threading.Event()
            if loaded is None:
                return self._load_first(l1_index)
            loaded.wait()

    @contextmanager
    def holding(self, l1_index: int) -> Iterator[Table | None]:
        """The table, held inside; None if there is none."""
        table = self.get_held(l1_index)
        try:
            yield table
        finally:
            if table is not None:
                self.release(table)

    def get_held(self, l1_index: int) -> Table | None:
        """The same without an end: ``release`` is the caller's business."""
        while (table := self.get(l1_index)) is not None:
            with self._lock:
                if self._found.get(l1_index) is table:
                    table.held += 1
                    return table
        return None

    def hold(self, table: Table) -> None:
        """Once more, by somebody who holds it already."""
        with self._lock:
            table.held += 1

    def release(self, table: Table) -> None:
        """Hold it once less.  What was kept beyond the bound for being held goes now."""
        with self._lock:
            table.held -= 1
            if not table.held and len(self._found) > self.most_tables:
                self._drop(self.most_tables)

    def insert(self, l1_index: int, table: Table) -> None:
        """A table that has just been made, held by the caller; before L1 leads to it."""
        with self._lock:
            table.held += 1
            self._keep(l1_index, table)

    def _load_first(self, l1_index: int) -> Table | None:
        """The one that loads it; all others wait."""
        table = None
        try:
            table = self._load(l1_index)
        finally:
            with self._lock:
                if l1_index in self._found:  # somebody has just made it: ``insert``
                    table = self._found[l1_index]
                elif table is not None:
                    self._keep(l1_index, table)
                self._loading.pop(l1_index).set()
        return table

    def _keep(self, l1_index: int, table: Table) -> None:
        if l1_index in self._found:
            raise AssertionError(f"a second table for L1 index {l1_index}")
        self._drop(self.most_tables - 1)
        self._found[l1_index] = table
        self._ring.append(l1_index)

    def _drop(self, most: int) -> None:
        """Until there are so few; if all are held, there are more than that."""
        rounds = 2 * len(self._ring)  # in the first one all may turn out to have been used
        while len(self._found) > most and rounds:
            rounds -= 1
            l1_index = self._ring.popleft()
            table = self._found[l1_index]
            if table.held or table.used:
                table.used = False
                self._ring.append(l1_index)
            else:
                del self._found[l1_index]


def decode_words(data: bytes | bytearray) -> "array[int]":
    """Big endian as in the file → words."""
    words = array("Q", bytes(data))
    if sys.byteorder == "little":
        words.byteswap()
    return words


def encode_words(words: "array[int]") -> bytes:
    """Words → big endian as in the file."""
    if sys.byteorder == "little":
        words = words[:]
        words.byteswap()
    return words.tobytes()
