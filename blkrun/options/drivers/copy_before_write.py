"""``driver = "copy-before-write"``."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from blkrun.options.node import MAX_BURST_SECONDS, BlockdevOptions, NodeName


class BitmapPlace(Struct, frozen=True, kw_only=True):
    """A node's dirty bitmap: QEMU's BlockDirtyBitmap."""

    node: Annotated[str, Meta(description="the node that has the bitmap")]
    name: Annotated[str, Meta(description="the bitmap's name")]


class CopyBeforeWriteOptions(BlockdevOptions, frozen=True, tag="copy-before-write"):
    """Keeps the disk as it was when this was put in: old data goes to ``target`` before new."""

    is_filter = True
    reopenable = BlockdevOptions.reopenable | {"on-cbw-error", "cbw-timeout"}
    fixed_edges = frozenset({"target"})

    file: Annotated[NodeName, Meta(description="the child node")]
    target: Annotated[NodeName, Meta(description="where old data goes; as large as the child")]
    on_cbw_error: Annotated[
        Literal["break-guest-write", "break-snapshot"],
        Meta(description="when old data cannot be kept: fail the write, or lose the snapshot"),
    ] = "break-guest-write"
    cbw_timeout: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_BURST_SECONDS,
            extra={"unit": "seconds"},
            description="how long a write may wait for its old data to be kept; 0: for ever",
        ),
    ] = 0
    bitmap: Annotated[
        BitmapPlace | None,
        Meta(description="keep only what is dirty in this bitmap when the node is added"),
    ] = None
