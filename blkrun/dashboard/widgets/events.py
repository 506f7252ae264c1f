"""The event log: filtered, searched, followed, or standing still while somebody reads further up.

Which records are rows, and which of them is on top, ``model.log_view`` knows by their numbers.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import var

from blkrun.dashboard.lines import Line, Span, Tone, clean, fit, line
from blkrun.dashboard.model.log_view import LEVEL_WORDS, LEVELS, LogView, Query
from blkrun.dashboard.model.record import Log, Record, record_text, subject_names
from blkrun.dashboard.widgets.panel import Panel
from blkrun.dashboard.widgets.prompt import Prompt
from blkrun.messages import Level

EVENT_KEYS: tuple[Binding, ...] = (
    Binding(
        "slash",
        "ask('filter')",
        "Filter",
        id="log.filter",
        tooltip="only events with these words; !not ~gppd",
        key_display="/",
    ),
    Binding(
        "backslash",
        "ask('search')",
        "Search",
        id="log.search",
        tooltip="mark these words in the events",
        key_display="\\",
    ),
    Binding("n", "hit(1)", "Next", id="log.next", tooltip="the next hit", show=False),
    Binding("N", "hit(-1)", "Previous", id="log.previous", tooltip="the hit before", show=False),
    Binding(
        "i", "level", "Level", id="log.level", tooltip="all events, ok, warnings or errors only"
    ),
    Binding("enter", "choose", "Go to", id="log.choose", tooltip="select what the event is about"),
    Binding("w", "open", "Whole", id="log.open", tooltip="all that the event says", show=False),
    Binding("y", "copy", "Copy", id="log.copy", tooltip="copy the event", show=False),
)

_TONES: dict[Level, Tone] = {
    Level.INFO: "dim",
    Level.GOOD: "good",
    Level.WARNING: "warn",
    Level.ERROR: "bad",
}
_MILLISECONDS_LEAST = 70
_LEVEL_WIDTH = 6


def record_line(record: Record, width: int, query: Query | None = None) -> Line:
    """Time, level word, how often, text, in exactly ``width`` cells; where words were found."""
    time = record.time if width >= _MILLISECONDS_LEAST else record.time.partition(".")[0]
    text_tone: Tone = "bad" if record.level is Level.ERROR else "plain"
    often = f"{record.folded} " if record.folded else ""
    room = width - len(time) - 1 - _LEVEL_WIDTH - len(often)
    return line(
        str(record.number),
        width,
        Span(f"{time} ", "dim"),
        Span(fit(record.level.value, _LEVEL_WIDTH), _TONES[record.level]),
        Span(often, "number"),
        *_text_spans(clean(record.text), text_tone, query or Query(), room),
    )


def _text_spans(text: str, tone: Tone, query: Query, room: int) -> list[Span]:
    """The text with its hits; if the first is beyond the line's end, the text begins later."""
    hits = query.hits(text)
    shift = 0
    if hits and room > 0 and cell_len(text[: hits[0][1]]) >= room:
        shift = max(hits[0][0] - room // 3, 0)
    spans = [Span("…", "dim")] if shift else []
    for begin, end in hits:
        spans += [Span(text[shift:begin], tone), Span(text[begin:end], "hit")]
        shift = end
    return [*spans, Span(text[shift:], tone)]


class EventsPanel(Panel):
    """All that happened, as far as it is kept.  ``paused``: it stands still, and misses nothing."""

    TITLE = "Events"
    NUMBER = "5"
    BINDINGS: ClassVar[list[BindingType]] = [*EVENT_KEYS]
    follow = var(default=True)
    paused = var(default=False)

    class Chosen(Message):
        """A record was chosen: ``names`` of what it is about, ``name`` the first or None."""

        def __init__(self, names: tuple[str, ...]) -> None:
            super().__init__()
            self.names = names
            self.name = names[0] if names else None

    class Opened(Message):
        """All of a record is to be shown."""

        def __init__(self, record: Record) -> None:
            super().__init__()
            self.record = record

    class Copied(Message):
        """A text is to be copied."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, *, id: str, log: Log) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._view = LogView(log)
        self._prompt: Prompt | None = None
        self._word = ""  # about the last search
        self._read_before: tuple[int, int] | None = None
        """While words are being typed: where the view goes back to when more pass again."""
        self._placing = False

    # Painting

    @property
    def row_count(self) -> int:
        """Records that are shown, or would be if they were scrolled to."""
        return len(self._view)

    def row_line(self, index: int, width: int) -> Line:
        """A record, with what was searched for, or else filtered by, marked in it."""
        return record_line(self._view[index], width, self._view.search or self._view.filter)

    @property
    def selected(self) -> Record | None:
        """The record under the cursor."""
        return self._view[self.cursor] if self.cursor < len(self._view) else None

    # The log goes on

    def grown(self) -> None:
        """The log has new records."""
        gone = self._view.catch_up()
        if not self.paused:
            self.cursor = max(self.cursor - gone, 0)
            self._place()
            self.refresh()
        self._say()

    def watch_paused(self) -> None:
        """Stand still, or show all that came meanwhile."""
        if self.paused:
            self._view.freeze()
            self._say()
        else:
            self._change(self._view.thaw)

    def watch_follow(self) -> None:
        """On: to the newest at once."""
        if self.is_mounted:
            self._place()
            self._say()

    # Where the view is

    def on_resize(self) -> None:
        """Stay at the end, or at what is being read."""
        super().on_resize()
        self._place()
        if self._prompt is not None:
            self._prompt.put(self.region)

    @property
    def _follows(self) -> bool:
        return self.follow and not self.paused

    @property
    def _reading(self) -> tuple[int, int]:
        """The numbers of the record on top and of the selected one."""
        selected = self.selected
        return self._view.top, self._view.top if selected is None else selected.number

    def _change(self, change: Callable[[], object]) -> None:
        """Have other rows; the record on top and the selected one are the same if they can be."""
        top, selected = self._read_before or self._reading
        change()
        self._view.top, self.cursor = top, self._view.row_of(selected)
        self._place()
        self.refresh()
        self._say()

    def _place(self) -> None:
        """The view to the end if it follows, else to the record that was on top."""
        self._placing = True
        self.fit_content()
        row = self.row_count
        if self._follows:
            self.cursor = max(row - 1, 0)
            self._view.read()
        else:
            row = self._view.top_row(self._page())
        self.scroll_to(y=row, animate=False, force=True)  # the bar may be yet to come
        self._placing = False
        self._view.see(self.scroll_offset.y)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Whoever scrolls up reads."""
        super().watch_scroll_y(old_value, new_value)
        if self._placing:
            return
        self._view.see(round(new_value))
        self._read_before = None
        if new_value < old_value and self._follows and not self._at_end():
            self.follow = False

    def _at_end(self) -> bool:
        return round(self.scroll_target_y) >= self.row_count - self.size.height

    def select(self, index: int) -> None:
        """Selecting anything but the last record is reading."""
        last = self.row_count - 1
        if index < last and not self.paused:
            self.follow = False
        super().select(index)
        if index >= last and not self.paused:
            self.follow = True

    # What the frame says

    def _say(self) -> None:
        title = " · ".join(part for part in (self._narrowed(), self._searched()) if part)
        self.set_caption(f"{self.caption} {title}".rstrip(), " · ".join(self._state()))

    def _narrowed(self) -> str:
        """``12 of 340 · /held · warnings+``."""
        view = self._view
        if not view.is_narrowed:
            return ""
        what = (f"/{view.filter.text}" if view.filter else "", LEVEL_WORDS[view.least])
        return " · ".join(part for part in (f"{len(view)} of {view.total}", *what) if part)

    def _searched(self) -> str:
        """Words, which hit the selected row is, and of how many; of another row only how many."""
        view = self._view
        if not view.search:
            return self._word
        number = view.hit_number(self.cursor)
        count = f"{number or '-'}/{view.hits}" if view.hits else "not found"
        return f"\\{view.search.text} {count} {self._word}".rstrip()

    def _state(self) -> Iterator[str]:
        if self.paused:
            yield "paused"
        else:
            yield "following" if self.follow else "follow off"
        if self._view.news:
            yield f"{self._view.news} new"
        if errors := self._view.new_errors:
            yield f"{errors} ERROR"
        if self._view.dropped:
            yield f"{self._view.dropped} dropped"

    # Keys

    def action_ask(self, kind: str) -> None:
        """Have the words of the filter or of the search typed."""
        if self._prompt is not None:
            return
        searching = kind == "search"
        sign, query = ("\\", self._view.search) if searching else ("/", self._view.filter)
        typed = self._search if searching else self._filter
        prompt = Prompt(
            sign, query.text, typed, partial(self._asked, typed), hint="words  !not  ~gppd"
        )
        self._prompt = prompt
        self._read_before = self._reading
        prompt.put(self.region)
        self.screen.mount(prompt)

    def _asked(self, typed: Callable[[str], None], kept: bool) -> None:  # noqa: FBT001 - an answer
        prompt, self._prompt = self._prompt, None
        if not kept:
            typed("")
        self._read_before = None
        if kept and typed == self._search and self._view.hit_number(self.cursor) is None:
            self.action_hit(-1)  # the newest is what one looks for first
        if prompt is not None and self.screen.focused is prompt.input:
            self.focus()

    def _filter(self, words: str) -> None:
        self._change(partial(self._view.narrow, Query(words)))

    def _search(self, words: str) -> None:
        self._word = ""
        self._change(partial(self._view.look_for, Query(words)))

    def action_level(self) -> None:
        """The next least level, and after the last all again."""
        level = LEVELS[(LEVELS.index(self._view.least) + 1) % len(LEVELS)]
        self._change(partial(self._view.narrow, least=level))

    def action_hit(self, step: int) -> None:
        """Select the next hit, or the one before."""
        found = self._view.next_hit(self.cursor, step)
        self._word = "" if self._view.search else "no search"
        if found is not None:
            self.select(found.row)
            if found.wrapped:
                self._word = "from the top" if step > 0 else "from the end"
        self._say()

    def action_choose(self) -> None:
        """Say what the selected record is about."""
        if self.selected is not None:
            self.post_message(self.Chosen(subject_names(self.selected)))

    def action_open(self) -> None:
        """Ask for all of the selected record to be shown."""
        if self.selected is not None:
            self.post_message(self.Opened(self.selected))

    def action_copy(self) -> None:
        """Ask for the selected record to be copied."""
        if self.selected is not None:
            self.post_message(self.Copied(record_text(self.selected)))

    def on_click(self, event: events.Click) -> None:
        """The first click has selected a row, the second one chooses it."""
        if event.chain == 2 and event.get_content_offset(self) is not None:
            self.action_choose()
