"""Compressed clusters: deflate without a header (QEMU calls it zlib), and zstd."""

import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

from blkrun.server.qcow2 import header
from blkrun.server.qcow2.errors import ImageError

Decompress = Callable[[bytes | bytearray, int], bytes]
"""(data, length): the first ``length`` bytes that it was made of.  Raises ImageError."""

_WINDOW_BITS = -15
"""QEMU compresses with a window of 12 bits; others may have used more."""


def decompressor(compression_type: int) -> Decompress:
    """For an image.  Raises ImageError with what to install, if it takes more than there is."""
    if compression_type == header.ZLIB:
        return inflate
    try:
        zstandard = import_module("zstandard")
    except ImportError as error:
        raise ImageError(
            "Clusters are compressed with zstd: that needs the Python package zstandard; "
            "install it with: pip install 'blkrun[zstd]'"
        ) from error
    return _zstd(zstandard)


def inflate(data: bytes | bytearray, length: int) -> bytes:
    """Deflate's other end; what follows the compressed data does not matter."""
    try:
        found = zlib.decompressobj(_WINDOW_BITS).decompress(data, length)
    except zlib.error as error:
        raise ImageError(f"Compressed cluster is damaged: {error}") from error
    return _whole(found, length)


def _zstd(zstandard: Any) -> Decompress:
    def decompress(data: bytes | bytearray, length: int) -> bytes:
        # A decompressor is not for several threads at once.
        try:
            with zstandard.ZstdDecompressor().stream_reader(bytes(data)) as reader:
                found: bytes = reader.read(length)
        except zstandard.ZstdError as error:
            raise ImageError(f"Compressed cluster is damaged: {error}") from error
        return _whole(found, length)

    return decompress


def _whole(found: bytes, length: int) -> bytes:
    if len(found) < length:
        raise ImageError(f"Compressed cluster is damaged: {len(found)} of {length} bytes")
    return found
