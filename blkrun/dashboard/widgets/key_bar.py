"""The last row: keys that do something now.  Keys go whole; an ellipsis says that there are more.

Textual's own footer scrolls instead: then the palette stands over half a word.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from blkrun.dashboard.lines import clean

_AT_THE_END = ("help", "session.quit", "command_palette")
"""They stay when others give way: the way to all the others."""
_FIRST = ("edit.apply",)
"""What waits for somebody."""
_MORE = " … "


class Hint(NamedTuple):
    """A key as it is shown, what it does in a word, and what is pressed for it."""

    display: str
    label: str
    key: str
    id: str = ""

    @property
    def width(self) -> int:
        """Cells, with the blanks around it."""
        return cell_len(self.display) + cell_len(self.label) + 3


class Piece(NamedTuple):
    """Of the row: a hint, a gap of blanks, or the ellipsis, and where it begins."""

    x: int
    width: int
    hint: Hint | None = None
    more: bool = False


def pieces(hints: Sequence[Hint], width: int) -> list[Piece]:
    """Together exactly ``width`` cells."""
    last = _fitting([hint for hint in hints if hint.id in _AT_THE_END], width)
    others = [hint for hint in hints if hint.id not in _AT_THE_END]
    others.sort(key=lambda hint: hint.id not in _FIRST)
    room = width - _width(last)
    first = _fitting(others, room)
    if len(first) < len(others):
        first = _fitting(others, room - len(_MORE))
    return list(_placed(first, last, width, more=len(first) < len(others)))


def _fitting(hints: Sequence[Hint], room: int) -> list[Hint]:
    """As many of the first as fit: one that does not ends it."""
    count = 0
    while count < len(hints) and _width(hints[: count + 1]) <= room:
        count += 1
    return list(hints[:count])


def _width(hints: Iterable[Hint]) -> int:
    return sum(hint.width for hint in hints)


def _placed(
    first: Sequence[Hint], last: Sequence[Hint], width: int, *, more: bool
) -> Iterator[Piece]:
    x = 0
    for hint in first:
        yield Piece(x, hint.width, hint)
        x += hint.width
    if more and x + len(_MORE) <= width - _width(last):
        yield Piece(x, len(_MORE), more=True)
        x += len(_MORE)
    end = max(width - _width(last), x)
    yield Piece(x, end - x)
    for hint in last:
        yield Piece(end, hint.width, hint)
        end += hint.width


class KeyBar(Widget):
    """One row, repainted when other keys are on offer.  A click on a key presses it.

    ``palette``: whether the key of the palette is one of them.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key", "key-bar--label"}

    def __init__(self, *, palette: bool = True) -> None:
        super().__init__()
        self._palette = palette
        self._hints: tuple[Hint, ...] = ()
        self._pieces: list[Piece] = []

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(map(_text, self._pieces))

    def place_of(self, key_id: str) -> int | None:
        """Where a key is shown; None: it is not."""
        hints = ((piece.hint, piece.x) for piece in self._pieces)
        return next((x for hint, x in hints if hint is not None and hint.id == key_id), None)

    def on_mount(self) -> None:
        """Hear of changes."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[object]) -> None:
        """Nothing is on offer while the terminal is not looked at: what was is left there."""
        if screen.app.app_focus and screen is self.screen:
            self.call_after_refresh(self._look)

    def _look(self) -> None:
        if not self.is_attached:
            return  # its dialog was closed meanwhile
        hints = tuple(self._on_offer())
        if hints != self._hints:
            self._hints = hints
            self._place()

    def _on_offer(self) -> Iterator[Hint]:
        """A key for each action."""
        seen: set[str] = set()
        for each in self.screen.active_bindings.values():
            binding = each.binding
            is_palette = binding.key == self.app.COMMAND_PALETTE_BINDING
            if is_palette and not self._palette:
                continue
            if binding.action in seen or not (each.enabled and (binding.show or is_palette)):
                continue
            seen.add(binding.action)
            name = "command_palette" if is_palette else binding.id or ""
            label = "Palette" if is_palette else binding.description
            yield Hint(clean(self.app.get_key_display(binding)), label, binding.key, name)

    def _place(self) -> None:
        self._pieces = pieces(self._hints, self.size.width)
        self.refresh()

    def on_resize(self) -> None:
        """Other keys fit."""
        self._place()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Press the key."""
        for piece in self._pieces:
            if piece.hint is not None and piece.x <= event.x < piece.x + piece.width:
                self.app.simulate_key(piece.hint.key)

    def render_line(self, y: int) -> Strip:
        """Textual's question."""
        del y
        key = self.get_component_rich_style("key-bar--key")
        label = self.get_component_rich_style("key-bar--label")
        segments: list[Segment] = []
        for piece in self._pieces:
            if piece.hint is None:
                segments.append(Segment(_text(piece), label))
            else:
                segments.append(Segment(f" {piece.hint.display} ", key))
                segments.append(Segment(f"{piece.hint.label} ", label))
        return Strip(segments)


def _text(piece: Piece) -> str:
    if piece.hint is not None:
        return f" {piece.hint.display} {piece.hint.label} "
    return _MORE if piece.more else " " * piece.width
