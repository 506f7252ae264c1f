"""``[bitmaps.NAME]``."""

from typing import Annotated

from msgspec import Meta, Struct

from blkrun.options.node import Bytes, NodeName

DEFAULT_GRANULARITY_BYTES = 2**16
"""QEMU's for a dirty bitmap, where the image has no clusters of its own."""


class BitmapOptions(Struct, frozen=True, kw_only=True, rename="kebab"):
    """A dirty bitmap, under the table's name: what was written since the last backup took it."""

    node: Annotated[NodeName, Meta(description="the node whose writes it records")]
    granularity: Annotated[
        Bytes,
        Meta(description="what counts as written for a single byte; a power of two, from 512"),
    ] = DEFAULT_GRANULARITY_BYTES
