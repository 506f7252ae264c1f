"""One of a list: typing narrows it, keys and the mouse choose."""

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from blkrun.dashboard.dialogs.box import Box, DialogLines, LineInput
from blkrun.dashboard.lines import Line, Span, clean, fit, line
from blkrun.dashboard.model.choices import Choice, narrowed

_WIDEST_LABEL = 40


class ChoiceLines(DialogLines, can_focus=False):
    """Label and hint, a row each; the selected one is marked while the line above has the focus."""

    class Clicked(Message):
        """A row was."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        super().__init__(id="choices")
        self._choices = choices

    def show(self, choices: Sequence[Choice]) -> None:
        """Other ones; the first is selected."""
        self._choices = choices
        self.cursor = 0
        self.scroll_to(y=0, animate=False)
        self.update_lines()
        self.refresh()

    @property
    def chosen(self) -> Choice | None:
        """The selected one."""
        return self._choices[self.cursor] if self.cursor < len(self._choices) else None

    def make_lines(self, width: int) -> list[Line]:
        """All of them; labels share a width."""
        longest = max((cell_len(clean(each.label)) for each in self._choices), default=0)
        label = min(longest, _WIDEST_LABEL, max(width - 4, 1))
        return [
            line(each.value, width, Span("  "), *_spans(each, label)) for each in self._choices
        ] or [line("", width, Span("nothing matches", "dim"))]

    def render_line(self, y: int) -> Strip:
        """The selected row has its mark, without colours too."""
        index, width = y + self.scroll_offset.y, self.inner_width
        if index != self.cursor or not self._choices or index >= self.row_count:
            return super().render_line(y)
        spans = self.row_line(index, width).spans
        marked = Line("", (Span("▸ ", "title"), *spans[1:]))
        return self._strip(marked, width, selected=True)

    def on_click(self, event: events.Click) -> None:
        """A click chooses."""
        offset = event.get_content_offset(self)
        if offset is not None and (row := offset.y + self.scroll_offset.y) < len(self._choices):
            self.select(row)
            self.post_message(self.Clicked())


def _spans(choice: Choice, width: int) -> tuple[Span, ...]:
    label = Span(fit(choice.label, width), "name")
    return (label, Span(f"  {choice.hint}", "dim")) if choice.hint else (label,)


class ChooseScreen(Box[str | None]):
    """Gives the value of what was chosen, or None."""

    BETWEEN_ROWS = 1
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Choose", id="choose.choose", tooltip="this one"),
        Binding("up", "move(-1)", "Up", id="choose.up", tooltip="the one above", show=False),
        Binding("down", "move(1)", "Down", id="choose.down", tooltip="the one below", show=False),
        Binding("pageup", "page(-1)", "Up", id="choose.page-up", tooltip="a page", show=False),
        Binding("pagedown", "page(1)", "Down", id="choose.page-down", tooltip="a page", show=False),
        Binding("escape", "cancel", "Cancel", id="choose.cancel", tooltip="none of them"),
    ]

    def __init__(self, title: str, choices: Sequence[Choice]) -> None:
        self.choices = tuple(choices)
        self.list = ChoiceLines(self.choices)
        super().__init__(title, self.list)
        self._input = LineInput(placeholder="type to narrow", compact=True)

    def between(self) -> Sequence[Widget]:
        """The line that narrows."""
        return (self._input,)

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        """Something was typed."""
        self.list.show(narrowed(self.choices, event.value))

    @on(ChoiceLines.Clicked)
    def action_choose(self) -> None:
        """The selected one, if there is any."""
        if (chosen := self.list.chosen) is not None:
            self.dismiss(chosen.value)

    def action_move(self, rows: int) -> None:
        """Up and down."""
        self.list.action_move(rows)

    def action_page(self, pages: int) -> None:
        """A page up or down."""
        self.list.action_page(pages)

    def action_cancel(self) -> None:
        """None of them."""
        self.dismiss(None)
