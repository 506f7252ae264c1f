"""Every key of the app, once: footer, help, palette and key map are made from these.

Keys of one panel are in its own file; they come first while it has the focus.
"""

from textual.binding import Binding

LOOK_KEYS: tuple[Binding, ...] = (
    Binding("space", "pause", "Pause", id="feed.pause", tooltip="freeze what is shown"),
    Binding("space", "resume", "Resume", id="feed.resume", tooltip="show the present again"),
    Binding(
        "slash",
        "filter_graph",
        "Filter",
        id="graph.filter",
        tooltip="only rows of the graph with these letters",
        key_display="/",
    ),
    Binding(
        "f", "follow", "Follow", id="log.follow", tooltip="newest events on or off", show=False
    ),
    Binding("m", "maximise", "Zoom", id="pane.maximise", tooltip="the focused panel alone"),
    Binding("m,escape", "restore", "All panels", id="pane.restore", tooltip="all panels again"),
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
    Binding("2", "pane('plots')", "Plots", id="pane.plots", tooltip="focus them", show=False),
    Binding("3", "pane('groups')", "Groups", id="pane.groups", tooltip="focus them", show=False),
    Binding(
        "4", "pane('config')", "Configuration", id="pane.config", tooltip="focus it", show=False
    ),
    Binding("5", "pane('events')", "Events", id="pane.events", tooltip="focus them", show=False),
    Binding("6,J", "pane('jobs')", "Jobs", id="pane.jobs", tooltip="focus them, if there are any"),
    Binding("7", "pane('clients')", "Clients", id="pane.clients", tooltip="see them", show=False),
    Binding(
        "8", "pane('node')", "Node", id="pane.node", tooltip="all about the selected", show=False
    ),
)
"""Nothing but the screen changes."""

EDIT_KEYS: tuple[Binding, ...] = (
    Binding("a", "apply", "Apply", id="edit.apply", tooltip="say yes to the edit that waits"),
    Binding(
        "plus",
        "nudge('up')",
        "Raise",
        id="limit.up",
        tooltip="raise the selected limit by a step",
        key_display="+",
    ),
    Binding(
        "minus",
        "nudge('down')",
        "Lower",
        id="limit.down",
        tooltip="lower the selected limit by a step",
        show=False,
        key_display="-",
    ),
    Binding(
        "asterisk",
        "nudge('double')",
        "Double",
        id="limit.double",
        tooltip="twice the selected limit",
        show=False,
        key_display="*",
    ),
    Binding(
        "underscore",
        "nudge('halve')",
        "Halve",
        id="limit.halve",
        tooltip="half the selected limit",
        show=False,
        key_display="_",
    ),
    Binding(
        "equals_sign",
        "set_limit",
        "Set limit",
        id="limit.set",
        tooltip="write the selected limit",
        show=False,
        key_display="=",
    ),
    Binding("i", "insert", "Insert", id="filter.insert", tooltip="a filter above the selected"),
    Binding("d", "disable", "Disable", id="filter.disable", tooltip="switch the filter off"),
    Binding("E", "enable", "Enable", id="filter.enable", tooltip="switch a filter on again"),
    Binding("x,delete", "remove", "Remove", id="filter.remove", tooltip="take it out", show=False),
    Binding("s", "start_job", "Start job", id="job.start", tooltip="a job of the file"),
    Binding("c", "cancel_job", "Cancel job", id="job.cancel", tooltip="a job that runs"),
    Binding(
        "u", "undo", "Undo", id="edit.undo", tooltip="roll the file back by a change", show=False
    ),
    Binding(
        "R",
        "go_back",
        "Go back to",
        id="edit.back",
        tooltip="roll the file back to a change of a list",
        show=False,
    ),
    Binding(
        "e", "edit_file", "Edit", id="edit.file", tooltip="the file in $EDITOR, at the selected"
    ),
)
"""The file is edited: each shows first what it would do, and to whom."""

TAKE_KEYS: tuple[Binding, ...] = (
    Binding(
        "y", "copy_toml", "Copy TOML", id="copy.toml", tooltip="copy it as a table", show=False
    ),
    Binding("Y", "copy_qmp", "Copy QMP", id="copy.qmp", tooltip="copy it as a command", show=False),
    Binding(
        "U", "copy_uri", "Copy URI", id="copy.uri", tooltip="copy the export's address", show=False
    ),
    Binding(
        "S", "save_all", "Save", id="save.all", tooltip="save JSON, CSV and a picture", show=False
    ),
)
"""To the clipboard and to files."""

SESSION_KEYS: tuple[Binding, ...] = (
    Binding(
        "question_mark", "help", "Help", id="help", tooltip="keys and columns", key_display="?"
    ),
    Binding("q,ctrl+c", "quit", "Quit", id="session.quit", tooltip="leave; asks if it matters"),
)

APP_KEYS = (*LOOK_KEYS, *EDIT_KEYS, *TAKE_KEYS, *SESSION_KEYS)

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
"""In every panel."""
