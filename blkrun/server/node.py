"""Nodes: what every driver is, and the pass-through that every filter starts from.

A request goes down as one call per node, ``child.pread(buf, offset)``.  That entry, the same
for all drivers, counts; the driver's own work is in ``do_pread`` and its siblings.  A driver
overrides only what it changes: a filter's defaults hand everything to its child, a backend's
defaults give what can be emulated (zero → write zeroes) and ignore what is only advice.

Errors are ``OSError`` with the errno for the client, and reach it unchanged.
"""

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from blkrun.options import BlockdevOptions
from blkrun.server.stats import Counters

if TYPE_CHECKING:
    from blkrun.server.staging import Staging

FLAG_MAY_TRIM = 1
FLAG_FUA = 2
FLAG_FAST_ZERO = 8
"""nbdkit's request flags (nbdkit-plugin(3)); they travel down the graph as they came."""

EXTENT_DATA = 0
EXTENT_HOLE = 1
EXTENT_ZERO = 2
"""NBD's base:allocation bits."""

Extent = tuple[int, int, int]
"""(offset, length, EXTENT_* bits)"""

_ZERO_CHUNK_BYTES = 2**20
_ZEROES = memoryview(bytes(_ZERO_CHUNK_BYTES))


class Parent(Protocol):
    """Where an edge can start: a node or an export."""

    name: str
    children: "dict[str, Node[Any]]"

    def attach(self, role: str, child: "Node[Any]") -> None:
        """Point an edge at a node."""


O = TypeVar("O", bound=BlockdevOptions)  # noqa: E741 - O for options, as T is for types


class Node(Generic[O]):
    """A vertex of the graph.  ``children`` is role → node; each edge is an attribute as well.

    Life: ``Driver(options)``, ``attach`` for every edge, ``open``, requests, ``close``.  Edges are
    changed only by a transaction's commit, by one attribute store that requests see at once.
    """

    driver: ClassVar[str]
    is_filter: ClassVar[bool] = False

    def __init__(self, options: O) -> None:
        self.options = options
        self.name = options.node_name
        self.monitor_owned = True
        self.children: dict[str, Node[Any]] = {}
        self.parents: set[tuple[Parent, str]] = set()  # kept by Graph, for control only
        self.stats = Counters()
        self.size_bytes = 0
        self.detached = False
        self._drains = 0

    # Control: called by one thread at a time, under the graph's lock.

    def attach(self, role: str, child: "Node[Any]") -> None:
        """Point the edge ``role`` at ``child``: from here on every new request goes there."""
        self.children[role] = child
        setattr(self, role.replace("-", "_"), child)

    def open(self, staging: "Staging") -> None:
        """Acquire what is needed.  Raises OSError or CommandError, leaving nothing behind."""

    def close(self) -> None:
        """Give it back.  No request is inside, and none will come."""

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """Size in bytes, given the children's by role.  Raises CommandError if that cannot be."""
        return sizes["file"]

    def prepare_reopen(self, options: O, staging: "Staging") -> Callable[[], None]:
        """Check new options; the result applies them in the drained section and cannot fail."""
        del staging

        def commit() -> None:
            self.options = options

        return commit

    def drain_begin(self) -> None:
        """Hold no request back from now on.  Sections nest; the driver hears of the outermost."""
        self._drains += 1
        if self._drains == 1:
            self.do_drain_begin()

    def drain_end(self) -> None:
        """The end of a drained section."""
        self._drains -= 1
        if self._drains == 0:
            self.do_drain_end()

    def do_drain_begin(self) -> None:
        """For drivers that make requests wait."""

    def do_drain_end(self) -> None:
        """For drivers that make requests wait."""

    def describe(self) -> dict[str, Any]:
        """Driver-specific numbers for ``x-blkrun-query-graph``."""
        return {}

    # Requests: called by any number of threads.

    def pread(self, buf: memoryview, offset: int) -> None:
        """Fill ``buf`` from ``offset``."""
        stats = self.stats
        stats.started += 1
        try:
            self.do_pread(buf, offset)
        except BaseException:
            stats.failed_rd_operations += 1
            raise
        length = len(buf)  # not in the next line: a call would let another thread in between
        stats.rd_bytes += length
        stats.rd_operations += 1

    def pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write all of ``buf``; FLAG_FUA: it is durable on return."""
        stats = self.stats
        stats.started += 1
        try:
            self.do_pwrite(buf, offset, flags)
        except BaseException:
            stats.failed_wr_operations += 1
            raise
        length = len(buf)
        stats.wr_bytes += length
        stats.wr_operations += 1

    def zero(self, count: int, offset: int, flags: int) -> None:
        """Make a range read as zeroes; where the driver cannot, write them."""
        stats = self.stats
        stats.started += 1
        try:
            self._zero_or_write(count, offset, flags)
        except BaseException:
            stats.failed_wr_operations += 1
            raise
        stats.wr_bytes += count
        stats.wr_operations += 1

    def trim(self, count: int, offset: int, flags: int) -> None:
        """The range is not needed any more.  Advice, but FLAG_FUA is not."""
        stats = self.stats
        stats.started += 1
        try:
            self.do_trim(count, offset, flags)
        except BaseException:
            stats.failed_unmap_operations += 1
            raise
        stats.unmap_bytes += count
        stats.unmap_operations += 1

    def flush(self) -> None:
        """All writes acknowledged before this are durable on return."""
        stats = self.stats
        stats.started += 1
        try:
            self.do_flush()
        except BaseException:
            stats.failed_flush_operations += 1
            raise
        stats.flush_operations += 1

    def extents(self, count: int, offset: int) -> list[Extent]:
        """What is known of a range: in order, without gaps, from ``offset`` on."""
        return self.do_extents(count, offset)

    def cache(self, count: int, offset: int) -> None:
        """Prefetch a range.  Advice."""
        self.do_cache(count, offset)

    # What drivers implement; these defaults are a backend's.

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Fill ``buf`` from ``offset``."""
        raise NotImplementedError

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write all of ``buf`` at ``offset``."""
        raise NotImplementedError

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Zero a range faster than writing it, or raise EOPNOTSUPP."""
        del count, offset, flags
        raise OSError(errno.EOPNOTSUPP, "no fast zeroes here")

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Discard a range."""
        del count, offset
        if flags & FLAG_FUA:
            self.do_flush()

    def do_flush(self) -> None:
        """Make writes durable."""

    def do_extents(self, count: int, offset: int) -> list[Extent]:
        """Everything is data, as far as this driver knows."""
        return [(offset, count, EXTENT_DATA)]

    def do_cache(self, count: int, offset: int) -> None:
        """Prefetch."""

    def _zero_or_write(self, count: int, offset: int, flags: int) -> None:
        try:
            self.do_zero(count, offset, flags)
        except OSError as error:
            # FAST_ZERO asks for an error rather than for slow zeroes (NBD protocol).
            if error.errno != errno.EOPNOTSUPP or flags & FLAG_FAST_ZERO:
                raise
            self._write_zeroes(count, offset, flags & FLAG_FUA)

    def _write_zeroes(self, count: int, offset: int, fua: int) -> None:
        end = offset + count
        while offset < end:
            length = min(_ZERO_CHUNK_BYTES, end - offset)
            self.do_pwrite(_ZEROES[:length], offset, fua)
            offset += length


class Filter(Node[O]):
    """Passes everything to ``file``: same data, same size."""

    is_filter = True
    file: Node[Any]

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Pass on."""
        self.file.pread(buf, offset)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Pass on."""
        self.file.pwrite(buf, offset, flags)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Pass on."""
        self.file.zero(count, offset, flags)

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Pass on."""
        self.file.trim(count, offset, flags)

    def do_flush(self) -> None:
        """Pass on."""
        self.file.flush()

    def do_extents(self, count: int, offset: int) -> list[Extent]:
        """Pass on."""
        return self.file.extents(count, offset)

    def do_cache(self, count: int, offset: int) -> None:
        """Pass on."""
        self.file.cache(count, offset)
