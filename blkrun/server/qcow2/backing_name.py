"""The header with another backing file's name: QEMU's change-backing-file, commit and stream."""

import os
from dataclasses import replace

from blkrun.server.qcow2 import features
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.header import BACKING_FORMAT, Extension, Header

_MOST_NAME_BYTES = 1023


def with_backing_name(header: Header, name: str | None, image_format: str | None) -> Header:
    """The same but for where it says the backing file is; None: there is none.

    Raises ImageError if it does not fit into the first cluster, or the image may not have one.
    """
    kept = [each for each in header.extensions if each.kind != BACKING_FORMAT]
    if name is None:
        rest = replace(header, extensions=tuple(kept))
        return replace(rest, backing_file=None, backing_file_offset=0, backing_file_size=0)
    if header.external_data and header.autoclear & features.RAW_EXTERNAL_DATA:
        raise ImageError("A raw external data file is in conflict with a backing file")
    length_bytes = len(os.fsencode(name))
    if length_bytes > _MOST_NAME_BYTES:
        raise ImageError(f"Backing file name too long: {length_bytes} bytes")
    if image_format is not None:
        kept.insert(0, Extension(BACKING_FORMAT, image_format.encode()))
    new = replace(
        header,
        extensions=tuple(kept),
        backing_file=name,
        backing_file_offset=_extensions_end(header, kept),
        backing_file_size=length_bytes,
    )
    new.to_bytes()  # or it does not fit
    return new


def _extensions_end(header: Header, extensions: list[Extension]) -> int:
    """With the mark that ends them."""
    lengths = (8 + len(each.data) + -len(each.data) % 8 for each in extensions)
    return header.header_length + sum(lengths) + 8
