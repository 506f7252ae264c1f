"""Entries of L1 and L2 tables on their way to the file.

An entry is written as soon as what it leads to is in the file, unless it is *late*: it leads to
something that must be durable first, since it takes the place of data that were durable before
(what a copy on write has copied, or a cluster with remains of other data around what was written).
A late entry is in the tables in memory only, until a flush: then what it leads to is durable, and
it is written.  So whatever a crash leaves, each entry leads to the old data or to the new.

Whoever changes entries has claimed their guest clusters (``Claims``), or for L1 its index here.
"""

import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from blkrun.server.qcow2.allocation import Claims
from blkrun.server.qcow2.entries import COPIED, OFFSET_MASK
from blkrun.server.qcow2.freeing import Freeing
from blkrun.server.qcow2.guard import Guard
from blkrun.server.qcow2.image import Image
from blkrun.server.qcow2.refcounts import Run
from blkrun.server.qcow2.tables import Table, encode_words

_L1 = -1
"""In place of an L1 index: the L1 table itself."""

Place = tuple[int, int]
"""(L1 index, index in that L2 table), or (_L1, L1 index)."""


class Late(NamedTuple):
    """``generation``: of the flush after which it can be written; ``frees``: what is free then.

    ``since``: of the flush that has to write it.  An entry that is changed again while that flush
    is under way leads to what needs another; but the first change was to be durable by then.
    """

    since: int
    generation: int
    frees: tuple[Run, ...]


class Change(NamedTuple):
    """New words for entries of an L2 table, from the one numbered ``entry`` on.

    ``frees`` are the clusters that the old ones led to, for each entry; none: it led to nothing
    that is given up.  ``gives``: each of the new ones leads to a cluster that is free again, in
    the end, if writing them fails.
    """

    entry: int
    words: "array[int]"
    is_late: bool = False
    frees: Sequence[Sequence[Run]] = ()
    gives: bool = False


class Links:
    """Of one image.  ``claims`` are on guest clusters, numbered over the whole disk."""

    def __init__(
        self,
        image: Image,
        claims: Claims,
        guard: Guard,
        freeing: Freeing,
        take_table: Callable[[], tuple[int, bool]],
    ) -> None:
        """``take_table`` gives a cluster for an L2 table: its offset, and whether it is blank."""
        self.image = image
        self._geometry = image.geometry
        self._words = image.geometry.entry_words
        self.claims = claims
        self.guard = guard
        self._freeing = freeing
        self._take_table = take_table
        self._l1_claims = Claims()
        self._lock = threading.Lock()
        self._late: dict[Place, Late] = {}
        self._late_in: dict[int, int] = {}  # L1 index → how many of its table's entries
        self._generation = 0
        self._flushed = 0  # the last one whose entries lead to what is durable
        self.changes = 0
        """Goes up when something is written, or late, that a flush has to settle: before anybody
        sees it, so that who writes where it leads finds that too, and after that, so that a flush
        that knows of it does settle it."""

    @property
    def late_count(self) -> int:
        """Entries that wait for a flush."""
        return len(self._late)

    @property
    def late_tables(self) -> int:
        """Tables that stay in memory until then."""
        return len(self._late_in)

    def is_late(self, l1_index: int, entry: int) -> bool:
        """Whether an entry waits for a flush; to be asked by who has claimed its cluster."""
        return (l1_index, entry) in self._late

    # Tables

    def table_for_change(self, l1_index: int) -> Table:
        """The table of an L1 index, held, and nobody else's: made or copied if need be."""
        image = self.image
        if image.l1[l1_index] & COPIED:
            table = image.tables.get_held(l1_index)
            if table is not None:
                self.guard.check_table(table.offset)
                return table
        run = self._l1_claims.claim(l1_index, l1_index + 1)
        try:
            table = image.tables.get_held(l1_index)
            if table is None:
                return self._make_table(l1_index)
            try:
                if not image.l1[l1_index] & COPIED:
                    self._copy_table(l1_index, table)
                self.guard.check_table(table.offset)
            except BaseException:
                image.tables.release(table)
                raise
            return table
        finally:
            self._l1_claims.release(run)

    def _make_table(self, l1_index: int) -> Table:
        """An empty one.  In a blank cluster it is there already."""
        image = self.image
        offset, is_blank = self._take_table()
        table = Table(offset, array("Q", bytes(self._geometry.cluster_bytes)))
        if not is_blank:
            self._write_table(table, offset)
        self.guard.add_table(offset)
        image.tables.insert(l1_index, table)
        try:
            self._link_table(l1_index, offset, is_late=not is_blank, frees=())
        except BaseException:
            image.tables.release(table)
            raise
        return table

    def _copy_table(self, l1_index: int, table: Table) -> None:
        """One that a snapshot has as well goes on in another place."""
        offset, _ = self._take_table()
        self._write_table(table, offset)
        self.guard.add_table(offset)
        self.guard.remove_table(table.offset)
        cluster = table.offset // self._geometry.cluster_bytes
        table.offset = offset
        self._link_table(l1_index, offset, is_late=True, frees=((cluster, cluster + 1),))

    def _write_table(self, table: Table, offset: int) -> None:
        """Into a new place, which is given up if that fails."""
        self.image.event("l2_alloc_write")
        try:
            self.image.store.pwrite(memoryview(encode_words(table.words)), offset)
        except OSError:
            cluster = offset >> self._geometry.cluster_bits
            self._freeing.add([(cluster, cluster + 1)])
            raise

    def _link_table(
        self, l1_index: int, offset: int, *, is_late: bool, frees: tuple[Run, ...]
    ) -> None:
        """A table that is not in the file at its place stays in memory until L1 leads to it.

        Others see it only then: what they write, and flush, must not hang on a write under way.
        """
        word, place = offset | COPIED, (_L1, l1_index)
        try:
            if is_late:
                self._all_be_late((place,), (frees,))
            else:
                self._write_l1(l1_index, word)
                self.changes += 1
        except OSError:
            self._all_be_late((place,), (frees,))
            raise
        finally:
            self.image.l1[l1_index] = word

    def _write_l1(self, l1_index: int, word: int) -> None:
        self.image.event("l1_update")
        offset = self.image.header.l1_table_offset + l1_index * 8
        self.image.store.pwrite(memoryview(word.to_bytes(8, "big")), offset)

    # Entries

    def change(self, l1_index: int, table: Table, change: Change) -> None:
        """Replace entries.  The caller holds the table, and has claimed their clusters.

        Others see the new ones when they are in the file, or late: a flush that comes after what
        they write there must find them so.
        """
        index, words, is_late, frees, gives = change
        first = index * self._words
        places = [(l1_index, index + at) for at in range(len(words) // self._words)]
        if is_late:
            self._all_be_late(places, frees)
            table.words[first : first + len(words)] = words
            return
        try:
            self.image.event("l2_update")
            offset = table.offset + first * 8
            self.image.store.pwrite(memoryview(encode_words(words)), offset)
        except OSError:
            # Nobody knows what is in the file now: the old entries are written again later.
            self._all_be_late(places, self._clusters_of(words) if gives else ())
            raise
        self.changes += 1
        table.words[first : first + len(words)] = words
        self._freeing.add([*chain.from_iterable(frees), *self._not_late(places)])

    def change_one(self, l1_index: int, table: Table, index: int, word: int) -> None:
        """The same for one entry that led nowhere, and leads to a new cluster now."""
        place = (l1_index, index)
        try:
            data = memoryview(word.to_bytes(8, "big"))
            self.image.store.node.pwrite(data, table.offset + index * 8, 0)
        except OSError:
            self._all_be_late((place,), self._clusters_of((word,)))
            raise
        self.changes += 1
        table.words[index] = word
        if self._late:
            self._freeing.add(self._not_late((place,)))

    def _clusters_of(self, words: Sequence[int]) -> list[tuple[Run]]:
        """What each of them leads to."""
        bits = self._geometry.cluster_bits
        clusters = [(word & OFFSET_MASK) >> bits for word in words[:: self._words]]
        return [((cluster, cluster + 1),) for cluster in clusters]

    def _all_be_late(self, places: Sequence[Place], frees: Sequence[Sequence[Run]]) -> None:
        """``frees`` are of each: not all of them may be written at once."""
        with self._lock:
            for at, place in enumerate(places):
                self._be_late(place, tuple(frees[at]) if frees else ())
        self.changes += 1

    def _be_late(self, place: Place, frees: tuple[Run, ...]) -> None:
        before, since = self._late.get(place), self._generation
        if before is not None:
            since, frees = before.since, before.frees + frees
        else:
            self._pin(place)
        self._late[place] = Late(since, self._generation, frees)

    def _not_late(self, places: Sequence[Place]) -> list[Run]:
        """They have been written; what became free with earlier changes is so now."""
        if not self._late:
            return []
        frees: list[Run] = []
        with self._lock:
            for place in places:
                late = self._late.pop(place, None)
                if late is not None:
                    frees += late.frees
                    self._unpin(place)
        return frees

    def _pin(self, place: Place) -> None:
        l1_index = _table_of(place)
        self._late_in[l1_index] = count = self._late_in.get(l1_index, 0) + 1
        if count == 1:
            table = self.image.tables.find(l1_index)
            if table is None:
                raise AssertionError("a table that is changed is held")
            self.image.tables.hold(table)

    def _unpin(self, place: Place) -> None:
        l1_index = _table_of(place)
        count = self._late_in.pop(l1_index) - 1
        if count:
            self._late_in[l1_index] = count
            return
        table = self.image.tables.find(l1_index)
        if table is None:
            raise AssertionError("a table with late entries is held")
        self.image.tables.release(table)

    # Flushes: what they do is in ``Writer.flush``

    def before_flush(self) -> int:
        """A flush begins; what becomes late from now on is for the next.  Gives its generation."""
        with self._lock:
            generation = self._generation
            self._generation += 1
            return generation

    def write_late(self, generation: int, frees: list[Run]) -> bool:
        """What they lead to is durable: write the entries.  Whether there were any.

        What is free with that is added to ``frees``, also where one of them cannot be written.
        """
        self._flushed = generation
        with self._lock:
            places = sorted(place for place, late in self._late.items() if late.since <= generation)
        for l1_index, first, past in _runs_of(places):
            if l1_index == _L1:
                frees += self._write_late_l1(first, generation)
            else:
                for runs in self._write_late_entries(l1_index, first, past, generation):
                    frees += runs
        return bool(places)

    def _write_late_l1(self, l1_index: int, generation: int) -> list[Run]:
        run = self._l1_claims.claim(l1_index, l1_index + 1)
        try:
            place = (_L1, l1_index)
            if not self._is_due(place, generation):
                return []
            self._write_l1(l1_index, self.image.l1[l1_index])
            return self._not_late([place])
        finally:
            self._l1_claims.release(run)

    def _write_late_entries(
        self, l1_index: int, first: int, past: int, generation: int
    ) -> Iterator[list[Run]]:
        """Those that are still due: some may have been changed since."""
        base = l1_index * self._geometry.l2_entries
        claim = self.claims.claim(base + first, base + past)
        try:
            due = [
                place
                for place in ((l1_index, index) for index in range(first, past))
                if self._is_due(place, generation)
            ]
            self._flush_for(due)
            for _, start, end in _runs_of(due):
                table = self.image.tables.find(l1_index)
                if table is None:
                    raise AssertionError("a table with late entries is held")
                words = table.words[start * self._words : end * self._words]
                offset = table.offset + start * self._words * 8
                self.image.event("l2_update")
                self.image.store.pwrite(memoryview(encode_words(words)), offset)
                yield self._not_late([(l1_index, at) for at in range(start, end)])
        finally:
            self.claims.release(claim)

    def _is_due(self, place: Place, generation: int) -> bool:
        late = self._late.get(place)
        return late is not None and late.since <= generation

    def _flush_for(self, places: Sequence[Place]) -> None:
        """Some may lead to more by now than what has been flushed.  They are claimed."""
        if any(self._late[place].generation > self._flushed for place in places):
            generation = self.before_flush()
            self.image.flush()
            self._flushed = generation


def _table_of(place: Place) -> int:
    l1_index, index = place
    return index if l1_index == _L1 else l1_index


def _runs_of(places: Sequence[Place]) -> list[tuple[int, int, int]]:
    """(L1 index or _L1, first, past) of sorted places; L1's one by one."""
    runs: list[tuple[int, int, int]] = []
    for l1_index, index in places:
        if l1_index != _L1 and runs and runs[-1][0] == l1_index and runs[-1][2] == index:
            runs[-1] = (l1_index, runs[-1][1], index + 1)
        else:
            runs.append((l1_index, index, index + 1))
    return runs
