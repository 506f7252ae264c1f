"""Persistent bitmaps: what the bitmap directory says, and what keeps it true when one writes.

This driver does not track into them.  Before the first write it marks those that would have to
follow (``auto``) as in use: QEMU takes such a bitmap for inconsistent, and lets it be removed.  The
others say what was so at their time, and stay as they are.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from blkrun.server.qcow2 import features
from blkrun.server.qcow2 import header as headers
from blkrun.server.qcow2.entries import OFFSET_MASK
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.header import Header
from blkrun.server.qcow2.store import Store

IN_USE = 1 << 0
AUTO = 1 << 1

MOST_BITMAPS = 65535
MOST_DIRECTORY_BYTES = MOST_BITMAPS * 1024
"""QEMU's limits."""

MOST_TABLE_BYTES = 32 * 2**20

_EXTENSION = struct.Struct(">IIQQ")
_ENTRY = struct.Struct(">QIIBBHI")
_FLAGS = struct.Struct(">I")
_FLAGS_AT = 12
_WORD = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class StoredBitmap:
    """One entry of the directory.  ``entry_offset``: where in the file it is."""

    entry_offset: int
    table_offset: int
    table_size: int
    """In entries of 8 bytes."""
    flags: int
    granularity_bits: int
    name: str

    @property
    def has_to_follow(self) -> bool:
        """It is enabled, and not known to be inconsistent: it has to tell of every write."""
        return bool(self.flags & AUTO) and not self.flags & IN_USE


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the directory is, and what it has."""

    offset: int
    length: int
    bitmaps: tuple[StoredBitmap, ...]


def read_directory(header: Header, store: Store) -> Directory | None:
    """None: there is none that is valid.  Raises ImageError, or OSError where reading fails."""
    data = header.extension(headers.BITMAPS)
    if not header.autoclear & features.BITMAPS:
        return None  # to be considered inconsistent, says the specification
    if data is None:
        raise ImageError("The bitmaps feature bit is set, and there is no bitmaps extension")
    if len(data) != _EXTENSION.size:
        raise ImageError(f"Invalid bitmaps extension: {len(data)} bytes")
    count, _, length, offset = _EXTENSION.unpack(data)
    if not 0 < count <= MOST_BITMAPS:
        raise ImageError(f"Invalid number of bitmaps: {count}")
    if length > MOST_DIRECTORY_BYTES or offset % header.cluster_bytes:
        raise ImageError(f"Invalid bitmap directory: {length} bytes at 0x{offset:x}")
    if offset + length > store.end_bytes:
        raise ImageError("Bitmap directory ends past the end of the image file")
    entries = tuple(_parse(bytes(store.read(length, offset)), offset, header))
    if len(entries) != count:
        raise ImageError(f"Bitmap directory has {len(entries)} entries, not {count}")
    return Directory(offset, length, entries)


def in_use_writes(directory: Directory) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) to write, so that nobody relies on bitmaps that do not follow."""
    for bitmap in directory.bitmaps:
        if bitmap.has_to_follow:
            yield bitmap.entry_offset + _FLAGS_AT, _FLAGS.pack(bitmap.flags | IN_USE)


def clusters_of(directory: Directory, header: Header, store: Store) -> Iterator[tuple[int, int]]:
    """(offset, length) of all that the bitmaps take in the file: who counts references needs it."""
    yield directory.offset, directory.length
    for bitmap in directory.bitmaps:
        length = bitmap.table_size * _WORD.size
        if bitmap.table_offset + length > store.end_bytes:
            raise ImageError(f"Bitmap '{bitmap.name}' ends past the end of the image file")
        yield bitmap.table_offset, length
        for (word,) in _WORD.iter_unpack(bytes(store.read(length, bitmap.table_offset))):
            if offset := word & OFFSET_MASK:
                yield offset, header.cluster_bytes


def _parse(data: bytes, offset: int, header: Header) -> Iterator[StoredBitmap]:
    at = 0
    while at + _ENTRY.size <= len(data):
        table_offset, table_size, flags, _, granularity_bits, name_bytes, extra_bytes = (
            _ENTRY.unpack_from(data, at)
        )
        name_at = at + _ENTRY.size + extra_bytes
        end = name_at + name_bytes
        if end > len(data):
            raise ImageError("Bitmap directory ends in an entry")
        name = os.fsdecode(data[name_at:end])
        if table_offset % header.cluster_bytes or table_size * _WORD.size > MOST_TABLE_BYTES:
            raise ImageError(f"Bitmap '{name}': invalid table")
        yield StoredBitmap(offset + at, table_offset, table_size, flags, granularity_bits, name)
        at = end + -end % 8
