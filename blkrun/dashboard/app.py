"""The app: hears the feed's reports, has the model make rows of them, hands them to the panels.

What keys do is in ``actions``, one file a subject; this is what it is put together from them.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Footer

from blkrun.dashboard.actions.applying import Applying
from blkrun.dashboard.actions.arranging import Arranging
from blkrun.dashboard.actions.base import Desk
from blkrun.dashboard.actions.leaving import Leaving
from blkrun.dashboard.actions.looking import Looking
from blkrun.dashboard.arrange import LEAST_HEIGHT, LEAST_WIDTH
from blkrun.dashboard.feed import Feed, Happened, Report
from blkrun.dashboard.keys import APP_KEYS
from blkrun.dashboard.model.config import config_view
from blkrun.dashboard.model.groups import group_rows
from blkrun.dashboard.model.jobs import JobCount, job_count, job_rows
from blkrun.dashboard.model.rates import Interval
from blkrun.dashboard.model.snapshot import Snapshot
from blkrun.dashboard.model.status import State, Status, totals
from blkrun.dashboard.model.tree import graph_rows
from blkrun.dashboard.theme import default_theme_path, load_theme, variable_defaults

_TICK_S = 1.0


class Reported(Message):
    """Something came from the feed."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report


class Dashboard(Arranging, Looking, Applying, Leaving):
    """One server on one screen."""

    CSS_PATH = Path(__file__).with_name("blkrun.tcss")
    BINDINGS: ClassVar[list[BindingType]] = [*APP_KEYS]
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, feed: Feed, desk: Desk) -> None:
        no_color = "NO_COLOR" in os.environ  # Textual takes it out of the environment
        super().__init__(feed, desk, no_color=no_color)
        self._shown: tuple[Snapshot, Interval] | None = None
        self._job_count: JobCount | None = None
        self._choose_theme(no_color=no_color)

    def _choose_theme(self, *, no_color: bool) -> None:
        """An ANSI theme is the only one that Textual shows without colours."""
        path = default_theme_path()
        if path is not None:
            theme = load_theme(path)
            self.register_theme(theme)
            self.theme = theme.name
        if no_color:
            self.theme = "ansi-dark"

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """For themes that are not blkrun's."""
        return variable_defaults(self.current_theme)

    def compose(self) -> ComposeResult:
        """Header, panels, footer."""
        yield self.header
        yield self.grid
        yield Footer(show_command_palette=True)

    def on_mount(self) -> None:
        """Begin to look."""
        self.arrange()
        self.show_status()
        self.panels.graph.focus()
        self.set_interval(_TICK_S, self._tick)
        self.run_worker(self.feed.run(self._hear), name="feed", exit_on_error=True)

    def _hear(self, report: Report) -> None:
        self.post_message(Reported(report))

    def on_reported(self, message: Reported) -> None:
        """From the feed."""
        now_s = self.feed.now_s()
        self.board.fold(message.report, now_s)
        if isinstance(message.report, Happened):
            self.panels.events.grown()
        self.note_waiting()
        self.tick(now_s)
        self.show()

    def _tick(self) -> None:
        """An age grows without any report."""
        self.tick(self.feed.now_s())
        self.show_status()

    def offered(self) -> Mapping[str, bool]:
        """Jobs while there are any."""
        return {**super().offered(), "pane('jobs')": self._job_count is not None}

    # What is shown

    def show(self) -> None:
        """All panels, unless they are frozen; then header and frames."""
        if self.board.snapshot is not None and self.paused_at_s is None:
            self._shown = (self.board.snapshot, self.board.rates)
            self._show_panels(*self._shown)
            self.arrange()
        self.show_status()

    def _show_panels(self, snapshot: Snapshot, rates: Interval) -> None:
        panels, edited_at = self.panels, self.board.log.edited_at
        panels.graph.show(graph_rows(snapshot, rates))
        panels.groups.show(group_rows(snapshot, rates))
        panels.config.show(config_view(snapshot.reports, file=self.title, edited_at=edited_at))
        self._show_jobs(snapshot)

    def _show_jobs(self, snapshot: Snapshot) -> None:
        """Their panel comes with the first and goes with the last."""
        rows = job_rows(snapshot.jobs)
        before, self._job_count = self._job_count, job_count(rows) if rows else None
        self.panels.jobs.show(rows)
        if (before is None) == (not rows):
            return
        if not rows and self.only == self.panels.jobs.id:
            self.only = None
        self.refresh_bindings()

    def show_status(self) -> None:
        """What does not wait for a look, and is never frozen."""
        now_s = self.feed.now_s()
        state = self.board.state(now_s, self.feed.refresh_s)
        status = Status(
            title=self.title,
            state=state,
            age_s=self.board.age_s(now_s),
            refresh_s=self.feed.refresh_s,
            paused_s=None if self.paused_at_s is None else now_s - self.paused_at_s,
            jobs=None if self.is_placed("jobs") else self._job_count,
        )
        self.header.show(self._with_totals(status))
        self.panels.graph.set_caption(self.panels.graph.caption, self._hint(state))
        gone = state in (State.OFFLINE, State.SILENT)
        for panel in (self.panels.graph, self.panels.groups, self.panels.jobs):
            panel.set_stale(stale=gone or self.paused_at_s is not None)

    def _hint(self, state: State) -> str:
        """What the graph's frame says besides its name."""
        if state is State.OFFLINE:
            return self.board.why_lost
        if self.plan is not None and self.plan.cramped:
            return f"all panels from {LEAST_WIDTH} by {LEAST_HEIGHT} on"
        return ""

    def _with_totals(self, status: Status) -> Status:
        if self._shown is None:
            return status
        snapshot, rates = self._shown
        rate, in_flight, held, clients = totals(snapshot, rates)
        return replace(
            status,
            uptime_ns=snapshot.uptime_ns,
            rate=rate,
            in_flight=in_flight,
            held=held,
            clients=clients,
        )
