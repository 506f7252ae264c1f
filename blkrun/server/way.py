"""What a request is: its flags, what is told about extents, and the way it takes down the graph."""

from collections.abc import Callable
from typing import NamedTuple, NoReturn, Protocol

FLAG_MAY_TRIM = 1
FLAG_FUA = 2
FLAG_REQ_ONE = 4
FLAG_FAST_ZERO = 8
"""nbdkit's request flags (nbdkit-plugin(3)); they travel down the graph as they came."""

FLAG_WRITE_UNCHANGED = 2**16
"""None of nbdkit's, but ours, as QEMU's BDRV_REQ_WRITE_UNCHANGED: what is written is what is read
there already.  A format must not refer to it before it is durable, as the old data may have been.
"""

EXTENT_DATA = 0
EXTENT_HOLE = 1
EXTENT_ZERO = 2
"""NBD's base:allocation bits."""

Extent = tuple[int, int, int]
"""(offset, length, EXTENT_* bits)"""


Allocated = tuple[int, int, bool]
"""(offset, length, whether a node has that itself, rather than its backing image)"""


class Late(Protocol):
    """Where a request had to wait.  See ``blkrun.server.hold``."""

    __slots__ = ()

    def leave(self, kind: str, elapsed_ns: int) -> None:
        """It took so long, the wait included, and was counted so above.  Kinds: ``stats.KINDS``."""


class Way(NamedTuple):
    """What a request does from some node on down.  Offsets are that node's.

    Errors are ``OSError`` with the errno for the client, and reach it unchanged.  A node that
    passes a request on returns what comes back from below.
    """

    pread: Callable[[memoryview, int], Late | None]
    """(buf, offset): fill ``buf``."""
    pwrite: Callable[[memoryview, int, int], Late | None]
    """(buf, offset, flags): write all of ``buf``; FLAG_FUA: it is durable on return."""
    zero: Callable[[int, int, int], Late | None]
    """(count, offset, flags): make a range read as zeroes."""
    trim: Callable[[int, int, int], Late | None]
    """(count, offset, flags): the range is not needed any more.  Advice, but FLAG_FUA is not."""
    flush: Callable[[], None]
    """All writes acknowledged before this are durable on return."""
    extents: Callable[[int, int, int], list[Extent]]
    """(count, offset, flags): what is known of a range, in order, without gaps, from ``offset`` on;
    FLAG_REQ_ONE: only the first extent is of use."""
    cache: Callable[[int, int], None]
    """(count, offset): prefetch a range.  Advice."""
    length: Callable[[], int]
    """How long it is now, in bytes: what grows is so without an edit."""
    truncate: Callable[[int, bool], None]
    """(size, exact): be so long, or if not ``exact`` at least; what is added reads as zeroes."""
    event: Callable[[str], None] | None = None
    """(name): a format is about to do something that has one of QEMU's names for it; None: nobody
    listens."""


def _no_child(*_: object) -> NoReturn:
    raise AssertionError("there is nothing below a node at which requests end")


NOWHERE = Way._make(_no_child for _ in Way._fields)._replace(event=None)
"""What is below a node at which requests end."""
