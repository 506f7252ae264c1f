"""What dialogs are made of: a box as large as its content and the screen allow, and its lines."""

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Static

from blkrun.dashboard.lines import Line, Span, line, wrap
from blkrun.dashboard.model.preview import Row
from blkrun.dashboard.widgets.key_bar import KeyBar
from blkrun.dashboard.widgets.panel import LinesPanel

_WIDEST = 100
_LEAST_MARGIN = 2
_ROOMY_HEIGHT = 20
_FOOT_ROWS = 1

T = TypeVar("T")


class DialogLines(LinesPanel):
    """Lines without a frame, in a box that has one."""

    TITLE = ""
    NUMBER = ""

    @property
    def caption(self) -> str:
        """None: there is no frame to write it on."""
        return ""

    def height_at(self, width: int) -> int:
        """Rows in so many columns."""
        return len(self.make_lines(width))


class TextLines(DialogLines):
    """Text to read: keys scroll it."""

    def __init__(self, rows: Iterable[Row]) -> None:
        super().__init__(id="text")
        self._rows = tuple(rows)

    def show(self, rows: Iterable[Row]) -> None:
        """Another text."""
        self._rows = tuple(rows)
        self.update_lines()

    def make_lines(self, width: int) -> Sequence[Line]:
        """Wrapped, but for what a caret points at."""
        return list(_text_lines(self._rows, width))

    def select(self, index: int) -> None:
        """No row is selected: the view moves."""
        down = index - self.cursor
        top = min(max(self.scroll_offset.y + down, 0), max(self.row_count - self._page(), 0))
        self.cursor = top
        self.scroll_to(y=top, animate=False)
        self.refresh()


def _text_lines(rows: Iterable[Row], width: int) -> Iterator[Line]:
    for number, row in enumerate(rows):
        texts = [row.text] if row.verbatim else wrap(row.text, width)
        for part, text in enumerate(texts):
            yield line(f"{number}.{part}", width, Span(text, row.tone))


class LineInput(Input):
    """Enter is the dialog's, in its turn: as a priority it would overtake what is typed before."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """All but that."""
        return action != "submit" and super().check_action(action, parameters)


class Box(ModalScreen[T]):
    """A title, what subclasses put below it, lines, and the keys at the foot."""

    BETWEEN_ROWS: ClassVar[int] = 0

    def __init__(self, title: str, lines: DialogLines) -> None:
        super().__init__()
        self.heading = title
        self.lines = lines
        self._title = Static(classes="dialog-title", markup=False)

    def between(self) -> Sequence[Widget]:
        """``BETWEEN_ROWS`` high, between title and lines."""
        return ()

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        with Vertical(classes="box"):
            yield self._title
            yield from self.between()
            yield self.lines
            yield KeyBar(palette=False)

    def on_mount(self) -> None:
        """Make it fit."""
        self.fit_box()

    def on_resize(self, event: events.Resize) -> None:
        """Another terminal size."""
        self.fit_box(event.size.width, event.size.height)

    def fit_box(self, width: int | None = None, height: int | None = None) -> None:
        """As wide as is good to read, as high as it must be: what is too long scrolls."""
        width, height = width or self.size.width, height or self.size.height
        roomy = height >= _ROOMY_HEIGHT
        side, top = (2, 1) if roomy else (1, 0)
        wide = min(width - _LEAST_MARGIN, _WIDEST)
        inner = max(wide - 2 - 2 * side, 1)
        titles = wrap(self.heading, inner)
        self._title.update("\n".join(line("", inner, Span(text)).text for text in titles))
        box = self.query_one(".box")
        box.set_class(roomy, "-roomy")
        gap = 1 if roomy else 0
        fixed = 2 + 2 * top + len(titles) + gap + self.BETWEEN_ROWS + _FOOT_ROWS + gap
        # One column less: there may be a scroll bar.
        wanted = fixed + max(self.lines.height_at(inner - 1), 1)
        box.styles.width = wide
        box.styles.height = min(wanted, height - (2 if roomy else 0))
