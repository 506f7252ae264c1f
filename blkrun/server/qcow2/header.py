"""The header of an image: its fields, its extensions, and the name of its backing file.  Pure.

What is checked is what can be seen in the header alone.  Fields and extensions that this driver
does not know are kept byte for byte.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from blkrun.server.qcow2 import features
from blkrun.server.qcow2.errors import ImageError

MAGIC = b"QFI\xfb"

LEAST_CLUSTER_BITS = 9
MOST_CLUSTER_BITS = 21
"""QEMU's bounds: 512 bytes to 2 MiB."""

MOST_L1_BYTES = 32 * 2**20
MOST_REFCOUNT_TABLE_BYTES = 8 * 2**20
MOST_SNAPSHOTS = 65536
"""QEMU's limits; without them a damaged header would ask for any amount of memory."""

EXTENDED_L2_LEAST_CLUSTER_BITS = 14

BACKING_FORMAT = 0xE2792ACA
FEATURE_NAMES = 0x6803F857
BITMAPS = 0x23852875
ENCRYPTION = 0x0537BE77
DATA_FILE = 0x44415441
"""Kinds of header extensions."""

ZLIB, ZSTD = range(2)
"""Compression types."""

NO_ENCRYPTION, AES, LUKS = range(3)

_MOST_NAME_BYTES = 1023
_START = struct.Struct(">4sI12xI")
_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")
_EXTENSION = struct.Struct(">II")
_V3_BYTES = _V2.size + _V3.size
_V2_REFCOUNT_ORDER = 4
_MOST_REFCOUNT_ORDER = 6


@dataclass(frozen=True, slots=True)
class Extension:
    """One header extension, without its padding."""

    kind: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Names and meanings are the specification's; offsets and sizes in bytes.

    For version 2 the feature bits are 0, ``refcount_order`` is 4 and ``header_length`` 72.
    """

    version: int = 3
    backing_file_offset: int = 0
    backing_file_size: int = 0
    cluster_bits: int
    size_bytes: int
    crypt_method: int = NO_ENCRYPTION
    l1_size: int
    """Entries of the active L1 table."""
    l1_table_offset: int
    refcount_table_offset: int
    refcount_table_clusters: int
    snapshot_count: int = 0
    snapshots_offset: int = 0
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = _V2_REFCOUNT_ORDER
    header_length: int = _V3_BYTES + 8
    compression_type: int = ZLIB
    rest: bytes = bytes(7)
    """Of the fixed part: what comes after the compression type."""
    extensions: tuple[Extension, ...] = ()
    backing_file: str | None = None
    """As it is written, undecodable bytes as ``os.fsdecode`` has them."""

    @property
    def cluster_bytes(self) -> int:
        """The size of a cluster."""
        return 1 << self.cluster_bits

    @property
    def extended_l2(self) -> bool:
        """Whether L2 entries have a bitmap of subclusters."""
        return bool(self.incompatible & features.EXTENDED_L2)

    @property
    def external_data(self) -> bool:
        """Whether guest data are in a file of their own."""
        return bool(self.incompatible & features.EXTERNAL_DATA)

    def extension(self, kind: int) -> bytes | None:
        """The data of an extension; None if it is not there."""
        return next((each.data for each in self.extensions if each.kind == kind), None)

    def text(self, kind: int) -> str | None:
        """An extension that is a string."""
        data = self.extension(kind)
        return None if data is None else os.fsdecode(data.split(b"\0", 1)[0])

    def feature_names(self) -> dict[tuple[int, int], str]:
        """(type, bit) → name: what the image says, and what is known of it."""
        own = features.decode_names(self.extension(FEATURE_NAMES) or b"")
        return own | features.NAMES

    def fields_bytes(self) -> bytes:
        """The fixed part, of ``header_length`` bytes."""
        fields = _V2.pack(
            MAGIC,
            self.version,
            self.backing_file_offset,
            self.backing_file_size,
            self.cluster_bits,
            self.size_bytes,
            self.crypt_method,
            self.l1_size,
            self.l1_table_offset,
            self.refcount_table_offset,
            self.refcount_table_clusters,
            self.snapshot_count,
            self.snapshots_offset,
        )
        if self.version == 2:
            return fields
        fields += _V3.pack(
            self.incompatible,
            self.compatible,
            self.autoclear,
            self.refcount_order,
            self.header_length,
        )
        more = bytes([self.compression_type]) + self.rest
        return (fields + more)[: self.header_length].ljust(self.header_length, b"\0")

    def to_bytes(self) -> bytes:
        """Fields, extensions and their end, and the backing file's name at its place.

        ``parse`` of it gives an equal header.  Raises ImageError if it does not fit.
        """
        head = self.fields_bytes() + b"".join(_encode_extensions(self.extensions))
        name = os.fsencode(self.backing_file or "")
        if self.backing_file is None:
            head += _EXTENSION.pack(0, 0)
        elif len(head) > self.backing_file_offset:
            raise ImageError("The header extensions reach into the backing file name")
        else:
            head = head.ljust(self.backing_file_offset, b"\0") + name
        if len(head) > self.cluster_bytes:
            raise ImageError("The header does not fit into the first cluster")
        return head


def first_cluster_bytes(start: bytes) -> int:
    """How much there is to read of an image before ``parse``; ``start``: its first 24 bytes."""
    magic, version, cluster_bits = _START.unpack_from(start.ljust(_START.size, b"\0"))
    if magic != MAGIC:
        raise ImageError("Image is not in qcow2 format")
    if version not in (2, 3):
        raise ImageError(f"Unsupported qcow2 version {version}")
    if not LEAST_CLUSTER_BITS <= cluster_bits <= MOST_CLUSTER_BITS:
        raise ImageError(f"Unsupported cluster size: 2^{cluster_bits}")
    return 1 << int(cluster_bits)


def parse(data: bytes) -> Header:
    """The header at the beginning of an image, ``data`` being its first cluster, or all of it.

    Raises ImageError, with the names of incompatible features that are not known.
    """
    cluster_bytes = first_cluster_bytes(data)
    if len(data) < _V2.size:
        raise ImageError("qcow2 header too short")
    data = data[:cluster_bytes]
    header = _parse_fields(data)
    _check_features(header)
    _check_places(header)
    return header


def _parse_fields(data: bytes) -> Header:
    (
        _,
        version,
        backing_file_offset,
        backing_file_size,
        cluster_bits,
        size_bytes,
        crypt_method,
        l1_size,
        l1_table_offset,
        refcount_table_offset,
        refcount_table_clusters,
        snapshot_count,
        snapshots_offset,
    ) = _V2.unpack_from(data)
    incompatible = compatible = autoclear = 0
    refcount_order, header_length = _V2_REFCOUNT_ORDER, _V2.size
    compression_type, rest = ZLIB, b""
    if version > 2:
        if len(data) < _V3_BYTES:
            raise ImageError("qcow2 header too short")
        incompatible, compatible, autoclear, refcount_order, header_length = _V3.unpack_from(
            data, _V2.size
        )
        if header_length < _V3_BYTES:
            raise ImageError("qcow2 header too short")
        if header_length > len(data):
            raise ImageError("qcow2 header exceeds cluster size")
        more = data[_V3_BYTES:header_length]
        compression_type, rest = (more[0], more[1:]) if more else (ZLIB, b"")
    extensions = tuple(_parse_extensions(data, header_length, backing_file_offset))
    return Header(
        version=version,
        backing_file_offset=backing_file_offset,
        backing_file_size=backing_file_size,
        cluster_bits=cluster_bits,
        size_bytes=size_bytes,
        crypt_method=crypt_method,
        l1_size=l1_size,
        l1_table_offset=l1_table_offset,
        refcount_table_offset=refcount_table_offset,
        refcount_table_clusters=refcount_table_clusters,
        snapshot_count=snapshot_count,
        snapshots_offset=snapshots_offset,
        incompatible=incompatible,
        compatible=compatible,
        autoclear=autoclear,
        refcount_order=refcount_order,
        header_length=header_length,
        compression_type=compression_type,
        rest=rest,
        extensions=extensions,
        backing_file=_parse_backing(data, header_length, backing_file_offset, backing_file_size),
    )


def _parse_extensions(data: bytes, at: int, backing_file_offset: int) -> Iterator[Extension]:
    """Up to an end mark, the backing file's name or the end of the cluster, as QEMU does."""
    end = min(backing_file_offset or len(data), len(data))
    while at + _EXTENSION.size <= end:
        kind, length = _EXTENSION.unpack_from(data, at)
        if kind == 0:
            return
        at += _EXTENSION.size
        if length > end - at:
            raise ImageError(f"Header extension too large: type 0x{kind:08x}, {length} bytes")
        yield Extension(kind, data[at : at + length])
        at += length + -length % 8


def _encode_extensions(extensions: tuple[Extension, ...]) -> Iterator[bytes]:
    for each in extensions:
        yield _EXTENSION.pack(each.kind, len(each.data))
        yield each.data + bytes(-len(each.data) % 8)


def _parse_backing(data: bytes, header_length: int, offset: int, length: int) -> str | None:
    if not offset:
        return None
    if length > _MOST_NAME_BYTES:
        raise ImageError(f"Backing file name too long: {length} bytes")
    if offset < header_length or offset + length > len(data):
        raise ImageError(f"Invalid backing file offset: {offset}")
    return os.fsdecode(data[offset : offset + length]) or None


def _check_features(header: Header) -> None:
    names = header.feature_names()
    if unknown := list(features.unknown_incompatible(header.incompatible, names)):
        raise ImageError(f"Unsupported qcow2 feature(s): {', '.join(unknown)}")
    if header.refcount_order > _MOST_REFCOUNT_ORDER:
        raise ImageError("Reference count entry width too large; may not exceed 64 bits")
    if header.crypt_method > LUKS:
        raise ImageError(f"Unsupported encryption method: {header.crypt_method}")
    has_type = bool(header.incompatible & features.COMPRESSION_TYPE)
    if has_type != (header.compression_type != ZLIB):
        raise ImageError("Compression type and its incompatible feature bit do not agree")
    if header.compression_type not in (ZLIB, ZSTD):
        raise ImageError(f"Unknown compression type: {header.compression_type}")
    if header.extended_l2 and header.cluster_bits < EXTENDED_L2_LEAST_CLUSTER_BITS:
        raise ImageError("Extended L2 entries need clusters of at least 16384 bytes")
    raw = header.autoclear & features.RAW_EXTERNAL_DATA
    if raw and header.external_data and header.backing_file is not None:
        raise ImageError("A raw external data file is in conflict with a backing file")


def _check_places(header: Header) -> None:
    """Tables begin at a cluster, and are not too large."""
    l1_bytes = header.l1_size * 8
    refcount_bytes = header.refcount_table_clusters << header.cluster_bits
    if not header.refcount_table_clusters:
        raise ImageError("Image does not contain a reference count table")
    _check_table("Reference count table", header.refcount_table_offset, refcount_bytes, header)
    if refcount_bytes > MOST_REFCOUNT_TABLE_BYTES:
        raise ImageError(f"Reference count table too large: {refcount_bytes} bytes")
    if header.snapshot_count > MOST_SNAPSHOTS:
        raise ImageError(f"Snapshot table too large: {header.snapshot_count} entries")
    if header.snapshot_count:
        _check_table("Snapshot table", header.snapshots_offset, 0, header)
    if l1_bytes > MOST_L1_BYTES:
        raise ImageError(f"Active L1 table too large: {l1_bytes} bytes")
    _check_table("Active L1 table", header.l1_table_offset, l1_bytes, header)


def _check_table(what: str, offset: int, length: int, header: Header) -> None:
    if offset % header.cluster_bytes or offset + length >= 2**63:
        raise ImageError(f"{what} offset invalid: 0x{offset:x}")
