"""What can be written in a file and sent over QMP: one frozen Struct a driver.

The same declaration serves the TOML reader, the QMP decoder, ``blkrun check`` and the
comparison of desired with live (``==``).  Field metadata says what types cannot:

* ``Meta(description=...)``: the meaning, one sentence;
* ``extra={"unit": "bytes" | "count" | "seconds" | "ns"}``: strings with a unit are accepted
  (see :mod:`blkrun.units`), the value held is the plain integer;
* ``extra={"edge": True}``: the value names a child node; the field's wire name is the role.

Names on the wire and in TOML are kebab-case; here they are snake_case.  ``rename="kebab"``
is the one place where that is converted.

A Struct's ``renamed`` has its keys' older names → the names of now.  A file may still have one: it
is read, with a warning.  QMP does not take them.
"""

from functools import cache
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

DEFAULT_MEMORY_SIZE_BYTES = 2**30
"""QEMU's null-co has this size when none is given."""

MAX_LIMIT = 10**15
"""QEMU's THROTTLE_VALUE_MAX: the largest average or burst."""

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

    only_reads: ClassVar[bool] = False
    """It never writes to what is below, and cannot be written."""

    node_name: Annotated[str, Meta(description="the node's unique name")]
    read_only: Annotated[bool, Meta(description="refuse every write at this node")] = False
    discard: Annotated[
        Literal["ignore", "unmap"],
        Meta(description="unmap: trims go down; ignore: they end here, and zeroes keep the space"),
    ] = "unmap"
    """QEMU's default is "ignore"; here a thin image would then never shrink."""


class FileOptions(BlockdevOptions, frozen=True, tag="file"):
    """A regular file or block device."""

    is_backend = True
    reopenable = BlockdevOptions.reopenable | {"create"}

    path: Annotated[
        str, Meta(min_length=1, description="where it is; a relative path starts at the TOML file")
    ]
    size: Annotated[
        Bytes | None,
        Meta(description="how large to make it; one that is there must have this size"),
    ] = None
    create: Annotated[bool, Meta(description="make the file, sparse, when it is missing")] = False


class MemoryOptions(BlockdevOptions, frozen=True, tag="memory"):
    """A sparse RAM disk, gone with the server."""

    is_backend = True

    size: Annotated[Bytes, Meta(description="size of the disk")] = DEFAULT_MEMORY_SIZE_BYTES


class NullOptions(BlockdevOptions, frozen=True, tag="null"):
    """Reads zeroes, forgets writes: QEMU's null-co, for measuring everything above it."""

    is_backend = True

    size: Annotated[Bytes, Meta(description="size of the disk")] = DEFAULT_MEMORY_SIZE_BYTES


class NbdOptions(BlockdevOptions, frozen=True, tag="nbd"):
    """Another NBD server: one that runs (``uri``) or one started for this node (``command``)."""

    is_backend = True

    uri: Annotated[
        str | None, Meta(description="NBD URI, such as nbd+unix:///disk?socket=/run/nbd.sock")
    ] = None
    command: Annotated[
        tuple[str, ...] | None,
        Meta(description="a server that takes its socket by LISTEN_FDS: nbdkit or qemu-nbd"),
    ] = None
    connections: Annotated[
        int, Meta(ge=1, le=64, description="how many to open, if that server allows several")
    ] = 4


class RawOptions(BlockdevOptions, frozen=True, tag="raw"):
    """A window of the child: ``size`` bytes from ``offset``."""

    file: Annotated[NodeName, Meta(description="the child node")]
    offset: Annotated[Bytes, Meta(description="where the window starts")] = 0
    size: Annotated[
        Bytes | None, Meta(description="the window's length; if left out, the rest of the child")
    ] = None


class ThrottleOptions(BlockdevOptions, frozen=True, tag="throttle"):
    """A member of a throttle group: requests wait for their turn under the group's limits."""

    is_filter = True
    reopenable = BlockdevOptions.reopenable | {"throttle-group"}

    file: Annotated[NodeName, Meta(description="the child node")]
    throttle_group: Annotated[
        str, Meta(min_length=1, description="the group whose limits this node's requests share")
    ]


class BitmapPlace(Struct, frozen=True, kw_only=True):
    """A node's dirty bitmap: QEMU's BlockDirtyBitmap."""

    node: Annotated[str, Meta(description="the node that has the bitmap")]
    name: Annotated[str, Meta(description="the bitmap's name")]


class CopyBeforeWriteOptions(BlockdevOptions, frozen=True, tag="copy-before-write"):
    """Keeps the disk as it was when this was put in: old data goes to ``target`` before new."""

    is_filter = True
    reopenable = BlockdevOptions.reopenable | {"on-cbw-error", "cbw-timeout"}
    fixed_edges = frozenset({"target"})

    file: Annotated[NodeName, Meta(description="the child node")]
    target: Annotated[NodeName, Meta(description="where old data goes; as large as the child")]
    on_cbw_error: Annotated[
        Literal["break-guest-write", "break-snapshot"],
        Meta(description="when old data cannot be kept: fail the write, or lose the snapshot"),
    ] = "break-guest-write"
    cbw_timeout: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_BURST_SECONDS,
            extra={"unit": "seconds"},
            description="how long a write may wait for its old data to be kept; 0: for ever",
        ),
    ] = 0
    bitmap: Annotated[
        BitmapPlace | None,
        Meta(description="keep only what is dirty in this bitmap when the node is added"),
    ] = None


class MirrorTopOptions(BlockdevOptions, frozen=True, tag="mirror_top"):
    """The filter of a mirror job.  No table: only jobs put one in, under QEMU's name for it."""

    is_filter = True
    fixed_edges = frozenset({"file", "target"})

    file: Annotated[NodeName, Meta(description="the job's device")]
    target: Annotated[NodeName, Meta(description="the job's target")]


class SnapshotAccessOptions(BlockdevOptions, frozen=True, tag="snapshot-access"):
    """Reads what a copy-before-write node keeps: the disk as it was."""

    only_reads = True

    file: Annotated[NodeName, Meta(description="the copy-before-write node that keeps it")]


class WriteThresholdOptions(BlockdevOptions, frozen=True, tag="write-threshold"):
    """Tells, once, of a write beyond an offset: that a thin disk is about to be full."""

    is_filter = True
    reopenable = BlockdevOptions.reopenable | {"write-threshold", "when-spent"}

    file: Annotated[NodeName, Meta(description="the child node")]
    write_threshold: Annotated[
        Bytes, Meta(description="a write that ends beyond this offset is told of; 0: none is")
    ]
    when_spent: Annotated[
        Literal["keep", "remove"],
        Meta(description="once it has told: stay and pass everything on, or leave the graph"),
    ] = "keep"


DRIVERS: dict[str, type[BlockdevOptions]] = {
    "copy-before-write": CopyBeforeWriteOptions,
    "file": FileOptions,
    "memory": MemoryOptions,
    "nbd": NbdOptions,
    "null": NullOptions,
    "raw": RawOptions,
    "snapshot-access": SnapshotAccessOptions,
    "throttle": ThrottleOptions,
    "write-threshold": WriteThresholdOptions,
}
"""Driver name → its options.  ``blkrun.server.drivers.DRIVERS`` has the code for each."""


_Limit = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Ops = Annotated[_Limit, Meta(extra={"unit": "count"})]
_OpsBytes = Annotated[_Limit, Meta(extra={"unit": "bytes"})]
_Length = Annotated[int, Meta(ge=0, le=2**63 - 1, extra={"unit": "seconds"})]


_OLDER_LIMITS = {
    "bps": "bps-total",
    "bps_rd": "bps-read",
    "bps_wr": "bps-write",
    "iops": "iops-total",
    "iops_rd": "iops-read",
    "iops_wr": "iops-write",
}
_OLDER_SUFFIXES = {"": "", "_max": "-max", "_max_length": "-max-length"}


class ThrottleLimits(Struct, frozen=True, kw_only=True, rename="kebab"):
    """QEMU's ``limits`` of a throttle-group object: averages, bursts, burst lengths.

    0 is "no limit" for averages and "no burst" for ``-max``; lengths are whole seconds.
    """

    renamed: ClassVar[dict[str, str]] = {
        "iops_size": "iops-size",
        **{
            f"{old}{old_suffix}": f"{new}{suffix}"
            for old, new in _OLDER_LIMITS.items()
            for old_suffix, suffix in _OLDER_SUFFIXES.items()
        },
    }
    """QEMU's names in ``-drive`` and ``block_set_io_throttle`` (qemu-semantics §3.2)."""

    bps_total: Annotated[
        _OpsBytes, Meta(description="bytes per second, reads and writes; 0: no limit")
    ] = 0
    bps_total_max: Annotated[
        _OpsBytes, Meta(description="what a burst may reach, over bps-total; 0: none may")
    ] = 0
    bps_total_max_length: Annotated[
        _Length, Meta(description="how long a burst may stay at bps-total-max")
    ] = 1
    bps_read: Annotated[_OpsBytes, Meta(description="bytes per second read; 0: no limit")] = 0
    bps_read_max: Annotated[
        _OpsBytes, Meta(description="what a burst may reach, over bps-read; 0: none may")
    ] = 0
    bps_read_max_length: Annotated[
        _Length, Meta(description="how long a burst may stay at bps-read-max")
    ] = 1
    bps_write: Annotated[_OpsBytes, Meta(description="bytes per second written; 0: no limit")] = 0
    bps_write_max: Annotated[
        _OpsBytes, Meta(description="what a burst may reach, over bps-write; 0: none may")
    ] = 0
    bps_write_max_length: Annotated[
        _Length, Meta(description="how long a burst may stay at bps-write-max")
    ] = 1
    iops_total: Annotated[
        _Ops, Meta(description="requests per second, reads and writes; 0: no limit")
    ] = 0
    iops_total_max: Annotated[
        _Ops, Meta(description="what a burst may reach, over iops-total; 0: none may")
    ] = 0
    iops_total_max_length: Annotated[
        _Length, Meta(description="how long a burst may stay at iops-total-max")
    ] = 1
    iops_read: Annotated[_Ops, Meta(description="read requests per second; 0: no limit")] = 0
    iops_read_max: Annotated[
        _Ops, Meta(description="what a burst may reach, over iops-read; 0: none may")
    ] = 0
    iops_read_max_length: Annotated[
        _Length, Meta(description="how long a burst may stay at iops-read-max")
    ] = 1
    iops_write: Annotated[_Ops, Meta(description="write requests per second; 0: no limit")] = 0
    iops_write_max: Annotated[
        _Ops, Meta(description="what a burst may reach, over iops-write; 0: none may")
    ] = 0
    iops_write_max_length: Annotated[
        _Length, Meta(description="how long a burst may stay at iops-write-max")
    ] = 1
    iops_size: Annotated[
        _OpsBytes,
        Meta(description="a request larger than this counts as several; 0: each counts as one"),
    ] = 0


class ExportOptions(Struct, frozen=True, kw_only=True, rename="kebab"):
    """What an NBD client opens, under the table's name (QMP: ``id`` and ``name``)."""

    changeable: ClassVar[frozenset[str]] = frozenset({"node"})
    """Fields (wire names) that change under clients; for any other the export is made anew."""

    node: Annotated[NodeName, Meta(description="the node that clients see as a disk")]
    read_only: Annotated[bool, Meta(description="refuse writes from clients")] = False
    description: Annotated[
        str, Meta(max_length=4096, description="a text for people, which nbdinfo --list shows")
    ] = ""


DEFAULT_GRANULARITY_BYTES = 2**16
"""QEMU's for a dirty bitmap, where the image has no clusters of its own."""


class BitmapOptions(Struct, frozen=True, kw_only=True, rename="kebab"):
    """A dirty bitmap, under the table's name: what was written since the last backup took it."""

    node: Annotated[NodeName, Meta(description="the node whose writes it records")]
    granularity: Annotated[
        Bytes,
        Meta(description="what counts as written for a single byte; a power of two, from 512"),
    ] = DEFAULT_GRANULARITY_BYTES


class ServerOptions(Struct, frozen=True, kw_only=True, rename="kebab"):
    """``[server]``: how nbdkit is started.  A change here needs a restart and says so."""

    listen: Annotated[
        str | None, Meta(description='"unix:PATH" or "tcp:HOST:PORT"; default unix:FILE.sock')
    ] = None
    control: Annotated[
        str | None, Meta(description='the QMP socket, "unix:PATH"; default unix:FILE.qmp')
    ] = None
    threads: Annotated[
        int, Meta(ge=1, le=256, description="nbdkit worker threads per connection")
    ] = 4
    cpus: Annotated[
        Literal["one", "all"],
        Meta(description="where requests run; several CPUs pay only where most are of 1 MiB"),
    ] = "one"


class RunnerOptions(Struct, frozen=True, kw_only=True, rename="kebab"):
    """``[runner]``: what happens when the file is saved."""

    apply: Annotated[
        Literal["safe", "all", "ask"],
        Meta(
            description="safe: apply, but ask before taking a disk from a client; "
            "all: never ask; ask: always wait for blkrun apply"
        ),
    ] = "safe"
    on_drift: Annotated[
        Literal["warn", "revert", "ignore"],
        Meta(
            description="when somebody changes the graph beside the file: warn: show what would "
            "bring it back; revert: bring it back, but ask as apply says; ignore: say nothing"
        ),
    ] = "warn"


class DashboardOptions(Struct, frozen=True, kw_only=True, rename="kebab"):
    """``[dashboard]``: how the terminal shows it."""

    refresh: Annotated[
        int,
        Meta(
            ge=200_000_000,
            le=5_000_000_000,
            extra={"unit": "ns"},
            description="time between two looks at the server",
        ),
    ] = 500_000_000


def extra_of(field_type: Any, key: str) -> Any:
    """Metadata anywhere in an annotation: ``extra_of(Bytes | None, "unit")`` → "bytes"."""
    for part in getattr(field_type, "__metadata__", ()):
        if isinstance(part, Meta) and part.extra and key in part.extra:
            return part.extra[key]
    inner = getattr(field_type, "__origin__", None)
    candidates = (inner, *getattr(field_type, "__args__", ()))
    for candidate in candidates:
        if candidate is not None and candidate is not field_type:
            found = extra_of(candidate, key)
            if found is not None:
                return found
    return None


def choices_of(field_type: Any) -> tuple[str, ...]:
    """A Literal's values, in the order in which they are declared; () where there is none."""
    if get_origin(field_type) is Literal:
        return get_args(field_type)
    inner = get_args(field_type)
    return next((found for part in inner if (found := choices_of(part))), ())


def table_of(field_type: Any) -> type[Struct] | None:
    """The Struct whose fields are a table within the table, or None."""
    if isinstance(field_type, type):
        return field_type if issubclass(field_type, Struct) else None
    return next((found for part in get_args(field_type) if (found := table_of(part))), None)


fields_of = cache(msgspec.structs.fields)
"""Looking them up again for each node took most of the time of a large plan."""


def to_wire(options: "BlockdevOptions") -> dict[str, Any]:
    """Options as blockdev-add takes them, without what is at its default."""
    wire: dict[str, Any] = {"driver": options.__struct_config__.tag}
    for field in fields_of(type(options)):
        value = getattr(options, field.name)
        if field.required or value != field.default:
            wire[field.encode_name] = value
    return wire


def _edge_fields(options: type[BlockdevOptions]) -> dict[str, str]:
    roles = {}
    for field in msgspec.structs.fields(options):
        if extra_of(field.type, "edge"):
            roles[field.encode_name] = field.name
    return roles


_NODES: tuple[type[BlockdevOptions], ...] = (*DRIVERS.values(), MirrorTopOptions)

EDGES = {options: _edge_fields(options) for options in _NODES}
"""Options type → {role: field name}: which fields name children."""


def children_of(options: BlockdevOptions) -> dict[str, str]:
    """Role → child's node-name, for the edges that are set."""
    edges = EDGES[type(options)]
    return {
        role: child
        for role, field in edges.items()
        if (child := getattr(options, field)) is not None
    }


def with_child(options: BlockdevOptions, role: str, child: str) -> BlockdevOptions:
    """The same options with one edge pointing elsewhere."""
    return msgspec.structs.replace(options, **{EDGES[type(options)][role]: child})
