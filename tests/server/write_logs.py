"""Reading a write log, and replaying it: as dm-log-writes' tool would."""

import os
from collections.abc import Iterator

from blkrun.server.write_log import DISCARD, MARK, Entry, entries_of, read_super

Logged = tuple[Entry, bytes]
"""An entry, and what was written; of discards and flushes nothing."""


def entries_in(log: bytes) -> list[Logged]:
    """All that the super block tells of."""

    def read(offset: int, count: int) -> bytes:
        if offset + count > len(log):
            raise OSError(5, os.strerror(5))
        return log[offset : offset + count]

    superblock = read_super(read)
    size = superblock.sector_bytes
    found = []
    for at, entry in entries_of(read, superblock):
        data = log[(at + 1) * size : (at + entry.length) * size]
        assert len(data) == (entry.length - 1) * size
        found.append((entry, data))
    return found


def replays(disk: bytes, logged: list[Logged], sector_bytes: int = 512) -> Iterator[bytes]:
    """The disk after each entry."""
    content = bytearray(disk)
    for each in logged:
        _replay(content, each, sector_bytes)
        yield bytes(content)


def replayed(disk: bytes, logged: list[Logged], sector_bytes: int = 512) -> bytes:
    """The disk after the last."""
    content = bytearray(disk)
    for each in logged:
        _replay(content, each, sector_bytes)
    return bytes(content)


def _replay(content: bytearray, logged: Logged, sector_bytes: int) -> None:
    """A discard makes zeroes.  The disk is as long as the log takes it."""
    entry, data = logged
    assert not entry.flags & MARK
    start, length = entry.sector * sector_bytes, entry.sectors * sector_bytes
    content.extend(bytes(max(0, start + length - len(content))))
    content[start : start + length] = bytes(length) if entry.flags & DISCARD else data
