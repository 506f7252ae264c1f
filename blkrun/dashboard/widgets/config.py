"""The configuration: is the file in force, what waits or is wrong, what its last edit did."""

from collections.abc import Sequence

from blkrun.dashboard.lines import Line, Span, fit_left, line, wrap
from blkrun.dashboard.model.config import ConfigRow, ConfigView
from blkrun.dashboard.widgets.panel import LinesPanel


def config_lines(rows: Sequence[ConfigRow], width: int) -> list[Line]:
    """Sentences are wrapped; excerpts with carets stay as they came; of a path the end stays."""
    lines: list[Line] = []
    for number, row in enumerate(rows):
        for part, text in enumerate(_texts(row, width)):
            lines.append(line(f"{number}.{part}", width, Span(text, row.tone)))
    return lines


def _texts(row: ConfigRow, width: int) -> list[str]:
    if row.path:
        return [fit_left(row.text, width)]
    return [row.text] if row.verbatim else wrap(row.text, width)


class ConfigPanel(LinesPanel):
    """The runner's reports about the file."""

    TITLE = "Configuration"
    NUMBER = "4"

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._view = ConfigView()

    def show(self, view: ConfigView) -> None:
        """What the runner says now; something new is shown from its first line."""
        if view == self._view and self.lines:
            return
        before, self._view = self._view, view
        self.set_caption(f"{self.caption} · {view.title}" if view.title else self.caption)
        if view.rows != before.rows or not self.lines:
            self.cursor = 0
            self.scroll_to(y=0, animate=False)
            self.update_lines()

    def make_lines(self, width: int) -> list[Line]:
        """The reports."""
        return config_lines(self._view.rows, width)
