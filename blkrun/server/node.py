"""Nodes: what every driver is, and the pass-through that every filter starts from.

A driver says in ``lower`` what a request does at its node.  A filter's default is to do nothing;
it overrides what it changes.  A backend's defaults are its ``do_pread`` and its siblings, which
give what can be emulated (zero → write zeroes) and ignore what is only advice.  Counting, times
and depths are the business of the routes that are made of this (see ``blkrun.server.route``).

Errors are ``OSError`` with the errno for the client, and reach it unchanged.
"""

import errno
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

from blkrun.options import BlockdevOptions, with_child
from blkrun.server.dirty import DirtyBitmap
from blkrun.server.reaching import route_to
from blkrun.server.route import Key, Route
from blkrun.server.stats import NOTHING_YET, Row, Tally, row_of, sum_rows, total
from blkrun.server.way import (
    EXTENT_DATA,
    FLAG_FAST_ZERO,
    FLAG_FUA,
    Allocated,
    Extent,
    Way,
)

if TYPE_CHECKING:
    from blkrun.server.staging import Staging

_ZERO_CHUNK_BYTES = 2**20
_ZEROES = memoryview(bytes(_ZERO_CHUNK_BYTES))


DEFAULT_BLOCK_BYTES = 4096
_BLOCK_BYTES = (512, 32 * 2**20)
"""The least and the greatest that nbdkit lets a server prefer; a power of two."""


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
    changed only by a transaction's commit.
    """

    driver: ClassVar[str]
    is_filter: ClassVar[bool] = False
    passes_on: ClassVar[bool] = False
    """Each request goes on to ``file``, once and whole: see ``lower``."""
    starts_at_rest: ClassVar[bool] = False
    """It comes into the way of requests only while none is under way below it."""
    grows: ClassVar[frozenset[str]] = frozenset()
    """Roles of children that it makes longer or shorter, by ``truncate``, as it writes."""
    main: ClassVar[str] = "file"
    """The role of the child whose data and size a filter has."""
    listens: ClassVar[bool] = False
    """It has a ``do_debug_event``."""

    leaves_at_rest: ClassVar[bool] = False
    """And it goes out of it only then."""

    def __init__(self, options: O) -> None:
        self.options = options
        self.name = options.node_name
        self.monitor_owned = True
        self.job_id: str | None = None  # of the job that put it in: see Staging.stand_in
        self.children: dict[str, Node[Any]] = {}
        self.parents: set[tuple[Parent, str]] = set()  # kept by Graph, for control only
        self.past = NOTHING_YET  # of routes that are no more; nodes may share one
        self.routes: list[Route] = []  # those that lead through here; kept by Graph
        self.route: Route | None = None  # the one that begins here, if one does; kept by Graph
        self.bitmaps: dict[str, DirtyBitmap] = {}  # by name; changed by edits only
        self.size_bytes = 0
        self.preferred_block_bytes = DEFAULT_BLOCK_BYTES  # a backend's, set at open
        self.detached = False
        self._drains = 0

    # Control: called by one thread at a time, under the graph's lock.

    def attach(self, role: str, child: "Node[Any]") -> None:
        """Point the edge ``role`` at ``child``."""
        self.children[role] = child
        setattr(self, role.replace("-", "_"), child)

    def detach(self, role: str, *, by_itself: bool = False) -> None:
        """Let the edge ``role``, which it can do without, lead nowhere.

        Its options say so too, but where the driver would do that ``by_itself``.
        """
        self.children.pop(role, None)
        setattr(self, role.replace("-", "_"), None)
        if not by_itself:
            self.options = cast("O", with_child(self.options, role, None))

    def open(self, staging: "Staging") -> None:
        """Acquire what is needed.  Raises OSError or CommandError, leaving nothing behind."""

    def abandon(self) -> None:
        """The server ends and has waited for long enough: let requests fail that hang far away.

        From any thread, while they are inside.
        """

    def close(self) -> None:
        """Give it back.  No request is inside, and none will come."""

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """Size in bytes, given the children's by role.  Raises CommandError if that cannot be."""
        return sizes["file"]

    def resized(self) -> None:
        """Its size has changed without an edit: a node above makes it longer as it writes.

        A bitmap that records has all that is new.
        """
        sizes = {role: child.size_bytes for role, child in self.children.items()}
        self.size_bytes = self.size_over(sizes)
        for bitmap in self.bitmaps.values():
            bitmap.resize(self.size_bytes)

    def is_busy(self) -> bool:
        """Whether it is at something that no request waits for; it is not closed before the end."""
        return False

    def check(self, staging: "Staging") -> None:
        """Whether the graph around it may be as it will be.  Raises CommandError."""

    def taken_out(self) -> None:
        """It was in the way of requests, and is no more; it may be put in again."""

    def has_default(self, role: str) -> bool:
        """Whether it has a child of its own choice for an optional edge that nothing is said of."""
        del role
        return False

    def cluster_bytes(self) -> int:
        """What is allocated for a single byte, where a backing image shows through."""
        return self.children[self.main].cluster_bytes() if self.is_filter else 1

    def change_backing_file(self, name: str | None, image_format: str | None) -> None:
        """Write down, durably, which file the backing image is; None: there is none.

        At rest.  Raises OSError; ENOTSUP where nothing is written down.
        """
        del name, image_format
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    def block_bytes(self) -> int:
        """What clients' requests are best made in multiples of: the backend's word."""
        child = self.children.get(self.main)
        return self.preferred_block_bytes if child is None else child.block_bytes()

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

    def write_threshold(self) -> int:
        """Of the offset beyond which a write is told of, for QEMU's queries; 0: there is none."""
        return 0

    # Requests

    def form(self) -> Key:
        """What ``lower`` depends on: while this is equal, so is what ``lower`` gives."""
        return (self, self.options)

    def recorders(self) -> tuple[DirtyBitmap, ...]:
        """The bitmaps that what is written here is marked in; see ``blkrun.server.routing``."""
        return tuple(bitmap for bitmap in self.bitmaps.values() if bitmap.recording)

    def may_wait(self) -> bool:
        """Whether requests may be held back here: times and depths below are others then."""
        return False

    def lower(self, below: Way, late: Way) -> Way:
        """What a request does from here on, ``below`` being what it does from ``file`` on.

        Nodes that pass requests on call it once for each that gets so far, and return what it
        does; where requests ``may_wait``, those that had to are to take ``late`` instead.

        For all others, these defaults, requests end here, and what the driver asks of its
        children are requests of its own, made by ``self.file.pread`` and its siblings.
        """
        del below, late
        return Way(
            self.do_pread,
            self.do_pwrite,
            self._zero_or_write,
            self.do_trim,
            self.do_flush,
            self.do_extents,
            self.do_cache,
            self.do_length,
            self.do_truncate,
            self.do_debug_event if self.listens else None,
        )

    def _enter(self) -> Route:
        """Requests made inside the graph, by formats, jobs, tests, enter as those of clients do."""
        while (route := self.route) is not None:
            route.in_flight = depth = route.in_flight + 1
            if self.route is route:
                if depth > route.in_flight_max:
                    route.in_flight_max = depth
                return route
            route.in_flight -= 1
        route = route_to(self)
        if route is None:
            raise AssertionError(f"nobody was said to make requests at {self.name}")
        route.in_flight += 1
        return route

    @property
    def stats(self) -> Tally:
        """What has passed this node since it was opened."""
        return total((self.past, *(route.seen_by(self) for route in self.routes)))

    def row(self) -> Row:
        """Its numbers, without going through the histograms."""
        used = [route.row_at(route.level_of(self)) for route in self.routes if route.in_flight_max]
        return sum_rows(used if self.past is NOTHING_YET else [row_of(self.past), *used])

    def pread(self, buf: memoryview, offset: int) -> None:
        """Fill ``buf`` from ``offset``."""
        route = self._enter()
        route.count("reads", len(buf), route.way.pread, buf, offset)

    def pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write all of ``buf``; FLAG_FUA: it is durable on return."""
        route = self._enter()
        route.count("writes", len(buf), route.way.pwrite, buf, offset, flags)

    def zero(self, count: int, offset: int, flags: int) -> None:
        """Make a range read as zeroes; where the driver cannot, write them."""
        route = self._enter()
        route.count("zeroes", count, route.way.zero, count, offset, flags)

    def trim(self, count: int, offset: int, flags: int) -> None:
        """The range is not needed any more.  Advice, but FLAG_FUA is not."""
        route = self._enter()
        route.count("trims", count, route.way.trim, count, offset, flags)

    def flush(self) -> None:
        """All writes acknowledged before this are durable on return."""
        route = self._enter()
        route.count("flushes", 0, route.way.flush)

    def extents(self, count: int, offset: int, flags: int = 0) -> list[Extent]:
        """What is known of a range: in order, without gaps, from ``offset`` on."""
        route = self._enter()
        return route.uncounted(route.way.extents, count, offset, flags)

    def allocated(self, count: int, offset: int) -> list[Allocated]:
        """What of a range it has itself: in order, without gaps, from ``offset`` on.

        As with extents, the answer may end before the range does.
        """
        route = self._enter()
        return route.uncounted(self.do_allocated, count, offset)

    def cache(self, count: int, offset: int) -> None:
        """Prefetch a range.  Advice."""
        route = self._enter()
        route.uncounted(route.way.cache, count, offset)

    def length(self) -> int:
        """How long it is now, in bytes; ``size_bytes`` is what an edit was checked against."""
        route = self._enter()
        return route.uncounted(route.way.length)

    def truncate(self, size_bytes: int, *, exact: bool) -> None:
        """Be so long; what is added reads as zeroes.  Only for children in ``grows``.

        Not ``exact``: at least so long, from several threads in any order, before something is
        written there; a node below may make more of it.  ``exact``: while the caller has no request
        under way.  Nobody writes beyond ``length``, so that no node need look at every write.
        Raises OSError: ENOSPC where it is of one size for ever.
        """
        route = self._enter()
        route.uncounted(route.truncate, size_bytes, exact)

    def debug_event(self, name: str) -> None:
        """A format is about to do what QEMU has this name for (BlkdebugEvent): see ``blkdebug``."""
        route = self.route or route_to(self)
        if route is not None and route.way.event is not None:
            route.way.event(name)

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

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """Everything is data, as far as this driver knows."""
        return [(offset, count, EXTENT_DATA)]

    def do_allocated(self, count: int, offset: int) -> list[Allocated]:
        """All of it; a filter has what its child has.  Formats with a backing image know better.

        For who is inside a request that comes by here; everybody else asks ``allocated``.
        """
        if self.is_filter:
            return self.children[self.main].do_allocated(count, offset)
        return [(offset, count, True)]

    def do_cache(self, count: int, offset: int) -> None:
        """Prefetch."""

    def do_length(self) -> int:
        """Over what is below, as that is now."""
        return self.size_over({role: child.length() for role, child in self.children.items()})

    def do_truncate(self, size_bytes: int, exact: bool) -> None:  # noqa: FBT001 - Way's
        """It has its size for ever."""
        length = self.do_length()
        if size_bytes > length or (exact and size_bytes != length):
            raise OSError(
                errno.ENOSPC, f"node '{self.name}' stays as long as it is: {length} bytes"
            )

    def do_debug_event(self, name: str) -> None:
        """For drivers that listen."""

    def _zero_or_write(self, count: int, offset: int, flags: int) -> None:
        try:
            self.do_zero(count, offset, flags)
        except OSError as error:
            # FAST_ZERO asks for an error rather than for slow zeroes (NBD protocol).
            if error.errno != errno.EOPNOTSUPP or flags & FLAG_FAST_ZERO:
                raise
            self._write_zeroes(count, offset, flags & FLAG_FUA)

    def _write_zeroes(self, count: int, offset: int, fua: int) -> None:
        """FUA is one flush at the end where it would be many small ones."""
        if fua and count > _ZERO_CHUNK_BYTES:
            self._write_zeroes(count, offset, 0)
            self.do_flush()
            return
        for at in range(offset, offset + count, _ZERO_CHUNK_BYTES):
            length = min(_ZERO_CHUNK_BYTES, offset + count - at)
            self.do_pwrite(_ZEROES[:length], at, fua)


def fit_block(wanted_bytes: int) -> int:
    """The next power of two that a server may prefer."""
    least, greatest = _BLOCK_BYTES
    return min(max(1 << (wanted_bytes - 1).bit_length(), least), greatest)


class Filter(Node[O]):
    """Passes everything to ``file``: same data, same size.

    A subclass overrides ``lower`` for the requests that it does something about::

        def lower(self, below: Way, late: Way) -> Way:
            def pwrite(buf: memoryview, offset: int, flags: int) -> Late | None:
                ...
                return below.pwrite(buf, offset, flags)

            return below._replace(pwrite=pwrite)
    """

    is_filter = True
    passes_on = True
    file: Node[Any]

    def lower(self, below: Way, late: Way) -> Way:
        """Nothing to do here."""
        return below
