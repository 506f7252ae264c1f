"""``driver = "preallocate"``."""

from typing import Annotated

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, Bytes, NodeName


class PreallocateOptions(BlockdevOptions, frozen=True, tag="preallocate"):
    """Between a format and its file: has room made ahead, so that a file grows in large steps."""

    is_filter = True
    reopenable = BlockdevOptions.reopenable | {"prealloc-size", "prealloc-align"}

    file: Annotated[NodeName, Meta(description="the child node")]
    prealloc_size: Annotated[
        Bytes, Meta(description="how much more is made than a write needs")
    ] = 2**27
    prealloc_align: Annotated[
        Bytes, Meta(description="what the file's length is then a multiple of; itself one of 512")
    ] = 2**20
