"""``driver = "blkverify"``."""

from typing import Annotated, Literal

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, NodeName


class BlkverifyOptions(BlockdevOptions, frozen=True, tag="blkverify"):
    """Holds one disk against another: both are read and written, and have to agree."""

    fans_out = True
    reopenable = BlockdevOptions.reopenable | {"on-mismatch"}

    test: Annotated[NodeName, Meta(description="the node that is tried: clients get its data")]
    raw: Annotated[NodeName, Meta(description="the node that is known to be right; of one size")]
    on_mismatch: Annotated[
        Literal["error", "report"],
        Meta(description="what a client gets when they differ: EIO, or what test says"),
    ] = "error"
    """QEMU ends the process instead."""
