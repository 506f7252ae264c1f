"""Refcounts counted anew, for an image whose dirty bit says that they may be wrong.

All that leads to clusters is walked: the active tables, those of the snapshots, the bitmaps.  Then
new refcount blocks and a new table are written after the end of the file, and the header is pointed
at them: until that moment the image is as it was, and dirty.  The old ones' clusters are free.
"""

from array import array
from collections.abc import Iterator

from blkrun.server.qcow2.bitmaps import clusters_of
from blkrun.server.qcow2.entries import COPIED, OFFSET_MASK, Kind, decode_l1
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.header import MOST_REFCOUNT_TABLE_BYTES
from blkrun.server.qcow2.image import Image
from blkrun.server.qcow2.refcount_block import blank
from blkrun.server.qcow2.snapshots import table_bytes
from blkrun.server.qcow2.tables import Table, decode_words, encode_words

_CHUNK = 4096
"""Clusters that are counted in one piece of memory; where nothing is, there is none."""


class Counts:
    """How often each host cluster is referred to."""

    def __init__(self, cluster_bytes: int) -> None:
        self._cluster_bytes = cluster_bytes
        self._chunks: dict[int, array[int]] = {}

    def add(self, offset: int, length: int) -> None:
        """One reference to all clusters that a range touches."""
        if length <= 0:
            return
        last = (offset + length - 1) // self._cluster_bytes
        for cluster in range(offset // self._cluster_bytes, last + 1):
            index, place = divmod(cluster, _CHUNK)
            chunk = self._chunks.get(index)
            if chunk is None:
                chunk = self._chunks[index] = array("I", bytes(4 * _CHUNK))
            chunk[place] += 1

    def get(self, cluster: int) -> int:
        """References to one."""
        chunk = self._chunks.get(cluster // _CHUNK)
        return 0 if chunk is None else chunk[cluster % _CHUNK]

    def used(self) -> Iterator[tuple[int, int]]:
        """(cluster, references) of all that have any, in order."""
        for index in sorted(self._chunks):
            for place, count in enumerate(self._chunks[index]):
                if count:
                    yield index * _CHUNK + place, count


def count_references(image: Image) -> Counts:
    """To everything but refcount blocks and their table.  Raises ImageError for a wrong entry."""
    header, store = image.header, image.store
    counts = Counts(header.cluster_bytes)
    counts.add(0, header.cluster_bytes)
    _count_l1(image, counts, header.l1_table_offset, image.l1)
    if image.snapshots:
        counts.add(header.snapshots_offset, table_bytes(header, store))
    for snapshot in image.snapshots:
        words = decode_words(store.read(snapshot.l1_size * 8, snapshot.l1_table_offset))
        _count_l1(image, counts, snapshot.l1_table_offset, words)
    if image.bitmaps is not None:
        for offset, length in clusters_of(image.bitmaps, header, store):
            counts.add(offset, length)
    return counts


def write_refcounts(image: Image, counts: Counts) -> tuple[int, int]:
    """New blocks and a new table, durable; gives the table's offset, and its clusters.

    Raises ImageError if a count is too large for the image's refcounts.
    """
    geometry, store = image.geometry, image.store
    cluster_bytes, in_block = geometry.cluster_bytes, geometry.refcounts_in_block
    wanted: dict[int, list[tuple[int, int]]] = {}
    last = -1
    for last, count in counts.used():
        wanted.setdefault(last // in_block, []).append((last % in_block, count))
    start = max(-(-store.end_bytes // cluster_bytes), last + 1)
    indexes, table_clusters = _plan(set(wanted), start, in_block, cluster_bytes)
    places = {index: start + at for at, index in enumerate(sorted(indexes))}
    end = start + len(indexes) + table_clusters
    store.make_room(end * cluster_bytes)
    for index, place in places.items():
        block = blank(cluster_bytes, geometry.refcount_order)
        try:
            for entry, count in wanted.get(index, ()):
                block.set(entry, count)
        except OverflowError as error:
            raise ImageError(f"Cluster {index * in_block + entry}: {error}") from error
        first, past = (min(max(at - index * in_block, 0), in_block) for at in (start, end))
        block.fill(first, past, 1)
        store.pwrite(memoryview(block.to_bytes()), place * cluster_bytes)
    table = array("Q", bytes(table_clusters * cluster_bytes))
    for index, place in places.items():
        table[index] = place * cluster_bytes
    offset = (end - table_clusters) * cluster_bytes
    store.pwrite(memoryview(encode_words(table)), offset)
    store.flush()
    return offset, table_clusters


def correct_copied_bits(image: Image, counts: Counts) -> None:
    """Bit 63 of the active tables' entries: whether a cluster has one reference.

    With one set too many, a write would go into what a snapshot has as well.
    """
    store, bits = image.store, image.geometry.cluster_bits
    for l1_index, offset in _tables_of(image, image.l1):
        word = _with_copied(offset, is_only=counts.get(offset >> bits) == 1)
        if word != image.l1[l1_index]:
            at = image.header.l1_table_offset + l1_index * 8
            store.pwrite(memoryview(encode_words(array("Q", (word,)))), at)
            image.l1[l1_index] = word
        if image.header.external_data:
            continue
        with image.tables.holding(l1_index) as table:
            if table is not None:
                _correct_table(image, counts, table)
    store.flush()


def _correct_table(image: Image, counts: Counts, table: Table) -> None:
    """In the file, and for those who have read it before."""
    bits, words = image.geometry.cluster_bits, table.words
    corrected = words[:]
    for at in range(0, len(words), image.geometry.entry_words):
        mapping = image.entries.decode(*words[at : at + image.geometry.entry_words])
        if mapping.has_cluster:
            is_only = counts.get(mapping.offset >> bits) == 1
            corrected[at] = _with_copied(words[at] & ~COPIED, is_only=is_only)
    if corrected != words:
        image.store.pwrite(memoryview(encode_words(corrected)), table.offset)
        words[:] = corrected


def _with_copied(word: int, *, is_only: bool) -> int:
    return word | COPIED if is_only else word


def _tables_of(image: Image, l1: "array[int]") -> Iterator[tuple[int, int]]:
    """(L1 index, offset of the L2 table)."""
    for l1_index, word in enumerate(l1):
        if word & OFFSET_MASK:
            yield l1_index, decode_l1(word, image.geometry)


def _count_l1(image: Image, counts: Counts, offset: int, l1: "array[int]") -> None:
    counts.add(offset, len(l1) * 8)
    geometry = image.geometry
    for _, table in _tables_of(image, l1):
        counts.add(table, geometry.cluster_bytes)
        words = decode_words(image.store.read(geometry.cluster_bytes, table))
        for at in range(0, len(words), geometry.entry_words):
            if words[at]:
                mapping = image.entries.decode(*words[at : at + geometry.entry_words])
                if mapping.kind is Kind.COMPRESSED:
                    counts.add(mapping.offset, mapping.length)
                elif mapping.has_cluster and not image.header.external_data:
                    counts.add(mapping.offset, geometry.cluster_bytes)


def _plan(used: set[int], start: int, in_block: int, cluster_bytes: int) -> tuple[set[int], int]:
    """Which blocks, and how many clusters of a table, are needed for these and for themselves."""
    indexes, clusters = set(used), 1
    while True:
        end = start + len(indexes) + clusters
        needed = indexes | set(range(start // in_block, (end - 1) // in_block + 1))
        size = max(clusters, -(-(max(needed) + 1) * 8 // cluster_bytes))
        if (needed, size) == (indexes, clusters):
            break
        indexes, clusters = needed, size
    if clusters * cluster_bytes > MOST_REFCOUNT_TABLE_BYTES:
        raise ImageError("Reference count table too large")
    return indexes, clusters
