"""All of one event: its line however long it is, and its data as it came."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from blkrun.dashboard.lines import clean
from blkrun.dashboard.model.record import Record, record_json


class EventScreen(ModalScreen[None]):
    """Any of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,w,q", "close", "Close", id="event.close", tooltip="back to the events"),
    ]

    def __init__(self, record: Record) -> None:
        super().__init__()
        self._record = record

    def compose(self) -> ComposeResult:
        """When and how much it matters, what it says, and its data."""
        record = self._record
        head = f"{record.time}  {record.level.value}  {record.folded}".rstrip()
        data = "\n".join(clean(row) for row in record_json(record).splitlines())
        with VerticalScroll(classes="dialog"):
            yield Static(head, classes="dialog-title", markup=False)
            yield Static(f"{clean(record.text)}\n", markup=False)
            yield Static(data, markup=False)

    def action_close(self) -> None:
        """Back to the panels."""
        self.dismiss()
