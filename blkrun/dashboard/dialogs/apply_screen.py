"""The question before an edit that waits for a yes is applied."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from blkrun.dashboard.lines import clean
from blkrun.dashboard.model.waiting import Waiting

Answer = Literal["yes", "no"]


class ApplyScreen(ModalScreen[Answer]):
    """Gives the answer; ``waiting`` is what it is about, ``who`` are the clients of an export."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer('yes')", "Yes", id="apply.yes", tooltip="apply it now"),
        Binding("n,escape", "answer('no')", "No", id="apply.no", tooltip="it goes on waiting"),
    ]

    def __init__(self, waiting: Waiting, who: Mapping[str, str]) -> None:
        super().__init__()
        self.waiting = waiting
        self._who = tuple(clean(f"{export}: {names}") for export, names in who.items())

    def compose(self) -> ComposeResult:
        """What would be done, to whom, and the answers."""
        with VerticalScroll(classes="dialog"):
            yield Static(self.waiting.question, classes="dialog-title", markup=False)
            yield Static("\n".join((*self.waiting.lines, *self._who)), markup=False)
            yield Static("\ny    apply it now\nesc  let it wait", markup=False)

    def action_answer(self, answer: Answer) -> None:
        """A key was pressed."""
        self.dismiss(answer)
