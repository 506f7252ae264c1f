"""Changes of what guest clusters map to: allocation with copy on write, zeroes, discards.

Everything here claims the guest clusters first, so that what it has looked up stays so until it is
done; data are read and written without any other lock.
"""

from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple

from blkrun.server.qcow2.entries import (
    ALL_SUBCLUSTERS,
    COPIED,
    OFFSET_MASK,
    UNALLOCATED,
    Kind,
    Mapping,
)
from blkrun.server.qcow2.geometry import Geometry
from blkrun.server.qcow2.layout import mapping_of
from blkrun.server.qcow2.links import Change, Links
from blkrun.server.qcow2.reading import Reader
from blkrun.server.qcow2.refcounts import Run
from blkrun.server.qcow2.reserve import Reserve
from blkrun.server.qcow2.tables import Table

_ZEROES = bytes(2**21)
_COPIED_TOGETHER_BYTES = 2**18
"""Up to here what is written and what is around it go into one request."""

NewMapping = Callable[[Mapping, int], Mapping | None]
"""(what a cluster maps to, mask of the subclusters meant) → what it shall, or None: leave it."""


class Host(NamedTuple):
    """Clusters in a row that guest data get: whose first byte is at ``offset``."""

    offset: int
    clusters: int
    is_blank: bool
    taken: Run | None
    """As they were taken from the reserve; None: they belonged to the guest's cluster before."""


def is_writable(geometry: Geometry, mapping: Mapping, into: int, length: int) -> bool:
    """Whether a part of a cluster can be written where it is."""
    if mapping.kind is not Kind.DATA or not mapping.copied:
        return False
    if not geometry.extended_l2:
        return True
    mask = touched_subclusters(geometry, into, length)
    return mapping.allocated & mask == mask


def touched_subclusters(geometry: Geometry, into: int, length: int) -> int:
    """The mask of the subclusters that a part of a cluster touches."""
    first = into >> geometry.subcluster_bits
    past = ((into + length - 1) >> geometry.subcluster_bits) + 1
    return geometry.subcluster_mask(first, past)


class Changes:
    """Of one image."""

    def __init__(self, reader: Reader, links: Links, reserve: Reserve) -> None:
        self._image = image = links.image
        self._geometry = image.geometry
        self._reader = reader
        self._links = links
        self._claims = links.claims
        self._guard = links.guard
        self._reserve = reserve
        self._external = image.header.external_data

    # Writing

    def write(self, buf: memoryview, offset: int, *, is_old: bool = False) -> int:
        """Write what has to be allocated first, up to what has not.  How many bytes that was.

        ``is_old``: it is what the guest reads there already, which may have been durable.
        """
        geometry = self._geometry
        l1_index = geometry.l1_index(offset)
        end = min(offset + len(buf), (l1_index + 1) * geometry.table_span_bytes)
        bits = geometry.cluster_bits
        claim = self._claims.claim(offset >> bits, ((end - 1) >> bits) + 1)
        try:
            table = self._links.table_for_change(l1_index)
            try:
                at = offset
                while at < end and (mappings := self._to_allocate(table, at, end)):
                    part = buf[at - offset : end - offset]
                    at += self._allocate(table, mappings, part, at, is_old=is_old)
                return at - offset
            finally:
                self._image.tables.release(table)
        finally:
            self._claims.release(claim)

    def write_new(self, buf: memoryview, offset: int) -> bool:
        """A part of one cluster that is not allocated and reads as zeroes: the usual allocation.

        The same as ``write``, for images without extended entries or an external data file; False:
        nothing is done, it is not as usual.
        """
        geometry, image = self._geometry, self._image
        l1_index = offset >> geometry.l1_shift
        if image.backing() is not None or not image.l1[l1_index] & COPIED:
            return False
        cluster = offset >> geometry.cluster_bits
        index = cluster & (geometry.l2_entries - 1)
        claim = self._claims.claim(cluster, cluster + 1)
        try:
            table = image.tables.get_held(l1_index)
            if table is None:
                return False
            try:
                if table.words[index] or not (first := self._reserve.take_blank()):
                    return False
                self._guard.check_table(table.offset)
                host = first << geometry.cluster_bits
                try:
                    into = offset & (geometry.cluster_bytes - 1)
                    image.store.node.pwrite(buf, host + into, 0)
                except BaseException:
                    self._reserve.give_back(first, first + 1)
                    raise
                self._links.change_one(l1_index, table, index, host | COPIED)
                return True
            finally:
                image.tables.release(table)
        finally:
            self._claims.release(claim)

    def _to_allocate(self, table: Table, offset: int, end: int) -> list[Mapping]:
        """What clusters map to now that are in a row and can be allocated together."""
        geometry = self._geometry
        found: list[Mapping] = []
        at = offset
        while at < end:
            mapping = mapping_of(self._image, table, at)
            into = geometry.in_cluster(at)
            length = min(geometry.cluster_bytes - into, end - at)
            if is_writable(geometry, mapping, into, length):
                break
            if self._is_own(mapping):  # of its own place
                return found or [mapping]
            found.append(mapping)
            at += length
        return found

    def _is_own(self, mapping: Mapping) -> bool:
        """Whether it has a cluster that nobody else has, and that it keeps."""
        return mapping.has_cluster and mapping.copied

    def _allocate(
        self, table: Table, mappings: list[Mapping], buf: memoryview, offset: int, *, is_old: bool
    ) -> int:
        """Write into clusters that the guest has not got yet.  How many bytes that was."""
        geometry = self._geometry
        base = offset - geometry.in_cluster(offset)
        host = self._find_host(mappings, base)
        mappings = mappings[: host.clusters]
        end = min(offset + len(buf), base + host.clusters * geometry.cluster_bytes)
        try:
            masks, is_late = self._fill(host, mappings, buf[: end - offset], offset)
        except BaseException:
            if host.taken is not None:
                self._reserve.give_back(*host.taken)
            raise
        words = array("Q")
        for position, (mapping, mask) in enumerate(zip(mappings, masks, strict=True)):
            words.append(host.offset + (position << geometry.cluster_bits) | COPIED)
            if geometry.extended_l2:
                kept = mapping.allocated if host.taken is None else 0
                words.append((mapping.zeroed & ~mask) << 32 | kept | mask)
        change = Change(geometry.l2_index(offset), words, is_late or is_old)
        if host.taken is not None:
            change = change._replace(frees=[*map(self._host_runs, mappings)], gives=True)
        self._links.change(geometry.l1_index(offset), table, change)
        return end - offset

    def _find_host(self, mappings: list[Mapping], base: int) -> Host:
        """Where the data go: to the guest's own cluster, or to new ones."""
        if self._external:
            return Host(base, len(mappings), is_blank=False, taken=None)
        if self._is_own(mappings[0]):
            self._guard.check_data(mappings[0].offset, 1)
            return Host(mappings[0].offset, 1, is_blank=False, taken=None)
        self._image.event("cluster_alloc")
        first, past, is_blank = self._reserve.take(len(mappings))
        offset = first << self._geometry.cluster_bits
        return Host(offset, past - first, is_blank, (first, past))

    def _fill(
        self, host: Host, mappings: list[Mapping], buf: memoryview, offset: int
    ) -> tuple[list[int], bool]:
        """Write the data, and what must be around them in the first and in the last cluster.

        Gives the subclusters of each cluster that are written, and whether the entries are late.
        """
        geometry = self._geometry
        end = offset + len(buf)
        base = offset - geometry.in_cluster(offset)
        last = base + ((len(mappings) - 1) << geometry.cluster_bits)
        start, _ = self._needed(mappings[0], host, offset, min(end, base + geometry.cluster_bytes))
        _, past = self._needed(mappings[-1], host, max(offset, last), end)
        head = self._old(mappings[0], start, offset)
        tail = self._old(mappings[-1], end, past)
        is_late = not host.is_blank or head is not None or tail is not None
        self._write_around(
            host.offset - base,
            offset,
            buf,
            self._padding(head, offset - start, host),
            self._padding(tail, past - end, host),
        )
        masks = [ALL_SUBCLUSTERS] * len(mappings)
        if geometry.extended_l2:
            first_past = min(past, base + geometry.cluster_bytes)
            masks[0] = touched_subclusters(geometry, start - base, first_past - start)
            if len(mappings) > 1:
                masks[-1] = touched_subclusters(geometry, 0, past - last)
        return masks, is_late

    def _needed(self, mapping: Mapping, host: Host, start: int, end: int) -> tuple[int, int]:
        """What of a cluster must be in its place when [``start``, ``end``) of it is written."""
        geometry = self._geometry
        cluster = start - geometry.in_cluster(start)
        if not geometry.extended_l2 or (host.taken is not None and self._host_runs(mapping)):
            return cluster, cluster + geometry.cluster_bytes
        allocated = mapping.allocated
        first, last = geometry.subcluster(start), geometry.subcluster(end - 1)
        if not allocated >> first & 1:
            start = cluster + (first << geometry.subcluster_bits)
        if not allocated >> last & 1:
            end = cluster + ((last + 1) << geometry.subcluster_bits)
        return start, end

    def _old(self, mapping: Mapping, start: int, end: int) -> bytearray | None:
        """What the guest reads there; None: only zeroes, or nothing at all."""
        length = min(end, self._geometry.size_bytes) - start
        if length <= 0 or self._is_known_zero(mapping, start):
            return None
        self._image.event("cow_read")
        data = bytearray(end - start)
        self._reader.read(memoryview(data)[:length], start)
        return None if data == _ZEROES[: len(data)] else data

    def _is_known_zero(self, mapping: Mapping, start: int) -> bool:
        if mapping.kind is Kind.UNALLOCATED:
            backing = self._image.backing()
            return backing is None or start >= backing.size_bytes
        return mapping.kind in (Kind.ZERO, Kind.ZERO_ALLOCATED) and not self._geometry.extended_l2

    def _padding(self, old: bytearray | None, length: int, host: Host) -> bytes | bytearray:
        """Zeroes need not be written into what is blank."""
        if old is not None:
            return old
        return b"" if host.is_blank else _ZEROES[:length]

    def _write_around(
        self,
        shift: int,
        offset: int,
        buf: memoryview,
        head: bytes | bytearray,
        tail: bytes | bytearray,
    ) -> None:
        """One request, if it is not too much to copy together.  ``shift``: from guest to file."""
        write = self._image.data.pwrite
        if head or tail:
            self._image.event("cow_write")
        self._image.event("write_aio")
        if not head and not tail:
            write(buf, offset + shift)
        elif len(head) + len(buf) + len(tail) <= _COPIED_TOGETHER_BYTES:
            write(memoryview(b"".join((head, buf, tail))), offset - len(head) + shift)
        else:
            write(buf, offset + shift)
            for part, at in ((head, offset - len(head)), (tail, offset + len(buf))):
                if part:
                    write(memoryview(part), at + shift)

    def _host_runs(self, mapping: Mapping) -> tuple[Run, ...]:
        """The clusters of the file that are freed when nothing maps to this any more."""
        bits = self._geometry.cluster_bits
        if self._external:
            return ()
        if mapping.kind is Kind.COMPRESSED:
            last = (mapping.offset + mapping.length - 1) >> bits
            return ((mapping.offset >> bits, last + 1),)
        if mapping.has_cluster:
            return ((mapping.offset >> bits, (mapping.offset >> bits) + 1),)
        return ()

    # Zeroes and discards

    def zero(self, count: int, offset: int, *, may_unmap: bool) -> None:
        """Of whole subclusters, or to the disk's end.  ``may_unmap``: clusters are given up."""
        unmaps = may_unmap or self._image.header.version < 3

        def new_mapping(mapping: Mapping, mask: int) -> Mapping | None:
            return self._zeroed(mapping, mask, unmaps=unmaps)

        self._replace(offset, offset + count, new_mapping)

    def trim(self, count: int, offset: int) -> None:
        """Of whole clusters, or to the disk's end; what has no cluster and no backing stays."""

        def new_mapping(mapping: Mapping, mask: int) -> Mapping | None:
            return self._zeroed(mapping, mask, unmaps=True)

        self._replace(offset, offset + count, new_mapping)

    def has_backing(self) -> bool:
        """Whether what is not allocated may be read from elsewhere, now or the next time."""
        return self._image.header.backing_file is not None or self._image.backing() is not None

    def _zeroed(self, mapping: Mapping, mask: int, *, unmaps: bool) -> Mapping | None:
        """What a cluster maps to when subclusters of it read as zeroes."""
        is_whole = mask == ALL_SUBCLUSTERS
        if mapping.kind is Kind.UNALLOCATED and not self.has_backing():
            return None
        if is_whole and (unmaps or not self._is_own(mapping)):
            new = self._zero_cluster()
        elif not self._geometry.extended_l2:
            new = mapping._replace(kind=Kind.ZERO_ALLOCATED)
        else:
            allocated = mapping.allocated & ~mask
            new = mapping._replace(
                kind=self._extended_kind(mapping), allocated=allocated, zeroed=mapping.zeroed | mask
            )
        return None if new == mapping else new

    def _extended_kind(self, mapping: Mapping) -> Kind:
        """The words that it is encoded to say the rest."""
        return mapping.kind if mapping.has_cluster else Kind.ZERO

    def _zero_cluster(self) -> Mapping:
        if self._image.header.version < 3:
            return UNALLOCATED
        if self._geometry.extended_l2:
            return Mapping(Kind.ZERO, zeroed=ALL_SUBCLUSTERS)
        return Mapping(Kind.ZERO)

    def _replace(self, start: int, end: int, new_mapping: NewMapping) -> None:
        """Table by table."""
        geometry = self._geometry
        while start < end:
            l1_index = geometry.l1_index(start)
            past = min((l1_index + 1) * geometry.table_span_bytes, end)
            is_there = bool(self._image.l1[l1_index] & OFFSET_MASK)
            if is_there or self.has_backing():
                self._replace_in_table(l1_index, start, past, new_mapping)
            start = past

    def _replace_in_table(
        self, l1_index: int, start: int, end: int, new_mapping: NewMapping
    ) -> None:
        bits = self._geometry.cluster_bits
        claim = self._claims.claim(start >> bits, ((end - 1) >> bits) + 1)
        try:
            table = self._links.table_for_change(l1_index)
            try:
                for change in self._changed_runs(table, start, end, new_mapping):
                    self._links.change(l1_index, table, change)
            finally:
                self._image.tables.release(table)
        finally:
            self._claims.release(claim)

    def _changed_runs(
        self, table: Table, start: int, end: int, new_mapping: NewMapping
    ) -> Iterator[Change]:
        """The entries that change, those in a row together.

        One that is late, and goes on leading to the same cluster, stays late.
        """
        geometry = self._geometry
        l1_index = geometry.l1_index(start)
        last: Change | None = None
        frees: list[tuple[Run, ...]] = []
        for at, mask in self._cluster_masks(start, end):
            mapping = mapping_of(self._image, table, at)
            new = new_mapping(mapping, mask)
            if new is None:
                continue
            entry = geometry.l2_index(at)
            words = array("Q", self._image.entries.encode(new)[: geometry.entry_words])
            is_late = new.has_cluster and self._links.is_late(l1_index, entry)
            if last is not None and self._goes_on(last, entry, is_late=is_late):
                last.words.extend(words)
            else:
                if last is not None:
                    yield last
                frees = []
                last = Change(entry, words, is_late, frees)
            frees.append(() if new.has_cluster else self._host_runs(mapping))
        if last is not None:
            yield last

    def _goes_on(self, last: Change, entry: int, *, is_late: bool) -> bool:
        entries = len(last.words) // self._geometry.entry_words
        return last.is_late == is_late and last.entry + entries == entry

    def _cluster_masks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """(guest offset, subclusters meant) for each cluster of a range."""
        geometry = self._geometry
        at = start
        while at < end:
            into = geometry.in_cluster(at)
            length = min(geometry.cluster_bytes - into, end - at)
            mask = ALL_SUBCLUSTERS
            if geometry.extended_l2:
                mask = touched_subclusters(geometry, into, length)
                if at + length == geometry.size_bytes:  # to the disk's end is to the cluster's
                    mask |= ALL_SUBCLUSTERS ^ ((1 << geometry.subcluster(at)) - 1)
            yield at, mask
            at += length
