"""``driver = "null"``."""

from typing import Annotated

from msgspec import Meta

from blkrun.options.drivers.memory import DEFAULT_MEMORY_SIZE_BYTES
from blkrun.options.node import BlockdevOptions, Bytes


class NullOptions(BlockdevOptions, frozen=True, tag="null"):
    """Reads zeroes, forgets writes: QEMU's null-co, for measuring everything above it."""

    is_backend = True

    size: Annotated[Bytes, Meta(description="size of the disk")] = DEFAULT_MEMORY_SIZE_BYTES
