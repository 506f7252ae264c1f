"""``driver = "quorum"``."""

from typing import Annotated, Literal

from msgspec import Meta

from blkrun.options.node import BlockdevOptions, NodeName


class QuorumOptions(BlockdevOptions, frozen=True, tag="quorum"):
    """Several copies of a disk that vote: what enough of them agree on holds.

    What the numbers may be is checked where there are words for it, not by the types: QEMU's over
    QMP (``blkrun.server.drivers.quorum``), a file's in ``blkrun.config.check_quorums``.
    """

    fans_out = True
    reopenable = BlockdevOptions.reopenable | {
        "vote-threshold",
        "read-pattern",
        "rewrite-corrupted",
        "blkverify",
    }

    children: Annotated[
        tuple[NodeName, ...],
        Meta(
            description="the copies, all of one size",
            extra_json_schema={"minItems": 1, "uniqueItems": True},
        ),
    ]
    vote_threshold: Annotated[
        int,
        Meta(
            description="how many have to agree, or to do it; no more than there are children",
            extra_json_schema={"minimum": 1},
        ),
    ]
    read_pattern: Annotated[
        Literal["quorum", "fifo"],
        Meta(description="quorum: read all and vote; fifo: read the first that can be read"),
    ] = "quorum"
    rewrite_corrupted: Annotated[
        bool, Meta(description="write what has won over what has lost, when it is read")
    ] = False
    blkverify: Annotated[
        bool, Meta(description="hold two children against each other, as blkverify does")
    ] = False
