"""``driver = "qcow2"``."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from blkrun.options.node import BlockdevOptions, Bytes, NodeName

_NEW = "of a new image"


class Qcow2Options(BlockdevOptions, frozen=True, tag="qcow2"):
    """QEMU's image format: a disk that takes the space of what was written, over another disk.

    What is for new images only, says nothing of one that is there; but ``size`` must be its size.
    """

    has_image = True
    reopenable = BlockdevOptions.reopenable | {
        "create",
        "cluster-size",
        "version",
        "refcount-bits",
        "extended-l2",
        "compression-type",
        "data-file-raw",
    }
    fixed_edges = frozenset({"file", "data-file"})

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
    create: Annotated[bool, Meta(description="make an image when the file is empty")] = False
    size: Annotated[
        Bytes | None,
        Meta(description="of the disk; left out: of a new image the backing's"),
    ] = None
    cluster_size: Annotated[Bytes, Meta(description=f"{_NEW}: 512 bytes to 2MiB")] = 2**16
    version: Annotated[
        Literal["v2", "v3"], Meta(description=f"{_NEW}; v2 is for QEMU before 1.1")
    ] = "v3"
    refcount_bits: Annotated[
        int, Meta(ge=1, le=64, description=f"{_NEW}: width of a refcount, a power of two")
    ] = 16
    extended_l2: Annotated[
        bool, Meta(description=f"{_NEW}: allocate a 32nd of a cluster at a time")
    ] = False
    compression_type: Annotated[
        Literal["zlib", "zstd"], Meta(description=f"{_NEW}: for qemu-img convert -c")
    ] = "zlib"
    data_file_raw: Annotated[
        bool, Meta(description=f"{_NEW}: data-file can be read without it, as a raw disk")
    ] = False
