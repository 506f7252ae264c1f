"""What the runner tells every watcher, through the server: one stream of events for all."""

from typing import Any, Literal

from msgspec import Struct

from blkrun.server.context import Context
from blkrun.server.qmp.dispatch import Command, arguments

REPORTS = {
    "applied": "X_BLKRUN_CONFIG_APPLIED",
    "rejected": "X_BLKRUN_CONFIG_REJECTED",
    "pending": "X_BLKRUN_CONFIG_PENDING",
    "failed": "X_BLKRUN_CONFIG_FAILED",
    "followed": "X_BLKRUN_CONFIG_FOLLOWED",
    "restarted": "X_BLKRUN_SERVER_RESTARTED",
    "adopted": "X_BLKRUN_SERVER_ADOPTED",
}


class ReportArguments(Struct, frozen=True):
    """What happened to a file.  ``data`` is shown as it is."""

    kind: Literal["applied", "rejected", "pending", "failed", "followed", "restarted", "adopted"]
    data: dict[str, Any]


def _report(context: Context, args: ReportArguments) -> None:
    if args.kind != "followed":  # the edit that it is about is still the last one
        group = "config" if "CONFIG" in REPORTS[args.kind] else "server"
        context.reports[group] = {"kind": args.kind, **args.data}
    context.events.emit(REPORTS[args.kind], args.data)


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="x-blkrun-report",
        doc="Tell all watchers what the runner did with the file.",
        parse=arguments(ReportArguments),
        run=_report,
    ),
)
