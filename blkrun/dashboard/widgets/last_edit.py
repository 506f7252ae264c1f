"""What the last edit of the file did, or why it did nothing."""

from collections.abc import Sequence

from blkrun.dashboard.lines import Line, Span, line, wrap
from blkrun.dashboard.model.edit import EditRow
from blkrun.dashboard.widgets.panel import LinesPanel


def edit_lines(rows: Sequence[EditRow], width: int) -> list[Line]:
    """Sentences are wrapped; excerpts with carets stay as they came."""
    lines: list[Line] = []
    for number, row in enumerate(rows):
        texts = [row.text] if row.verbatim else wrap(row.text, width)
        for part, text in enumerate(texts):
            lines.append(line(f"{number}.{part}", width, Span(text, row.tone)))
    return lines


class EditPanel(LinesPanel):
    """The runner's last report about the file."""

    TITLE = "Last edit"
    NUMBER = "3"

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._rows: Sequence[EditRow] = ()

    def show(self, title: str, rows: Sequence[EditRow]) -> None:
        """A report; a new one is shown from its first line."""
        self.set_caption(f"{self.caption} · {title}" if title else self.caption)
        if rows != self._rows:
            self._rows = rows
            self.cursor = 0
            self.scroll_to(y=0, animate=False)
            self.update_lines()

    def make_lines(self, width: int) -> list[Line]:
        """The report."""
        return edit_lines(self._rows, width)
