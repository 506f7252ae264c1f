"""Geometry and entries: arithmetic against the specification's own formulas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.server.qcow2.entries import (
    ALL_SUBCLUSTERS,
    COMPRESSED,
    COPIED,
    OFFSET_MASK,
    UNALLOCATED,
    ZERO,
    Entries,
    Kind,
    Mapping,
    decode_l1,
)
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.geometry import Geometry

words = st.integers(0, 2**64 - 1)
clusters_bits = st.integers(9, 21)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Of images that there can be."""
    extended = draw(st.booleans())
    return Geometry(
        cluster_bits=draw(st.integers(14 if extended else 9, 21)),
        refcount_order=draw(st.integers(0, 6)),
        size_bytes=draw(st.integers(0, 2**50)),
        extended_l2=extended,
    )


@given(geometries(), st.integers(0, 2**50))
def test_indices_are_those_of_the_specification(geometry: Geometry, offset: int) -> None:
    """The formulas in "Cluster mapping" and "Host cluster management", with their divisions."""
    size = geometry.cluster_bytes
    l2_entries = size // (16 if geometry.extended_l2 else 8)
    assert geometry.l2_entries == l2_entries
    assert geometry.l1_index(offset) == offset // size // l2_entries
    assert geometry.l2_index(offset) == offset // size % l2_entries
    assert geometry.in_cluster(offset) == offset % size
    assert geometry.table_span_bytes == size * l2_entries
    assert geometry.l1_entries == -(-geometry.size_bytes // (size * l2_entries))
    assert geometry.clusters == -(-geometry.size_bytes // size)
    assert geometry.refcounts_in_block == size * 8 // (1 << geometry.refcount_order)
    subclusters = 32 if geometry.extended_l2 else 1
    assert geometry.subcluster(offset) == offset % size // (size // subclusters)


@given(geometries(), st.integers(0, 32), st.integers(0, 32))
def test_a_mask_has_the_bits_of_its_subclusters(geometry: Geometry, first: int, past: int) -> None:
    """One for each, from the least significant bit on."""
    first, past = sorted((first, past))
    mask = geometry.subcluster_mask(first, past)
    assert {bit for bit in range(33) if mask >> bit & 1} == set(range(first, past))


@given(
    geometry=geometries(),
    word=words,
    bitmap=words,
    external=st.booleans(),
    version=st.sampled_from([2, 3]),
)
def test_any_word_is_a_mapping_or_an_image_error(
    geometry: Geometry, word: int, bitmap: int, *, external: bool, version: int
) -> None:
    """And a mapping is encoded as the same word, but for reserved bits."""
    entries = Entries(geometry, version=version, external=external)
    try:
        mapping = entries.decode(word, bitmap)
    except ImageError:
        return
    if mapping is UNALLOCATED:
        return
    encoded, encoded_bitmap = entries.encode(mapping)
    assert entries.decode(encoded, encoded_bitmap) == mapping
    kept = (word if word & COMPRESSED else word & (OFFSET_MASK | COPIED | ZERO)) & ~(
        COPIED if word & COMPRESSED else 0
    )
    if geometry.extended_l2 and not word & COMPRESSED:
        kept &= ~ZERO
        assert encoded_bitmap == bitmap
    assert encoded == kept


PLAIN = Geometry(cluster_bits=16, refcount_order=4, size_bytes=2**30)
EXTENDED = Geometry(cluster_bits=16, refcount_order=4, size_bytes=2**30, extended_l2=True)


@pytest.mark.parametrize(
    ("word", "mapping"),
    [
        (0, UNALLOCATED),
        (COPIED | 0x50000, Mapping(Kind.DATA, 0x50000, copied=True)),
        (0x50000, Mapping(Kind.DATA, 0x50000)),
        (ZERO, Mapping(Kind.ZERO)),
        (COPIED | 0x50000 | ZERO, Mapping(Kind.ZERO_ALLOCATED, 0x50000, copied=True)),
        # x = 62 - (16 - 8) = 54: two more sectors than the one with byte 0x12345
        (COMPRESSED | 2 << 54 | 0x12345, Mapping(Kind.COMPRESSED, 0x12345, length=3 * 512 - 0x145)),
    ],
)
def test_words_of_the_specification(word: int, mapping: Mapping) -> None:
    """One of each kind, worked out by hand."""
    entries = Entries(PLAIN)
    assert entries.decode(word) == mapping
    assert entries.encode(mapping) == (word, 0)


@pytest.mark.parametrize(
    ("entries", "word", "bitmap", "message"),
    [
        (Entries(PLAIN), 0x50200, 0, "Cluster offset 0x50200 unaligned"),
        (Entries(PLAIN, version=2), 0x50001, 0, "Zero cluster entry found in pre-v3 image"),
        (Entries(PLAIN, external=True), COMPRESSED, 0, "external data file"),
        (Entries(EXTENDED), 0x50000, 1 << 32 | 1, "both allocated and zero"),
        (Entries(EXTENDED), 0, 1, "without a cluster"),
        (Entries(Geometry(9, 4, 2**20)), COMPRESSED | 1 << 57, 0, "too large"),
    ],
)
def test_what_cannot_be_is_an_image_error(
    entries: Entries, word: int, bitmap: int, message: str
) -> None:
    """With what is wrong."""
    with pytest.raises(ImageError, match=message):
        entries.decode(word, bitmap)


def test_with_an_external_data_file_offset_0_is_a_cluster() -> None:
    """If the bit "copied" is set, as the specification says."""
    entries = Entries(PLAIN, external=True)
    assert entries.decode(COPIED) == Mapping(Kind.DATA, 0, copied=True)
    assert entries.decode(0) == UNALLOCATED


def test_subclusters_are_kept_apart() -> None:
    """Data where the low half of the bitmap says so, zeroes where the high half does."""
    entries = Entries(EXTENDED)
    bitmap = 0b110 << 32 | 0b001
    found = entries.decode(COPIED | 0x50000, bitmap)
    assert (found.kind, found.allocated, found.zeroed) == (Kind.DATA, 0b001, 0b110)
    assert found.has_cluster
    assert entries.decode(0, ALL_SUBCLUSTERS << 32).kind is Kind.ZERO


def test_an_l1_entry_is_a_clusters_offset() -> None:
    """Or an error."""
    assert decode_l1(COPIED | 0x40000, PLAIN) == 0x40000
    assert decode_l1(0, PLAIN) == 0
    with pytest.raises(ImageError, match="L2 table offset 0x40200 unaligned"):
        decode_l1(0x40200, PLAIN)
