"""The app: hears the feed's reports, has the model make rows of them, hands them to the panels."""

import asyncio
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.containers import Grid
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer

from blkrun.dashboard.apply_screen import ApplyScreen
from blkrun.dashboard.arrange import LEAST_HEIGHT, LEAST_WIDTH, Arrangement, arrange
from blkrun.dashboard.feed import Feed, Happened, Lost, Report, Seen
from blkrun.dashboard.help_screen import HelpScreen
from blkrun.dashboard.keys import APP_KEYS
from blkrun.dashboard.model.edit import edit_rows, edit_title
from blkrun.dashboard.model.groups import group_rows
from blkrun.dashboard.model.jobs import JobCount, job_count, job_rows
from blkrun.dashboard.model.rates import NOTHING, Interval, interval
from blkrun.dashboard.model.record import Log
from blkrun.dashboard.model.snapshot import Snapshot
from blkrun.dashboard.model.status import Contact, State, Status, totals
from blkrun.dashboard.model.tree import graph_rows
from blkrun.dashboard.model.waiting import Waiting, waiting
from blkrun.dashboard.stop_screen import Answer, StopScreen
from blkrun.dashboard.theme import default_theme_path, load_theme, variable_defaults
from blkrun.dashboard.widgets.events import EventsPanel
from blkrun.dashboard.widgets.graph import GraphPanel
from blkrun.dashboard.widgets.groups import GroupsPanel
from blkrun.dashboard.widgets.header import Header
from blkrun.dashboard.widgets.jobs import JobsPanel
from blkrun.dashboard.widgets.last_edit import EditPanel
from blkrun.dashboard.widgets.panel import Panel
from blkrun.errors import BlkrunError
from blkrun.messages import at_stake

REFRESH_STEPS_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_CLOCK_TICK_S = 1.0
_YES_PATIENCE_S = 5.0
"""After a yes, until it is said what to do if there is no runner."""


class Reported(Message):
    """Something came from the feed."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report


class Dashboard(App[str]):
    """One server on one screen.  ``owner``: leaving may stop the server.  Gives stop or detach."""

    CSS_PATH = Path(__file__).with_name("blkrun.tcss")
    BINDINGS: ClassVar[list[BindingType]] = [*APP_KEYS]
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, feed: Feed, *, title: str, owner: bool) -> None:
        no_color = "NO_COLOR" in os.environ  # Textual takes it out of the environment
        super().__init__(ansi_color=no_color or None)  # decides how Textual leaves colours out
        self.title = title
        self._feed = feed
        self._owner = owner
        self._contact = Contact()
        self._why = ""
        self._snapshot: Snapshot | None = None
        self._rates: Interval = NOTHING
        self._shown: tuple[Snapshot, Interval] | None = None
        self._paused_at_s: float | None = None
        self._only: str | None = None
        self._plan: Arrangement | None = None
        self._records = Log()
        self._header = Header()
        self._graph = GraphPanel(id="graph")
        self._groups = GroupsPanel(id="groups")
        self._edit = EditPanel(id="edit")
        self._events = EventsPanel(id="events", log=self._records)
        self._jobs = JobsPanel(id="jobs")
        self._job_count: JobCount | None = None
        self._waiting: Waiting | None = None
        self._said_yes: tuple[Waiting, float] | None = None
        self._panels: tuple[Panel, ...] = (
            self._graph,
            self._groups,
            self._edit,
            self._events,
            self._jobs,
        )
        self._grid = Grid(*self._panels, id="panels")
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
        yield self._header
        yield self._grid
        yield Footer(show_command_palette=True)

    def on_mount(self) -> None:
        """Begin to look."""
        self._arrange()
        self._show_status()
        self._graph.focus()
        self.set_interval(_CLOCK_TICK_S, self._show_status)
        self.run_worker(self._feed.run(self._hear), name="feed", exit_on_error=True)

    def _hear(self, report: Report) -> None:
        self.post_message(Reported(report))

    # What comes in

    def on_reported(self, message: Reported) -> None:
        """From the feed."""
        match message.report:
            case Seen(snapshot, at_s):
                self._rates = interval(self._snapshot, snapshot)
                self._snapshot = snapshot
                self._note_waiting(snapshot)
                self._contact = Contact(last_s=at_s)
            case Happened(happened):
                self._records.add(happened)
                self._events.grown()
            case Lost(why):
                self._why = why
                self._contact = Contact(last_s=self._contact.last_s, lost_s=self._feed.now_s())
        self._show()

    # What is shown

    @property
    def _paused(self) -> bool:
        return self._paused_at_s is not None

    def _state(self) -> State:
        return self._contact.state(self._feed.now_s(), self._feed.refresh_s)

    def _show(self) -> None:
        if self._snapshot is not None and not self._paused:
            self._shown = (self._snapshot, self._rates)
            self._graph.show(graph_rows(self._snapshot, self._rates))
            self._groups.show(group_rows(self._snapshot, self._rates))
            reports = self._snapshot.reports
            report, drift = reports.get("config"), reports.get("drift")
            self._edit.show(edit_title(report, self._records.edited_at), edit_rows(report, drift))
            self._show_jobs(self._snapshot)
            self._arrange()
        self._show_status()

    def _show_jobs(self, snapshot: Snapshot) -> None:
        """Their panel comes with the first and goes with the last."""
        rows = job_rows(snapshot.jobs)
        before, self._job_count = self._job_count, job_count(rows) if rows else None
        self._jobs.show(rows)
        if (before is None) == (not rows):
            return
        if not rows and self._only == self._jobs.id:
            self._only = None
        self.refresh_bindings()

    def _note_waiting(self, snapshot: Snapshot) -> None:
        """An edit waits for a yes, or does not any more: then nobody is asked about it."""
        before, self._waiting = self._waiting, waiting(snapshot.reports.get("config"))
        if self._waiting == before:
            return
        self._said_yes = None
        self.refresh_bindings()
        if isinstance(self.screen, ApplyScreen):
            self.screen.dismiss("no")

    def _check_on_yes(self, now_s: float) -> None:
        """Nobody may have heard it."""
        if self._said_yes is None or now_s < self._said_yes[1] + _YES_PATIENCE_S:
            return
        (said, _), self._said_yes = self._said_yes, None
        self._advise(said, "it still waits; if no blkrun run keeps the file")

    def _advise(self, said: Waiting, why: str) -> None:
        text = f"{why}: {said.by_hand}"
        self.notify(text, title="Not applied", severity="warning", timeout=15, markup=False)

    def _show_status(self) -> None:
        """Also once a second: an age grows without any report."""
        self._check_on_yes(self._feed.now_s())
        now_s, state = self._feed.now_s(), self._state()
        status = Status(
            title=self.title,
            state=state,
            age_s=self._contact.age_s(now_s),
            refresh_s=self._feed.refresh_s,
            paused_s=None if self._paused_at_s is None else now_s - self._paused_at_s,
            jobs=None if self._is_placed("jobs") else self._job_count,
        )
        self._header.show(self._with_totals(status))
        self._graph.set_caption(self._graph.caption, self._hint(state))
        for panel in (self._graph, self._groups, self._jobs):
            panel.set_stale(stale=state in (State.OFFLINE, State.SILENT) or self._paused)

    def _hint(self, state: State) -> str:
        """What the graph's frame says besides its name."""
        if state is State.OFFLINE:
            return self._why
        if self._plan is not None and self._plan.cramped:
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

    # Where it is shown

    def on_resize(self, event: events.Resize) -> None:
        """Another terminal size."""
        self._arrange(event.size.width, event.size.height)
        self._show_status()

    def _arrange(self, width: int | None = None, height: int | None = None) -> None:
        width, height = width or self.size.width, height or self.size.height
        wanted = {str(panel.id): panel.wanted_height for panel in self._panels}
        wanted["jobs"] = self._jobs.height_at(width)
        plan = arrange(width, height, wanted, self._only)
        if plan == self._plan:
            return
        self._plan = plan
        self._grid.styles.grid_rows = " ".join(map(str, plan.heights))
        for panel in self._panels:
            panel.display = panel.id in plan.spans
            panel.styles.column_span = plan.spans.get(str(panel.id), 1)
        if isinstance(self.focused, Panel) and not self.focused.display:
            self.screen.set_focus(self._graph)

    def _is_placed(self, name: str) -> bool:
        return self._plan is not None and name in self._plan.spans

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Of two keys that undo each other only one is on offer, and jobs while there are any."""
        if parameters:
            action = f"{action}({parameters[0]!r})"  # as in the bindings
        offered = {
            "pause": not self._paused,
            "resume": self._paused,
            "maximise": self._only is None,
            "restore": self._only is not None,
            "pane('jobs')": self._job_count is not None,
            "apply": self._waiting is not None,
        }
        return offered.get(action, True)

    def action_pause(self) -> None:
        """Freeze what is shown; looking and listening go on."""
        self._paused_at_s = self._feed.now_s()
        self._changed_offer()

    def action_resume(self) -> None:
        """The present, at once."""
        self._paused_at_s = None
        self._changed_offer()

    def _changed_offer(self) -> None:
        self._show()
        self.refresh_bindings()

    def action_apply(self) -> None:
        """Ask, and if the answer is yes have the runner apply what waits."""
        if self._waiting is not None and not isinstance(self.screen, ApplyScreen):
            question = self._waiting
            self.push_screen(ApplyScreen(question), partial(self._answered_yes, question))

    def _answered_yes(self, question: Waiting, answer: str | None) -> None:
        if answer == "yes":
            self.run_worker(self._say_yes(question), name="yes", exit_on_error=True)

    async def _say_yes(self, question: Waiting) -> None:
        """To the text that was asked about: the runner does nothing if it is another by now."""
        try:
            await self._feed.ask_runner("apply", {"digest": question.digest})
        except BlkrunError as error:
            self._advise(question, f"{error}; say yes with")
        else:
            self._said_yes = (question, self._feed.now_s())

    def action_follow(self) -> None:
        """Follow the newest events, or stop doing so."""
        self._events.follow = not self._events.follow

    def action_pane(self, name: str) -> None:
        """Focus a panel; alone, if another one is maximised or the screen has no place for it."""
        if self._only is not None or not self._is_placed(name):
            self._only = name
            self._arrange()
            self._show_status()
            self.refresh_bindings()
        self.screen.set_focus(self._grid.get_widget_by_id(name))

    def action_maximise(self) -> None:
        """Only the focused panel."""
        focused = self.focused
        if isinstance(focused, Panel):
            self._only = focused.id
            self._arrange()
            self._show_status()
            self.refresh_bindings()

    def action_restore(self) -> None:
        """All panels."""
        self._only = None
        self._arrange()
        self._show_status()
        self.refresh_bindings()

    def action_slower(self) -> None:
        """The next longer interval."""
        longer = (step for step in REFRESH_STEPS_S if step > self._feed.refresh_s)
        self._set_refresh(next(longer, REFRESH_STEPS_S[-1]))

    def action_faster(self) -> None:
        """The next shorter interval."""
        shorter = (step for step in reversed(REFRESH_STEPS_S) if step < self._feed.refresh_s)
        self._set_refresh(next(shorter, REFRESH_STEPS_S[0]))

    def _set_refresh(self, refresh_s: float) -> None:
        self._feed.set_refresh(refresh_s)
        self._show_status()

    def action_help(self) -> None:
        """Keys and columns."""
        offered = (
            key for key in APP_KEYS if key.action != "apply" or self.check_action("apply", ())
        )
        self.push_screen(HelpScreen(offered))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every key is in the palette too."""
        for key in APP_KEYS:
            if self.check_action(key.action, ()):
                run = partial(self.run_action, key.action)
                yield SystemCommand(key.description, key.tooltip, run)
        for command in super().get_system_commands(screen):
            if command.title in ("Theme", "Screenshot"):
                yield command

    async def action_quit(self) -> None:
        """Leave; ask first when that would take disks from clients, or cancel jobs."""
        seen = self._snapshot
        stake = at_stake(seen.clients, seen.unfinished) if seen is not None else ""
        if not self._owner:
            self.exit("detach")
        elif not stake or self._state() is State.OFFLINE:
            self.exit("stop")
        elif not isinstance(self.screen, StopScreen):
            self.push_screen(StopScreen(stake), self._answered)

    def _answered(self, answer: Answer | None) -> None:
        if answer in ("stop", "detach"):
            self.exit(answer)


async def run(app: Dashboard, closing: asyncio.Event | None, *, headless: bool = False) -> str:
    """Run until the user leaves or ``closing`` is set; anything but a wish to stop is "detach"."""

    async def close() -> None:
        if closing is not None:
            await closing.wait()
            app.exit("detach")

    closer = asyncio.create_task(close())
    try:
        return await app.run_async(headless=headless) or "detach"
    finally:
        closer.cancel()
