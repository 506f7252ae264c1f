"""Entries of L1 and L2 tables: from words of 64 bits to what they say, and back.  Pure."""

from enum import Enum
from typing import NamedTuple

from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.geometry import Geometry

COPIED = 1 << 63
"""The refcount is exactly one: it may be written in place."""
COMPRESSED = 1 << 62
ZERO = 1
OFFSET_MASK = (1 << 56) - (1 << 9)
"""Bits 9 to 55: the offset in the file."""

MOST_OFFSET = 1 << 56
SECTOR_BYTES = 512
ALL_SUBCLUSTERS = 2**32 - 1


class Kind(Enum):
    """What a cluster is; see ``Mapping`` for what it is with extended L2 entries."""

    UNALLOCATED = "unallocated"
    ZERO = "zero"
    ZERO_ALLOCATED = "zero-allocated"
    DATA = "data"
    COMPRESSED = "compressed"


class Mapping(NamedTuple):
    """What an L2 entry says of its cluster.

    ``offset`` is that of the cluster in the file that has the data, or of the first byte of
    compressed data, of which there are at most ``length``.

    With extended L2 entries the bitmaps say which of 32 subclusters have data at ``offset`` and
    which read as zeroes; the others are unallocated.  ``kind`` is then DATA if there is a cluster
    in the file at all, else ZERO if any subcluster is zero; ZERO_ALLOCATED does not occur.
    """

    kind: Kind
    offset: int = 0
    copied: bool = False
    allocated: int = 0
    zeroed: int = 0
    length: int = 0

    @property
    def has_cluster(self) -> bool:
        """Whether a whole cluster of the file belongs to it, used or not."""
        return self.kind in (Kind.DATA, Kind.ZERO_ALLOCATED)


UNALLOCATED = Mapping(Kind.UNALLOCATED)


class Entries:
    """The entries of one image.

    With an external data file (``external``) offset 0 is a cluster like any other: whether there
    is one tells the bit "copied".
    """

    def __init__(self, geometry: Geometry, *, version: int = 3, external: bool = False) -> None:
        self._geometry = geometry
        self._external = external
        self._zero_flag = version > 2 and not geometry.extended_l2
        self._offset_bits = 62 - (geometry.cluster_bits - 8)
        self._extended = geometry.extended_l2

    def decode(self, word: int, bitmap: int = 0) -> Mapping:
        """What an L2 entry says.  Raises ImageError if it cannot be."""
        if word & COMPRESSED:
            return self._decode_compressed(word)
        offset = word & OFFSET_MASK
        if offset & (self._geometry.cluster_bytes - 1):
            raise ImageError(f"Cluster offset 0x{offset:x} unaligned")
        copied = bool(word & COPIED)
        present = bool(offset) or (self._external and copied)
        if self._extended:
            return _decode_extended(offset, copied, present, bitmap)
        if word & ZERO:
            if not self._zero_flag:
                raise ImageError("Zero cluster entry found in pre-v3 image")
            return Mapping(Kind.ZERO_ALLOCATED if present else Kind.ZERO, offset, copied)
        return Mapping(Kind.DATA, offset, copied) if present else UNALLOCATED

    def encode(self, mapping: Mapping) -> tuple[int, int]:
        """The word, and the bitmap that follows it with extended L2 entries."""
        if mapping.kind is Kind.COMPRESSED:
            return self._encode_compressed(mapping), 0
        word = mapping.offset | (COPIED if mapping.copied else 0)
        if self._extended:
            return word, mapping.zeroed << 32 | mapping.allocated
        if mapping.kind in (Kind.ZERO, Kind.ZERO_ALLOCATED):
            if not self._zero_flag:
                raise ImageError("An image of version 2 has no zero clusters")
            word |= ZERO
        return word, 0

    def _decode_compressed(self, word: int) -> Mapping:
        if self._external:
            raise ImageError("A compressed cluster in an image with an external data file")
        descriptor = word & (COMPRESSED - 1)
        offset = descriptor & ((1 << self._offset_bits) - 1)
        sectors = (descriptor >> self._offset_bits) + 1
        if offset >= MOST_OFFSET:
            raise ImageError(f"Compressed cluster offset 0x{offset:x} too large")
        length = sectors * SECTOR_BYTES - offset % SECTOR_BYTES
        return Mapping(Kind.COMPRESSED, offset, length=length)

    def _encode_compressed(self, mapping: Mapping) -> int:
        first, last = (
            place // SECTOR_BYTES for place in (mapping.offset, mapping.offset + mapping.length - 1)
        )
        if mapping.offset >> self._offset_bits or mapping.offset >= MOST_OFFSET:
            raise ImageError(f"Compressed cluster offset 0x{mapping.offset:x} too large")
        return COMPRESSED | (last - first) << self._offset_bits | mapping.offset


def decode_l1(word: int, geometry: Geometry) -> int:
    """The offset of an L2 table; 0: there is none.  Raises ImageError if it is no cluster's."""
    offset = word & OFFSET_MASK
    if offset & (geometry.cluster_bytes - 1):
        raise ImageError(f"L2 table offset 0x{offset:x} unaligned")
    return offset


def _decode_extended(offset: int, copied: bool, present: bool, bitmap: int) -> Mapping:  # noqa: FBT001 - of one call
    allocated, zeroed = bitmap & ALL_SUBCLUSTERS, bitmap >> 32
    if allocated & zeroed:
        raise ImageError(f"Subclusters both allocated and zero (bitmap 0x{bitmap:016x})")
    if allocated and not present:
        raise ImageError(f"Subclusters allocated without a cluster (bitmap 0x{bitmap:016x})")
    without = Kind.ZERO if zeroed else Kind.UNALLOCATED
    return Mapping(Kind.DATA if present else without, offset, copied, allocated, zeroed)
