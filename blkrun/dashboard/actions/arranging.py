"""Where the panels are: one alone, or all that have a place at the terminal's size."""

from collections.abc import Mapping

from textual import events

from blkrun.dashboard.actions.base import Acting
from blkrun.dashboard.arrange import Arrangement, arrange
from blkrun.dashboard.widgets.panel import Panel


class Arranging(Acting):
    """``only`` is the name of a maximised panel."""

    only: str | None = None
    plan: Arrangement | None = None

    def offered(self) -> Mapping[str, bool]:
        """Maximise, or the way back."""
        return {
            **super().offered(),
            "maximise": self.only is None,
            "restore": self.only is not None,
        }

    def on_resize(self, event: events.Resize) -> None:
        """Another terminal size."""
        self.arrange(event.size.width, event.size.height)
        self.show_status()

    def arrange(self, width: int | None = None, height: int | None = None) -> None:
        """Give every panel its place, if it has another one than now."""
        width, height = width or self.size.width, height or self.size.height
        wanted = {str(panel.id): panel.wanted_height for panel in self.panels}
        wanted["jobs"] = self.panels.jobs.height_at(width)
        plan = arrange(width, height, wanted, self.only)
        if plan == self.plan:
            return
        self.plan = plan
        self.grid.styles.grid_rows = " ".join(map(str, plan.heights))
        for panel in self.panels:
            panel.display = panel.id in plan.spans
            panel.styles.column_span = plan.spans.get(str(panel.id), 1)
        if isinstance(self.focused, Panel) and not self.focused.display:
            self.screen.set_focus(self.panels.graph)

    def is_placed(self, name: str) -> bool:
        """Whether a panel is on the screen."""
        return self.plan is not None and name in self.plan.spans

    def show_only(self, name: str | None) -> None:
        """One panel alone, or all."""
        self.only = name
        self.arrange()
        self.show_status()
        self.refresh_bindings()

    def action_pane(self, name: str) -> None:
        """Focus a panel; alone, if another one is maximised or the screen has no place for it."""
        if self.only is not None or not self.is_placed(name):
            self.show_only(name)
        self.screen.set_focus(self.panels.named(name))

    def action_maximise(self) -> None:
        """Only the focused panel."""
        if isinstance(self.focused, Panel):
            self.show_only(self.focused.id)

    def action_restore(self) -> None:
        """All panels."""
        self.show_only(None)
