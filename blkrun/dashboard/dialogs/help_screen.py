"""All keys, from the bindings themselves, and what the columns mean."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.keys import format_key
from textual.screen import ModalScreen
from textual.widgets import Static

from blkrun.dashboard.keyboard import ELSEWHERE
from blkrun.dashboard.keymap import remapped
from blkrun.dashboard.keys import EDIT_KEYS, LOOK_KEYS, PANEL_KEYS, SESSION_KEYS, TAKE_KEYS

_CHANGES = "Change the file"
_SECTIONS = {
    "Look": (*LOOK_KEYS, *SESSION_KEYS),
    _CHANGES: EDIT_KEYS,
    "Take with you": TAKE_KEYS,
    "In every panel": PANEL_KEYS,
    **ELSEWHERE,
}
_COLUMNS = """\
R/s W/s      reads and writes per second
BW           bytes per second, decimal
QD           requests in flight now
p50 p99      milliseconds that half of the requests, and 99 of 100, took at most
HELD n       requests waiting in a throttle
↳ name       a shared node, shown in full above
▸ name       a job's filter, and how far it is
READY        a job that goes on when you tell it
—            not known yet, or the counters began anew"""


def help_text(bindings: Iterable[Binding]) -> str:
    """One line an action: its keys, its name, what it does."""
    rows: dict[str, tuple[list[str], Binding]] = {}
    for binding in Binding.make_bindings(bindings):
        keys, _ = rows.setdefault(binding.id or binding.action, ([], binding))
        keys.append(binding.key_display or format_key(binding.key))
    return "\n".join(
        f"{' '.join(keys):<12} {binding.description:<10} {binding.tooltip}"
        for keys, binding in rows.values()
    )


class HelpScreen(ModalScreen[None]):
    """Any of its keys closes it.  ``keys``: other keys by id, as the settings have them.

    ``read_only``: without the keys that nobody could use.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "close", "Close", id="help.close", tooltip="close"),
    ]

    def __init__(self, keys: Mapping[str, Sequence[str]], *, read_only: bool = False) -> None:
        super().__init__()
        self._keys = keys
        self._read_only = read_only

    def compose(self) -> ComposeResult:
        """Keys, then columns."""
        with VerticalScroll(classes="dialog"):
            for title, bindings in _SECTIONS.items():
                if self._read_only and title == _CHANGES:
                    continue
                yield Static(title, classes="dialog-title")
                yield Static(help_text(remapped(bindings, self._keys)), markup=False)
            yield Static("What the numbers are", classes="dialog-title")
            yield Static(_COLUMNS, markup=False)

    def action_close(self) -> None:
        """Back to the panels."""
        self.dismiss()
