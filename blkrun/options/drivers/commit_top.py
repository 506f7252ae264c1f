"""The filter of a commit job."""

from typing import Annotated

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, NodeName


class CommitTopOptions(BlockdevOptions, frozen=True, tag="commit_top"):
    """The filter of a commit job.  No table: only jobs put one in, under QEMU's name for it."""

    is_filter = True
    fixed_edges = frozenset({"file", "target"})

    file: Annotated[NodeName, Meta(description="the first image that is committed")]
    target: Annotated[NodeName, Meta(description="the base that it is committed to")]
