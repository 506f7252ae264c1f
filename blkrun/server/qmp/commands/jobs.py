"""Commands about jobs: QEMU's two families for the same verbs (qemu-semantics §8.2, 9.8)."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from blkrun.errors import CommandError
from blkrun.server.context import Context
from blkrun.server.jobs.job import Job
from blkrun.server.qmp.dispatch import Command, NoArguments, arguments


class JobArguments(Struct, frozen=True):
    """job-*."""

    id: str


class BlockJobArguments(Struct, frozen=True):
    """block-job-*: ``device`` is the job's id."""

    device: str


class CancelArguments(Struct, frozen=True):
    """block-job-cancel: not forced, a job that is ready ends as a success."""

    device: str
    force: bool = False


class SpeedArguments(Struct, frozen=True):
    """block-job-set-speed: bytes/s."""

    device: str
    speed: int


def _query_jobs(context: Context, args: NoArguments) -> list[dict[str, Any]]:
    del args
    return [_job(job) for job in context.jobs.listing()]


def _job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "type": job.type,
        "status": job.status.value,
        "current-progress": job.offset_bytes,
        "total-progress": job.len_bytes,
        **_error(job),
    }


def _query_block_jobs(context: Context, args: NoArguments) -> list[dict[str, Any]]:
    del args
    return [_block_job(job) for job in context.jobs.listing()]


def _block_job(job: Job) -> dict[str, Any]:
    return {
        "device": job.id,
        "type": job.type,
        "len": job.len_bytes,
        "offset": job.offset_bytes,
        "speed": job.speed,
        "busy": job.busy,
        "paused": job.pause_count > 0,
        "ready": job.is_ready,
        "io-status": job.io_status,
        "status": job.status.value,
        "auto-finalize": job.auto_finalize,
        "auto-dismiss": job.auto_dismiss,
        **_error(job),
    }


def _error(job: Job) -> dict[str, str]:
    return {} if job.error is None else {"error": job.error}


def _cancel(context: Context, args: CancelArguments) -> None:
    job = context.jobs.find_block(args.device)
    if job.user_paused and not args.force:
        raise CommandError(f"The block job for device '{args.device}' is currently paused")
    job.cancel(force=args.force)


def _both(verb: str, doc: str, apply: Callable[[Job], None]) -> tuple[Command[Any], Command[Any]]:
    """The same verb in both families."""

    def by_id(context: Context, args: JobArguments) -> None:
        apply(context.jobs.find(args.id))

    def by_device(context: Context, args: BlockJobArguments) -> None:
        apply(context.jobs.find_block(args.device))

    return (
        Command(name=f"job-{verb}", doc=doc, parse=arguments(JobArguments), run=by_id),
        Command(
            name=f"block-job-{verb}", doc=doc, parse=arguments(BlockJobArguments), run=by_device
        ),
    )


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="query-jobs",
        doc="All jobs, and how far they have come.",
        parse=arguments(NoArguments),
        run=_query_jobs,
    ),
    Command(
        name="query-block-jobs",
        doc="All jobs, with their speed limits and how their I/O fares.",
        parse=arguments(NoArguments),
        run=_query_block_jobs,
    ),
    *_both("pause", "Let a job stand still at its next pause point.", Job.pause),
    *_both("resume", "Let a paused job go on, also one that an error has stopped.", Job.resume),
    *_both("complete", "End a job that is ready and would go on until told to.", Job.complete),
    *_both("finalize", "Let a pending job, and those grouped with it, commit.", Job.finalize),
    *_both("dismiss", "Forget a concluded job.", Job.dismiss),
    Command(
        name="job-cancel",
        doc="Cancel a job, whatever it has done so far.",
        parse=arguments(JobArguments),
        run=lambda context, args: context.jobs.find(args.id).cancel(),
    ),
    Command(
        name="block-job-cancel",
        doc="Cancel a job; one that is ready, unless forced, ends as a success.",
        parse=arguments(CancelArguments),
        run=_cancel,
    ),
    Command(
        name="block-job-set-speed",
        doc="Limit a job to so many bytes per second, at once; 0 is no limit.",
        parse=arguments(SpeedArguments),
        run=lambda context, args: context.jobs.find_block(args.device).set_speed(args.speed),
    ),
)
