"""Injects errors by rules, and keeps its requests within limits: for testing what is above.

Events come from formats above (``Node.debug_event``) and from the requests themselves, as in QEMU,
where the block layer raises them: ``pwritev``, ``pwritev_zero`` and ``pwritev_done`` around each
write, ``pwritev_rmw_*`` where a part of a block is written, and under another node ``flush_to_os``
and ``flush_to_disk``.  They pass filters between, which in QEMU they do not.

With ``align`` and the other limits, requests go on as to a device that has them: padded to whole
blocks, cut in pieces, or as writes of zeroes.  Each piece is looked at by the rules for itself; so
is the reading of what is around a part of a block, which fails the write (in QEMU 7.2 it does not).

Another rule in the file is a reopen: the state is 1 again, and rules that were used up are new.
QEMU refuses that.  ``immediately`` is about QEMU's event loop; here a thread fails by itself.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blkrun.errors import CommandError
from blkrun.node_rules import check_node
from blkrun.options import BlkDebugOptions
from blkrun.server.debug_config import parse_rules
from blkrun.server.debug_rules import Rules
from blkrun.server.drivers._limits import bulk_pieces, pieces
from blkrun.server.drivers._turns import Turns
from blkrun.server.node import Node, fit_block
from blkrun.server.route import Key
from blkrun.server.staging import Staging
from blkrun.server.way import FLAG_FAST_ZERO, FLAG_FUA, Extent, Way

_ZERO_BYTES = 2**20
"""Zeroes that are written are written in pieces of at most this."""


class BlkDebug(Node[BlkDebugOptions]):
    """``rules`` is the state of it all."""

    driver = "blkdebug"
    is_filter = True
    listens = True
    image: Node[Any]
    rules: Rules

    def __init__(self, options: BlkDebugOptions) -> None:
        super().__init__(options)
        self._turns = Turns()

    # Control

    def open(self, staging: Staging) -> None:
        """Read the rules."""
        del staging
        self.rules = _rules_of(self.options)

    def prepare_reopen(self, options: BlkDebugOptions, staging: Staging) -> Callable[[], None]:
        """Other rules or limits; everything begins anew, also what is in the file of rules."""
        del staging
        rules = _rules_of(options)

        def commit() -> None:
            self.options, self.rules = options, rules

        return commit

    def describe(self) -> dict[str, Any]:
        """The state, how many rules are in force, and how many requests have failed by one."""
        rules = self.rules
        return {"state": rules.state, "active-rules": rules.active, "injected": rules.injected}

    def block_bytes(self) -> int:
        """At least what requests are padded to."""
        return max(super().block_bytes(), fit_block(self._align))

    def form(self) -> Key:
        """Options and rules are looked at per request."""
        return (self, self._is_below_a_node())

    def lower(self, below: Way, late: Way) -> Way:
        """Where another node asks for a flush, that says so first, as QEMU's block layer does."""
        way = super().lower(below, late)
        return way._replace(flush=self._flush_told) if self._is_below_a_node() else way

    def _is_below_a_node(self) -> bool:
        return any(isinstance(parent, Node) for parent, _ in self.parents)

    @property
    def _align(self) -> int:
        return max(1, self.options.align)

    # Requests

    def do_debug_event(self, name: str) -> None:
        """From a format above."""
        self.rules.event(name)

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """Whole blocks."""
        start, end = self._blocks(offset, len(buf))
        if (start, end) == (offset, offset + len(buf)):
            self._read(buf, start)
            return
        padded = memoryview(bytearray(end - start))
        self._read(padded, start)
        buf[:] = padded[offset - start :][: len(buf)]

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Whole blocks, after reading what is around."""
        with self._alone(offset, len(buf)) as (start, end):
            self._write(self._padded(buf, offset, start, end), start, flags)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """Parts of blocks at the ends are written, after reading both; between it is a zero."""
        past = offset + count
        with self._alone(offset, count) as (start, end):
            if flags & FLAG_FAST_ZERO and not self._is_fast(offset, past, start, end):
                raise OSError(errno.EOPNOTSUPP, "some of this would have to be written")
            head, tail = self._around(offset, past, start, end)
            first, last = start + len(head), end - len(tail)
            if head:
                head[offset - start : past - start] = bytes(min(past, first) - offset)
                self._write(head, start, flags & FLAG_FUA)
            if first < last:
                self._zero(first, last, flags)
            if tail:
                tail[: past - last] = bytes(past - last)
                self._write(tail, last, flags & FLAG_FUA)

    def do_trim(self, count: int, offset: int, flags: int) -> None:
        """What is less than a block is not asked for: it is advice."""
        first, last = self._whole_blocks(offset, offset + count)
        align = max(self._align, self.options.opt_discard)
        asked_for = list(bulk_pieces(first, last, align, self.options.max_discard))
        with self._alone(offset, count):
            for start, end in asked_for:
                self._check("discard", start, end - start)
                self.image.trim(end - start, start, flags)
        if flags & FLAG_FUA and not asked_for:
            self.image.flush()

    def do_flush(self) -> None:
        """What a flush is to the rules has neither offset nor length."""
        self._check("flush", 0, 0)
        self.image.flush()

    def _flush_told(self) -> None:
        self.rules.event("flush_to_os")
        self.rules.event("flush_to_disk")
        self.do_flush()

    def do_extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """The child's."""
        self._check("block-status", offset, count)
        return self.image.extents(count, offset, flags)

    def do_cache(self, count: int, offset: int) -> None:
        """The child's."""
        self.image.cache(count, offset)

    def do_length(self) -> int:
        """The child's."""
        return self.image.length()

    def do_truncate(self, size_bytes: int, exact: bool) -> None:  # noqa: FBT001 - Way's
        """The child's."""
        self.image.truncate(size_bytes, exact=exact)

    def _check(self, iotype: str, offset: int, count: int) -> None:
        """Raises OSError if a rule says so."""
        rule = self.rules.failure(iotype, offset, count)
        if rule is not None:
            if not rule.immediately:
                os.sched_yield()
            raise OSError(rule.errno, os.strerror(rule.errno))

    def _blocks(self, offset: int, count: int) -> tuple[int, int]:
        """The whole blocks that a range touches; at the end of the disk what there is of one."""
        align, past = self._align, offset + count
        start, end = offset // align * align, -(-past // align) * align
        return start, end if end == past else max(past, min(end, self.image.length()))

    def _whole_blocks(self, offset: int, past: int) -> tuple[int, int]:
        """Those that lie in a range; the last of the disk may be shorter."""
        align = self._align
        first, last = -(-offset // align) * align, past // align * align
        if last != past and past == self.image.length():
            last = past
        return first, max(first, last)

    @contextmanager
    def _alone(self, offset: int, count: int) -> Iterator[tuple[int, int]]:
        """With whole blocks: nobody writes to them between reading and writing back."""
        start, end = self._blocks(offset, count)
        if self._align == 1:
            yield start, end
            return
        with self._turns.turn(start, end):
            yield start, end

    def _padded(self, buf: memoryview, offset: int, start: int, end: int) -> memoryview:
        """Whole blocks with what is to be written."""
        past = offset + len(buf)
        if (start, end) == (offset, past):
            return buf
        head, tail = self._around(offset, past, start, end)
        data = memoryview(bytearray(end - start))
        data[: len(head)] = head
        data[len(data) - len(tail) :] = tail
        data[offset - start : past - start] = buf
        return data

    def _around(
        self, offset: int, past: int, start: int, end: int
    ) -> tuple[memoryview, memoryview]:
        """The first and the last block, if they are written in part; or all, if that is no more.

        QEMU's bdrv_padding_rmw_read, with its events.
        """
        align, event = self._align, self.rules.event
        head, tail = start < offset, past < end
        at_once = (head or tail) and end - start <= (2 * align if head and tail else align)
        first = end - start if at_once else align if head else 0
        last = end - past // align * align if tail and not at_once else 0
        found = memoryview(bytearray(first)), memoryview(bytearray(last))
        if first:
            if head:
                event("pwritev_rmw_head")
            if at_once and tail:
                event("pwritev_rmw_tail")
            self._read(found[0], start)
            if head:
                event("pwritev_rmw_after_head")
            if at_once and tail:
                event("pwritev_rmw_after_tail")
        if last:
            event("pwritev_rmw_tail")
            self._read(found[1], end - last)
            event("pwritev_rmw_after_tail")
        return found

    def _read(self, buf: memoryview, start: int) -> None:
        for at, past in pieces(start, start + len(buf), self.options.max_transfer):
            self._check("read", at, past - at)
            self.image.pread(_part(buf, at - start, past - start), at)

    def _write(self, buf: memoryview, start: int, flags: int) -> None:
        self.rules.event("pwritev")
        try:
            self._write_pieces(buf, start, flags)
        finally:
            self.rules.event("pwritev_done")

    def _write_pieces(self, buf: memoryview, start: int, flags: int) -> None:
        for at, past in pieces(start, start + len(buf), self.options.max_transfer):
            self._check("write", at, past - at)
            self.image.pwrite(_part(buf, at - start, past - start), at, flags)

    def _zero(self, start: int, end: int, flags: int) -> None:
        """Of whole blocks."""
        self.rules.event("pwritev_zero")
        try:
            for at, past in self._zero_pieces(start, end):
                if self._is_zero(at, past):
                    self._check("write-zeroes", at, past - at)
                    self.image.zero(past - at, at, flags)
                else:
                    for first, last in pieces(at, past, _ZERO_BYTES):
                        zeroes = memoryview(bytes(last - first))
                        self._write_pieces(zeroes, first, flags & FLAG_FUA)
        finally:
            self.rules.event("pwritev_done")

    def _zero_pieces(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        align = max(self._align, self.options.opt_write_zero)
        return bulk_pieces(start, end, align, self.options.max_write_zero)

    def _is_zero(self, start: int, end: int) -> bool:
        """Rather than a write of zeroes."""
        return end - start >= max(self._align, self.options.opt_write_zero)

    def _is_fast(self, offset: int, past: int, start: int, end: int) -> bool:
        """Whether nothing of it has to be written."""
        whole = (offset, past) == (start, end)
        return whole and all(self._is_zero(*piece) for piece in self._zero_pieces(offset, past))


def _part(buf: memoryview, start: int, end: int) -> memoryview:
    return buf if end - start == len(buf) else buf[start:end]


def _rules_of(options: BlkDebugOptions) -> Rules:
    """First those of the file.  Raises CommandError."""
    broken = check_node(options)
    if broken is not None:
        raise CommandError(broken.message)
    inject, changes = parse_rules(*_read(options.config)) if options.config else ([], [])
    return Rules([*inject, *options.inject_error], [*changes, *options.set_state])


def _read(path: str) -> tuple[str, str]:
    try:
        return Path(path).read_text(), path
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CommandError(f"Could not read blkdebug config file: {why}") from error
