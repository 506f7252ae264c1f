"""What is selected, in whichever panel: the plots, the inspector and the keys are about it."""

from collections.abc import Mapping

from blkrun.dashboard.actions.arranging import Arranging
from blkrun.dashboard.actions.copying import Copying
from blkrun.dashboard.dialogs.event_screen import EventScreen
from blkrun.dashboard.widgets.events import EventsPanel
from blkrun.dashboard.widgets.graph import GraphPanel
from blkrun.dashboard.widgets.groups import GroupsPanel
from blkrun.dashboard.widgets.notice import NoticeRow
from blkrun.dashboard.widgets.prompt import Prompt


class Selecting(Arranging, Copying):
    """Panels say what somebody points at; here it is decided what that means."""

    def offered(self) -> Mapping[str, bool]:
        """The graph's filter where the graph has the focus."""
        return {**super().offered(), "filter_graph": self.screen.focused is self.panels.graph}

    def _note_subject(self) -> None:
        if self.subject == self.told:
            return
        self.told = self.subject
        self.plotted = self.subject or self.plotted
        self.show()
        self.refresh_bindings()

    def on_graph_panel_selected(self, _: GraphPanel.Selected) -> None:
        """A row of the graph, unless it is a group that one points at."""
        self._follow(self.pointing)

    def on_groups_panel_selected(self, _: GroupsPanel.Selected) -> None:
        """A group, or a member of one."""
        self._follow(self.pointing)

    def on_descendant_focus(self) -> None:
        """Whoever goes to the groups means the group selected there."""
        focused = self.screen.focused
        if focused is self.panels.graph or focused is self.panels.groups:
            self._follow(self.pointing)

    def _follow(self, panel: GraphPanel | GroupsPanel) -> None:
        for each in (self.panels.graph, self.panels.groups):
            each.set_pointing(pointing=each is panel)
        self._note_subject()

    def on_graph_panel_opened(self, message: GraphPanel.Opened) -> None:
        """Everything about it, also when the plots were still about what has gone."""
        self._follow(self.panels.graph)
        self.plotted = message.subject
        self.action_pane("node")

    def on_events_panel_chosen(self, message: EventsPanel.Chosen) -> None:
        """The first thing of the event that the graph has."""
        if any(self.panels.graph.select_name(name) for name in message.names):
            self.action_pane("graph")
        else:
            self.tell("the graph has nothing that this event is about")

    def on_events_panel_opened(self, message: EventsPanel.Opened) -> None:
        """All that it says."""
        self.push_screen(EventScreen(message.record))

    def on_events_panel_copied(self, message: EventsPanel.Copied) -> None:
        """Its line."""
        self.copy(message.text, "the event")

    def on_notice_row_clicked(self, _: NoticeRow.Clicked) -> None:
        """The panel with all of it."""
        self.action_pane("config")

    def action_filter_graph(self) -> None:
        """Only rows with this in their name, driver or group, and what is above them."""
        graph = self.panels.graph

        def typed(text: str) -> None:
            graph.only = text

        def ended(kept: bool) -> None:  # noqa: FBT001 - an answer
            if not kept:
                graph.only = ""
            if self.screen.focused is prompt.input:
                self.screen.set_focus(graph)

        prompt = Prompt("/", graph.only, typed, ended, hint="name, driver or group")
        prompt.put(graph.region)
        self.screen.mount(prompt)
