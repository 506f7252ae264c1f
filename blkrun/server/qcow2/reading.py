"""Reads of guest data, and what is known of it without reading.

No lock is taken; see ``reuse`` for why what is read is what was there.  A read within one cluster
of plain data in a table that is in memory, and one of clusters that follow each other in the file
as well, is a look-up and one request to the child; all others go by ``layout.pieces``.
"""

import errno
from array import array
from collections.abc import Callable, Iterator

from blkrun.server.qcow2.entries import COMPRESSED, OFFSET_MASK, ZERO, Kind, Mapping
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.image import Image
from blkrun.server.qcow2.layout import Piece, pieces
from blkrun.server.qcow2.store import fill_zeroes
from blkrun.server.way import EXTENT_DATA, EXTENT_HOLE, EXTENT_ZERO, FLAG_REQ_ONE, Extent

MOST_EXTENTS = 4096
"""In one answer: of a fragmented image the beginning of a range is told, and clients ask on."""

MOST_LOOKED_AT = 2**14
"""Pieces, for one answer; it takes a few hundredths of a second."""

_ROUNDS = 8
"""How often a read is done again for clusters that were given anew meanwhile."""

_UNPACKED_CLUSTERS = 4
"""Decompressed clusters that are kept: who reads in small steps comes back for the rest."""


class Reader:
    """Reads of one image.  ``pread`` is what a client's request does."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._unpacked: dict[tuple[int, int, int], bytes] = {}
        self.pread = self._make_pread()

    def read(self, buf: memoryview, offset: int) -> None:
        """Fill ``buf``, whatever the range is made of."""
        reuse = self._image.reuse
        for _ in range(_ROUNDS):
            before = reuse.count
            try:
                self._read_pieces(buf, offset)
            except OSError:
                if reuse.count == before:
                    raise
            else:
                if reuse.count == before:
                    return
        with reuse.held_off():
            self._read_pieces(buf, offset)

    def extents(self, count: int, offset: int, flags: int) -> list[Extent]:
        """Data here or below, or zeroes; as qemu-nbd tells it, without the backing's offsets."""
        found: list[Extent] = []
        most = 1 if flags & FLAG_REQ_ONE else MOST_EXTENTS
        for start, length, kind in self._extents_of_pieces(count, offset, flags):
            if found and found[-1][2] == kind:
                first, before, _ = found[-1]
                found[-1] = (first, before + length, kind)
            elif len(found) == most:
                break
            else:
                found.append((start, length, kind))
        return found

    def allocated(self, count: int, offset: int) -> list[tuple[int, int, bool]]:
        """What of a range this image has itself, zeroes included; the rest is its backing's."""
        found: list[tuple[int, int, bool]] = []
        for piece in pieces(self._image, offset, count, MOST_LOOKED_AT):
            is_own = piece.kind is not Kind.UNALLOCATED
            if found and found[-1][2] == is_own:
                first, length, _ = found[-1]
                found[-1] = (first, length + piece.length, is_own)
            elif len(found) == MOST_EXTENTS:
                break
            else:
                found.append((piece.start, piece.length, is_own))
        return found

    def _make_pread(self) -> Callable[[memoryview, int], None]:
        """The short way, with what does not change bound once."""
        image, geometry = self._image, self._image.geometry
        locate = _locator(image)
        read, reuse, find = self.read, image.reuse, image.tables.find
        data, owner, node_of = image.data, image.owner, image.data.get_node
        cluster_bits, in_cluster = geometry.cluster_bits, geometry.cluster_bytes - 1
        l1_shift, l2_mask = geometry.l1_shift, geometry.l2_entries - 1

        def pread(buf: memoryview, offset: int) -> None:
            before = reuse.count
            table = find(offset >> l1_shift)
            if table is not None:
                table.used = True
                length = len(buf)
                index = (offset >> cluster_bits) & l2_mask
                host = locate(table.words, index, offset & in_cluster, length)
                if host and host + length <= data.end_bytes:
                    try:
                        node_of(owner).pread(buf, host)
                    except OSError:
                        if reuse.count == before:
                            raise
                    else:
                        if reuse.count == before:
                            return
            read(buf, offset)

        return pread

    def _read_pieces(self, buf: memoryview, offset: int) -> None:
        image = self._image
        for piece in pieces(image, offset, len(buf)):
            at = piece.start - offset
            part = buf[at : at + piece.length]
            if piece.kind is Kind.DATA:
                self._check_end(piece)
                image.event("read_aio")
                image.data.pread(part, piece.host)
            elif piece.kind is Kind.COMPRESSED:
                unpacked = self._unpack(piece.mapping)
                part[:] = unpacked[piece.host : piece.host + piece.length]
            elif piece.kind is Kind.UNALLOCATED:
                self._read_backing(part, piece.start)
            else:
                fill_zeroes(part)

    def _check_end(self, piece: Piece) -> None:
        """The file may end in a cluster, but not before: then the image has been cut off."""
        image = self._image
        last = piece.host + piece.length - 1
        cluster = last - image.geometry.in_cluster(last)
        if cluster >= image.data.end_bytes and not image.header.external_data:
            message = f"Data cluster offset 0x{cluster:x} past the end of the image file"
            image.corrupted(message, cluster, image.geometry.cluster_bytes, fatal=False)

    def _read_backing(self, buf: memoryview, offset: int) -> None:
        """The backing's data; zeroes where it has ended."""
        backing = self._image.backing()
        there = 0 if backing is None else min(max(backing.size_bytes - offset, 0), len(buf))
        if backing is not None and there:
            self._image.event("read_backing_aio")
            backing.pread(buf[:there], offset)
        if there < len(buf):
            fill_zeroes(buf[there:])

    def _unpack(self, mapping: Mapping) -> bytes:
        """All of a compressed cluster.  Raises EIO if it is damaged."""
        image = self._image
        key = (mapping.offset, mapping.length, image.reuse.count)
        if (found := self._unpacked.get(key)) is not None:
            return found
        image.event("read_compressed")
        packed = bytearray(mapping.length)
        image.data.pread(memoryview(packed), mapping.offset)
        try:
            found = image.decompress(packed, image.geometry.cluster_bytes)
        except ImageError as error:
            if image.reuse.count != key[2]:  # it may be something else by now: nothing to tell
                raise OSError(errno.EIO, str(error)) from error
            image.corrupted(str(error), mapping.offset, mapping.length, fatal=False)
        kept = dict(list(self._unpacked.items())[1 - _UNPACKED_CLUSTERS :])
        self._unpacked = kept | {key: found}  # replaced as a whole: others may be reading it
        return found

    def _extents_of_pieces(self, count: int, offset: int, flags: int) -> Iterator[Extent]:
        for piece in pieces(self._image, offset, count, MOST_LOOKED_AT):
            if piece.kind in (Kind.DATA, Kind.COMPRESSED):
                yield piece.start, piece.length, EXTENT_DATA
            elif piece.kind is Kind.UNALLOCATED:
                yield from self._backing_extents(piece, flags)
            else:
                yield piece.start, piece.length, EXTENT_HOLE | EXTENT_ZERO

    def _backing_extents(self, piece: Piece, flags: int) -> Iterator[Extent]:
        at, end = piece.start, piece.start + piece.length
        backing = self._image.backing()
        past = at if backing is None else min(max(backing.size_bytes, at), end)
        while backing is not None and at < past:
            for start, length, kind in backing.extents(past - at, at, flags):
                length = min(start + length, past) - start  # noqa: PLW2901 - cut to what was asked
                yield start, length, kind
                at = start + length
        if at < end:
            yield at, end - at, EXTENT_HOLE | EXTENT_ZERO


Locate = Callable[["array[int]", int, int, int], int]
"""(words, index, start, length): where in the file the ``length`` bytes are that begin ``start``
into the cluster of an entry; 0 where that is not so simple."""


def _locator(image: Image) -> Locate:
    if image.header.external_data:
        return lambda *_: 0  # places have to be checked; the file system has them in order
    geometry = image.geometry
    cluster_bits, cluster_bytes = geometry.cluster_bits, geometry.cluster_bytes
    subcluster_bits = geometry.subcluster_bits
    special = COMPRESSED | ZERO | ((cluster_bytes - 1) & OFFSET_MASK)

    def standard(words: "array[int]", index: int, start: int, length: int) -> int:
        word = words[index]
        if word & special:
            return 0
        end = start + length
        if end > cluster_bytes and not _follow(words, index, end, cluster_bits):
            return 0
        host = word & OFFSET_MASK
        return host and host + start

    def extended(words: "array[int]", index: int, start: int, length: int) -> int:
        word, bitmap = words[2 * index : 2 * index + 2]
        end = start + length
        if word & special or end > cluster_bytes:
            return 0
        past = -(-end >> subcluster_bits)
        wanted = (1 << past) - (1 << (start >> subcluster_bits))
        if bitmap & wanted != wanted or (bitmap >> 32) & wanted:
            return 0
        host = word & OFFSET_MASK
        return host and host + start

    return extended if geometry.extended_l2 else standard


def _follow(words: "array[int]", index: int, length: int, cluster_bits: int) -> bool:
    """Whether the clusters of ``length`` bytes from an entry on are of one kind and in a row."""
    clusters = ((length - 1) >> cluster_bits) + 1
    found = words[index : index + clusters].tolist()
    first, step = found[0], 1 << cluster_bits
    return found == list(range(first, first + clusters * step, step))
