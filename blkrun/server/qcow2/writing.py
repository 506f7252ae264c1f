"""Writes of guest data, zeroes and discards, and what makes them durable.

A write into clusters that are allocated already goes straight to the file.  Whatever changes what
the guest's clusters map to is done by ``Changes``; see ``links`` for the order in which that gets
into the file, and ``freeing`` for what happens to clusters that are given up.
"""

import errno
import threading
from collections.abc import Callable

from blkrun.server.qcow2 import features
from blkrun.server.qcow2.allocation import Claims, Grace
from blkrun.server.qcow2.changes import Changes, is_writable
from blkrun.server.qcow2.consistency import Consistency
from blkrun.server.qcow2.entries import COMPRESSED, COPIED, OFFSET_MASK, ZERO, Kind
from blkrun.server.qcow2.freeing import Freeing
from blkrun.server.qcow2.guard import Guard
from blkrun.server.qcow2.image import Image
from blkrun.server.qcow2.layout import mapping_of, pieces
from blkrun.server.qcow2.links import Links
from blkrun.server.qcow2.reading import Reader
from blkrun.server.qcow2.refcounts import Refcounts
from blkrun.server.qcow2.reserve import Reserve
from blkrun.server.way import FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM, FLAG_WRITE_UNCHANGED

_MOST_LATE = 4096
"""Entries that wait for a flush, or clusters that do, before the image is flushed by itself."""


_ZEROES = memoryview(bytes(2**21))


class Writer:
    """Of one image, from its first write on.  ``pwrite`` is what a client's request does.

    Made when the first write comes: that is when the image is made ready for it, which may take
    long where its refcounts have to be counted anew.  Raises what ``Consistency`` does.
    """

    def __init__(self, image: Image, reader: Reader) -> None:
        self._image = image
        self._geometry = image.geometry
        self._consistency = Consistency(image)
        self._consistency.begin()
        self._guard = Guard(image)
        self._refcounts = Refcounts(
            image,
            cache_bytes=image.settings.refcount_cache_bytes,
            move_table=self._move_refcount_table,
            check_free=self._guard.check_free,
        )
        self._refcounts.is_lazy = self._consistency.is_lazy
        for word in self._refcounts.table:
            if word & OFFSET_MASK:
                self._guard.add(word & OFFSET_MASK, image.geometry.cluster_bytes)
        self._reserve = Reserve(self._refcounts, image.store, image.geometry.cluster_bytes)
        self._grace = Grace()
        self._claims = Claims()
        self._freeing = Freeing(image, self._grace, self._refcounts, self._reserve)
        self._links = Links(image, self._claims, self._guard, self._freeing, self._take_table)
        self._changes = Changes(reader, self._links, self._reserve)
        self._flushing = threading.Lock()
        self._settled = 0
        """``links.changes`` at the beginning of the last flush that ended well."""
        self._is_raw = bool(
            image.header.external_data and image.header.autoclear & features.RAW_EXTERNAL_DATA
        )
        self._most_tables = max(image.tables.most_tables // 2, 1)
        self.pwrite = self._make_pwrite()

    # Requests

    def write(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write all of ``buf``, whatever the range is made of."""
        fua, is_old = flags & FLAG_FUA, bool(flags & FLAG_WRITE_UNCHANGED)
        self._with_room(lambda: self._write_pieces(buf, offset, fua, is_old=is_old))
        self._settle(fua)

    def zero(self, count: int, offset: int, flags: int) -> None:
        """Make a range read as zeroes.  Raises EOPNOTSUPP where only writing them will do."""
        may_unmap = bool(flags & FLAG_MAY_TRIM)
        if self._is_raw:
            self._image.data.zero(count, offset, flags)
        else:
            if self._image.header.version < 3 and (self._changes.has_backing() or not may_unmap):
                raise OSError(errno.EOPNOTSUPP, "an image of version 2 has no zero clusters")
            fua = flags & FLAG_FUA
            self._with_room(lambda: self._zero_parts(count, offset, fua, may_unmap=may_unmap))
        self._settle(flags & FLAG_FUA)

    def trim(self, count: int, offset: int, flags: int) -> None:
        """Give up whole clusters; they read as zeroes, if the image's version can say so.

        In one of version 2 they would read as the backing has it: it is left then (QEMU's
        ``qcow2_co_pdiscard``).
        """
        if self._is_raw:
            self._trim_raw(count, offset, flags & FLAG_FUA)
        elif self._image.header.version > 2 or not self._changes.has_backing():
            first, past = self._whole(offset, offset + count, self._geometry.cluster_bits)
            if first < past:
                self._with_room(lambda: self._changes.trim(past - first, first))
        self._settle(flags & FLAG_FUA)

    def flush(self) -> None:
        """All that was acknowledged before this is durable on return."""
        with self._flushing:
            changes = self._links.changes
            # In this order: what is free now is so for good with the entries that are late now.
            frees = self._freeing.before_flush()
            generation = self._links.before_flush()
            try:
                self._image.flush()
                if self._links.write_late(generation, frees):
                    self._image.store.flush()
            except BaseException:
                self._freeing.not_flushed(frees)
                raise
            self._settled = changes
            self._freeing.flushed(frees)

    def close(self) -> None:
        """The end: nothing is left to be done at the next opening.  No request is under way."""
        self.flush()
        self.flush()  # what the first has freed
        self._reserve.close()
        self._image.store.flush()
        self._consistency.end()

    # Ways

    def _make_pwrite(self) -> Callable[[memoryview, int, int], None]:
        """With what does not change bound once; only a write within one cluster is that short."""
        image, geometry = self._image, self._geometry
        if geometry.extended_l2 or image.header.external_data:
            return self.write
        write_new = self._changes.write_new
        write, grace, find, guard = self.write, self._grace, image.tables.find, self._guard
        data, owner, node_of = image.data, image.owner, image.data.get_node
        cluster_bits, cluster_bytes = geometry.cluster_bits, geometry.cluster_bytes
        l1_shift, l2_mask = geometry.l1_shift, geometry.l2_entries - 1
        in_cluster = cluster_bytes - 1
        telling = COPIED | COMPRESSED | ZERO | (in_cluster & OFFSET_MASK)

        def pwrite(buf: memoryview, offset: int, flags: int) -> None:
            start = offset & in_cluster
            length = len(buf)
            if not flags and start + length <= cluster_bytes:
                slot = grace.slot
                slot.inside += 1
                try:
                    table = find(offset >> l1_shift)
                    if table is not None:
                        word = table.words[(offset >> cluster_bits) & l2_mask]
                        host = word & OFFSET_MASK
                        if (
                            host
                            and word & telling == COPIED
                            and host + start + length <= data.end_bytes
                            and not guard.has(host, 1)
                        ):
                            table.used = True
                            node_of(owner).pwrite(buf, host + start, 0)
                            return
                finally:
                    slot.inside -= 1
                if table is not None and not word and write_new(buf, offset):
                    return
            write(buf, offset, flags)

        return pwrite

    def _write_pieces(
        self, buf: memoryview, offset: int, fua: int, *, is_old: bool = False
    ) -> None:
        """In turn what is allocated, and what is not."""
        done = 0
        while done < len(buf):
            here = self._write_in_place(buf[done:], offset + done, fua)
            done += here
            if done < len(buf) and not here:
                done += self._changes.write(buf[done:], offset + done, is_old=is_old)

    def _write_in_place(self, buf: memoryview, offset: int, fua: int) -> int:
        """As much as is allocated, for itself, and in a row.  How many bytes that was."""
        slot = self._grace.slot
        slot.inside += 1
        try:
            host, length = self._allocated(offset, len(buf))
            if length:
                self._image.event("write_aio")
                self._image.data.pwrite(buf[:length], host, fua)
            return length
        finally:
            slot.inside -= 1

    def _allocated(self, offset: int, count: int) -> tuple[int, int]:
        """Where in the file a range begins that can be written in place, and how long it is."""
        image, geometry = self._image, self._geometry
        external = image.header.external_data
        table = image.tables.get(geometry.l1_index(offset))
        end = min(offset + count, (geometry.l1_index(offset) + 1) * geometry.table_span_bytes)
        at, host = offset, 0
        while table is not None and at < end:
            mapping = mapping_of(image, table, at)
            into = geometry.in_cluster(at)
            length = min(geometry.cluster_bytes - into, end - at)
            if not is_writable(geometry, mapping, into, length):
                break
            if at == offset:
                host = mapping.offset + into
            elif host + at - offset != mapping.offset + into:
                break
            if not external:
                self._guard.check_data(mapping.offset, 1)
            at += length
        return host, at - offset

    # Zeroes

    def _trim_raw(self, count: int, offset: int, fua: int) -> None:
        """Guest and raw file read the same, so what is given up has to be zeroes in the file."""
        try:
            self._image.data.zero(count, offset, FLAG_MAY_TRIM | FLAG_FAST_ZERO | fua)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise

    def _zero_parts(self, count: int, offset: int, fua: int, *, may_unmap: bool) -> None:
        """Whole subclusters by their entries; what is cut at both ends is written."""
        end = offset + count
        first, past = self._zeroed_by_entries(offset, end)
        if first >= past:
            self._write_zeroes(offset, end, fua)
            return
        self._write_zeroes(offset, first, fua)
        self._changes.zero(past - first, first, may_unmap=may_unmap)
        self._write_zeroes(past, end, fua)

    def _zeroed_by_entries(self, start: int, end: int) -> tuple[int, int]:
        """The whole subclusters; of a compressed cluster, which has none, only all of it."""
        first, past = self._whole(start, end, self._geometry.subcluster_bits)
        next_cluster, last_cluster = self._whole(start, end, self._geometry.cluster_bits)
        if first < min(next_cluster, past) and self._is_compressed(first):
            first = next_cluster
        if max(first, last_cluster) < past and self._is_compressed(past - 1):
            past = last_cluster
        return first, past

    def _is_compressed(self, offset: int) -> bool:
        """Once it is not, it stays so: nothing is compressed here."""
        table = self._image.tables.get(self._geometry.l1_index(offset))
        return table is not None and (
            mapping_of(self._image, table, offset).kind is Kind.COMPRESSED
        )

    def _whole(self, start: int, end: int, bits: int) -> tuple[int, int]:
        """The units of ``1 << bits`` bytes in a range; the one at the disk's end is whole too."""
        first = -(-start >> bits << bits)
        past = end if end == self._geometry.size_bytes else end >> bits << bits
        return first, past

    def _write_zeroes(self, start: int, end: int, fua: int) -> None:
        """Where there is something else."""
        for piece in pieces(self._image, start, end - start):
            if piece.kind is Kind.ZERO:
                continue
            if piece.kind is Kind.UNALLOCATED:
                backing = self._image.backing()
                if backing is None or piece.start >= backing.size_bytes:
                    continue
            for at in range(0, piece.length, len(_ZEROES)):
                part = _ZEROES[: piece.length - at]
                self._write_pieces(part, piece.start + at, fua)

    # What is common to all

    def _with_room(self, work: Callable[[], None]) -> None:
        """Flush first if too much waits for one, and again to get at what was freed."""
        if self._has_too_much():
            self.flush()
        try:
            work()
        except OSError as error:
            if error.errno != errno.ENOSPC or not self._freeing.has_any():
                raise
            self.flush()
            self._freeing.poll()
            work()

    def _has_too_much(self) -> bool:
        links, freeing = self._links, self._freeing
        return (
            links.late_count > _MOST_LATE
            or links.late_tables > self._most_tables
            or freeing.count > _MOST_LATE
        )

    def _settle(self, fua: int) -> None:
        """FUA: also the entries that lead to what was written, whoever wrote these."""
        if fua and self._links.changes != self._settled:
            self.flush()

    def _take_table(self) -> tuple[int, bool]:
        self._image.event("cluster_alloc")
        first, _, is_blank = self._reserve.take(1)
        return first * self._geometry.cluster_bytes, is_blank

    def _move_refcount_table(self, offset: int, clusters: int) -> None:
        header = self._image.header
        cluster_bytes = self._geometry.cluster_bytes
        self._consistency.move_refcount_table(offset, clusters)
        self._guard.remove(
            header.refcount_table_offset, header.refcount_table_clusters * cluster_bytes
        )
        self._guard.add(offset, clusters * cluster_bytes)
