"""Where the panels are: one alone, or all that have a place at the terminal's size."""

from collections.abc import Mapping

from textual import events
from textual.geometry import Size

from blkrun.dashboard.actions.base import Acting
from blkrun.dashboard.arrange import Arrangement, arrange
from blkrun.dashboard.widgets.panel import Panel


class Arranging(Acting):
    """``only`` is the name of a maximised panel."""

    only: str | None = None
    plan: Arrangement | None = None
    _resized: Size | None = None
    """The terminal's size, before the app knows that it is another one."""

    @property
    def bars(self) -> int:
        """Rows that are no panel's: header, footer, and the notice while there is one."""
        return 3 if self.notice.display else 2

    def offered(self) -> Mapping[str, bool]:
        """Maximise, or the way back."""
        return {
            **super().offered(),
            "maximise": self.only is None,
            "restore": self.only is not None,
        }

    def on_resize(self, event: events.Resize) -> None:
        """Another terminal size."""
        self._resized = event.size
        self.show()

    def arrange(self) -> bool:
        """Give every panel its place; whether it is another one than before."""
        width, height = self._resized or self.size
        wanted = {str(panel.id): panel.wanted_height for panel in self.panels}
        wanted["jobs"] = self.panels.jobs.height_at(width)
        plan = arrange(width, height, wanted, self.only, bars=self.bars)
        if plan == self.plan:
            return False
        self.plan = plan
        order = {name: place for place, name in enumerate(plan.spans)}
        self.grid.sort_children(key=lambda panel: order.get(str(panel.id), len(order)))
        self.grid.styles.grid_rows = " ".join(map(str, plan.heights))
        for panel in self.panels:
            panel.display = panel.id in plan.spans
            panel.styles.column_span = plan.spans.get(str(panel.id), 1)
        if isinstance(self.focused, Panel) and not self.focused.display:
            self.screen.set_focus(self.panels.named(self.only or "graph"))
        return True

    def is_placed(self, name: str) -> bool:
        """Whether a panel is on the screen."""
        return self.plan is not None and name in self.plan.spans

    def show_only(self, name: str | None) -> None:
        """One panel alone, or all."""
        self.only = name
        self.arrange()
        self.show()
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

    def on_panel_zoomed(self, message: Panel.Zoomed) -> None:
        """By the mouse: alone, or all again."""
        self.show_only(None if self.only is not None else message.name)
