"""``driver = "memory"``."""

from typing import Annotated

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, Bytes

DEFAULT_MEMORY_SIZE_BYTES = 2**30
"""QEMU's null-co has this size when none is given."""


class MemoryOptions(BlockdevOptions, frozen=True, tag="memory"):
    """A sparse RAM disk, gone with the server."""

    is_backend = True

    size: Annotated[Bytes, Meta(description="size of the disk")] = DEFAULT_MEMORY_SIZE_BYTES
