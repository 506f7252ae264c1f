"""The panels, once: a new one is a widget, a line here and its place in ``arrange``."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from blkrun.dashboard.model.record import Log
from blkrun.dashboard.widgets.clients import ClientsPanel
from blkrun.dashboard.widgets.config import ConfigPanel
from blkrun.dashboard.widgets.events import EventsPanel
from blkrun.dashboard.widgets.graph import GraphPanel
from blkrun.dashboard.widgets.groups import GroupsPanel
from blkrun.dashboard.widgets.jobs import JobsPanel
from blkrun.dashboard.widgets.node import NodePanel
from blkrun.dashboard.widgets.panel import Panel
from blkrun.dashboard.widgets.plots import PlotsPanel


@dataclass(frozen=True, slots=True, kw_only=True)
class Panels:
    """All of them, by name."""

    graph: GraphPanel = field(default_factory=lambda: GraphPanel(id="graph"))
    plots: PlotsPanel = field(default_factory=lambda: PlotsPanel(id="plots"))
    groups: GroupsPanel = field(default_factory=lambda: GroupsPanel(id="groups"))
    config: ConfigPanel = field(default_factory=lambda: ConfigPanel(id="config"))
    events: EventsPanel
    node: NodePanel = field(default_factory=lambda: NodePanel(id="node"))
    clients: ClientsPanel = field(default_factory=lambda: ClientsPanel(id="clients"))
    jobs: JobsPanel = field(default_factory=lambda: JobsPanel(id="jobs"))

    def __iter__(self) -> Iterator[Panel]:
        """In the order of the screen."""
        return (getattr(self, each.name) for each in fields(self))

    @property
    def of_numbers(self) -> tuple[Panel, ...]:
        """Those whose numbers are old when the server has gone."""
        return (self.graph, self.plots, self.groups, self.node, self.clients, self.jobs)

    def named(self, name: str) -> Panel:
        """By its id.  Raises AttributeError."""
        panel: Panel = getattr(self, name)
        return panel


def make_panels(log: Log) -> Panels:
    """New ones."""
    return Panels(events=EventsPanel(id="events", log=log))
