"""``driver = "blkdebug"``."""

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from blkrun.options.node import BlockdevOptions, Bytes, NodeName

Event = Literal[
    "l1_update",
    "l1_grow_alloc_table",
    "l1_grow_write_table",
    "l1_grow_activate_table",
    "l2_load",
    "l2_update",
    "l2_update_compressed",
    "l2_alloc_cow_read",
    "l2_alloc_write",
    "read_aio",
    "read_backing_aio",
    "read_compressed",
    "write_aio",
    "write_compressed",
    "vmstate_load",
    "vmstate_save",
    "cow_read",
    "cow_write",
    "reftable_load",
    "reftable_grow",
    "reftable_update",
    "refblock_load",
    "refblock_update",
    "refblock_update_part",
    "refblock_alloc",
    "refblock_alloc_hookup",
    "refblock_alloc_write",
    "refblock_alloc_write_blocks",
    "refblock_alloc_write_table",
    "refblock_alloc_switch_table",
    "cluster_alloc",
    "cluster_alloc_bytes",
    "cluster_free",
    "flush_to_os",
    "flush_to_disk",
    "pwritev_rmw_head",
    "pwritev_rmw_after_head",
    "pwritev_rmw_tail",
    "pwritev_rmw_after_tail",
    "pwritev",
    "pwritev_zero",
    "pwritev_done",
    "empty_image_prepare",
    "l1_shrink_write_table",
    "l1_shrink_free_l2_clusters",
    "cor_write",
    "cluster_alloc_space",
    "none",
]
"""QEMU's BlkdebugEvent: what a node above is about to do, or has done; none: from the beginning."""

EVENTS: tuple[str, ...] = get_args(Event)

IoType = Literal["read", "write", "write-zeroes", "discard", "flush", "block-status"]
"""QEMU's BlkdebugIOType: what a request is to the node."""

_Event = Annotated[Event, Meta(description="what is done at a node above; none: from the start")]
_State = Annotated[
    int, Meta(ge=0, le=2**31 - 1, description="in which state; 0: in any.  It begins with 1")
]

_Sector = Annotated[int, Meta(ge=0, le=2**54)]
_Path = Annotated[str, Meta(min_length=1)]


class InjectError(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """QEMU's BlkdebugInjectErrorOptions: after an event, requests fail."""

    event: _Event
    state: _State = 0
    iotype: Annotated[
        IoType | None,
        Meta(description="which requests fail; if left out, all but block-status"),
    ] = None
    errno: Annotated[
        int,
        Meta(
            ge=0, le=4095, extra={"unit": "errno"}, description="what they fail with, as EIO or 5"
        ),
    ] = 5
    sector: Annotated[
        _Sector | None,
        Meta(description="only such as touch this one, of 512 bytes; else all"),
    ] = None
    once: Annotated[bool, Meta(description="only the first such request")] = False
    immediately: Annotated[bool, Meta(description="before others have had a turn")] = False


class SetState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """QEMU's BlkdebugSetStateOptions: after an event, the state is another."""

    event: _Event
    new_state: Annotated[int, Meta(ge=0, le=2**31 - 1, description="the state after the event")]
    state: _State = 0


class BlkDebugOptions(BlockdevOptions, frozen=True, tag="blkdebug"):
    """Injects errors, by rules, and has its requests within limits: for testing what is above."""

    is_filter = True
    main = "image"
    reopenable = BlockdevOptions.reopenable | {
        "config",
        "align",
        "max-transfer",
        "opt-write-zero",
        "max-write-zero",
        "opt-discard",
        "max-discard",
        "inject-error",
        "set-state",
    }

    image: Annotated[NodeName, Meta(description="the child node")]
    config: Annotated[
        _Path | None,
        Meta(description="more rules, in a file as QEMU reads it, before these"),
    ] = None
    align: Annotated[
        Bytes, Meta(description="what requests begin and end with; a power of two; 0: any byte")
    ] = 0
    max_transfer: Annotated[Bytes, Meta(description="the largest read or write; 0: any")] = 0
    opt_write_zero: Annotated[
        Bytes, Meta(description="what zeroes begin and end with, or they are written; 0: any")
    ] = 0
    max_write_zero: Annotated[Bytes, Meta(description="the largest zero; 0: any")] = 0
    opt_discard: Annotated[
        Bytes, Meta(description="what discards are cut at the multiples of; 0: nothing")
    ] = 0
    max_discard: Annotated[Bytes, Meta(description="the largest discard; 0: any")] = 0
    inject_error: Annotated[
        tuple[InjectError, ...], Meta(description="rules by which requests fail")
    ] = ()
    set_state: Annotated[
        tuple[SetState, ...], Meta(description="rules by which the state changes")
    ] = ()
