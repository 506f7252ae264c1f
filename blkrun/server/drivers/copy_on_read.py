"""What is read from a backing image is copied into the overlay (qemu-semantics §7).

::

    client ─▶ copy-on-read ─▶ top ─▶ mid ─▶ bottom ─▶ base
                               ◀──────┴───────┘        nothing is copied from below the bottom

The copy is of whole clusters, and made before the read is answered.  It has its clusters to itself
while it looks once more whether they are missing, reads and writes: a write that came before is not
copied over, and one that comes meanwhile waits.  So nobody may write past this node, and it comes
into the way of requests, and leaves it, while none is under way.
"""

import threading
from typing import Any

from blkrun.errors import CommandError
from blkrun.options import CopyOnReadOptions
from blkrun.server.chain import Range, chain, gaps, unheld, without
from blkrun.server.frozen import Frozen, check_frozen
from blkrun.server.keeper import refuse_writers_past, unfiltered
from blkrun.server.node import Node
from blkrun.server.overlaps import Overlaps
from blkrun.server.route import Key
from blkrun.server.staging import Staging
from blkrun.server.way import FLAG_WRITE_UNCHANGED, Extent

_PIECE_BYTES = 2**20
"""The most that is copied at once; a cluster that is larger is one piece."""

_ZEROES = bytes(2**16)


class CopyOnRead(Node[CopyOnReadOptions]):
    """``copied_bytes`` is what it has put into the overlay so far."""

    driver = "copy-on-read"
    is_filter = True
    starts_at_rest = True
    leaves_at_rest = True
    file: Node[Any]

    def __init__(self, options: CopyOnReadOptions) -> None:
        super().__init__(options)
        self.copied_bytes = 0
        self.frozen: Frozen = ()  # of a job's: the chain that it needs as it is
        self._counting = threading.Lock()  # the number above
        self._overlaps = Overlaps()

    # Control

    def check(self, staging: Staging) -> None:
        """The overlay can be written, by nobody past this node; the bottom is below it."""
        file = staging.children(self)["file"]
        self._check_bottom(staging, file)
        check_frozen(staging, file, self.frozen)
        if staging.read_only(file):
            raise CommandError(
                f"Block node is read-only: '{self.name}' would copy into '{file.name}'"
            )
        if staging.parents(self) or self.job_id is not None:
            words = f"past node '{self.name}', which copies into it what is read"
            refuse_writers_past(staging, self, unfiltered(staging, file), words)

    def _check_bottom(self, staging: Staging, file: Node[Any]) -> None:
        name = self.options.bottom
        if name is None:
            return
        bottom = staging.node(name)
        if bottom is None:
            raise CommandError(f"Bottom node '{name}' not found")
        if bottom.is_filter:
            raise CommandError(f"Bottom node '{name}' is a filter")
        if bottom not in chain(file, staging.child):
            raise CommandError(
                f"Node '{self.name}': its bottom '{name}' is not in the backing chain of "
                f"'{file.name}'"
            )

    def describe(self) -> dict[str, Any]:
        """How much it has copied."""
        return {"copied": self.copied_bytes}

    def form(self) -> Key:
        """Options are looked at per request."""
        return (self,)

    # Requests

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """From the overlay, which has it all by then."""
        for start, end in self.missing(*self._clusters(len(buf), offset)):
            self.copy_up(start, end)
        self.file.pread(buf, offset)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Not while it is being copied to."""
        with self._overlaps.together(offset, offset + len(buf)):
            self.file.pwrite(buf, offset, flags)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Likewise."""
        with self._overlaps.together(offset, offset + count):
            self.file.zero(count, offset, flags)

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Likewise."""
        with self._overlaps.together(offset, offset + count):
            self.file.trim(count, offset, flags)

    def do_flush(self) -> None:
        """The overlay's."""
        self.file.flush()

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """The overlay's."""
        return self.file.extents(count, offset, flags)

    def do_cache(self, count: int, offset: int) -> None:
        """The overlay's: what is only fetched is not copied."""
        self.file.cache(count, offset)

    # Copying

    def copy_up(self, start: int, end: int) -> None:
        """Have what of a range of clusters is missing in the overlay copied into it."""
        step = max(_PIECE_BYTES, self.cluster_bytes())
        for first in range(start, end, step):
            past = min(first + step, end)
            with self._overlaps.alone(first, past):
                for part in self.missing(first, past):
                    self._copy(*part)

    def _copy(self, start: int, end: int) -> None:
        """In the range it is alone.  Reading it from the overlay is reading it from below.

        Zeroes in a part of a cluster are written, which allocates it: an image that reads as
        zeroes there already, as what is below ends, would take it that nothing is to be done.
        """
        data = memoryview(bytearray(end - start))
        self.file.pread(data, start)
        if self._clusters(end - start, start) == (start, end) and _is_zero(data):
            self.file.zero(end - start, start, FLAG_WRITE_UNCHANGED)
        else:
            self.file.pwrite(data, start, FLAG_WRITE_UNCHANGED)
        with self._counting:
            self.copied_bytes += end - start

    def missing(self, start: int, end: int) -> list[Range]:
        """What the overlay has not, and a node down to the bottom has."""
        missing = list(gaps(self.file.allocated, start, end))
        if not missing:
            return []
        below = list(chain(self.file))[1:]
        names = [node.name for node in below]
        if self.options.bottom in names:
            below = below[: names.index(self.options.bottom) + 1]
        elif self.options.bottom is not None:
            return []  # the overlay itself is the bottom
        return [held for gap in missing for held in without([gap], unheld(below, *gap))]

    def _clusters(self, count: int, offset: int) -> Range:
        """The range, made larger to whole clusters."""
        cluster_bytes = self.cluster_bytes()
        start = offset // cluster_bytes * cluster_bytes
        end = -(-(offset + count) // cluster_bytes) * cluster_bytes
        return start, min(end, self.size_bytes)


def _is_zero(data: memoryview) -> bool:
    return all(
        _ZEROES.startswith(data[at : at + len(_ZEROES)]) for at in range(0, len(data), len(_ZEROES))
    )
