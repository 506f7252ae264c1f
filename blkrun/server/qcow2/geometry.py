"""Where in the tables of an image a guest offset is.  Pure."""

from dataclasses import dataclass
from functools import cached_property

_WORD_BYTES = 8
SUBCLUSTERS = 32
"""Of a cluster, with extended L2 entries."""


@dataclass(frozen=True)
class Geometry:
    """Two tables lead to a cluster: an entry of L1 to an L2 table, an entry of that to the data.

    ``l1_shift``: a guest offset shifted right by it is the index in the L1 table.
    """

    cluster_bits: int
    refcount_order: int
    size_bytes: int
    extended_l2: bool = False

    @cached_property
    def cluster_bytes(self) -> int:
        """The size of a cluster."""
        return 1 << self.cluster_bits

    @cached_property
    def entry_words(self) -> int:
        """Words of 64 bits in an L2 entry."""
        return 2 if self.extended_l2 else 1

    @cached_property
    def l2_entries(self) -> int:
        """In an L2 table, which is one cluster."""
        return self.cluster_bytes // (_WORD_BYTES * self.entry_words)

    @cached_property
    def l1_shift(self) -> int:
        """Bits of a guest offset below the L1 index."""
        return self.cluster_bits + self.l2_entries.bit_length() - 1

    @cached_property
    def table_span_bytes(self) -> int:
        """Guest bytes that one L2 table leads to."""
        return 1 << self.l1_shift

    @cached_property
    def l1_entries(self) -> int:
        """Entries that the L1 table must have, for the guest's disk."""
        return -(-self.size_bytes // self.table_span_bytes)

    @cached_property
    def clusters(self) -> int:
        """Guest clusters; the last may be a part of one."""
        return -(-self.size_bytes // self.cluster_bytes)

    @cached_property
    def subcluster_bits(self) -> int:
        """Bits of an offset within a subcluster; without extended L2 entries, within a cluster."""
        subclusters = SUBCLUSTERS if self.extended_l2 else 1
        return self.cluster_bits - (subclusters.bit_length() - 1)

    @cached_property
    def refcounts_in_block(self) -> int:
        """Refcounts in a refcount block, which is one cluster."""
        return (self.cluster_bytes * 8) >> self.refcount_order

    def l1_index(self, offset: int) -> int:
        """Of the entry that leads to a guest offset."""
        return offset >> self.l1_shift

    def l2_index(self, offset: int) -> int:
        """Of the entry that leads to a guest offset, in its L2 table."""
        return (offset >> self.cluster_bits) & (self.l2_entries - 1)

    def in_cluster(self, offset: int) -> int:
        """How far into its cluster an offset is."""
        return offset & (self.cluster_bytes - 1)

    def subcluster(self, offset: int) -> int:
        """In which subcluster of its cluster an offset is."""
        return self.in_cluster(offset) >> self.subcluster_bits

    def subcluster_mask(self, first: int, past: int) -> int:
        """The bits of subclusters [``first``, ``past``)."""
        return (1 << past) - (1 << first)
