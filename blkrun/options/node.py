"""What every node has: see ``blkrun.options`` for what a field's metadata says."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

MAX_BURST_SECONDS = 2**32 - 1
"""QEMU's bound on every ``*-max-length``."""


Bytes = Annotated[int, Meta(ge=0, le=2**63 - 1, extra={"unit": "bytes"})]
NodeName = Annotated[str, Meta(min_length=1, max_length=31, extra={"edge": True})]


class BlockdevOptions(Struct, frozen=True, kw_only=True, rename="kebab", tag_field="driver"):
    """What every node has.  Subclasses are drivers; the tag is the driver's name."""

    reopenable: ClassVar[frozenset[str]] = frozenset({"discard"})
    """Fields (wire names) that ``blockdev-reopen`` may change, besides edges.

    For any other the plan puts a new node in the old one's place.
    """

    is_filter: ClassVar[bool] = False
    """One main child, ``file``, with the same data and size: may be inserted and removed live."""

    is_backend: ClassVar[bool] = False
    """No children: the protocol end.  TOML keeps these under ``[backends.NAME]``."""

    fixed_edges: ClassVar[frozenset[str]] = frozenset()
    """Roles whose child a node keeps for life: to change it, the plan puts in a new node."""

    has_image: ClassVar[bool] = False
    """Its child's bytes are not the disk's: it cannot be put between the two ends of an edge."""

    only_reads: ClassVar[bool] = False
    """It never writes to what is below, and cannot be written."""

    node_name: Annotated[str, Meta(description="the node's unique name")]
    read_only: Annotated[bool, Meta(description="refuse every write at this node")] = False
    discard: Annotated[
        Literal["ignore", "unmap"],
        Meta(description="unmap: trims go down; ignore: they end here, and zeroes keep the space"),
    ] = "unmap"
    """QEMU's default is "ignore"; here a thin image would then never shrink."""
