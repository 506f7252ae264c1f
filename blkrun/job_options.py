"""What a job is started with: one frozen Struct a type, as ``blkrun.options`` has one a driver.

The same declaration serves ``[jobs.NAME]``, blockdev-backup and blockdev-mirror over QMP, and the
comparison of what a file asks for with what runs.  ``device`` and ``target`` name nodes; in TOML
``job-id`` is the table's name, and ``type`` says which command it is.
"""

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from blkrun.options import Bytes, fields_of

OnError = Literal["report", "ignore", "stop", "enospc", "auto"]

_FilterName = Annotated[str, Meta(min_length=1, max_length=31)]


class JobOptions(Struct, frozen=True, kw_only=True, rename="kebab", tag_field="type"):
    """What all jobs have.  The tag is the job's type."""

    changeable: ClassVar[frozenset[str]] = frozenset({"speed"})
    """Fields (wire names) that a running job takes anew; for any other it is started again."""

    job_id: Annotated[str, Meta(min_length=1, description="the job's unique name")]
    device: Annotated[str, Meta(min_length=1, description="the node that is copied")]
    target: Annotated[str, Meta(min_length=1, description="the node it is copied to")]
    speed: Annotated[
        Bytes, Meta(description="bytes a second that the job may copy; 0: as fast as it can")
    ] = 0
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
    filter_node_name: Annotated[
        _FilterName | None, Meta(description="the name of the job's filter node over the device")
    ] = None


class BackupOptions(JobOptions, frozen=True, tag="backup"):
    """Copies a disk as it is when the job starts, whatever is written meanwhile."""

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


class MirrorOptions(JobOptions, frozen=True, tag="mirror"):
    """Copies a disk until both are equal, and keeps them so, until it is told to pivot."""

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


JOBS: dict[str, type[JobOptions]] = {"backup": BackupOptions, "mirror": MirrorOptions}
"""Job type → its options."""


def job_to_wire(options: JobOptions) -> dict[str, Any]:
    """Options as blockdev-TYPE takes them, with ``type``, without what is at its default."""
    wire: dict[str, Any] = {"type": options.__struct_config__.tag}
    for field in fields_of(type(options)):
        value = getattr(options, field.name)
        if field.required or value != field.default:
            wire[field.encode_name] = value
    return wire
