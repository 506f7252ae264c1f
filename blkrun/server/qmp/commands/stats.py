"""``x-blkrun-stats``: every number of the graph in one cheap call."""

from time import monotonic_ns
from typing import Any

from blkrun.server.context import Context
from blkrun.server.qmp.dispatch import Command, NoArguments, arguments


def _stats(context: Context, args: NoArguments) -> dict[str, Any]:
    del args
    with context.graph.swapping:  # not the edits' lock: looking must not wait for a drain
        return {"now-ns": monotonic_ns(), **context.stats_report(context.graph)}


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="x-blkrun-stats",
        doc="All counters, depths, latencies and bucket levels, of every node and export.",
        parse=arguments(NoArguments),
        run=_stats,
    ),
)
