"""One line of text, with what is wrong with it below while it is typed."""

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input

from blkrun.dashboard.dialogs.box import Box, LineInput, TextLines
from blkrun.dashboard.model.choices import Check
from blkrun.dashboard.model.preview import Row


class AskScreen(Box[str | None]):
    """Gives the text without blanks around it, or None.  ``check`` says what is wrong, or ""."""

    BETWEEN_ROWS = 1
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "Take it", id="ask.accept", tooltip="take it"),
        Binding("escape", "cancel", "Cancel", id="ask.cancel", tooltip="no answer"),
    ]

    def __init__(
        self, title: str, value: str, check: Check, *, suggestions: Sequence[str] = ()
    ) -> None:
        self._text = TextLines(())
        super().__init__(title, self._text)
        self._check = check
        self._value = value
        self._suggester = SuggestFromList(suggestions) if suggestions else None
        self._hint = f"such as {', '.join(suggestions)}" if suggestions else ""

    def between(self) -> Sequence[Widget]:
        """The line."""
        return (LineInput(self._value, compact=True, suggester=self._suggester),)

    @property
    def typed(self) -> str:
        """What stands there now."""
        return self.query_one(Input).value.strip()

    def on_mount(self) -> None:
        """Say at once what is wrong."""
        self.judge()

    @on(Input.Changed)
    def judge(self) -> None:
        """After each key."""
        wrong = self._check(self.typed)
        self._text.show([Row(wrong, "bad") if wrong else Row(self._hint, "dim")])
        self.fit_box()

    def action_accept(self) -> None:
        """If nothing is wrong with it."""
        if not self._check(self.typed):
            self.dismiss(self.typed)

    def action_cancel(self) -> None:
        """No answer."""
        self.dismiss(None)
