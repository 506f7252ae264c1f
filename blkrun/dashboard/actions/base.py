"""What every action may use: the feed, what is known, the panels, and how to tell the user."""

from collections.abc import Mapping

from textual.app import App
from textual.containers import Grid
from textual.notifications import SeverityLevel

from blkrun.dashboard.feed import Feed
from blkrun.dashboard.model.board import Board
from blkrun.dashboard.panels import make_panels
from blkrun.dashboard.widgets.header import Header


class Acting(App[str]):
    """The app without its actions.  Gives stop or detach."""

    def __init__(self, feed: Feed, *, title: str, owner: bool, no_color: bool) -> None:
        super().__init__(ansi_color=no_color or None)  # decides how Textual leaves colours out
        self.title = title
        self.feed = feed
        self.owner = owner
        self.board = Board()
        self.header = Header()
        self.panels = make_panels(self.board.log)
        self.grid = Grid(*self.panels, id="panels")
        self.paused_at_s: float | None = None

    def offered(self) -> Mapping[str, bool]:
        """Actions that are not always on offer → whether they are now.  Parts add theirs."""
        return {}

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Of two keys that undo each other only one is on offer, and none that would do nothing."""
        if parameters:
            action = f"{action}({parameters[0]!r})"  # as in the bindings
        return self.offered().get(action, True)

    def tick(self, now_s: float) -> None:
        """Once a second, and at every report.  Parts add theirs."""

    def show(self) -> None:
        """Bring the panels to what is known, unless what is shown is frozen."""
        raise NotImplementedError

    def show_status(self) -> None:
        """Bring header and frames to what is known."""
        raise NotImplementedError

    def tell(self, text: str, *, title: str = "", severity: SeverityLevel = "information") -> None:
        """A word at the screen's edge; warnings and errors stay longer.  Never read as markup."""
        timeout = 4 if severity == "information" else 15
        self.notify(text, title=title, severity=severity, timeout=timeout, markup=False)
