"""What a job is started with: one frozen Struct a type, as ``blkrun.options`` has one a driver.

The same declaration serves ``[jobs.NAME]``, the command that starts it over QMP, and the comparison
of what a file asks for with what runs.  ``device`` and other fields name nodes; in TOML ``job-id``
is the table's name, and ``type`` says which command it is.
"""

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from blkrun.options import Bytes, fields_of

OnError = Literal["report", "ignore", "stop", "enospc", "auto"]

_NodeName = Annotated[str, Meta(min_length=1)]
_FilterName = Annotated[str, Meta(min_length=1, max_length=31)]


class JobOptions(Struct, frozen=True, kw_only=True, rename="kebab", tag_field="type"):
    """What all jobs have.  The tag is the job's type."""

    changeable: ClassVar[frozenset[str]] = frozenset({"speed"})
    """Fields (wire names) that a running job takes anew; for any other it is started again."""

    command: ClassVar[str]
    """The one that starts it."""

    names: ClassVar[tuple[str, ...]] = ("device",)
    """Fields (wire names) that name nodes."""

    job_id: Annotated[str, Meta(min_length=1, description="the job's unique name")]
    device: Annotated[str, Meta(min_length=1, description="the node that the job is over")]
    speed: Annotated[
        Bytes, Meta(description="bytes a second that the job may copy; 0: as fast as it can")
    ] = 0
    filter_node_name: Annotated[
        _FilterName | None, Meta(description="the name of the job's filter node over the device")
    ] = None


class CopyOptions(JobOptions, frozen=True):
    """What jobs have that copy a device to another node."""

    names = ("device", "target")

    target: Annotated[str, Meta(min_length=1, description="the node that the device is copied to")]
    on_source_error: Annotated[
        OnError,
        Meta(
            description="a read fails: report: so does the job; ignore: try again; "
            "stop: pause the job; enospc, auto: stop when there is no space, else report"
        ),
    ] = "report"
    on_target_error: Annotated[
        OnError, Meta(description="a write to the target fails: as for on-source-error")
    ] = "report"


class BackupOptions(CopyOptions, frozen=True, tag="backup"):
    """Copies a disk as it is when the job starts, whatever is written meanwhile."""

    command = "blockdev-backup"

    sync: Annotated[
        Literal["full", "top", "none", "incremental", "bitmap"],
        Meta(
            description="what is copied: full: everything; top: what is not a hole; "
            "none: only what writes are about to change; "
            "bitmap, incremental: what is dirty in a bitmap"
        ),
    ] = "full"
    """QEMU has no default here."""
    bitmap: Annotated[
        str | None, Meta(description="the device's dirty bitmap, for sync bitmap and incremental")
    ] = None
    bitmap_mode: Annotated[
        Literal["on-success", "never", "always"] | None,
        Meta(description="when the bitmap is cleared of what has been copied"),
    ] = None


class MirrorOptions(CopyOptions, frozen=True, tag="mirror"):
    """Copies a disk until both are equal, and keeps them so, until it is told to pivot."""

    command = "blockdev-mirror"
    changeable = JobOptions.changeable | {"when-ready"}

    sync: Annotated[
        Literal["full", "top", "none"],
        Meta(
            description="what is copied at first: full: everything; top: what is not a hole; "
            "none: nothing, only what is written from then on"
        ),
    ] = "full"
    """QEMU has no default here."""
    granularity: Annotated[
        Bytes, Meta(description="what is copied again for a single byte; a power of two")
    ] = 2**16
    copy_mode: Annotated[
        Literal["background", "write-blocking"],
        Meta(
            description="background: what is written is copied later; "
            "write-blocking: a write goes to both before it is done"
        ),
    ] = "background"
    when_ready: Annotated[
        Literal["wait", "pivot"],
        Meta(
            description="once both are equal: go on until told to complete, or at once give "
            "everybody who uses the device the target instead"
        ),
    ] = "wait"
    """Ours: QEMU's mirror always waits for job-complete."""


class StreamOptions(JobOptions, frozen=True, tag="stream"):
    """Copies into an overlay what it reads from its backing images, until it needs them no more."""

    command = "block-stream"
    names = ("device", "base-node", "bottom")

    base_node: Annotated[
        _NodeName | None,
        Meta(description="the backing image that stays below; none: the overlay stands by itself"),
    ] = None
    bottom: Annotated[
        _NodeName | None,
        Meta(description="in place of base-node: the last image that is copied from"),
    ] = None
    backing_file: Annotated[
        str | None,
        Meta(description="what the image says of the base then; else the path of the base's file"),
    ] = None
    on_error: Annotated[
        OnError,
        Meta(
            description="something fails: report: so does the job; ignore: go on, and fail at the "
            "end; stop: pause the job; enospc, auto: stop when there is no space, else report"
        ),
    ] = "report"


class CommitOptions(JobOptions, frozen=True, tag="commit"):
    """Copies what overlays have down into an image below them, which then does without them."""

    command = "block-commit"
    names = ("device", "base-node", "top-node")
    changeable = JobOptions.changeable | {"when-ready"}

    base_node: Annotated[
        _NodeName | None,
        Meta(description="the image that is copied to; left out: the last of the chain"),
    ] = None
    top_node: Annotated[
        _NodeName | None,
        Meta(description="the first that is copied from; left out: the device itself"),
    ] = None
    backing_file: Annotated[
        str | None,
        Meta(description="what the image above says of the base then; else its file's path"),
    ] = None
    on_error: Annotated[
        OnError,
        Meta(
            description="something fails: report: so does the job; ignore: try again; "
            "stop: pause the job; enospc, auto: stop when there is no space, else report"
        ),
    ] = "report"
    when_ready: Annotated[
        Literal["wait", "pivot"],
        Meta(
            description="of the device itself, once all is below: go on until told to complete, "
            "or at once give everybody who uses the device the base instead"
        ),
    ] = "wait"
    """Ours: QEMU's active commit always waits for job-complete."""


JOBS: dict[str, type[JobOptions]] = {
    "backup": BackupOptions,
    "commit": CommitOptions,
    "mirror": MirrorOptions,
    "stream": StreamOptions,
}
"""Job type → its options."""


def nodes_of(options: JobOptions) -> dict[str, str]:
    """Wire name → node, of what names nodes and is set."""
    found = {name: getattr(options, name.replace("-", "_")) for name in options.names}
    return {name: node for name, node in found.items() if node is not None}


def target_of(options: JobOptions) -> str | None:
    """The node that it copies to; None: into the device itself."""
    return options.target if isinstance(options, CopyOptions) else None


def job_to_wire(options: JobOptions) -> dict[str, Any]:
    """Options as blockdev-TYPE takes them, with ``type``, without what is at its default."""
    wire: dict[str, Any] = {"type": options.__struct_config__.tag}
    for field in fields_of(type(options)):
        value = getattr(options, field.name)
        if field.required or value != field.default:
            wire[field.encode_name] = value
    return wire
