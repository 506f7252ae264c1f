"""The dashboard over a recording: a slider under the panels, and keys that move through time."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from blkrun.dashboard.actions.base import Desk
from blkrun.dashboard.app import Dashboard
from blkrun.dashboard.dialogs.asking import ByScreens
from blkrun.dashboard.keys import APP_KEYS
from blkrun.dashboard.keys_replay import REPLAY_KEYS
from blkrun.dashboard.model.playback import clock_text, typed_time
from blkrun.dashboard.playback import Playback
from blkrun.dashboard.player import Player
from blkrun.dashboard.widgets.key_bar import KeyBar
from blkrun.dashboard.widgets.timeline import Timeline

_NOT_HERE = dict.fromkeys(("pause", "resume", "slower", "faster"), False)
"""A recording stands still, and goes faster, by itself."""


class Replay(Dashboard):
    """Nothing can be changed in it."""

    BINDINGS: ClassVar[list[BindingType]] = [*REPLAY_KEYS]

    replayed = True

    def __init__(self, player: Player, title: str) -> None:
        super().__init__(player, Desk(title=title, read_only=True))
        self.playback = Playback(player)
        self.timeline = Timeline(id="timeline")
        self._was_playing = False

    @property
    def keys(self) -> Iterable[Binding]:
        """Those of the recording first."""
        return (*REPLAY_KEYS, *APP_KEYS)

    @property
    def bars(self) -> int:
        """The slider is one as well."""
        return super().bars + 1

    def compose(self) -> ComposeResult:
        """The slider above the footer."""
        for widget in super().compose():
            if isinstance(widget, KeyBar):
                yield self.timeline
            yield widget

    def offered(self) -> Mapping[str, bool]:
        """Play or pause."""
        return {**super().offered(), **_NOT_HERE, **self.playback.offered()}

    def show_status(self) -> None:
        """The slider, too; at its end it stands still by itself, and play is on offer again."""
        super().show_status()
        position = self.playback.position
        self.timeline.show(position)
        if position.playing != self._was_playing:
            self._was_playing = position.playing
            self.refresh_bindings()

    def action_replay(self, name: str) -> None:
        """One of the playback's verbs."""
        getattr(self.playback, name)()
        self._moved()

    def on_timeline_sought(self, message: Timeline.Sought) -> None:
        """A click or a drag on the slider."""
        self.playback.seek(message.at_s)
        self._moved()

    @work(name="go to")
    async def action_go_to_time(self) -> None:
        """A time that is typed."""
        position = self.playback.position

        def check(text: str) -> str:
            known = typed_time(text, position) is not None
            return "" if known else "a time as 12:04:31 or 12:04, or a distance as +30 or -1:30"

        title = f"Go to ({clock_text(position.first_s)} to {clock_text(position.last_s)})"
        text = await ByScreens(self).ask(title, clock_text(position.at_s), check)
        if text is not None:
            self.playback.go_to(text)
            self._moved()

    def _moved(self) -> None:
        self.show_status()
        self.refresh_bindings()
