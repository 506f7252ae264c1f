"""Which host clusters are used: the refcount table, its blocks, and how both grow.

Two rules keep an image whole whatever happens (qcow2.rst, "Host cluster management"):

* ``reserve`` returns when the refcounts of what it gives are durable, so no table refers to a
  cluster that counts as free.  A crash leaves at worst some that count as used, and are not.
* A refcount block is durable before the table refers to it, and a table before the header does.

Blocks are written at once, in the part that has changed; those in memory are as in the file.
"""

import errno
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from blkrun.server.qcow2.geometry import Geometry
from blkrun.server.qcow2.header import MOST_REFCOUNT_TABLE_BYTES
from blkrun.server.qcow2.image import Image
from blkrun.server.qcow2.refcount_block import RefcountBlock, blank, decode
from blkrun.server.qcow2.tables import decode_words, encode_words
from blkrun.server.way import FLAG_FUA

Run = tuple[int, int]
"""(first, past): clusters, the second one not included."""

_BLOCK_OFFSET_MASK = ~(2**9 - 1) & (2**64 - 1)
_MOST_BYTES = 2**56
"""Where clusters can be that L1 and L2 tables lead to."""

MOST_CLUSTERS = _MOST_BYTES // 2**9

_LEAST_BLOCKS = 4
_MOST_RUNS = 64
"""In one reservation: where free space is crumbled, so many crumbs do."""


class Refcounts:
    """Of one image.  Everything here takes ``lock``; it is held while metadata is written.

    ``check_free`` is told of runs that are about to be used, and raises if an image that is
    damaged has something there.
    """

    def __init__(
        self,
        image: Image,
        *,
        cache_bytes: int,
        move_table: Callable[[int, int], None],
        check_free: Callable[[Run], None],
    ) -> None:
        header = image.header
        self._image = image
        self._store = image.store
        self._geometry: Geometry = image.geometry
        self._in_block = self._geometry.refcounts_in_block
        self._cluster_bytes = self._geometry.cluster_bytes
        self._most_blocks = max(cache_bytes // self._cluster_bytes, _LEAST_BLOCKS)
        self._move_table = move_table
        self._check_free = check_free
        self._blocks: OrderedDict[int, RefcountBlock] = OrderedDict()
        self._table_offset = header.refcount_table_offset
        length = header.refcount_table_clusters * self._cluster_bytes
        self.table: array[int] = decode_words(self._store.read(length, self._table_offset))
        self.lock = threading.Lock()
        self._is_torn = False  # nobody knows which of two tables the header refers to
        self.is_lazy = False
        """The dirty bit is set: refcounts need not be durable before they are used."""

    def get(self, cluster: int) -> int:
        """One refcount."""
        with self.lock:
            return self._get(cluster)

    def reserve(
        self, start: int, want: int, prepare: Callable[[Run], bool], limit: int = MOST_CLUSTERS
    ) -> list[Run]:
        """Up to ``want`` free clusters from ``start`` on, now with a refcount of 1, which lasts.

        ``prepare`` is called with each run before that, and gives whether what it did is durable
        already: if so, no flush of the whole file is needed.  ``limit``: with no cluster from there
        on.
        Raises ENOSPC if there are none.
        """
        with self.lock:
            while True:
                if self._is_torn:
                    raise OSError(errno.EIO, "moving the refcount table has failed")
                found = self._find_free(start, want, limit)
                if not found:
                    raise OSError(errno.ENOSPC, "no free clusters are left in the image file")
                last = (found[-1][1] - 1) // self._in_block
                if last < len(self.table):
                    break
                self._grow_table(last + 1)
            return self._use(found, prepare)

    def free(self, runs: Iterable[Run]) -> list[Run]:
        """One reference less to each cluster; gives those that nothing refers to any more."""
        freed: list[Run] = []
        with self.lock:
            for first, past in self._by_block(runs):
                block, base = self._needed_block(first)
                for cluster in range(first, past):
                    count = block.get(cluster - base)
                    if not count:
                        self._write_part(block, first, cluster)
                        self._no_reference(cluster)
                    block.set(cluster - base, count - 1)
                    if count == 1:
                        _append(freed, cluster, cluster + 1)
                self._write_part(block, first, past)
        return freed

    def unshared(self, runs: Iterable[Run]) -> list[Run]:
        """Those with one reference only: what nothing but their one user has a use for."""
        found: list[Run] = []
        with self.lock:
            for first, past in self._by_block(runs):
                for cluster in range(first, past):
                    if self._get(cluster) == 1:
                        _append(found, cluster, cluster + 1)
        return found

    # Blocks

    def _get(self, cluster: int) -> int:
        index, place = divmod(cluster, self._in_block)
        block = self._block(index)
        return 0 if block is None else block.get(place)

    def _block(self, index: int) -> RefcountBlock | None:
        """The block, loaded if need be; None: there is none, all of its refcounts are 0."""
        if (block := self._blocks.get(index)) is not None:
            self._blocks.move_to_end(index)
            return block
        offset = self._block_offset(index)
        if not offset:
            return None
        self._image.event("refblock_load")
        block = decode(
            bytes(self._store.read(self._cluster_bytes, offset)), self._geometry.refcount_order
        )
        self._keep(index, block)
        return block

    def _block_offset(self, index: int) -> int:
        if index >= len(self.table):
            return 0
        offset = self.table[index] & _BLOCK_OFFSET_MASK
        if offset % self._cluster_bytes or offset + self._cluster_bytes > self._store.end_bytes:
            self._image.corrupted(
                f"Refblock offset 0x{offset:x} invalid (reftable index: 0x{index:x})", fatal=True
            )
        return offset

    def _keep(self, index: int, block: RefcountBlock) -> None:
        self._blocks[index] = block
        while len(self._blocks) > self._most_blocks:
            self._blocks.popitem(last=False)

    def _needed_block(self, cluster: int) -> tuple[RefcountBlock, int]:
        index = cluster // self._in_block
        block = self._block(index)
        if block is None:
            self._no_reference(cluster)
        return block, index * self._in_block

    def _no_reference(self, cluster: int) -> NoReturn:
        offset = cluster * self._cluster_bytes
        self._image.corrupted(
            f"Cluster at offset 0x{offset:x} is in use, and has a refcount of 0",
            offset,
            self._cluster_bytes,
            fatal=False,
        )

    def _by_block(self, runs: Iterable[Run]) -> Iterator[Run]:
        """The same, cut where another block begins."""
        for first, past in runs:
            at = first
            while at < past:
                end = min((at // self._in_block + 1) * self._in_block, past)
                yield at, end
                at = end

    def _write_part(self, block: RefcountBlock, first: int, past: int, flags: int = 0) -> None:
        """The refcounts of a run within one block."""
        if first < past:
            index, place = divmod(first, self._in_block)
            offset, data = block.part(place, place + past - first)
            self._image.event("refblock_update_part")
            self._store.pwrite(memoryview(data), self._block_offset(index) + offset, flags)

    # Reserving

    def _find_free(self, start: int, want: int, limit: int) -> list[Run]:
        found: list[Run] = []
        at = start
        limit = min(limit, _MOST_BYTES // self._cluster_bytes)
        while want > 0 and at < limit and len(found) < _MOST_RUNS:
            index, place = divmod(at, self._in_block)
            block = self._block(index)
            if block is None:
                length = min(self._in_block - place, want)
            else:
                place = block.find_free(place)
                at = index * self._in_block + place
                if place == self._in_block:
                    continue
                length = block.free_run(place, want)
            length = min(length, limit - at)
            if length <= 0:
                break
            _append(found, at, at + length)
            at += length
            want -= length
        return found

    def _use(self, found: list[Run], prepare: Callable[[Run], bool]) -> list[Run]:
        """Set to 1, in the order that makes it last.  If that fails, nothing has been used."""
        for run in found:
            self._check_free(run)
        runs, new = self._place_blocks(found)
        filled: list[tuple[RefcountBlock, int, int]] = []
        try:
            is_durable = not new
            for run in runs:
                is_durable = prepare(run) and is_durable
            how = FLAG_FUA if is_durable and not self.is_lazy else 0
            for first, past in self._by_block(found):
                index, place = divmod(first, self._in_block)
                block = new[index] if index in new else self._needed_block(first)[0]
                block.fill(place, place + past - first, 1)
                if index not in new:
                    filled.append((block, place, place + past - first))
                    self._write_part(block, first, past, how)
            if not is_durable:
                self._settle_blocks(new, {index: self._first_in(index, found) for index in new})
        except BaseException:
            for block, first, past in filled:
                block.fill(first, past, 0)  # in the file they may be 1: that is no harm
            raise
        return runs

    def _place_blocks(self, found: list[Run]) -> tuple[list[Run], dict[int, RefcountBlock]]:
        """Where a block is missing, the first cluster found in its range becomes the block."""
        runs: list[Run] = []
        new: dict[int, RefcountBlock] = {}
        for first, past in self._by_block(found):
            index = first // self._in_block
            start = first
            if index not in new and not self._block_offset(index):
                new[index] = blank(self._cluster_bytes, self._geometry.refcount_order)
                start += 1
            if start < past:
                _append(runs, start, past)
        return runs, new

    def _first_in(self, index: int, found: list[Run]) -> int:
        return next(run[0] for run in self._by_block(found) if run[0] // self._in_block == index)

    def _settle_blocks(self, new: dict[int, RefcountBlock], places: dict[int, int]) -> None:
        """Durable refcounts; new blocks first, then what refers to them.

        The flush is also for what ``prepare`` has done, so it is made if refcounts are lazy too.
        """
        for index, block in new.items():
            self._image.event("refblock_alloc_write")
            self._store.pwrite(memoryview(block.to_bytes()), places[index] * self._cluster_bytes)
        self._store.flush()
        for index in new:
            offset = places[index] * self._cluster_bytes
            self._image.event("refblock_alloc_hookup")
            word = encode_words(array("Q", (offset,)))
            self._store.pwrite(memoryview(word), self._table_offset + index * 8)
        if new:
            self._store.flush()
        for index, block in new.items():
            self.table[index] = places[index] * self._cluster_bytes
            self._keep(index, block)

    def _grow_table(self, needed: int) -> None:
        """A larger table, after all that the old one covers; its blocks come just before it."""
        self._image.event("reftable_grow")
        old = len(self.table)
        first = old * self._in_block
        clusters, blocks = self._size_table(max(needed, old * 3 // 2), old)
        used = blocks + clusters
        if clusters * self._cluster_bytes > MOST_REFCOUNT_TABLE_BYTES:
            raise OSError(errno.EFBIG, "the refcount table cannot grow any further")
        self._check_free((first, first + used))
        table = self.table + array("Q", bytes(clusters * self._cluster_bytes - old * 8))
        new = {}
        for index in range(old, old + blocks):
            block = blank(self._cluster_bytes, self._geometry.refcount_order)
            block.fill(0, max(0, min(used - (index - old) * self._in_block, block.entries)), 1)
            place = first + index - old
            table[index] = place * self._cluster_bytes
            self._store.pwrite(memoryview(block.to_bytes()), table[index])
            new[index] = block
        offset = (first + blocks) * self._cluster_bytes
        self._store.pwrite(memoryview(encode_words(table)), offset)
        self._store.flush()
        self._is_torn = True
        self._move_table(offset, clusters)
        self._store.flush()
        self._is_torn = False
        self._adopt(table, offset, new)

    def _adopt(self, table: "array[int]", offset: int, new: dict[int, RefcountBlock]) -> None:
        """The header refers to the new table for good; the old one's clusters are free."""
        before = self._table_offset // self._cluster_bytes
        past = before + len(self.table) * 8 // self._cluster_bytes
        self.table, self._table_offset = table, offset
        for index, block in new.items():
            self._keep(index, block)
        for first, end in self._by_block([(before, past)]):
            block, base = self._needed_block(first)
            block.fill(first - base, end - base, 0)
            self._write_part(block, first, end)

    def _size_table(self, entries: int, old: int) -> tuple[int, int]:
        """Clusters of the new table, and blocks that cover it and themselves."""
        while True:
            clusters = -(-entries * 8 // self._cluster_bytes)
            blocks = -(-clusters // (self._in_block - 1))
            if old + blocks <= entries:
                return clusters, blocks
            entries = old + blocks


def _append(runs: list[Run], first: int, past: int) -> None:
    """Add a run; one that follows the last one lengthens it."""
    if runs and runs[-1][1] == first:
        runs[-1] = (runs[-1][0], past)
    else:
        runs.append((first, past))
