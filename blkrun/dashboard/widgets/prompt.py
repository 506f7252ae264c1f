"""A line to type in, in the lower edge of a panel; what is typed is told at once."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.geometry import Offset, Region
from textual.widgets import Input, Static


class Prompt(Horizontal):
    """``typed`` hears every change; ``ended`` whether what was typed is kept.

    ``hint`` says what may be typed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "Clear", id="prompt.clear", tooltip="take it back"),
    ]

    def __init__(
        self,
        sign: str,
        value: str,
        typed: Callable[[str], None],
        ended: Callable[[bool], None],
        *,
        hint: str,
    ) -> None:
        super().__init__()
        self.input = Input(value, placeholder=hint, compact=True)
        self._sign = sign
        self._typed = typed
        self._ended = ended
        self._over = False

    def compose(self) -> ComposeResult:
        """What is asked for, and the words."""
        yield Static(self._sign, markup=False)
        yield self.input

    def on_mount(self) -> None:
        """All keys are letters now."""
        self.input.focus()

    def put(self, region: Region) -> None:
        """In the lower edge of a panel's region: nothing of what it shows is hidden."""
        self.styles.width = max(region.width - 2, 1)
        self.absolute_offset = Offset(region.x + 1, max(region.bottom - 1, 0))

    def on_input_changed(self, message: Input.Changed) -> None:
        """Narrow while typing."""
        message.stop()
        if not self._over:
            self._typed(message.value)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Enter keeps it."""
        message.stop()
        self._end(kept=True)

    def action_clear(self) -> None:
        """Escape takes it back."""
        self._end(kept=False)

    def on_descendant_blur(self) -> None:
        """Who goes elsewhere keeps it; who only looks at another window has not gone."""
        if self.app.app_focus:
            self._end(kept=True)

    def _end(self, *, kept: bool) -> None:
        if not self._over:
            self._over = True
            self._ended(kept)
            self.remove()
