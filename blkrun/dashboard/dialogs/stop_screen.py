"""The question before a server is stopped that clients are connected to, or that has work."""

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from blkrun.dashboard.lines import clean

Answer = Literal["stop", "detach", "stay"]


class StopScreen(ModalScreen[Answer]):
    """Gives the answer; escape is "stay"."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "answer('stop')", "Stop the server", id="stop.stop", tooltip="disks go away"),
        Binding("d", "answer('detach')", "Detach", id="stop.detach", tooltip="the server goes on"),
        Binding("escape", "answer('stay')", "Cancel", id="stop.cancel", tooltip="stay here"),
    ]

    def __init__(self, at_stake: str) -> None:
        super().__init__()
        self._at_stake = at_stake

    def compose(self) -> ComposeResult:
        """The question and the answers."""
        with Vertical(classes="dialog"):
            yield Static(clean(self._at_stake), classes="dialog-title", markup=False)
            yield Static(
                "s    stop the server: disks go away, jobs are cancelled\n"
                "d    detach: the server goes on\n"
                "esc  cancel",
                markup=False,
            )

    def action_answer(self, answer: Answer) -> None:
        """A key was pressed."""
        self.dismiss(answer)
