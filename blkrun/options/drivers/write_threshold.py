"""``driver = "write-threshold"``."""

from typing import Annotated, Literal

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, Bytes, NodeName


class WriteThresholdOptions(BlockdevOptions, frozen=True, tag="write-threshold"):
    """Tells, once, of a write beyond an offset: that a thin disk is about to be full."""

    is_filter = True
    reopenable = BlockdevOptions.reopenable | {"write-threshold", "when-spent"}

    file: Annotated[NodeName, Meta(description="the child node")]
    write_threshold: Annotated[
        Bytes, Meta(description="a write that ends beyond this offset is told of; 0: none is")
    ]
    when_spent: Annotated[
        Literal["keep", "remove"],
        Meta(description="once it has told: stay and pass everything on, or leave the graph"),
    ] = "keep"
