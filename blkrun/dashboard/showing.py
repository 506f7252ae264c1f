"""What is known, made rows of by the model and handed to the panels that have a place."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf

from blkrun.dashboard.actions.arranging import Arranging
from blkrun.dashboard.actions.base import Desk
from blkrun.dashboard.arrange import LEAST_HEIGHT, LEAST_WIDTH
from blkrun.dashboard.feed import Feed
from blkrun.dashboard.model.board import Moment
from blkrun.dashboard.model.clients import client_rows
from blkrun.dashboard.model.config import config_view
from blkrun.dashboard.model.copying import find
from blkrun.dashboard.model.groups import group_rows
from blkrun.dashboard.model.inspect import inspect_view
from blkrun.dashboard.model.jobs import JobCount, job_count, job_rows
from blkrun.dashboard.model.notice import notice
from blkrun.dashboard.model.rates import Rate
from blkrun.dashboard.model.snapshot import Snapshot
from blkrun.dashboard.model.sparks import SPARK_S, with_spark
from blkrun.dashboard.model.status import State, Status, totals
from blkrun.dashboard.model.tree import graph_rows
from blkrun.dashboard.widgets.plots import PlotsPanel, PlotsView

Show = Callable[[Moment], None]

_ARRIVING_S = 6.0
"""What plots say of the present, a mean of the last while, is that of what was new."""

_SETTLED_S = 15.0
"""An axis shrinks that much after what needed it."""

_SECOND_BEGUN_S = 2.0
"""Bars of seconds go on moving that much longer than they go back."""


class Showing(Arranging):
    """A panel that nobody sees costs nothing; one that comes into sight is brought up to date."""

    _shown: Moment | None = None
    """What the panels show: the last look, or the one that was frozen."""
    job_count: JobCount | None = None
    replayed = False
    """Whether it is a recording that is shown."""

    def __init__(self, feed: Feed, desk: Desk, *, no_color: bool) -> None:
        super().__init__(feed, desk, no_color=no_color)
        self._given: dict[str, object] = {}
        """Panels → what that was made of which they were given last."""
        self._totals: tuple[int, tuple[Rate | None, int, int, int]] | None = None
        """With the number of the news that they are of."""

    def show(self) -> None:
        """All panels, unless they are frozen; then header and frames."""
        if self.paused_at_s is None:
            self._shown = self.board.moment or self._shown
        elif self._shown is not None and self._shown.history is self.board.history:
            self._shown = self._frozen(self._shown, self.paused_at_s)
        self._show_notice()
        self._show_panels()
        if self.arrange():
            self._show_panels()  # others are in sight now
        self.show_status()

    def _frozen(self, shown: Moment, at_s: float) -> Moment:
        """With the past as it was then: all of it can still be looked at."""
        at_s = at_s if self._state(at_s).is_absent else shown.at_s
        return replace(shown, history=shown.history.copy(), at_s=at_s)

    def _show_panels(self) -> None:
        if (shown := self._shown) is None:
            return
        self._show_jobs(shown.snapshot)
        self._show_all(shown)
        if self._leave_what_has_gone(shown.snapshot):
            self._show_all(shown)
            self.refresh_bindings()

    def _show_all(self, shown: Moment) -> None:
        for name, show in self._shows.items():
            made_of = self._made_of(name, shown)
            if self.is_placed(name) and self._given.get(name) != made_of:
                self._given[name] = made_of
                show(shown)

    def _made_of(self, name: str, shown: Moment) -> object:
        """What changes if the panel has something else to show."""
        match name:
            case "config":
                return shown.snapshot.reports, self.board.log.edited_at
            case "plots":
                return shown.news, self.plotted, self._plots_at(shown)
            case "graph":
                return shown.news, _graph_at(shown)
            case "node":
                return shown.news, self.subject
            case "clients" if shown.snapshot.clients:
                return shown.news, shown.at_s // 1  # how long each has been there
        return shown.news

    def _plots_at(self, shown: Moment) -> float:
        """The time to which plots have to be drawn: of what does not change, by whole columns."""
        plots, still_s = self.panels.plots, shown.at_s - shown.news_s
        if plots.cursor_s is not None or still_s < _ARRIVING_S:
            return shown.at_s
        if still_s < plots.span + _SETTLED_S:
            return shown.at_s // plots.column_s
        return inf

    def _leave_what_has_gone(self, snapshot: Snapshot) -> bool:
        """Select the row that is in its place; the plots go on showing its past."""
        told, there = self.told, self.subject
        if told is None or told == there or find(snapshot, told) is not None:
            return False
        if there is None or find(snapshot, there) is None:
            return False
        self.told = there
        return True

    @property
    def _shows(self) -> dict[str, Show]:
        panels = self.panels
        return {
            "graph": self._show_graph,
            "plots": self._show_plots,
            "groups": lambda shown: panels.groups.show(
                group_rows(shown.snapshot, shown.rates, shown.before)
            ),
            "config": lambda shown: self._show_config(shown.snapshot),
            "node": self._show_node,
            "clients": lambda shown: panels.clients.show(client_rows(shown.snapshot)),
        }

    def _show_graph(self, shown: Moment) -> None:
        finish = partial(with_spark, history=shown.history, symbols=self.panels.plots.symbols)
        self.panels.graph.show(graph_rows(shown.snapshot, shown.rates), finish)

    def _show_plots(self, shown: Moment) -> None:
        """Until the look; while nobody answers until now, with a gap that grows."""
        plots, now_s = self.panels.plots, self.feed.now_s()
        if self.plotted is None:
            return
        absent = self.paused_at_s is None and self._state(now_s).is_absent
        view = PlotsView(
            subject=self.plotted,
            series=shown.history.series(self.plotted, plots.span),
            now_s=now_s if absent else shown.at_s,
            gone=find(shown.snapshot, self.plotted) is None,
        )
        plots.show(view)

    def show_absence(self) -> None:
        """The plots, when there is no look that would bring them up to date."""
        absent = self._state(self.feed.now_s()).is_absent
        if absent and self._shown is not None and self.is_placed("plots"):
            self._show_plots(self._shown)

    def on_plots_panel_span_changed(self, _: PlotsPanel.SpanChanged) -> None:
        """Another span of the past."""
        if self._shown is not None:
            self._show_plots(self._shown)

    def _show_config(self, snapshot: Snapshot) -> None:
        file = str(self.desk.file or self.title)
        edited_at = self.board.log.edited_at
        self.panels.config.show(config_view(snapshot.reports, file=file, edited_at=edited_at))

    def _show_node(self, shown: Moment) -> None:
        exported = self.subject is not None and self.subject.kind == "export"
        uri = self.desk.uri_of(self.subject.name) if self.subject and exported else ""
        view = inspect_view(shown.snapshot, shown.rates, self.subject, before=shown.before, uri=uri)
        self.panels.node.show(view)

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
            key = "" if self.desk.read_only else self.key_text("edit.apply")
            self.notice.show(notice(self.board.snapshot.reports, self.board.waiting, key))

    # Header and frames

    def _state(self, now_s: float) -> State:
        return self.board.state(now_s, self.feed.refresh_s)

    def show_status(self) -> None:
        """What does not wait for a look, and is never frozen."""
        now_s = self.feed.now_s()
        state = self._state(now_s)
        status = Status(
            title=self.title,
            followed=self.board.snapshot is None or self.board.snapshot.runner != 0,
            state=state,
            age_s=0 if state is State.RUN else int(self.board.age_s(now_s)),
            refresh_s=self.feed.refresh_s,
            paused_s=None if self.paused_at_s is None else int(now_s - self.paused_at_s),
            jobs=None if self.is_placed("jobs") else self.job_count,
            doing=self.doing[-1] if self.doing else "",
            replayed=self.replayed,
        )
        self.header.show(self._with_totals(status))
        self.panels.graph.set_caption(self.panels.graph.caption, self._hint(state))
        stale = state.is_absent or self.paused_at_s is not None
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
        snapshot = self._shown.snapshot
        if self._totals is None or self._totals[0] != self._shown.news:
            self._totals = self._shown.news, totals(snapshot, self._shown.rates)
        rate, in_flight, held, clients = self._totals[1]
        return replace(
            status,
            uptime_s=snapshot.uptime_ns // 1_000_000_000,
            rate=rate,
            in_flight=in_flight,
            held=held,
            clients=clients,
        )


def _graph_at(shown: Moment) -> float:
    """The time to which sparks have to be drawn: of what does not change, by whole seconds."""
    still_s = shown.at_s - shown.news_s
    return shown.at_s // 1 if still_s < SPARK_S + _SECOND_BEGUN_S else inf
