"""Copying a range from one node to another, and telling whose fault it was when that fails."""

from collections import deque
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


_SMALL_BYTES = 2**16
"""Rather read than asked about: what is overwritten for the first time is mostly no hole."""

_ZEROES = bytes(_SMALL_BYTES)

_spare: "deque[bytearray]" = deque(maxlen=4)
"""Buffers of MOST_AT_ONCE_BYTES.  A new one is filled with zeroes, and meanwhile nobody runs."""


def transfer(source: Node[Any], target: Node[Any], offset: int, end: int) -> Iterator[int]:
    """Copy [``offset``, ``end``) piece by piece; each time, up to where that is done.

    What reads as zeroes takes no space if the target can do that, and, unless it is short, is not
    read.  Raises TargetError, or the OSError with which the source failed.
    """
    if end - offset <= _SMALL_BYTES:
        _transfer_small(source, target, offset, end)
        yield end
        return
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


def _transfer_small(source: Node[Any], target: Node[Any], offset: int, end: int) -> None:
    data = bytearray(end - offset)
    source.pread(memoryview(data), offset)
    with target_errors():
        if _ZEROES.startswith(data):
            target.zero(end - offset, offset, FLAG_MAY_TRIM)
        else:
            target.pwrite(memoryview(data), offset, 0)


def _transfer_data(source: Node[Any], target: Node[Any], offset: int, end: int) -> None:
    try:
        data = _spare.pop()
    except IndexError:
        data = bytearray(MOST_AT_ONCE_BYTES)
    for at in range(offset, end, MOST_AT_ONCE_BYTES):
        piece = memoryview(data)[: min(MOST_AT_ONCE_BYTES, end - at)]
        source.pread(piece, at)
        with target_errors():
            target.pwrite(piece, at, 0)
    _spare.append(data)
