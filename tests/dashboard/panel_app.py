"""An app for one panel: blkrun's style sheet and theme, and nothing else."""

from pathlib import Path

from textual.app import App

import blkrun.dashboard
from blkrun.dashboard.theme import default_theme_path, load_theme, variable_defaults


class BlkrunApp(App[None]):
    """Tests add what is in it."""

    CSS_PATH = Path(blkrun.dashboard.__file__).with_name("blkrun.tcss")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """For themes that are not blkrun's."""
        return variable_defaults(self.current_theme)

    def on_mount(self) -> None:
        """The theme."""
        path = default_theme_path()
        assert path is not None
        theme = load_theme(path)
        self.register_theme(theme)
        self.theme = theme.name
