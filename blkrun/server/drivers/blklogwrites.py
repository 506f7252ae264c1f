"""Every write, also in a log: the disk can be had again as it was after each (qemu-semantics §7).

An entry is written when its data has been, before the client hears of it.  Writes that overlap
take turns, so the log has them in the order in which they became true; the others run together.
What had been written when a flush began is in the log before it, and nothing else is: so whoever
reads the log may take all before a flush as durable.

A write of parts of a log sector is logged with what is around it, as in QEMU.  Where QEMU 7.2
differs: it logs a write that failed as if it had not, and no FUA; an entry that could not be
written leaves a gap behind which the log cannot be read; and a discard of parts of a sector ends
the process.  Here what a failed write has left is read back, and logged; FUA has its flag; what
cannot be logged fails for the client, as in QEMU, but the log goes on where it was; and of a part
of a sector that was discarded the log has what the disk has.
"""

import errno
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from blkrun.errors import CommandError
from blkrun.node_rules import check_node
from blkrun.options import BlkLogWritesOptions
from blkrun.server.drivers._blocks import blocks_within
from blkrun.server.drivers._turns import Turns
from blkrun.server.export import Export
from blkrun.server.node import Node, Parent
from blkrun.server.route import Key
from blkrun.server.staging import Staging
from blkrun.server.way import FLAG_FUA, FLAG_MAY_TRIM, Extent
from blkrun.server.write_log import (
    DEFAULT_SECTOR_BYTES,
    DISCARD,
    FLUSH,
    FUA,
    Entry,
    Super,
    end_of,
    read_super,
)

_PIECE_BYTES = 2**20
"""What is read back at once of what a failed request has left."""

Record = tuple[Entry, memoryview | None]
"""An entry and its data; None: zeroes, if it has any."""


class BlkLogWrites(Node[BlkLogWritesOptions]):
    """``_appending`` is held while entries are written: the log has them one after the other."""

    driver = "blklogwrites"
    is_filter = True
    starts_at_rest = True
    grows = frozenset({"log"})
    file: Node[Any]
    log: Node[Any]

    def __init__(self, options: BlkLogWritesOptions) -> None:
        super().__init__(options)
        self._turns = Turns()
        self._left = False  # another may have the log by now
        self._appending = threading.Lock()  # protects what follows
        self._sector_bytes = options.log_sector_size or DEFAULT_SECTOR_BYTES
        self._end = 1  # the log's next sector
        self._entries = 0
        self._told = -1  # how many the super block tells of; -1: it is not this log's yet
        self._unflushed = False  # whether there are entries since the last flush's

    # Control

    def open(self, staging: Staging) -> None:
        """Find the log's end, or begin anew; nothing is written before the first entry."""
        broken = check_node(self.options)
        if broken is not None:
            raise CommandError(broken.message)
        self._find_end()
        for other in staging.departing():
            if isinstance(other, BlkLogWrites) and other.log is self.log:
                staging.disturbed.add(other)
                staging.settles.append(partial(self._follow, other))

    def close(self) -> None:
        """The last entry is a flush, as in QEMU."""
        if not self._left:
            self._finish()

    def leave(self, staging: Staging) -> None:
        """The log is finished before another may begin one in its place."""
        staging.disturbed.add(self)
        staging.settles.append(self._try_to_finish)
        staging.commits.append(self._be_left)

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """The disk's."""
        return sizes["file"]

    def check(self, staging: Staging) -> None:
        """Nobody else writes to the log.  It is finished when nobody will write through this."""
        if self._told >= 0 and not self.detached and not staging.is_written(self):
            staging.disturbed.add(self)
            staging.settles.append(self._try_to_finish)
        log = staging.children(self)["log"]
        if staging.read_only(log):
            raise CommandError(f"Node '{self.name}': the log '{log.name}' is read-only")
        for parent, role in staging.parents(log):
            if (parent, role) != (self, "log") and _may_write(parent):
                raise CommandError(
                    f"Node '{self.name}' has its log on '{log.name}', which '{parent.name}' may "
                    f"write to as its {role}; who only reads it may be an export with read-only"
                )

    def describe(self) -> dict[str, Any]:
        """How much there is in the log."""
        return {
            "entries": self._entries,
            "log-bytes": self._end * self._sector_bytes,
            "log-sector-size": self._sector_bytes,
        }

    def form(self) -> Key:
        """Options are looked at per request."""
        return (self,)

    def _find_end(self) -> None:
        if not self.options.log_append:
            return
        if self.log.length():
            superblock = read_super(self._read_log)
            self._end = end_of(self._read_log, superblock)
            self._entries, self._sector_bytes = superblock
            self._told = self._entries

    def _finish(self) -> None:
        if self._unflushed or self._told not in (-1, self._entries):
            self.do_flush()

    def _try_to_finish(self) -> None:
        """A log that is full, or fails, keeps nobody from taking it away."""
        try:
            self._finish()
        except OSError as error:
            words = f"{self.name}: the end of its log: {error.strerror}"
            print(words, file=sys.stderr)  # noqa: T201 - the server's log

    def _be_left(self) -> None:
        self._left = True

    def _follow(self, other: "BlkLogWrites") -> None:
        """Another node, about to be replaced, has written to the log since this was opened."""
        other._try_to_finish()  # noqa: SLF001 - the same class
        self._find_end()

    def _read_log(self, offset: int, count: int) -> bytes:
        buf = bytearray(count)
        if offset + count > self.log.length():
            raise OSError(errno.EIO, f"the log ends before byte {offset + count}")
        self.log.pread(memoryview(buf), offset)
        return bytes(buf)

    # Requests

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """The disk's."""
        self.file.pread(buf, offset)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """To the disk, then to the log."""
        with self._turn(len(buf), offset) as (start, end):
            self._do(partial(self.file.pwrite, buf, offset, flags), start, end)
            data = self._with_edges(buf, offset, start, end)
            self._append([(self._entry(start, end, flags), data)])

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """The same; parts of sectors at the ends are writes of their own, as in QEMU."""
        self._do_range(self.file.zero, count, offset, flags, 0)

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """The same; of parts of sectors what the disk has there now is logged."""
        self._do_range(self.file.trim, count, offset, flags, DISCARD)

    def _do_range(
        self,
        work: Callable[[int, int, int], None],
        count: int,
        offset: int,
        flags: int,
        kind: int,
    ) -> None:
        with self._turn(count, offset) as (start, end):
            self._do(partial(work, count, offset, flags), start, end)
            first, past = blocks_within(count, offset, self._sector_bytes)
            self._append(
                [
                    (self._entry(a, b, flags, kind), None)
                    if (a, b) == (first, past)
                    else (self._entry(a, b, flags), self._there(a, b))
                    for a, b in _pieces(first, past, start, end)
                ]
            )

    def do_flush(self) -> None:
        """What ends meanwhile waits to be logged until the flush is: it may not be durable."""
        with self._appending:
            self.file.flush()
            if self._unflushed:
                self._write([(Entry(0, 0, FLUSH), None)])
                self._unflushed = False
            if self._told not in (-1, self._entries):
                self._tell()

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """The disk's."""
        return self.file.extents(count, offset, flags)

    def do_cache(self, count: int, offset: int) -> None:
        """The disk's."""
        self.file.cache(count, offset)

    def do_length(self) -> int:
        """The disk's."""
        return self.file.length()

    def do_truncate(self, size_bytes: int, exact: bool) -> None:  # noqa: FBT001 - Way's
        """Not logged, as in QEMU: whoever replays the log makes the disk as long as it takes."""
        self.file.truncate(size_bytes, exact=exact)

    @contextmanager
    def _turn(self, count: int, offset: int) -> Iterator[tuple[int, int]]:
        """Alone with the sectors that a range touches; gives where they start and end."""
        size = self._sector_bytes
        start, end = offset // size * size, -(-(offset + count) // size) * size
        with self._turns.turn(start, end):
            yield start, end

    def _entry(self, start: int, end: int, flags: int, kind: int = 0) -> Entry:
        size = self._sector_bytes
        kind |= FUA if flags & FLAG_FUA else 0
        return Entry(start // size, (end - start) // size, kind)

    def _do(self, work: Callable[[], None], start: int, end: int) -> None:
        """Change the disk.  If that fails, what it has left is logged, and the error is raised."""
        try:
            work()
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:  # that is: nothing has been done
                with suppress(OSError):  # the disk cannot be read either, or the log is full
                    self._append_as_it_is(start, end)
            raise

    def _append_as_it_is(self, start: int, end: int) -> None:
        step = max(_PIECE_BYTES, self._sector_bytes)
        for at in range(start, end, step):
            past = min(end, at + step)
            self._append([(self._entry(at, past, 0), self._there(at, past))])

    def _there(self, start: int, end: int) -> memoryview:
        """What the disk has there."""
        return self._with_edges(memoryview(b""), start, start, end)

    def _with_edges(self, buf: memoryview, offset: int, start: int, end: int) -> memoryview:
        """What is written, with what else is in its sectors; beyond the disk's end zeroes."""
        past = offset + len(buf)
        if (offset, past) == (start, end):
            return buf
        data = memoryview(bytearray(end - start))
        data[offset - start : past - start] = buf
        for first, last in ((start, offset), (past, min(end, self.file.length()))):
            if first < last:
                self.file.pread(data[first - start : last - start], first)
        return data

    # The log

    def _append(self, records: Sequence[Record]) -> None:
        with self._appending:
            self._write(records)

    def _write(self, records: Sequence[Record]) -> None:
        """Add to the log.  Raises OSError; then what could not be added is not there."""
        if self._told < 0:
            self._tell()  # whatever was there before is no log any more
        due = False
        for entry, data in records:
            self._write_one(entry, data)
            self._end += entry.length
            self._entries += 1
            self._unflushed = True
            interval = self.options.log_super_update_interval
            due |= bool(entry.flags & FUA) or not self._entries % interval
        if due:
            self._tell()

    def _write_one(self, entry: Entry, data: memoryview | None) -> None:
        size = self._sector_bytes
        at = self._end * size
        self.log.truncate(at + entry.length * size, exact=False)
        header = entry.pack(size)
        if data is not None:
            self.log.pwrite(memoryview(b"".join((header, data))), at, 0)
            return
        self.log.pwrite(memoryview(header), at, 0)
        if entry.length > 1:
            self.log.zero(entry.sectors * size, at + size, FLAG_MAY_TRIM)

    def _tell(self) -> None:
        """The super block has the number of entries; durable."""
        entries = self._entries
        self.log.truncate(self._sector_bytes, exact=False)
        self.log.pwrite(memoryview(Super(entries, self._sector_bytes).pack()), 0, 0)
        self.log.flush()
        self._told = entries


def _pieces(first: int, past: int, start: int, end: int) -> list[tuple[int, int]]:
    """The whole sectors, and those at the ends that are touched only in part."""
    if first == past:  # there are no whole ones
        return [(start, end)]
    return [(a, b) for a, b in ((start, first), (first, past), (past, end)) if a < b]


def _may_write(parent: Parent) -> bool:
    if isinstance(parent, Export):
        return not parent.options.read_only
    return not (isinstance(parent, Node) and parent.options.only_reads)
