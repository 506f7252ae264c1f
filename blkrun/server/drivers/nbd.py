"""Another NBD server, by libnbd: one that runs (``uri``) or one started for the node (``command``).

Requests run on a pool of connections, one request a connection at a time; a thread that finds
none free waits for its turn.  libnbd's calls release the GIL.  Reads use the asynchronous call,
which fills nbdkit's buffer in place where the simple one returns a copy.

When a connection breaks, the requests on it fail with EIO.  All connections are then made anew,
each on its next use, and the server has to be the same: size, multi-conn.  Writes it had
acknowledged but not flushed may be gone; the next flush says so, by EIO, once.

A server may take whole blocks only (NBD's minimum block size).  Clients are told that any alignment
will do, so parts of blocks are read, changed and written here, while no other write is under way.

A ``command`` that ended is not started again: a server with its data in memory would come back
empty, so every request fails with EIO from then on.
"""

import contextlib
import errno
import math
import os
import shlex
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from blkrun.errors import CommandError
from blkrun.options import NbdOptions
from blkrun.server.drivers._blocks import blocks_within
from blkrun.server.drivers._gate import Gate
from blkrun.server.drivers._nbd_child import Child
from blkrun.server.node import DEFAULT_BLOCK_BYTES, Node, fit_block
from blkrun.server.staging import Staging
from blkrun.server.way import (
    EXTENT_DATA,
    EXTENT_HOLE,
    EXTENT_ZERO,
    FLAG_FAST_ZERO,
    FLAG_FUA,
    FLAG_MAY_TRIM,
    FLAG_REQ_ONE,
    Extent,
)

CONNECT_SECONDS = 10.0
"""For all connections together, when the node is opened."""

RECONNECT_SECONDS = 5.0
"""For one connection, made while a request waits for it."""

RETRY_PAUSE_SECONDS = 0.2
"""After a failed attempt requests fail at once, so that those in the queue do not add up."""

_MAX_REQUEST_BYTES = 32 * 2**20
_MAX_EXTENTS_BYTES = 2**32 - 2**16

_CMD_FLAG_FUA = 1
_CMD_FLAG_NO_HOLE = 2
_CMD_FLAG_REQ_ONE = 8
_CMD_FLAG_FAST_ZERO = 16


class Nbd(Node[NbdOptions]):
    """A network leaf."""

    driver = "nbd"

    def __init__(self, options: NbdOptions) -> None:
        super().__init__(options)
        self._child: Child | None = None
        self._pool = _Pool(self._connect)
        self._unflushed: set[int] = set()
        """Generations of connections with acknowledged writes that no flush has covered."""
        self._gate = Gate()

    def open(self, staging: Staging) -> None:
        """Start the command, if it is one, and make all connections."""
        del staging
        if bool(self.options.uri) == bool(self.options.command):
            raise CommandError(f"Node '{self.name}' needs either 'uri' or 'command'")
        try:
            if self.options.command:
                self._child = Child(self.options.command)
            self._pool.fill(self.options.connections)
            self.preferred_block_bytes = self._pool.preferred_bytes or DEFAULT_BLOCK_BYTES
            self._check_access(self.options)
        except OSError as error:
            reason = self._explain(error)
            self.close()
            raise CommandError(f"Could not open '{self._target}': {reason}") from error
        except BaseException:
            self.close()
            raise

    def abandon(self) -> None:
        """Break all connections, for good: what is under way on them fails with EIO."""
        self._pool.cut()

    def close(self) -> None:
        """Disconnect, and end the command."""
        self._pool.close()
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """The export's size when it was opened."""
        del sizes
        return self._pool.size_bytes

    def prepare_reopen(self, options: NbdOptions, staging: Staging) -> Callable[[], None]:
        """``read-only`` may change as far as the server goes along."""
        self._check_access(options)
        return super().prepare_reopen(options, staging)

    def describe(self) -> dict[str, Any]:
        """How many connections there are and how often they broke."""
        return {"connections": self._pool.count, "reconnects": self._pool.generation}

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Read straight into ``buf``, but for parts of blocks."""
        if self._is_cut(len(buf), offset):
            first, end = self._blocks_around(len(buf), offset)
            whole = memoryview(bytearray(end - first))
            self._read(whole, first)
            buf[:] = whole[offset - first : offset - first + len(buf)]
        else:
            self._read(buf, offset)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write; FUA by the server's flag, or else by a flush."""
        if self._is_cut(len(buf), offset):
            first, end = self._blocks_around(len(buf), offset)
            whole, block = memoryview(bytearray(end - first)), self._pool.minimum_bytes
            with self._gate.alone():
                for at in {0, (end - first - 1) // block * block}:
                    self._read(whole[at : at + block], first + at)
                whole[offset - first : offset - first + len(buf)] = buf
                self._write(whole, first, flags)
        elif self._pool.minimum_bytes > 1:
            with self._gate.together():
                self._write(buf, offset, flags)
        else:
            self._write(buf, offset, flags)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Without MAY_TRIM the range stays allocated.  Whole blocks first: that may be refused."""
        first, end = blocks_within(count, offset, self._pool.minimum_bytes)
        with self._gate.together(), self._pool.link() as link:
            link.zero(end - first, first, flags)
            flush = self._note_write(link, flags)
        for begin, stop in ((offset, first), (end, offset + count)):
            if begin < stop:
                self.do_pwrite(memoryview(bytes(stop - begin)), begin, flags & FLAG_FUA)
        if flush:
            self.do_flush()

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """Pass the advice on to a server that takes it, as far as it is about whole blocks."""
        first, end = blocks_within(count, offset, self._pool.minimum_bytes)
        with self._gate.together(), self._pool.link() as link:
            flush = bool(flags & FLAG_FUA) and not (link.can_trim and link.can_fua and first < end)
            if link.can_trim and first < end:
                link.trim(end - first, first, link.fua(flags))
        if flush:
            self.do_flush()

    def do_flush(self) -> None:
        """One flush covers all connections, or there would be only one (NBD's multi-conn)."""
        with self._pool.link() as link:
            covered = set(self._unflushed)
            self._unflushed -= covered
            if covered - {link.generation}:
                raise OSError(errno.EIO, "the connection broke after writes not yet flushed")
            try:
                link.flush()
            except BaseException:
                self._unflushed |= covered
                raise

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """As much of the range as the server tells about at once."""
        with self._pool.link() as link:
            if not link.can_extents:
                return super().do_extents(count, offset, flags)
            first, end = self._blocks_around(count, offset)
            found = link.extents(min(end - first, _MAX_EXTENTS_BYTES), first, flags)
        told = list(_within(found, offset, offset + count))
        return told or super().do_extents(count, offset, flags)

    def do_cache(self, count: int, offset: int) -> None:
        """Pass the advice on to a server that takes it."""
        first, end = self._blocks_around(count, offset)
        with self._pool.link() as link:
            if link.can_cache:
                link.cache(end - first, first)

    def _is_cut(self, count: int, offset: int) -> bool:
        """Whether a range begins or ends inside what the server takes as a whole."""
        return bool((offset | count) & (self._pool.minimum_bytes - 1))

    def _blocks_around(self, count: int, offset: int) -> tuple[int, int]:
        """Where the blocks begin and end that a range touches; the last may be cut by the end."""
        block = self._pool.minimum_bytes
        end = -(-(offset + count) // block) * block
        return offset // block * block, min(end, self._pool.size_bytes)

    def _read(self, buf: memoryview, offset: int) -> None:
        with self._pool.link() as link:
            link.read(buf, offset)

    def _write(self, buf: memoryview, offset: int, flags: int) -> None:
        with self._pool.link() as link:
            link.write(buf, offset, link.fua(flags))
            flush = self._note_write(link, flags)
        if flush:
            self.do_flush()

    @property
    def _target(self) -> str:
        return self.options.uri or shlex.join(self.options.command or ())

    def _connect(self, handle: Any) -> None:
        if self._child is not None:
            handle.aio_connect_unix(self._child.socket_path)
        else:
            handle.aio_connect_uri(self.options.uri)

    def _note_write(self, link: "_Link", flags: int) -> bool:
        """An acknowledged write; true if it needs a flush to be what ``flags`` say."""
        if flags & FLAG_FUA and link.can_fua:
            return False
        self._unflushed.add(link.generation)
        return bool(flags & FLAG_FUA)

    def _check_access(self, options: NbdOptions) -> None:
        if self._pool.server_read_only and not options.read_only:
            raise CommandError(
                f"Could not open '{self._target}' for writing: its server offers it read-only; "
                f"give node '{self.name}' read-only = true"
            )

    def _explain(self, error: OSError) -> str:
        """The reason in one line: the command's end, if that is why it did not answer."""
        status = self._child.exit_status(0.5) if self._child is not None else None
        if status is not None:
            return f"the command ended with status {status}; the server's log has what it said"
        return error.strerror or str(error)


def _within(extents: list[Extent], begin: int, end: int) -> Iterator[Extent]:
    """The parts that lie in a range."""
    for at, length, kind in extents:
        first, last = max(at, begin), min(at + length, end)
        if first < last:
            yield first, last - first, kind


class _Link:
    """A connection.  ``with`` gives it back to the pool and turns libnbd's errors into OSError."""

    def __init__(self, pool: "_Pool") -> None:
        self._pool = pool
        self.handle: Any = None
        self.generation = -1
        self._fd = -1

    def adopt(self, handle: Any, generation: int) -> None:
        """A new connection, and what its server can do."""
        self.handle = handle
        self.generation = generation
        self._fd = handle.aio_get_fd()
        self.size_bytes: int = handle.get_size()
        self.multi_conn: bool = handle.can_multi_conn()
        self.read_only: bool = handle.is_read_only()
        self.can_fua: bool = handle.can_fua()
        self.can_flush: bool = handle.can_flush()
        self.can_trim: bool = handle.can_trim()
        self.can_zero: bool = handle.can_zero()
        self.can_fast_zero: bool = handle.can_fast_zero()
        self.can_cache: bool = handle.can_cache()
        self.can_extents: bool = handle.can_meta_context(_libnbd().CONTEXT_BASE_ALLOCATION)
        limit = handle.get_block_size(_libnbd().SIZE_MAXIMUM) or _MAX_REQUEST_BYTES
        self.max_bytes: int = min(limit, _MAX_REQUEST_BYTES)
        preferred: int = handle.get_block_size(_libnbd().SIZE_PREFERRED)
        self.preferred_bytes = fit_block(preferred) if preferred else 0
        self.minimum_bytes: int = handle.get_block_size(_libnbd().SIZE_MINIMUM) or 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            self._pool.give(self)
            return
        handle = self.handle
        usable = handle.aio_is_ready() and not handle.aio_in_flight()
        if not usable:
            self.drop()
            self._pool.note_break(self.generation)
        self._pool.give(self)
        if isinstance(error, _libnbd().Error):
            code = (error.errnum or errno.EIO) if usable else errno.EIO
            raise OSError(code, _reason(error)) from error

    def drop(self) -> None:
        """Close; politely if that needs no waiting."""
        handle, self.handle = self.handle, None
        if handle is not None:
            with contextlib.suppress(_libnbd().Error):
                handle.aio_disconnect()

    def cut(self) -> None:
        """Hang up under whoever uses it: the handle itself is locked while a request is on it."""
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._fd)) as connection:
            connection.shutdown(socket.SHUT_RDWR)

    def fua(self, flags: int) -> int:
        """FUA as the wire has it; 0 where the server has not."""
        return _CMD_FLAG_FUA if flags & FLAG_FUA and self.can_fua else 0

    def read(self, buf: memoryview, offset: int) -> None:
        """Fill ``buf``."""
        handle = self.handle
        for at in range(0, len(buf), self.max_bytes):
            cookie = handle.aio_pread(buf[at : at + self.max_bytes], offset + at)
            # A lone request cannot complete before it is polled for; a dead handle's poll raises.
            handle.poll(-1)
            while not handle.aio_command_completed(cookie):
                handle.poll(-1)

    def write(self, buf: memoryview, offset: int, wire_flags: int) -> None:
        """Write all of ``buf``."""
        for at in range(0, len(buf), self.max_bytes):
            self.handle.pwrite(buf[at : at + self.max_bytes], offset + at, wire_flags)

    def zero(self, count: int, offset: int, flags: int) -> None:
        """Raises EOPNOTSUPP where the server has no such request."""
        fast = flags & FLAG_FAST_ZERO
        if not self.can_zero or (fast and not self.can_fast_zero):
            raise OSError(errno.EOPNOTSUPP, "the server has no (fast) zeroes")
        wire_flags = self.fua(flags) | (_CMD_FLAG_FAST_ZERO if fast else 0)
        if not flags & FLAG_MAY_TRIM:
            wire_flags |= _CMD_FLAG_NO_HOLE
        for at, length in self._pieces(count, offset):
            self.handle.zero(length, at, wire_flags)

    def trim(self, count: int, offset: int, wire_flags: int) -> None:
        """Discard a range."""
        for at, length in self._pieces(count, offset):
            self.handle.trim(length, at, wire_flags)

    def cache(self, count: int, offset: int) -> None:
        """Prefetch a range."""
        for at, length in self._pieces(count, offset):
            self.handle.cache(length, at)

    def flush(self) -> None:
        """Nothing, for a server that says it needs none."""
        if self.can_flush:
            self.handle.flush()

    def extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """The answer to one question, cut to the range; some of it at least."""
        found: list[Extent] = []
        wire_flags = _CMD_FLAG_REQ_ONE if flags & FLAG_REQ_ONE else 0

        def add(_: str, at: int, entries: list[int], _error: object) -> int:
            for length, bits in zip(entries[::2], entries[1::2], strict=True):
                length = min(length, offset + count - at)  # noqa: PLW2901 - the last may go on
                if length > 0:
                    found.append((at, length, bits & (EXTENT_HOLE | EXTENT_ZERO)))
                at += length
            return 0

        self.handle.block_status(count, offset, add, wire_flags)
        return found or [(offset, count, EXTENT_DATA)]

    def _pieces(self, count: int, offset: int) -> Iterator[tuple[int, int]]:
        for at in range(offset, offset + count, self.max_bytes):
            yield at, min(self.max_bytes, offset + count - at)


class _Pool:
    """The connections: last in, first out, for whoever has waited longest."""

    def __init__(self, start: Callable[[Any], None]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._idle: list[_Link] = []
        self._waiting: deque[SimpleQueue[_Link]] = deque()
        self._down_until = 0.0
        self.generation = 0
        """Grows when a connection breaks; connections of an earlier one are not used again."""
        self.count = 0
        self.size_bytes = 0
        self.preferred_bytes = 0
        """0: the server did not say."""
        self.minimum_bytes = 1
        self.server_read_only = False

    def fill(self, wanted: int) -> None:
        """Connect: ``wanted`` times if the server says that is safe, else once."""
        started = time.monotonic()
        self._add(started)
        first = self._idle[0]
        self.size_bytes = first.size_bytes
        self.preferred_bytes = first.preferred_bytes
        self.minimum_bytes = first.minimum_bytes
        self.server_read_only = first.read_only
        for number in range(2, wanted + 1 if first.multi_conn else 2):
            try:
                self._add(started)
            except OSError as error:
                raise OSError(
                    error.errno,
                    f"connection {number} of {wanted}: {error.strerror}; does the server "
                    f"allow that many, or should it be connections = {number - 1}?",
                ) from error

    def close(self) -> None:
        """All are idle now."""
        while self._idle:
            self._idle.pop().drop()

    def cut(self) -> None:
        """No connection works any more, and none is made anew."""
        self._down_until = math.inf
        for link in self._links:
            link.cut()

    def link(self) -> _Link:
        """A connection that works, for use in ``with``."""
        link = self._take()
        if link.generation != self.generation:
            try:
                self._renew(link)
            except BaseException:
                self.give(link)
                raise
        return link

    def give(self, link: _Link) -> None:
        """To whoever waits, so that threads quick to come back do not pass by them."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().put(link)
            else:
                self._idle.append(link)

    def note_break(self, generation: int) -> None:
        """A connection broke: what a restarted server forgot, it forgot for all of them."""
        with self._lock:
            if generation == self.generation:
                self.generation += 1

    def _take(self) -> _Link:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            turn: SimpleQueue[_Link] = SimpleQueue()
            self._waiting.append(turn)
        return turn.get()

    def _add(self, started: float) -> None:
        link = _Link(self)
        self._connect(link, started, CONNECT_SECONDS)
        self._idle.append(link)
        self._links.append(link)
        self.count += 1

    def _renew(self, link: _Link) -> None:
        link.drop()
        now = time.monotonic()
        if now < self._down_until:
            raise OSError(errno.EIO, "the server could not be reached again")
        try:
            self._connect(link, now, RECONNECT_SECONDS)
            self._check_same(link)
        except OSError as error:
            link.drop()
            link.generation = -1
            self._down_until = time.monotonic() + RETRY_PAUSE_SECONDS
            raise OSError(errno.EIO, f"could not reconnect: {error.strerror}") from error

    def _check_same(self, link: _Link) -> None:
        if link.size_bytes != self.size_bytes:
            raise OSError(errno.EIO, f"the size was {self.size_bytes}, now it is {link.size_bytes}")
        if self.minimum_bytes % link.minimum_bytes:
            raise OSError(errno.EIO, f"its least block grew to {link.minimum_bytes} bytes")
        if self.count > 1 and not link.multi_conn:
            raise OSError(errno.EIO, "the server does not allow several connections any more")

    def _connect(self, link: _Link, started: float, seconds: float) -> None:
        """A new connection, ready for requests in this time.  Raises OSError."""
        nbd = _libnbd()
        generation = self.generation
        handle = nbd.NBD()
        handle.set_pread_initialize(False)
        handle.set_uri_allow_local_file(True)  # the keys of nbds://
        handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
        try:
            self._start(handle)
            while not handle.aio_is_ready():
                left = started + seconds - time.monotonic()
                if left <= 0:
                    raise TimeoutError(errno.ETIMEDOUT, f"no answer within {seconds:g} s")
                handle.poll(int(left * 1000) + 1)
            link.adopt(handle, generation)
        except nbd.Error as error:
            raise OSError(error.errnum or errno.EIO, _reason(error)) from error


def _libnbd() -> Any:
    """The Python module, which comes from the distribution and which not everybody needs."""
    try:
        import nbd  # noqa: PLC0415 - see above
    except ImportError as error:
        raise CommandError("Driver 'nbd' needs libnbd for Python: python3-libnbd") from error
    return nbd


def _reason(error: Any) -> str:
    """What libnbd says, in one line, without the name of its function."""
    text: str = error.string or os.strerror(error.errnum or errno.EIO)
    function, separator, rest = text.partition(": ")
    if separator and function.startswith("nbd_"):
        text = rest
    return text.replace("\n", " ")
