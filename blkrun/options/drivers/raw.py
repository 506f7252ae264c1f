"""``driver = "raw"``."""

from typing import Annotated

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, Bytes, NodeName


class RawOptions(BlockdevOptions, frozen=True, tag="raw"):
    """A window of the child: ``size`` bytes from ``offset``."""

    file: Annotated[NodeName, Meta(description="the child node")]
    offset: Annotated[Bytes, Meta(description="where the window starts")] = 0
    size: Annotated[
        Bytes | None, Meta(description="the window's length; if left out, the rest of the child")
    ] = None
