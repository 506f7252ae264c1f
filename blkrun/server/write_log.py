"""The format of a write log: that of Linux's dm-log-writes, as QEMU's blklogwrites has it.

In sectors of one size.  The first has the :class:`Super` block; then there is for each entry one
with its :class:`Entry` and, unless it is a discard, as many as it has sectors with what was written
(qemu-semantics §7).  All numbers are little endian.  Pure.
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from blkrun.errors import CommandError
from blkrun.node_rules import is_log_sector_size

FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
"""What an entry is; none of these: a write."""

DEFAULT_SECTOR_BYTES = 512

_MAGIC = 0x6A736677736872
_VERSION = 1
_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_KNOWN = FLUSH | FUA | DISCARD | MARK

Read = Callable[[int, int], bytes]
"""(offset, count) → those bytes of the log.  Raises OSError."""


class Super(NamedTuple):
    """How many entries there are, and how large a sector is."""

    entries: int
    sector_bytes: int

    def pack(self) -> bytes:
        """One sector."""
        packed = _SUPER.pack(_MAGIC, _VERSION, self.entries, self.sector_bytes)
        return packed.ljust(self.sector_bytes, b"\0")


class Entry(NamedTuple):
    """``sectors`` from ``sector`` on, of the disk; ``data_length`` is only a mark's."""

    sector: int
    sectors: int
    flags: int
    data_length: int = 0

    def pack(self, sector_bytes: int) -> bytes:
        """One sector."""
        return _ENTRY.pack(*self).ljust(sector_bytes, b"\0")

    @property
    def length(self) -> int:
        """How many sectors it takes in the log, its own among them."""
        return 1 if self.flags & DISCARD else 1 + self.sectors


def check_sector_bytes(sector_bytes: int) -> None:
    """Raises CommandError, in QEMU's words."""
    if not is_log_sector_size(sector_bytes):
        raise CommandError(f"Invalid log sector size {sector_bytes}")


def read_super(read: Read) -> Super:
    """Raises CommandError, in QEMU's words, if it is none."""
    try:
        magic, version, entries, sector_bytes = _SUPER.unpack(read(0, _SUPER.size))
    except OSError as error:
        raise CommandError(f"Could not read log superblock: {error.strerror}") from error
    if magic != _MAGIC:
        raise CommandError("Invalid log superblock magic")
    if version != _VERSION:
        raise CommandError(f"Unsupported log version {version}")
    check_sector_bytes(sector_bytes)
    return Super(entries, sector_bytes)


def entries_of(read: Read, superblock: Super) -> Iterator[tuple[int, Entry]]:
    """Each entry, and the sector of the log at which it is.  Raises CommandError."""
    at = 1
    for index in range(superblock.entries):
        try:
            entry = Entry(*_ENTRY.unpack(read(at * superblock.sector_bytes, _ENTRY.size)))
        except OSError as error:
            raise CommandError(f"Failed to read log entry {index}: {error.strerror}") from error
        if entry.flags & ~_KNOWN:
            raise CommandError(f"Invalid flags 0x{entry.flags:x} in log entry {index}")
        yield at, entry
        at += entry.length


def end_of(read: Read, superblock: Super) -> int:
    """The sector of the log after the last entry.  Raises CommandError."""
    end = 1
    for at, entry in entries_of(read, superblock):
        end = at + entry.length
    return end
