"""The event log.  Following stays off while somebody reads further up.

The view and the selected row hang on a record's number, so that neither new records nor the
dropping of old ones moves what is being read.
"""

from textual.reactive import var

from blkrun.dashboard.lines import Line, Span, Tone, fit, line
from blkrun.dashboard.model.record import Log, Record
from blkrun.dashboard.widgets.panel import Panel
from blkrun.messages import Level

_TONES: dict[Level, Tone] = {
    Level.INFO: "dim",
    Level.GOOD: "good",
    Level.WARNING: "warn",
    Level.ERROR: "bad",
}
_MILLISECONDS_LEAST = 70


def record_line(record: Record, width: int) -> Line:
    """Time, level word, text, in exactly ``width`` cells."""
    time = record.time if width >= _MILLISECONDS_LEAST else record.time.partition(".")[0]
    text_tone: Tone = "bad" if record.level is Level.ERROR else "plain"
    return line(
        str(record.number),
        width,
        Span(f"{time} ", "dim"),
        Span(fit(record.level.value, 6), _TONES[record.level]),
        Span(record.text, text_tone),
    )


class EventsPanel(Panel):
    """All that happened, as far as it is kept."""

    TITLE = "Events"
    NUMBER = "4"
    follow = var(default=True)

    def __init__(self, *, id: str, log: Log) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._log = log
        self._first = 0
        self._seen = 0

    @property
    def row_count(self) -> int:
        """Records kept."""
        return len(self._log)

    def row_line(self, index: int, width: int) -> Line:
        """A record."""
        return record_line(self._log[index], width)

    def grown(self) -> None:
        """The log has new records."""
        dropped, self._first = self._log.first - self._first, self._log.first
        self.fit_content()
        if self.follow:
            self._to_end()
        else:
            self.cursor = max(self.cursor - dropped, 0)
            if dropped:
                self.scroll_to(y=max(self.scroll_offset.y - dropped, 0), animate=False)
        self._say()
        self.refresh()

    def on_resize(self) -> None:
        """Stay at the end, or at what is being read."""
        super().on_resize()
        if self.follow:
            self._to_end()

    def _to_end(self) -> None:
        self.cursor = max(self.row_count - 1, 0)
        self.scroll_end(animate=False)  # after the next layout, which knows the new height
        self._seen = self._log.first + self.row_count

    def _say(self) -> None:
        unread = self._log.first + self.row_count - self._seen
        news = f" · {unread} new" if unread else ""
        dropped = f" · {self._log.first} dropped" if self._log.first else ""
        state = "following" if self.follow else f"follow off{news}"
        self.set_caption(self.caption, f"{state}{dropped}")

    def watch_follow(self) -> None:
        """On: to the newest at once."""
        if self.follow and self.is_mounted:
            self._to_end()
        self._say()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Whoever scrolls up reads."""
        super().watch_scroll_y(old_value, new_value)
        if new_value < old_value and not self._at_end():
            self.follow = False

    def _at_end(self) -> bool:
        return round(self.scroll_target_y) >= self.row_count - self.size.height

    def select(self, index: int) -> None:
        """Selecting anything but the last record is reading."""
        last = self.row_count - 1
        if index < last:
            self.follow = False
        super().select(index)
        if index >= last:
            self.follow = True
