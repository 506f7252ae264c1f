"""``x-blkrun-stats``: every number of the graph in one cheap call.

Who has seen ``x-blkrun-query-graph`` since the last change need not look at it again: another
``revision`` or ``last-event`` says that something else than numbers may have changed.
"""

import os
from time import monotonic_ns
from typing import Any

from blkrun.server.connection import describe as describe_connection
from blkrun.server.context import Context
from blkrun.server.qmp.commands.queries import describe_job
from blkrun.server.qmp.dispatch import Command, NoArguments, arguments


def _stats(context: Context, args: NoArguments) -> dict[str, Any]:
    del args
    graph = context.graph
    last_event = context.events.number  # before the rest, which may be newer than it but not older
    with graph.swapping:  # not the edits' lock: looking must not wait for a drain
        return {
            "pid": os.getpid(),
            "now-ns": monotonic_ns(),
            "revision": graph.revision,
            "last-event": last_event,
            **context.stats_report(graph),
            "clients": {
                export.name: list(map(describe_connection, clients))
                for export, clients in graph.clients().items()
                if graph.exports.get(export.name) is export
            },
            "jobs": [describe_job(job) for job in graph.jobs.listing()],
        }


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="x-blkrun-stats",
        doc="All counters, depths, latencies and levels; clients and jobs; what changed last.",
        parse=arguments(NoArguments),
        run=_stats,
    ),
)
