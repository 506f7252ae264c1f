"""Where guest data are: a range of the disk as pieces, each of one kind and in one place."""

from array import array
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from blkrun.server.qcow2.entries import ALL_SUBCLUSTERS, COPIED, UNALLOCATED, Kind, Mapping
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.geometry import SUBCLUSTERS
from blkrun.server.qcow2.image import Image
from blkrun.server.qcow2.tables import Table


class Piece(NamedTuple):
    """``length`` bytes from guest offset ``start``.

    ``host``: for data, where they are in the file that has them; for a compressed cluster, how far
    into the cluster the piece begins, ``mapping`` being where the whole is.
    """

    kind: Kind
    start: int
    length: int
    host: int = 0
    mapping: Mapping = UNALLOCATED


def mapping_of(image: Image, table: Table, offset: int) -> Mapping:
    """What a table says of the cluster of a guest offset.  Raises EIO where it cannot be."""
    geometry = image.geometry
    index = geometry.l2_index(offset)
    try:
        if geometry.extended_l2:
            word, bitmap = table.words[2 * index : 2 * index + 2]
            mapping = image.entries.decode(word, bitmap)
        else:
            mapping = image.entries.decode(table.words[index])
        if image.header.external_data and mapping.has_cluster:
            _check_external(mapping, offset - geometry.in_cluster(offset))
    except ImageError as error:
        where = f"L2 offset: 0x{table.offset:x}, L2 index: 0x{index:x}"
        image.corrupted(f"{error} ({where})", fatal=True)
    return mapping


def _check_external(mapping: Mapping, offset: int) -> None:
    if mapping.offset != offset:
        raise ImageError(
            f"External data file host cluster offset 0x{mapping.offset:x} does not match "
            f"guest cluster offset: 0x{offset:x}"
        )


def pieces(image: Image, offset: int, count: int, most: int | None = None) -> Iterator[Piece]:
    """A range in order and without gaps; neighbours that can be read as one are one piece.

    ``most`` bounds what is looked at: of a range in many small parts the rest is left out.
    """
    last: Piece | None = None
    for piece in islice(_raw_pieces(image, offset, count), most):
        if last is not None and _goes_on(last, piece):
            last = last._replace(length=last.length + piece.length)
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last


def _goes_on(last: Piece, piece: Piece) -> bool:
    if last.kind is not piece.kind or piece.kind is Kind.COMPRESSED:
        return False
    return piece.kind is not Kind.DATA or last.host + last.length == piece.host


def _raw_pieces(image: Image, offset: int, count: int) -> Iterator[Piece]:
    """Table by table; where there are none, all that they would lead to is one piece."""
    geometry = image.geometry
    end = offset + count
    of_table = _extended_pieces if geometry.extended_l2 else _standard_pieces
    while offset < end:
        l1_index = geometry.l1_index(offset)
        table = image.tables.get(l1_index) if image.l1[l1_index] else None
        following = image.next_table(l1_index + 1) if table is None else l1_index + 1
        past = min(following * geometry.table_span_bytes, end)
        if table is None:
            yield Piece(Kind.UNALLOCATED, offset, past - offset)
        else:
            yield from of_table(image, table, offset, past)
        offset = past


def _standard_pieces(image: Image, table: Table, offset: int, past: int) -> Iterator[Piece]:
    """One for clusters that go on in the same way, and so need not all be decoded."""
    geometry = image.geometry
    while offset < past:
        mapping = mapping_of(image, table, offset)
        into = geometry.in_cluster(offset)
        index = geometry.l2_index(offset)
        last = geometry.l2_index(past - 1)
        clusters = _run(table.words, index, last, mapping.kind, geometry.cluster_bytes)
        length = min(clusters * geometry.cluster_bytes - into, past - offset)
        yield _piece(mapping, offset, length, into)
        offset += length


def _run(words: "array[int]", index: int, last: int, kind: Kind, cluster_bytes: int) -> int:
    """How many entries from ``index`` on, to ``last`` at most, go on like the first."""
    step = cluster_bytes if kind is Kind.DATA else 0
    if kind is Kind.COMPRESSED:
        return 1
    expected = words[index] & ~COPIED
    at = index + 1
    while at <= last:
        expected += step
        if words[at] & ~COPIED != expected:
            break
        at += 1
    return at - index


def _extended_pieces(image: Image, table: Table, offset: int, past: int) -> Iterator[Piece]:
    """One or more a cluster."""
    geometry = image.geometry
    while offset < past:
        into = geometry.in_cluster(offset)
        length = min(geometry.cluster_bytes - into, past - offset)
        mapping = mapping_of(image, table, offset)
        if mapping.kind is Kind.COMPRESSED:
            yield _piece(mapping, offset, length, into)
        else:
            yield from _subclusters(image, mapping, offset, length)
        offset += length


def _piece(mapping: Mapping, offset: int, length: int, into: int) -> Piece:
    """What begins ``into`` bytes into a cluster that is of one kind."""
    if mapping.kind is Kind.COMPRESSED:
        return Piece(Kind.COMPRESSED, offset, length, into, mapping)
    if mapping.kind is Kind.DATA:
        return Piece(Kind.DATA, offset, length, mapping.offset + into)
    kind = Kind.ZERO if mapping.kind is Kind.ZERO_ALLOCATED else mapping.kind
    return Piece(kind, offset, length)


def _subclusters(image: Image, mapping: Mapping, offset: int, length: int) -> Iterator[Piece]:
    """Runs of subclusters of one kind."""
    geometry = image.geometry
    cluster = offset - geometry.in_cluster(offset)
    end = offset + length
    unallocated = ALL_SUBCLUSTERS & ~(mapping.allocated | mapping.zeroed)
    kinds = (
        (Kind.DATA, mapping.allocated),
        (Kind.ZERO, mapping.zeroed),
        (Kind.UNALLOCATED, unallocated),
    )
    while offset < end:
        first = geometry.subcluster(offset)
        kind, bits = next((kind, bits) for kind, bits in kinds if bits >> first & 1)
        past = first + _ones(bits >> first)
        stop = (
            end if past == SUBCLUSTERS else min(cluster + (past << geometry.subcluster_bits), end)
        )
        host = mapping.offset + offset - cluster if kind is Kind.DATA else 0
        yield Piece(kind, offset, stop - offset, host)
        offset = stop


def _ones(bits: int) -> int:
    """How many bits are set from bit 0 on."""
    return (~bits & (bits + 1)).bit_length() - 1
