"""One row that is there only while there is something to say in it."""

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from blkrun.dashboard.lines import TONES, fit
from blkrun.dashboard.model.notice import Notice


class NoticeRow(Widget):
    """``show`` a notice, or None to take the row away."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"tone--{tone}" for tone in TONES}

    class Clicked(Message):
        """Somebody wants to know more."""

    def __init__(self) -> None:
        super().__init__()
        self.notice: Notice | None = None
        self.display = False

    def show(self, notice: Notice | None) -> None:
        """Repainted only if it is another one."""
        if notice != self.notice:
            self.notice = notice
            self.display = notice is not None
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Textual's question."""
        if y or self.notice is None:
            return Strip.blank(self.size.width)
        style = self.get_component_rich_style(f"tone--{self.notice.tone}")
        return Strip([Segment(fit(f" ! {self.notice.text}", self.size.width), style)])

    def on_resize(self) -> None:
        """Another width."""
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Show what it is about."""
        event.stop()
        self.post_message(self.Clicked())
