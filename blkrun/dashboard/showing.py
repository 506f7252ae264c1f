"""What is known, made rows of by the model and handed to the panels that have a place."""

from collections.abc import Callable
from dataclasses import replace

from blkrun.dashboard.actions.arranging import Arranging
from blkrun.dashboard.arrange import LEAST_HEIGHT, LEAST_WIDTH
from blkrun.dashboard.model.clients import client_rows
from blkrun.dashboard.model.config import config_view
from blkrun.dashboard.model.groups import group_rows
from blkrun.dashboard.model.inspect import inspect_view
from blkrun.dashboard.model.jobs import JobCount, job_count, job_rows
from blkrun.dashboard.model.notice import notice
from blkrun.dashboard.model.rates import Interval
from blkrun.dashboard.model.snapshot import Snapshot
from blkrun.dashboard.model.status import State, Status, totals
from blkrun.dashboard.model.tree import graph_rows
from blkrun.dashboard.widgets.plots import PlotsPanel, PlotsView

Show = Callable[[Snapshot, Interval], None]


class Showing(Arranging):
    """A panel that nobody sees costs nothing; one that comes into sight is brought up to date."""

    _shown: tuple[Snapshot, Interval, float] | None = None
    """What the panels show: the last look, or the one that was frozen, and when that was."""
    job_count: JobCount | None = None

    def show(self) -> None:
        """All panels, unless they are frozen; then header and frames."""
        if self.board.snapshot is not None and self.paused_at_s is None:
            seen_s = self.board.seen_s or self.feed.now_s()
            self._shown = (self.board.snapshot, self.board.rates, seen_s)
        self._show_notice()
        self._show_panels()
        if self.arrange():
            self._show_panels()  # others are in sight now
        self.show_status()

    def _show_panels(self) -> None:
        if self._shown is None:
            return
        snapshot, rates, _ = self._shown
        self._show_jobs(snapshot)
        for name, show in self._shows.items():
            if self.is_placed(name):
                show(snapshot, rates)

    @property
    def _shows(self) -> dict[str, Show]:
        panels = self.panels
        return {
            "graph": lambda snapshot, rates: panels.graph.show(graph_rows(snapshot, rates)),
            "plots": lambda *_: self._show_plots(),
            "groups": lambda snapshot, rates: panels.groups.show(group_rows(snapshot, rates)),
            "config": lambda snapshot, _: self._show_config(snapshot),
            "node": self._show_node,
            "clients": lambda snapshot, _: panels.clients.show(client_rows(snapshot)),
        }

    def _show_plots(self) -> None:
        if self.subject is None or self._shown is None:
            return
        plots, at_s = self.panels.plots, self._shown[2]
        series = self.board.history.series(self.subject, plots.span)
        plots.show(PlotsView(subject=self.subject, series=series, now_s=at_s))

    def on_plots_panel_span_changed(self, _: PlotsPanel.SpanChanged) -> None:
        """Another span of the past."""
        self._show_plots()

    def _show_config(self, snapshot: Snapshot) -> None:
        file = str(self.desk.file or self.title)
        edited_at = self.board.log.edited_at
        self.panels.config.show(config_view(snapshot.reports, file=file, edited_at=edited_at))

    def _show_node(self, snapshot: Snapshot, rates: Interval) -> None:
        exported = self.subject is not None and self.subject.kind == "export"
        uri = self.desk.uri_of(self.subject.name) if self.subject and exported else ""
        self.panels.node.show(inspect_view(snapshot, rates, self.subject, uri=uri))

    def _show_jobs(self, snapshot: Snapshot) -> None:
        """Their panel comes with the first and goes with the last."""
        rows = job_rows(snapshot.jobs)
        before, self.job_count = self.job_count, job_count(rows) if rows else None
        self.panels.jobs.show(rows)
        if (before is None) == (not rows):
            return
        if not rows and self.only == self.panels.jobs.id:
            self.only = None
        self.refresh_bindings()

    def _show_notice(self) -> None:
        """Never frozen."""
        if self.board.snapshot is not None:
            self.notice.show(notice(self.board.snapshot.reports, self.board.waiting))

    # Header and frames

    def show_status(self) -> None:
        """What does not wait for a look, and is never frozen."""
        now_s = self.feed.now_s()
        state = self.board.state(now_s, self.feed.refresh_s)
        status = Status(
            title=self.title,
            followed=self.board.snapshot is None or self.board.snapshot.runner != 0,
            state=state,
            age_s=self.board.age_s(now_s),
            refresh_s=self.feed.refresh_s,
            paused_s=None if self.paused_at_s is None else now_s - self.paused_at_s,
            jobs=None if self.is_placed("jobs") else self.job_count,
        )
        self.header.show(self._with_totals(status))
        self.panels.graph.set_caption(self.panels.graph.caption, self._hint(state))
        stale = state in (State.OFFLINE, State.SILENT) or self.paused_at_s is not None
        for panel in self.panels.of_numbers:
            panel.set_stale(stale=stale)

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
        snapshot, rates, _ = self._shown
        rate, in_flight, held, clients = totals(snapshot, rates)
        return replace(
            status,
            uptime_ns=snapshot.uptime_ns,
            rate=rate,
            in_flight=in_flight,
            held=held,
            clients=clients,
        )
