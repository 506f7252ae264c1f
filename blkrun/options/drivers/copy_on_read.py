"""``driver = "copy-on-read"``."""

from typing import Annotated

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, NodeName

_Name = Annotated[str, Meta(min_length=1, max_length=31)]


class CopyOnReadOptions(BlockdevOptions, frozen=True, tag="copy-on-read"):
    """What is read from a backing image is copied into the overlay, for the next read."""

    is_filter = True

    file: Annotated[NodeName, Meta(description="the child node, the overlay that is copied into")]
    bottom: Annotated[
        _Name | None,
        Meta(
            description="the last node of the backing chain that is copied from; the whole chain "
            "where it is not given",
        ),
    ] = None
