"""Every key of the dashboard, once: footer, help, palette and key map are made from these."""

from textual.binding import Binding

APP_KEYS: tuple[Binding, ...] = (
    Binding("space", "pause", "Pause", id="feed.pause", tooltip="freeze what is shown"),
    Binding("space", "resume", "Resume", id="feed.resume", tooltip="show the present again"),
    Binding("a", "apply", "Apply", id="edit.apply", tooltip="say yes to the edit that waits"),
    Binding("f", "follow", "Follow", id="log.follow", tooltip="newest events: follow on or off"),
    Binding("m", "maximise", "Maximise", id="pane.maximise", tooltip="the focused panel alone"),
    Binding("m,escape", "restore", "Restore", id="pane.restore", tooltip="all panels again"),
    Binding(
        "less_than_sign",
        "slower",
        "Slower",
        id="feed.slower",
        tooltip="look less often, up to every 5 s",
        show=False,
        key_display="<",
    ),
    Binding(
        "greater_than_sign",
        "faster",
        "Faster",
        id="feed.faster",
        tooltip="look more often, down to every 0.2 s",
        show=False,
        key_display=">",
    ),
    Binding("1", "pane('graph')", "Graph", id="pane.graph", tooltip="focus it", show=False),
    Binding("2", "pane('groups')", "Groups", id="pane.groups", tooltip="focus it", show=False),
    Binding(
        "3", "pane('config')", "Configuration", id="pane.config", tooltip="focus it", show=False
    ),
    Binding("4", "pane('events')", "Events", id="pane.events", tooltip="focus it", show=False),
    Binding("J,5", "pane('jobs')", "Jobs", id="pane.jobs", tooltip="go to them, if there are any"),
    Binding(
        "question_mark", "help", "Help", id="help", tooltip="keys and columns", key_display="?"
    ),
    Binding("q,ctrl+c", "quit", "Quit", id="session.quit", tooltip="leave; asks if it matters"),
)

PANEL_KEYS: tuple[Binding, ...] = (
    Binding("up,k", "move(-1)", "Up", id="nav.up", tooltip="select the row above", show=False),
    Binding("down,j", "move(1)", "Down", id="nav.down", tooltip="the row below", show=False),
    Binding("pageup", "page(-1)", "Page up", id="nav.page-up", tooltip="a page up", show=False),
    Binding(
        "pagedown", "page(1)", "Page down", id="nav.page-down", tooltip="a page down", show=False
    ),
    Binding("home,g", "first", "First", id="nav.first", tooltip="the first row", show=False),
    Binding("end,G", "last", "Last", id="nav.last", tooltip="the last row", show=False),
)
