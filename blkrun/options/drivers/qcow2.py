"""``driver = "qcow2"``."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from blkrun.options.node import BlockdevOptions, Bytes, NodeName


class Qcow2Options(BlockdevOptions, frozen=True, tag="qcow2"):
    """QEMU's image format: a disk that takes the space of what was written, over another disk."""

    file: Annotated[NodeName, Meta(description="the node that has the image")]
    backing: Annotated[
        NodeName | UnsetType | None,
        Meta(description="the disk below it; left out: the one that the image names, if any"),
    ] = UNSET
    data_file: Annotated[
        NodeName | UnsetType,
        Meta(description="where guest data are, if not in the image; left out: as the image says"),
    ] = UNSET
    cache_size: Annotated[
        Bytes | None, Meta(description="memory for L2 tables and refcount blocks together")
    ] = None
    l2_cache_size: Annotated[
        Bytes | None,
        Meta(description="memory for L2 tables; default 32MiB, or less if that covers the disk"),
    ] = None
    refcount_cache_size: Annotated[
        Bytes | None, Meta(description="memory for refcount blocks; default four clusters")
    ] = None
    lazy_refcounts: Annotated[
        bool | None,
        Meta(description="refcounts are written late, and counted anew after a crash"),
    ] = None
    pass_discard_request: Annotated[
        bool | None,
        Meta(description="discard in the file what a client discards; default as discard says"),
    ] = None
