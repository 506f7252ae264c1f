"""Room is made ahead of what a format writes, and what is left of it is given back (QEMU's).

A format above asks for its file to be longer before it writes there.  When that goes beyond what
has been made, the file gets ``prealloc-size`` bytes more than asked, allocated, up to a multiple of
``prealloc-align``; the format sees the end that it asked for (qemu-semantics §7).

The rest goes when nobody writes through this node any more: when it is taken out, closed, or when
the format above becomes somebody's backing.  Nobody else makes the file longer meanwhile.
"""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from blkrun.errors import CommandError
from blkrun.node_rules import check_node
from blkrun.options import PreallocateOptions
from blkrun.server.node import Filter
from blkrun.server.staging import Staging
from blkrun.server.way import AT_LEAST, EXACTLY, FLAG_FAST_ZERO, Way


class Preallocate(Filter[PreallocateOptions]):
    """``_ends`` is known from the first time that a format wants more until the rest is dropped."""

    driver = "preallocate"
    starts_at_rest = True
    grows = frozenset({"file"})

    def __init__(self, options: PreallocateOptions) -> None:
        super().__init__(options)
        self._growing = threading.Lock()  # protects the next; held while the file gets longer
        self._ends: tuple[int, int] | None = None  # of the data, and of the file

    # Control

    def open(self, staging: Staging) -> None:
        """Nothing is done before a format wants more."""
        del staging
        _check(self.options)

    def close(self) -> None:
        """Give back what was made for nothing."""
        self._drop_rest()

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """Where the format's data ends."""
        return sizes["file"] if self._ends is None else self._ends[0]

    def check(self, staging: Staging) -> None:
        """Where nobody will write, nothing is kept for writing."""
        if not (staging.is_grown(self) and staging.is_written(self)):
            self.leave(staging)

    def leave(self, staging: Staging) -> None:
        """The rest is dropped before the edit, while nobody writes: later others may grow it."""
        if self._ends is not None:
            staging.disturbed.add(self)
            staging.settles.append(self._settle)

    def prepare_reopen(self, options: PreallocateOptions, staging: Staging) -> Callable[[], None]:
        """For the next time that a format wants more."""
        _check(options)
        return super().prepare_reopen(options, staging)

    def describe(self) -> dict[str, Any]:
        """How much is there ahead."""
        data_end, file_end = self._ends or (0, 0)
        return {"preallocated": file_end - data_end}

    def _settle(self) -> None:
        try:
            self._drop_rest()
        except OSError as error:
            message = f"Node '{self.name}': Failed to drop preallocation: {error.strerror}"
            raise CommandError(message) from error

    def _drop_rest(self) -> None:
        with self._growing:
            if self._ends is not None:
                data_end, file_end = self._ends
                if data_end < file_end:
                    self.file.truncate(data_end, exact=True)
                self._ends = None

    # Requests

    def lower(self, below: Way, late: Way) -> Way:
        """Only what is about the length is not the child's."""
        del late
        return below._replace(
            length=partial(self._length, below), truncate=partial(self._truncate, below)
        )

    def _length(self, below: Way) -> int:
        ends = self._ends
        return below.length() if ends is None else ends[0]

    def _truncate(self, below: Way, size_bytes: int, exact: bool) -> None:  # noqa: FBT001 - Way's
        with self._growing:
            if exact:
                below.truncate(size_bytes, EXACTLY)
                self._ends = size_bytes, size_bytes
                return
            if self._ends is None:
                self._ends = (below.length(),) * 2
            data_end, file_end = self._ends
            if size_bytes > file_end:
                file_end = self._make_room(below, file_end, size_bytes)
            self._ends = max(data_end, size_bytes), file_end

    def _make_room(self, below: Way, file_end: int, size_bytes: int) -> int:
        """Where the file ends then.  Without room for more, only what is needed is made."""
        align = max(1, self.options.prealloc_align)
        end = -(-(size_bytes + self.options.prealloc_size) // align) * align
        try:
            below.truncate(end, AT_LEAST)
            below.zero(end - file_end, file_end, FLAG_FAST_ZERO)
        except OSError:  # full, or a file system that cannot: as in QEMU the write goes on
            end = size_bytes
            below.truncate(end, EXACTLY)
        return end


def _check(options: PreallocateOptions) -> None:
    broken = check_node(options)
    if broken is not None:
        raise CommandError(broken.message)
