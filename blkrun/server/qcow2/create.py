"""New images: what has to be written where, so that it is one.

The layout is that of QEMU: header, refcount table, refcount blocks, L1 table, and for a raw
external data file the L2 tables, which then have to be there from the beginning.  Limits and
their messages are QEMU's (``qcow2_co_create``).
"""

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from blkrun.server.qcow2 import features
from blkrun.server.qcow2.entries import ALL_SUBCLUSTERS, COPIED
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.geometry import Geometry
from blkrun.server.qcow2.header import (
    BACKING_FORMAT,
    DATA_FILE,
    EXTENDED_L2_LEAST_CLUSTER_BITS,
    FEATURE_NAMES,
    LEAST_CLUSTER_BITS,
    MOST_CLUSTER_BITS,
    MOST_L1_BYTES,
    ZLIB,
    ZSTD,
    Extension,
    Header,
)
from blkrun.server.qcow2.refcount_block import MAX_ORDER, blank
from blkrun.server.qcow2.tables import encode_words

_SECTOR_BYTES = 512
_MOST_NAME_BYTES = 1023
_V2_HEADER_BYTES = 72
_V3_HEADER_BYTES = 112
_V2_REFCOUNT_BITS = 16
_COMPRESSION_TYPES = {"zlib": ZLIB, "zstd": ZSTD}


class Place(Protocol):
    """Where an image is made: a Store, or what stands for one."""

    def make_room(self, end: int) -> None:
        """Have it reach there at least."""

    def pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write all of ``buf``."""

    def zero(self, count: int, offset: int, flags: int) -> None:
        """Make a range read as zeroes."""

    def flush(self) -> None:
        """Make what was written durable."""


@dataclass(frozen=True, kw_only=True)
class NewImage:
    """What is wanted; names and defaults are those of ``qemu-img create``."""

    size_bytes: int
    cluster_bytes: int = 2**16
    version: int = 3
    refcount_bits: int = _V2_REFCOUNT_BITS
    extended_l2: bool = False
    lazy_refcounts: bool = False
    compression_type: str = "zlib"
    backing_file: str | None = None
    backing_fmt: str | None = None
    external_data: bool = False
    data_file: str | None = None
    """The external data file's name in the image; without one it must be given at each opening."""
    data_file_raw: bool = False


@dataclass(frozen=True)
class Layout:
    """Where everything is.  The refcount blocks follow the table, and all of it is gapless."""

    header: Header
    geometry: Geometry
    refcount_blocks: int
    l2_offset: int
    """Where L2 tables begin that are there from the start; the image's end if none are."""
    length_bytes: int


def layout_of(new: NewImage) -> Layout:
    """Decide.  Raises ImageError, in QEMU's words, for what cannot be."""
    _check(new)
    cluster_bits = new.cluster_bytes.bit_length() - 1
    order = new.refcount_bits.bit_length() - 1
    geometry = Geometry(cluster_bits, order, new.size_bytes, new.extended_l2)
    if geometry.l1_entries * 8 > MOST_L1_BYTES:
        raise ImageError(
            "The image size is too large for file format 'qcow2' (try using a larger cluster size)"
        )
    l1_clusters = -(-geometry.l1_entries * 8 // new.cluster_bytes)
    l2_clusters = geometry.l1_entries if new.data_file_raw else 0
    table, blocks = _refcount_clusters(geometry, 1 + l1_clusters + l2_clusters)
    l1_offset = (1 + table + blocks) * new.cluster_bytes
    l2_offset = l1_offset + l1_clusters * new.cluster_bytes
    header = Header(
        version=new.version,
        cluster_bits=cluster_bits,
        size_bytes=new.size_bytes,
        l1_size=geometry.l1_entries,
        l1_table_offset=l1_offset,
        refcount_table_offset=new.cluster_bytes,
        refcount_table_clusters=table,
        refcount_order=order,
        header_length=_V3_HEADER_BYTES if new.version > 2 else _V2_HEADER_BYTES,
        compression_type=_COMPRESSION_TYPES[new.compression_type],
        incompatible=_incompatible(new),
        compatible=features.LAZY_REFCOUNTS if new.lazy_refcounts else 0,
        autoclear=features.RAW_EXTERNAL_DATA if new.data_file_raw else 0,
    )
    length_bytes = l2_offset + l2_clusters * new.cluster_bytes
    return Layout(_with_names(header, new), geometry, blocks, l2_offset, length_bytes)


def write_image(place: Place, layout: Layout) -> None:
    """Make the image.  The header comes last: until then there is none."""
    cluster_bytes = layout.geometry.cluster_bytes
    place.make_room(layout.length_bytes)
    place.zero(cluster_bytes, 0, 0)
    l1_offset = layout.header.l1_table_offset
    place.zero(layout.l2_offset - l1_offset, l1_offset, 0)
    for offset, data in _tables(layout):
        place.pwrite(memoryview(data), offset, 0)
    place.flush()
    place.pwrite(memoryview(layout.header.to_bytes().ljust(cluster_bytes, b"\0")), 0, 0)
    place.flush()


def _tables(layout: Layout) -> Iterator[tuple[int, bytes]]:
    header, geometry = layout.header, layout.geometry
    cluster_bytes = geometry.cluster_bytes
    first_block = header.refcount_table_offset + header.refcount_table_clusters * cluster_bytes
    places = [first_block + index * cluster_bytes for index in range(layout.refcount_blocks)]
    table = encode_words(array("Q", places))
    yield (
        header.refcount_table_offset,
        table.ljust(header.refcount_table_clusters * cluster_bytes, b"\0"),
    )
    used = layout.length_bytes // cluster_bytes
    for place in places:
        block = blank(cluster_bytes, geometry.refcount_order)
        block.fill(0, min(used, block.entries), 1)
        used -= min(used, block.entries)
        yield place, block.to_bytes()
    if layout.l2_offset < layout.length_bytes:
        yield from _identity(layout)


def _identity(layout: Layout) -> Iterator[tuple[int, bytes]]:
    """L2 tables that say of each guest cluster that it is in the data file, at its own offset."""
    geometry = layout.geometry
    places = range(layout.l2_offset, layout.length_bytes, geometry.cluster_bytes)
    yield (
        layout.header.l1_table_offset,
        encode_words(array("Q", (place | COPIED for place in places))),
    )
    for index, place in enumerate(places):
        first = index * geometry.l2_entries
        past = min(first + geometry.l2_entries, geometry.clusters)
        words = array("Q")
        for cluster in range(first, past):
            words.append(cluster << geometry.cluster_bits | COPIED)
            if geometry.extended_l2:
                words.append(ALL_SUBCLUSTERS)
        yield place, encode_words(words).ljust(geometry.cluster_bytes, b"\0")


def _refcount_clusters(geometry: Geometry, others: int) -> tuple[int, int]:
    """Clusters of the refcount table, and blocks, that cover ``others`` and themselves."""
    table, blocks = 1, 1
    while True:
        needed = -(-(others + table + blocks) // geometry.refcounts_in_block)
        size = -(-needed * 8 // geometry.cluster_bytes)
        if (size, needed) == (table, blocks):
            return table, blocks
        table, blocks = max(table, size), max(blocks, needed)


def _incompatible(new: NewImage) -> int:
    bits = 0
    if new.external_data:
        bits |= features.EXTERNAL_DATA
    if new.compression_type != "zlib":
        bits |= features.COMPRESSION_TYPE
    if new.extended_l2:
        bits |= features.EXTENDED_L2
    return bits


def _with_names(header: Header, new: NewImage) -> Header:
    """Add what is written after the fields; the names of features only if there is room."""
    extensions = []
    if new.backing_file is not None and new.backing_fmt is not None:
        extensions.append(Extension(BACKING_FORMAT, new.backing_fmt.encode()))
    if new.data_file is not None:
        extensions.append(Extension(DATA_FILE, os.fsencode(new.data_file)))
    if new.version > 2:
        names = Extension(FEATURE_NAMES, features.encode_names())
        whole = _with_backing(replace(header, extensions=(*extensions, names)), new)
        if _room_needed(whole) <= whole.cluster_bytes:
            return whole
    header = _with_backing(replace(header, extensions=tuple(extensions)), new)
    if _room_needed(header) > header.cluster_bytes:
        raise ImageError("The names do not fit into the first cluster: use larger clusters")
    return header


def _with_backing(header: Header, new: NewImage) -> Header:
    """The name comes after the mark that ends the extensions."""
    if new.backing_file is None:
        return header
    return replace(
        header,
        backing_file=new.backing_file,
        backing_file_offset=_extensions_end(header),
        backing_file_size=len(os.fsencode(new.backing_file)),
    )


def _extensions_end(header: Header) -> int:
    lengths = (8 + len(each.data) + -len(each.data) % 8 for each in header.extensions)
    return header.header_length + sum(lengths) + 8


def _room_needed(header: Header) -> int:
    return _extensions_end(header) + header.backing_file_size


def _check(new: NewImage) -> None:
    if new.size_bytes % _SECTOR_BYTES or new.size_bytes < 0:
        raise ImageError("Image size must be a multiple of 512 bytes")
    if not _is_power(new.cluster_bytes, LEAST_CLUSTER_BITS, MOST_CLUSTER_BITS):
        raise ImageError("Cluster size must be a power of two between 512 and 2048k")
    if not _is_power(new.refcount_bits, 0, MAX_ORDER):
        raise ImageError("Refcount width must be a power of two and may not exceed 64 bits")
    if new.version not in (2, 3):
        raise ImageError(f"Unsupported qcow2 version {new.version}")
    if new.compression_type not in _COMPRESSION_TYPES:
        raise ImageError(f"Unknown compression type '{new.compression_type}'")
    if new.version == 2:
        _check_version_2(new)
    if new.extended_l2 and new.cluster_bytes < 1 << EXTENDED_L2_LEAST_CLUSTER_BITS:
        raise ImageError(
            "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes"
        )
    _check_names(new)


def _check_names(new: NewImage) -> None:
    if (new.data_file_raw or new.data_file is not None) and not new.external_data:
        raise ImageError("data-file-raw requires data-file")
    if new.data_file_raw and new.backing_file is not None:
        raise ImageError("Backing file and data-file-raw cannot be used at the same time")
    for name in (new.backing_file, new.data_file):
        if name is not None and not 0 < len(os.fsencode(name)) <= _MOST_NAME_BYTES:
            raise ImageError("File name too long or empty; at most 1023 bytes")


def _check_version_2(new: NewImage) -> None:
    newer = "compatibility level 1.1 and above (use version=v3 or greater)"
    if new.refcount_bits != _V2_REFCOUNT_BITS:
        raise ImageError(
            "Different refcount widths than 16 bits require compatibility level 1.1 or above "
            "(use version=v3 or greater)"
        )
    if new.lazy_refcounts:
        raise ImageError(f"Lazy refcounts only supported with {newer}")
    if new.extended_l2:
        raise ImageError(f"Extended L2 entries are only supported with {newer}")
    if new.compression_type != "zlib":
        raise ImageError(f"Non-zlib compression type is only supported with {newer}")
    if new.external_data:
        raise ImageError(f"External data files are only supported with {newer}")


def _is_power(value: int, least: int, most: int) -> bool:
    return value > 0 and not value & (value - 1) and least <= value.bit_length() - 1 <= most
