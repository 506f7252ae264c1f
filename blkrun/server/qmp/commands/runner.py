"""What the runner tells every watcher, and what they ask it for: by events, through the server.

It is nobody's server: whoever keeps the file and this server equal listens to the same events as
all others.
"""

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
    "drifted": "X_BLKRUN_DRIFTED",
    "reverted": "X_BLKRUN_REVERTED",
    "drift-ended": "X_BLKRUN_DRIFT_ENDED",
}


class ReportArguments(Struct, frozen=True):
    """What happened to a file.  ``data`` is shown as it is."""

    kind: Literal[
        "applied",
        "rejected",
        "pending",
        "failed",
        "followed",
        "restarted",
        "adopted",
        "drifted",
        "reverted",
        "drift-ended",
    ]
    data: dict[str, Any]


class AskArguments(Struct, frozen=True):
    """What the runner is asked for.  ``data`` goes into the event as it is.

    ``reload``: read the file again now.  ``apply``: do what waits for a yes, ``{"digest": D}``, if
    that is still what waits.  ``revert``: bring the graph back to what the file says.
    """

    kind: Literal["reload", "apply", "revert"]
    data: dict[str, Any] = {}


def _report(context: Context, args: ReportArguments) -> None:
    """Keep the last of each group for those who ask later.

    ``in-force`` is about the text that was applied last, whatever was said of others since;
    ``drift`` is null when there is none.
    """
    report = {"kind": args.kind, **args.data}
    if args.kind in ("drifted", "reverted", "drift-ended"):
        context.reports["drift"] = report if args.kind == "drifted" else None
    elif args.kind != "followed":  # the edit that it is about is still the last one
        group = "config" if "CONFIG" in REPORTS[args.kind] else "server"
        context.reports[group] = report
    if args.kind in ("applied", "restarted") and "digest" in args.data:
        context.reports["in-force"] = report
    context.events.emit(REPORTS[args.kind], args.data)


def _ask(context: Context, args: AskArguments) -> None:
    context.events.emit("X_BLKRUN_RUNNER_ASKED", {**args.data, "kind": args.kind})


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="x-blkrun-report",
        doc="Tell all watchers what the runner did with the file.",
        parse=arguments(ReportArguments),
        run=_report,
    ),
    Command(
        name="x-blkrun-ask-runner",
        doc="Ask the runner to read its file again, apply what waits for a yes, or undo a drift.",
        parse=arguments(AskArguments),
        run=_ask,
    ),
)
