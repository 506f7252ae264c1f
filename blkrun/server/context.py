"""What QMP commands work on: one object made by the plugin and handed down."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.jobs.registry import Jobs
from blkrun.server.report import StatsReport


@dataclass(slots=True)
class Context:
    """``shutdown`` ends nbdkit; ``reports`` is the last thing the runner said, by kind."""

    graph: Graph
    events: Events
    shutdown: Callable[[], None]
    threads: int
    started_ns: int
    stats_report: StatsReport = field(default_factory=StatsReport)
    reports: dict[str, dict[str, Any] | None] = field(default_factory=dict)

    @property
    def jobs(self) -> Jobs:
        """The graph's, as its edits must know them."""
        return self.graph.jobs
