"""Which theme the app has: chosen at the start, then kept as its file is edited."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from textual.app import App
from textual.notifications import SeverityLevel

from blkrun.dashboard.own_files import shown
from blkrun.dashboard.theme import DEFAULT, TERMINAL, theme_folders
from blkrun.dashboard.theme_file import WITHOUT_COLOURS
from blkrun.dashboard.theme_watch import ThemeWatch

_FEW_COLOURS = ("standard", "windows")

Tell = Callable[[str, SeverityLevel], None]


def colour_system() -> str | None:
    """What the terminal can show, in Rich's words; None where there is no terminal."""
    return Console(file=sys.__stdout__).color_system


class Theming:
    """Registers every theme with the app; ``tell`` is for what is wrong with them."""

    def __init__(self, app: App[Any], tell: Tell, *, folders: Sequence[Path] | None = None) -> None:
        self._app = app
        self._tell = tell
        self._watch = ThemeWatch(theme_folders() if folders is None else folders)
        self._untold = list(self._watch.errors.values())
        for theme in self._watch.themes.values():
            app.register_theme(theme)

    @property
    def names(self) -> frozenset[str]:
        """What settings may name: also a theme whose file is wrong, as that is told for itself."""
        return frozenset({*self._app.available_themes, *(path.stem for path in self._watch.errors)})

    def choose(
        self, wanted: str | None = None, *, no_color: bool, colour_system: str | None
    ) -> None:
        """What the settings want, if it is there, else what the terminal can show.

        Only Textual's own ANSI theme is shown without colours, which NO_COLOR asks for.
        """
        if no_color:
            self._app.theme = WITHOUT_COLOURS
            return
        fitting = TERMINAL if colour_system in _FEW_COLOURS else DEFAULT
        for name in (wanted, fitting):
            if name is not None and name in self._app.available_themes:
                self._app.theme = name
                return

    def tick(self) -> None:
        """Once a second while the app runs: show what was edited, tell what is wrong."""
        changes = self._watch.look()
        for theme in changes.themes.values():
            self._app.register_theme(theme)
        if self._app.theme in changes.themes:
            self._app.mutate_reactive(App.theme)
        for name in changes.gone - {self._app.theme}:
            self._app.unregister_theme(name)
        errors, self._untold = [*self._untold, *changes.errors], []
        for text in errors:
            self._tell(text, "error")
        for path in changes.mended:
            self._tell(f"{shown(path)}: right again", "information")
