"""``driver = "blklogwrites"``."""

from typing import Annotated

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, Bytes, NodeName


class BlkLogWritesOptions(BlockdevOptions, frozen=True, tag="blklogwrites"):
    """Logs every write to another node, in the order in which they became true (dm-log-writes)."""

    is_filter = True
    reopenable = BlockdevOptions.reopenable | {"log-super-update-interval"}
    fixed_edges = frozenset({"log"})

    file: Annotated[NodeName, Meta(description="the child node")]
    log: Annotated[NodeName, Meta(description="where the log goes; a file gets longer for it")]
    log_sector_size: Annotated[
        Bytes | None,
        Meta(description="what the log counts in; a power of two, from 32; default 512"),
    ] = None
    log_append: Annotated[
        bool, Meta(description="go on at the end of the log that is there; else it begins anew")
    ] = False
    log_super_update_interval: Annotated[
        int,
        Meta(
            ge=1, le=2**63 - 1, description="how many entries there may be beyond the super block"
        ),
    ] = 4096
