"""The frame all panels share: lines that fit, a selected row, and repainting only what changed."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from blkrun.dashboard.keys import PANEL_KEYS
from blkrun.dashboard.lines import TONES, Draft, Line, Tone, clean

_SUPERSCRIPT = dict(zip("12345678", "¹²³⁴⁵⁶⁷⁸", strict=True))


class Panel(ScrollView, can_focus=True):
    """Subclasses give ``row_count``, ``row_line`` and, if it has one, ``heading_line``."""

    ALLOW_MAXIMIZE = False
    BINDINGS: ClassVar[list[BindingType]] = [*PANEL_KEYS]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"tone--{tone}" for tone in TONES),
        "panel--cursor",
        "panel--cursor-quiet",
    }
    TITLE: ClassVar[str]
    NUMBER: ClassVar[str]
    HEADING_ROWS: ClassVar[int] = 0

    class Zoomed(Message):
        """Somebody clicked twice on a panel's title."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.stale = False
        self.pointing = False
        self.cursor = 0
        self._caption: tuple[str, str] = ("", "")
        self._styles_by_tone: dict[Tone, Style] = {}

    # What subclasses say

    @property
    def row_count(self) -> int:
        """Rows there are, without the heading."""
        raise NotImplementedError

    def row_line(self, index: int, width: int) -> Line:
        """One row in exactly ``width`` cells."""
        raise NotImplementedError

    def heading_line(self, width: int) -> Line:
        """The line that stays on top."""
        raise NotImplementedError

    def relayout(self) -> None:
        """The width has changed."""

    @property
    def wanted_height(self) -> int:
        """Rows that would show everything, frame included."""
        return self.row_count + self.HEADING_ROWS + 2

    # Painting

    @property
    def inner_width(self) -> int:
        """Cells a line has."""
        return self.scrollable_content_region.width

    def render_line(self, y: int) -> Strip:
        """Textual's question."""
        width = self.inner_width
        if y < self.HEADING_ROWS:
            return self._strip(self.heading_line(width), width, selected=False)
        index = y - self.HEADING_ROWS + self.scroll_offset.y
        if index >= self.row_count:
            return Strip.blank(self.size.width, self._style("plain"))
        selected = (self.has_focus or self.pointing) and index == self.cursor
        return self._strip(self.row_line(index, width), width, selected=selected)

    def _strip(self, line: Line, width: int, *, selected: bool) -> Strip:
        over = self._cursor_style() if selected else None
        segments = [
            Segment(text, self._style("dim" if self.stale else tone) + over)
            for text, tone in line.spans
        ]
        return Strip(segments, width)

    def _cursor_style(self) -> Style:
        name = "panel--cursor" if self.has_focus else "panel--cursor-quiet"
        return self.get_component_rich_style(name, partial=True)

    def _style(self, tone: Tone) -> Style:
        style = self._styles_by_tone.get(tone)
        if style is None:
            style = self.get_component_rich_style(f"tone--{tone}")
            self._styles_by_tone[tone] = style
        return style

    def notify_style_update(self) -> None:
        """Another theme, or another pseudo class."""
        super().notify_style_update()
        self._styles_by_tone.clear()

    def refresh_row(self, index: int) -> None:
        """Repaint one row if it is in sight."""
        self.refresh_rows((index,))

    def refresh_rows(self, indexes: Iterable[int]) -> None:
        """Repaint those that are in sight; they are in order, and neighbours are done together."""
        least, size = self.HEADING_ROWS, self.size
        offset = least - self.scroll_offset.y
        runs: list[Region] = []
        for y in (index + offset for index in indexes):
            if not least <= y < size.height:
                continue
            if runs and runs[-1].bottom == y:
                runs[-1] = runs[-1].grow((0, 0, 1, 0))
            else:
                runs.append(Region(0, y, size.width, 1))
        if runs:
            self.refresh(*runs)

    def fit_content(self) -> None:
        """Tell Textual how much there is to scroll."""
        self.virtual_size = Size(self.inner_width, self.row_count + self.HEADING_ROWS)

    def set_stale(self, *, stale: bool) -> None:
        """Dimmed: what is shown is not the present."""
        if stale != self.stale:
            self.stale = stale
            self.refresh()

    def set_pointing(self, *, pointing: bool) -> None:
        """The selected row stays marked without the focus: other panels are about it."""
        if pointing != self.pointing:
            self.pointing = pointing
            self.refresh_row(self.cursor)

    def set_caption(self, title: str, subtitle: str = "") -> None:
        """The frame's texts, never read as markup or by the terminal."""
        if (title, subtitle) != self._caption:
            self._caption = (title, subtitle)
            self.border_title = Content(clean(title))
            self.border_subtitle = Content(clean(subtitle)) if subtitle else None

    @property
    def subtitle(self) -> str:
        """What the lower frame says."""
        return self._caption[1]

    @property
    def caption(self) -> str:
        """The title with the key that leads here."""
        return f"{_SUPERSCRIPT[self.NUMBER]}{self.TITLE}"

    def on_mount(self) -> None:
        """The frame says what this is before there is anything to show."""
        self.set_caption(self.caption)

    def on_resize(self) -> None:
        """Every line has another width."""
        self.relayout()
        self.fit_content()
        self.refresh()

    def watch_show_vertical_scrollbar(self) -> None:
        """Every line has another width, though the panel has not."""
        if self.is_mounted:
            self.on_resize()

    def on_focus(self) -> None:
        """The selected row is marked more strongly while the panel has the focus."""
        self.refresh_row(self.cursor)

    def on_blur(self) -> None:
        """And then less."""
        self.refresh_row(self.cursor)

    # Selecting

    def select(self, index: int) -> None:
        """Move the cursor, and the view to it."""
        index = min(max(index, 0), max(self.row_count - 1, 0))
        old, self.cursor = self.cursor, index
        self.refresh_row(old)
        self.refresh_row(index)
        page = self._page()
        top = self.scroll_offset.y
        if index < top:
            self.scroll_to(y=index, animate=False)
        elif index >= top + page:
            self.scroll_to(y=index - page + 1, animate=False)

    def _page(self) -> int:
        return max(self.size.height - self.HEADING_ROWS, 1)

    def on_click(self, event: events.Click) -> None:
        """Select what is clicked; a second click on the title wants it alone, or all again."""
        offset = event.get_content_offset(self)
        if offset is None and event.y == 0 and event.chain == 2:
            self.post_message(self.Zoomed(str(self.id)))
        if offset is not None and offset.y >= self.HEADING_ROWS:
            self.select(offset.y - self.HEADING_ROWS + self.scroll_offset.y)

    def action_move(self, rows: int) -> None:
        """Up and down."""
        self.select(self.cursor + rows)

    def action_page(self, pages: int) -> None:
        """A page up or down."""
        self.select(self.cursor + pages * self._page())

    def action_first(self) -> None:
        """To the first row."""
        self.select(0)

    def action_last(self) -> None:
        """To the last row."""
        self.select(self.row_count - 1)


class LinesPanel(Panel):
    """A panel whose lines are made anew at every change; the selected row is found by its key.

    Of drafts only those in sight become lines, and only when they are made of something else.
    """

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._lines: list[Line | Draft] = []
        self._made: dict[int, tuple[object, Line]] = {}
        """Rows → lines, with what they are made of."""
        self._made_width = 0

    def make_lines(self, width: int) -> Sequence[Line | Draft]:
        """All rows at a width."""
        raise NotImplementedError

    @property
    def row_count(self) -> int:
        """Rows there are."""
        return len(self._lines)

    @property
    def lines(self) -> tuple[Line, ...]:
        """What is shown, or would be if it were scrolled to."""
        return tuple(map(self._line, range(len(self._lines))))

    def row_line(self, index: int, width: int) -> Line:
        """A row; its width is right since ``relayout``."""
        del width
        return self._line(index)

    def _line(self, index: int) -> Line:
        found = self._lines[index]
        if isinstance(found, Line):
            return found
        made = self._made.get(index)
        if made is None or made[0] != found.made_of:
            made = self._made[index] = found.made_of, found.make()
        return made[1]

    def relayout(self) -> None:
        """All rows at the new width."""
        self._make()

    def _make(self) -> bool:
        """Whether those there were are of the same width."""
        before, self._made_width = self._made_width, self.inner_width
        if before != self._made_width:
            self._made.clear()
        self._lines = list(self.make_lines(self._made_width))
        return before == self._made_width

    def update_lines(self) -> None:
        """Make the lines anew; repaint those that differ, and keep the selected row selected."""
        old = self._lines
        same_width = self._make()
        self._keep_cursor(old)
        if len(old) != len(self._lines):
            self._made.clear()
            self.fit_content()
        if same_width and len(old) == len(self._lines):
            self._refresh_changed(old)
        else:
            self.refresh()

    def _refresh_changed(self, old: Sequence[Line | Draft]) -> None:
        """Of those in sight."""
        top = self.scroll_offset.y
        in_sight = range(top, min(top + self._page(), len(old)))
        self.refresh_rows([index for index in in_sight if not self._is_same(index, old[index])])

    def _is_same(self, index: int, before: Line | Draft) -> bool:
        """A draft may be made of something else and look the same."""
        if isinstance(before, Draft):
            made = self._made.get(index)
            return made is not None and made[0] == before.made_of and made[1] == self._line(index)
        return before == self._line(index)

    def _keep_cursor(self, old: Sequence[Line | Draft]) -> None:
        before, new = self.cursor, self._lines
        key = old[before].key if before < len(old) else None
        if before >= len(new) or new[before].key != key:
            keys = [line.key for line in new]
            self.cursor = keys.index(key) if key in keys else min(before, max(len(keys) - 1, 0))
        if self.cursor != before:
            self.refresh()
