"""Copying a range from one node to another, and telling whose fault it was when that fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from blkrun.server.node import Node
from blkrun.server.way import EXTENT_ZERO, FLAG_MAY_TRIM

MOST_AT_ONCE_BYTES = 2**20
"""The longest piece that is copied at once; QEMU 7.2's chunk."""


class TargetError(OSError):
    """It was the target that failed; with its errno."""


@contextmanager
def target_errors() -> Iterator[None]:
    """What fails inside is the target."""
    try:
        yield
    except OSError as error:
        raise TargetError(error.errno, error.strerror) from error


def transfer(source: Node[Any], target: Node[Any], offset: int, end: int) -> Iterator[int]:
    """Copy [``offset``, ``end``) piece by piece; each time, up to where that is done.

    What reads as zeroes is not read, and takes no space if the target can do that.  Raises
    TargetError, or the OSError with which the source failed.
    """
    while offset < end:
        for start, length, kind in source.extents(end - offset, offset):
            past = min(start + length, end)
            if kind & EXTENT_ZERO:
                with target_errors():
                    target.zero(past - offset, offset, FLAG_MAY_TRIM)
            else:
                _transfer_data(source, target, offset, past)
            offset = past
            yield offset


def _transfer_data(source: Node[Any], target: Node[Any], offset: int, end: int) -> None:
    buf = memoryview(bytearray(min(end - offset, MOST_AT_ONCE_BYTES)))
    for at in range(offset, end, MOST_AT_ONCE_BYTES):
        piece = buf[: min(MOST_AT_ONCE_BYTES, end - at)]
        source.pread(piece, at)
        with target_errors():
            target.pwrite(piece, at, 0)
