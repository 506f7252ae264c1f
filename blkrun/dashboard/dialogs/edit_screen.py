"""The question before the file is edited: what it would do, to whom, and its diff."""

from typing import ClassVar, Literal

from textual.binding import Binding, BindingType

from blkrun.dashboard.dialogs.box import Box, TextLines
from blkrun.dashboard.model.preview import Preview, error_rows, preview_rows

Answer = Literal["yes", "no"]


class EditScreen(Box[Answer]):
    """Gives the answer; what is refused, or changes nothing, can only be closed: "no"."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", "Yes", id="edit.yes", tooltip="write it"),
        Binding("enter", "quick_yes", "Yes", id="edit.quick-yes", tooltip="as y", show=False),
        Binding("n,escape", "no", "No", id="edit.no", tooltip="nothing is written"),
        Binding("escape,enter,q", "close", "Close", id="edit.close", tooltip="close"),
    ]

    def __init__(self, preview: Preview, title: str) -> None:
        super().__init__(title, TextLines(preview_rows(preview)))
        self.preview = preview

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No yes to what cannot be done, and none by the way to what hurts."""
        offered = {
            "yes": self.preview.offered,
            "quick_yes": self.preview.offered and not self.preview.dangerous,
            "no": self.preview.offered,
            "close": not self.preview.offered,
        }
        return offered.get(action, super().check_action(action, parameters))

    def action_yes(self) -> None:
        """Do it."""
        self.dismiss("yes")

    action_quick_yes = action_yes

    def action_no(self) -> None:
        """Leave the file as it is."""
        self.dismiss("no")

    action_close = action_no


class ErrorScreen(Box[None]):
    """The whole of what a command said instead of doing something."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close", id="error.close", tooltip="back to the panels"),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__(title, TextLines(error_rows(text)))

    def action_close(self) -> None:
        """Back."""
        self.dismiss(None)
