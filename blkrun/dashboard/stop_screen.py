"""The question before a server is stopped that clients are connected to."""

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

Answer = Literal["stop", "detach", "stay"]


def question(clients: dict[str, int]) -> str:
    """``2 clients connected to vda, vdb``."""
    count = sum(clients.values())
    noun = "client" if count == 1 else "clients"
    return f"{count} {noun} connected to {', '.join(clients)}"


class StopScreen(ModalScreen[Answer]):
    """Gives the answer; escape is "stay"."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "answer('stop')", "Stop the server", id="stop.stop", tooltip="disks go away"),
        Binding("d", "answer('detach')", "Detach", id="stop.detach", tooltip="the server goes on"),
        Binding("escape", "answer('stay')", "Cancel", id="stop.cancel", tooltip="stay here"),
    ]

    def __init__(self, clients: dict[str, int]) -> None:
        super().__init__()
        self._clients = clients

    def compose(self) -> ComposeResult:
        """The question and the answers."""
        with Vertical(classes="dialog"):
            yield Static(question(self._clients), classes="dialog-title", markup=False)
            yield Static(
                "s    stop the server: they lose their disk\n"
                "d    detach: the server goes on\n"
                "esc  cancel",
                markup=False,
            )

    def action_answer(self, answer: Answer) -> None:
        """A key was pressed."""
        self.dismiss(answer)
