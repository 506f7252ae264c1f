"""The app: hears the feed's reports, folds them into what is known, has it shown.

What keys do is in ``actions``, one file a subject; what is shown, in ``showing``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message

from blkrun.dashboard.actions.applying import Applying
from blkrun.dashboard.actions.base import Desk
from blkrun.dashboard.actions.editing import Editing
from blkrun.dashboard.actions.filters import Filters
from blkrun.dashboard.actions.jobs import Jobs
from blkrun.dashboard.actions.leaving import Leaving
from blkrun.dashboard.actions.limits import Limits
from blkrun.dashboard.actions.looking import Looking
from blkrun.dashboard.actions.selecting import Selecting
from blkrun.dashboard.feed import Feed, Happened, Report, Rewound
from blkrun.dashboard.keyboard import ALL, ALWAYS, ELSEWHERE
from blkrun.dashboard.keymap import keymap
from blkrun.dashboard.keys import APP_KEYS
from blkrun.dashboard.settings import read_settings, settings_path
from blkrun.dashboard.showing import Showing
from blkrun.dashboard.symbols import symbols_for
from blkrun.dashboard.theme import variable_defaults
from blkrun.dashboard.theming import Theming, colour_system
from blkrun.dashboard.widgets.key_bar import KeyBar

_TICK_S = 1.0


class Reported(Message):
    """Something came from the feed."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report


class Dashboard(Showing, Selecting, Looking, Applying, Limits, Filters, Jobs, Editing, Leaving):
    """One server on one screen."""

    CSS_PATH = Path(__file__).with_name("blkrun.tcss")
    BINDINGS: ClassVar[list[BindingType]] = [*APP_KEYS]
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, feed: Feed, desk: Desk) -> None:
        no_color = "NO_COLOR" in os.environ  # Textual takes it out of the environment
        super().__init__(feed, desk, no_color=no_color)
        self._theming = Theming(self, self.tell_of_files)
        settings, self._wrong_settings = read_settings(
            settings_path(), self._theming.names, ALWAYS, *ELSEWHERE.values()
        )
        self.settings = settings
        self._theming.choose(settings.theme, no_color=no_color, colour_system=colour_system())
        self.set_keymap(keymap(settings.keys, ALL))
        self.panels.plots.symbols = symbols_for(settings.symbols, os.environ)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """For themes that are not blkrun's."""
        return variable_defaults(self.current_theme)

    def compose(self) -> ComposeResult:
        """Header, notice, panels, footer."""
        yield self.header
        yield self.notice
        yield self.grid
        yield KeyBar()

    def on_mount(self) -> None:
        """Begin to look."""
        self.show()
        self.panels.graph.focus()
        if self._wrong_settings:
            self.tell_of_files(self._wrong_settings, "error")
        self.set_interval(_TICK_S, self._tick)
        self.run_worker(self.feed.run(self._hear), name="feed", exit_on_error=True)

    def _hear(self, report: Report) -> None:
        self.post_message(Reported(report))

    def on_reported(self, message: Reported) -> None:
        """From the feed."""
        now_s = self.feed.now_s()
        self.board.fold(message.report, now_s)
        if isinstance(message.report, Happened | Rewound):
            self.panels.events.grown()
        self.note_waiting()
        self.tick(now_s)
        self.show()
        self.note_offered()

    def _tick(self) -> None:
        """An age grows without any report, and files are edited."""
        self.tick(self.feed.now_s())
        self._theming.tick()
        self.show_absence()
        self.show_status()

    def offered(self) -> Mapping[str, bool]:
        """Jobs while there are any."""
        return {**super().offered(), "pane('jobs')": self.job_count is not None}
