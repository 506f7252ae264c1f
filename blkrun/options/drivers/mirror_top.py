"""The filter of a mirror job."""

from typing import Annotated

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, NodeName


class MirrorTopOptions(BlockdevOptions, frozen=True, tag="mirror_top"):
    """The filter of a mirror job.  No table: only jobs put one in, under QEMU's name for it."""

    is_filter = True
    fixed_edges = frozenset({"file", "target"})

    file: Annotated[NodeName, Meta(description="the job's device")]
    target: Annotated[NodeName, Meta(description="the job's target")]
