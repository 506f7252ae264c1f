"""``driver = "snapshot-access"``."""

from typing import Annotated

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, NodeName


class SnapshotAccessOptions(BlockdevOptions, frozen=True, tag="snapshot-access"):
    """Reads what a copy-before-write node keeps: the disk as it was."""

    only_reads = True

    file: Annotated[NodeName, Meta(description="the copy-before-write node that keeps it")]
