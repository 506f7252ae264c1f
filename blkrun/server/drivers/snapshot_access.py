"""Reads the point in time that a copy-before-write node keeps: fleecing (qemu-semantics §6.2).

Each piece of a request is read where it is: on the target if a write has had it copied there, else
on the disk itself, where writes wait meanwhile.  (QEMU 7.2 gets a read wrong that begins in the one
and ends in the other.)
"""

import errno
from typing import Any

from blkrun.options import SnapshotAccessOptions
from blkrun.server.drivers.copy_before_write import CopyBeforeWrite
from blkrun.server.node import Node
from blkrun.server.way import FLAG_REQ_ONE, Extent


class SnapshotAccess(Node[SnapshotAccessOptions]):
    """Read-only, whatever is above."""

    driver = "snapshot-access"
    file: Node[Any]

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """All of it, or EACCES."""
        keeper = self._keeper()
        done = 0
        while done < len(buf):
            with keeper.moment.reading(offset + done, len(buf) - done) as (length, is_copied):
                place = keeper.target if is_copied else keeper.file
                place.pread(buf[done : done + length], offset + done)
            done += length

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """As each piece is where it is."""
        keeper = self._keeper()
        found: list[Extent] = []
        end = offset + count
        while offset < end:
            with keeper.moment.reading(offset, end - offset) as (length, is_copied):
                place = keeper.target if is_copied else keeper.file
                extents = place.extents(length, offset, flags)
            for start, size, kind in extents:
                found.append((start, min(start + size, offset + length) - start, kind))
            if flags & FLAG_REQ_ONE:
                break
            offset = found[-1][0] + found[-1][1]
        return found

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """The past cannot be changed."""
        raise OSError(errno.EPERM, "a point in time cannot be written")

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Nor this."""
        raise OSError(errno.EPERM, "a point in time cannot be written")

    def _keeper(self) -> CopyBeforeWrite:
        if not isinstance(self.file, CopyBeforeWrite):
            raise OSError(errno.EOPNOTSUPP, f"'{self.file.name}' is not a copy-before-write node")
        return self.file
