"""Commands that start jobs, and ours that change and remove them.  All may be actions."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from blkrun.errors import CommandError
from blkrun.job_options import (
    BackupOptions,
    CommitOptions,
    CopyOptions,
    JobOptions,
    MirrorOptions,
    OnError,
    StreamOptions,
)
from blkrun.server.jobs import backup, commit, copying, mirror, stream
from blkrun.server.jobs.policy import Conduct
from blkrun.server.qmp.dispatch import Command, arguments

J = TypeVar("J", bound=JobOptions)


class ConductArguments(Struct, frozen=True, kw_only=True, rename="kebab"):
    """What commands that start a job take besides its options; ours: a file has a table for it."""

    auto_finalize: bool = True
    auto_dismiss: bool = True
    x_blkrun_of_file: bool = False


class StartArguments(Struct, Generic[J], frozen=True):
    """A job to start."""

    options: J
    conduct: Conduct


class RemoveArguments(Struct, frozen=True):
    """x-blkrun-job-remove."""

    id: str


class ChangeArguments(Struct, frozen=True):
    """x-blkrun-job-change: by wire name."""

    id: str
    changes: dict[str, Any]


def _parse_start(options_type: type[J]) -> Callable[[dict[str, Any]], StartArguments[J]]:
    names = {field.encode_name for field in msgspec.structs.fields(ConductArguments)}
    parse_options, parse_conduct = arguments(options_type), arguments(ConductArguments)

    def parse(raw: dict[str, Any]) -> StartArguments[J]:
        if not raw.get("job-id"):
            raise CommandError(f"Invalid job ID '{raw.get('job-id', '')}'")
        if "sync" in options_type.__struct_encode_fields__ and "sync" not in raw:
            raise CommandError("Parameter 'sync' is missing")
        _check_speed(raw)
        conduct = parse_conduct({key: value for key, value in raw.items() if key in names})
        options = parse_options({key: value for key, value in raw.items() if key not in names})
        return StartArguments(options, _conduct(options, conduct))

    return parse


def _conduct(options: JobOptions, arguments_: ConductArguments) -> Conduct:
    on_error: dict[str, OnError] = {}
    if isinstance(options, CopyOptions):
        on_error["on_source_error"] = options.on_source_error
        on_error["on_target_error"] = options.on_target_error
    elif isinstance(options, (CommitOptions, StreamOptions)):
        on_error = dict.fromkeys(("on_source_error", "on_target_error"), options.on_error)
    return Conduct(
        id=options.job_id,
        speed=options.speed,
        **on_error,
        auto_finalize=arguments_.auto_finalize,
        auto_dismiss=arguments_.auto_dismiss,
        of_file=arguments_.x_blkrun_of_file,
    )


def _parse_change(raw: dict[str, Any]) -> ChangeArguments:
    job_id = raw.get("id")
    if not isinstance(job_id, str):
        raise CommandError("Parameter 'id' is missing")
    _check_speed(raw)
    changes = {key: value for key, value in raw.items() if key != "id"}
    return ChangeArguments(job_id, changes)


def _check_speed(raw: dict[str, Any]) -> None:
    speed = raw.get("speed", 0)
    if isinstance(speed, bool) or not isinstance(speed, int):
        raise CommandError("Invalid parameter type for 'speed', expected: integer")
    if speed < 0:
        raise CommandError("Parameter 'speed' expects a non-negative value")


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="blockdev-backup",
        doc="Copy a node, as it is at this instant, to another.",
        parse=_parse_start(BackupOptions),
        stage=lambda staging, args: backup.start(staging, args.options, args.conduct),
    ),
    Command(
        name="blockdev-mirror",
        doc="Make a node equal to another in use, and then, if told to, its successor.",
        parse=_parse_start(MirrorOptions),
        stage=lambda staging, args: mirror.start(staging, args.options, args.conduct),
    ),
    Command(
        name="block-stream",
        doc="Copy into an overlay what it reads from its backing images, and drop them.",
        parse=_parse_start(StreamOptions),
        stage=lambda staging, args: stream.start(staging, args.options, args.conduct),
    ),
    Command(
        name="block-commit",
        doc="Copy what images have down into one below them, which they then are not needed over.",
        parse=_parse_start(CommitOptions),
        stage=lambda staging, args: commit.start(staging, args.options, args.conduct),
    ),
    Command(
        name="x-blkrun-job-change",
        doc="Give a running job other values for options that it can take anew.",
        parse=_parse_change,
        stage=lambda staging, args: copying.change(staging, args.id, args.changes),
    ),
    Command(
        name="x-blkrun-job-remove",
        doc="Cancel a job if it runs, take its filter out at once, and forget it.",
        parse=arguments(RemoveArguments),
        stage=lambda staging, args: copying.remove(staging, args.id),
    ),
)
