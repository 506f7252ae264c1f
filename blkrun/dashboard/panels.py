"""The panels, once: a new one is a widget, a line here and its place in ``arrange``."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from blkrun.dashboard.model.record import Log
from blkrun.dashboard.widgets.config import ConfigPanel
from blkrun.dashboard.widgets.events import EventsPanel
from blkrun.dashboard.widgets.graph import GraphPanel
from blkrun.dashboard.widgets.groups import GroupsPanel
from blkrun.dashboard.widgets.jobs import JobsPanel
from blkrun.dashboard.widgets.panel import Panel


@dataclass(frozen=True, slots=True, kw_only=True)
class Panels:
    """All of them, by name."""

    graph: GraphPanel = field(default_factory=lambda: GraphPanel(id="graph"))
    groups: GroupsPanel = field(default_factory=lambda: GroupsPanel(id="groups"))
    config: ConfigPanel = field(default_factory=lambda: ConfigPanel(id="config"))
    events: EventsPanel
    jobs: JobsPanel = field(default_factory=lambda: JobsPanel(id="jobs"))

    def __iter__(self) -> Iterator[Panel]:
        """In the order of the screen."""
        return (getattr(self, each.name) for each in fields(self))

    def named(self, name: str) -> Panel:
        """By its id.  Raises AttributeError."""
        panel: Panel = getattr(self, name)
        return panel


def make_panels(log: Log) -> Panels:
    """New ones."""
    return Panels(events=EventsPanel(id="events", log=log))
