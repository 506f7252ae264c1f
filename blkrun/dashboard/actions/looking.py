"""How the present is looked at: frozen or not, how often, and what the keys are."""

from collections.abc import Iterable, Mapping
from functools import partial

from textual.app import SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from blkrun.dashboard.actions.base import Acting
from blkrun.dashboard.dialogs.help_screen import HelpScreen, key_names
from blkrun.dashboard.keymap import remapped

REFRESH_STEPS_S = (0.2, 0.5, 1.0, 2.0, 5.0)


class Looking(Acting):
    """Nothing here changes anything but the screen."""

    def offered(self) -> Mapping[str, bool]:
        """Pause, or the way back."""
        paused = self.paused_at_s is not None
        return {
            **super().offered(),
            "pause": not paused,
            "resume": paused,
            "command_palette": not self.screen.is_modal,
        }

    def action_pause(self) -> None:
        """Freeze what is shown; looking and listening go on."""
        self._set_paused(self.feed.now_s())

    def action_resume(self) -> None:
        """The present, at once."""
        self._set_paused(None)

    def _set_paused(self, at_s: float | None) -> None:
        self.paused_at_s = at_s
        self.panels.events.paused = at_s is not None
        self.show()
        self.refresh_bindings()

    def action_follow(self) -> None:
        """Follow the newest events, or stop doing so."""
        self.panels.events.follow = not self.panels.events.follow

    def action_slower(self) -> None:
        """The next longer interval."""
        longer = (step for step in REFRESH_STEPS_S if step > self.feed.refresh_s)
        self._set_refresh(next(longer, REFRESH_STEPS_S[-1]))

    def action_faster(self) -> None:
        """The next shorter interval."""
        shorter = (step for step in reversed(REFRESH_STEPS_S) if step < self.feed.refresh_s)
        self._set_refresh(next(shorter, REFRESH_STEPS_S[0]))

    def _set_refresh(self, refresh_s: float) -> None:
        self.feed.set_refresh(refresh_s)
        self.show_status()

    def action_help(self) -> None:
        """Keys and columns."""
        self.push_screen(HelpScreen(self.settings.keys, read_only=self.desk.read_only))

    def _with_key(self, key: Binding) -> str:
        """``freeze what is shown · space``."""
        (mine,) = remapped([key], self.settings.keys)
        return f"{key.tooltip} · {key_names(mine)}"

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every key is in the palette too."""
        for key in self.keys:
            if self.offers(key.action):
                run = partial(self.run_action, key.action)
                yield SystemCommand(key.description, self._with_key(key), run)
        for command in super().get_system_commands(screen):
            if command.title == "Theme":
                yield command
