"""What every action may use: the feed, what is known, the panels, and how to tell the user."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from textual.app import App
from textual.binding import Binding
from textual.containers import Grid
from textual.notifications import SeverityLevel

from blkrun.dashboard import defects
from blkrun.dashboard.editor import Editor
from blkrun.dashboard.feed import Feed
from blkrun.dashboard.keymap import remapped
from blkrun.dashboard.keys import APP_KEYS
from blkrun.dashboard.lines import clean
from blkrun.dashboard.model.board import Board
from blkrun.dashboard.model.subject import Subject
from blkrun.dashboard.panels import make_panels
from blkrun.dashboard.settings import Settings
from blkrun.dashboard.widgets.graph import GraphPanel
from blkrun.dashboard.widgets.groups import GroupsPanel
from blkrun.dashboard.widgets.header import Header
from blkrun.dashboard.widgets.notice import NoticeRow

EDITING = "EDITING…"


def _no_uri(name: str) -> str:
    del name
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Whose dashboard it is and what may be done from it.

    ``owner``: leaving may stop the server.  ``read_only``: a yes cannot be given here; without
    ``editor`` nothing can be changed, without ``file`` there is none to open.  ``uri_of``:
    where clients find an export, or "".
    """

    title: str
    owner: bool = False
    read_only: bool = False
    file: Path | None = None
    editor: Editor | None = None
    uri_of: Callable[[str], str] = _no_uri


class Acting(App[str]):
    """The app without its actions.  Gives stop or detach."""

    def __init__(self, feed: Feed, desk: Desk, *, no_color: bool) -> None:
        super().__init__(ansi_color=no_color or None)  # decides how Textual leaves colours out
        self.title = desk.title
        self.feed = feed
        self.desk = desk
        self.settings = Settings()
        self.told: Subject | None = None
        """What was selected when everybody was told last."""
        self.plotted: Subject | None = None
        self.board = Board()
        self.header = Header()
        self.notice = NoticeRow()
        self.panels = make_panels(self.board.log)
        self.grid = Grid(*self.panels, id="panels")
        self.paused_at_s: float | None = None
        self.last_words = ""
        """For the terminal, when it is the shell's again."""
        self._were_offered: dict[str, bool] = {}
        self.doing: list[str] = []
        """What is under way, for the header; ``EDITING`` while the file is being changed."""

    @property
    def pointing(self) -> GraphPanel | GroupsPanel:
        """The one of the two that has, or was the last to have, the focus."""
        graph, groups = self.panels.graph, self.panels.groups
        focused = self.screen_stack[0].focused if self.screen_stack else None
        if focused is groups or (groups.pointing and focused is not graph):
            return groups
        return graph

    @property
    def subject(self) -> Subject | None:
        """What is selected there, at this instant.

        A key that comes right after another one is about what that has selected.
        """
        return self.pointing.selected

    @property
    def keys(self) -> Iterable[Binding]:
        """Of the app, in the order of the palette."""
        return APP_KEYS

    def offered(self) -> Mapping[str, bool]:
        """Actions that are not always on offer → whether they are now.  Parts add theirs."""
        return {}

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Of two keys that undo each other only one is on offer, and none that would do nothing."""
        if parameters:
            action = f"{action}({parameters[0]!r})"  # as in the bindings
        return self.offered().get(action, True)

    def note_offered(self) -> None:
        """What the server or the file is like by now may have changed it."""
        now = dict(self.offered())
        if now != self._were_offered:
            self._were_offered = now
            self.refresh_bindings()

    def offers(self, action: str) -> bool:
        """Whether an action, written as in the bindings, would do something now."""
        return self.offered().get(action, True)

    def key_text(self, name: str) -> str:
        """What to press for an action of the app, by its id: other than usual in the settings."""
        (binding,) = remapped([key for key in APP_KEYS if key.id == name], self.settings.keys)
        return self.get_key_display(replace(binding, key=binding.key.partition(",")[0]))

    def edited(self) -> None:
        """An edit has ended, however.  Parts add what they have waited for it with."""

    def tick(self, now_s: float) -> None:
        """Once a second, and at every report.  Parts add theirs."""

    def show(self) -> None:
        """Bring the panels to what is known, unless what is shown is frozen."""
        raise NotImplementedError

    def show_status(self) -> None:
        """Bring header and frames to what is known."""
        raise NotImplementedError

    def tell(self, text: str, *, title: str = "", severity: SeverityLevel = "information") -> None:
        """A word at the screen's edge; the longer and the worse, the longer it stays.

        Never read as markup.
        """
        timeout_s = (4 if "\n" not in text else 8) if severity == "information" else 15
        self._notify(text, title, severity, timeout_s)

    def tell_of_files(self, text: str, severity: SeverityLevel) -> None:
        """Of the user's own files, which may be wrong: it stays until it is clicked away."""
        self._notify(text, "Your files", severity, 60)

    def _notify(self, text: str, title: str, severity: SeverityLevel, timeout_s: float) -> None:
        """Names in it are nobody's markup, and no escapes of the terminal."""
        shown = "\n".join(map(clean, text.splitlines()))
        self.notify(shown, title=clean(title), severity=severity, timeout=timeout_s, markup=False)

    def _fatal_error(self) -> None:
        """Textual would print a traceback with the values of all variables at the user."""
        if self._exception is None:
            super()._fatal_error()
            return
        if isinstance(self._exception, BrokenPipeError):  # whoever showed it has gone: no defect
            self.panic()
            return
        why = defects.told(self._exception)
        self.last_words = f"blkrun: the dashboard has ended by {why}; the disks stay served"
        self.panic()
