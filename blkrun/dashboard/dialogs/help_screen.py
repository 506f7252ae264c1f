"""All keys, from the bindings themselves, and what columns, letters, words and signs mean."""

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

LEGENDS: Mapping[str, Sequence[tuple[str, str]]] = {
    "What the numbers are": (
        ("R/s W/s", "reads and writes per second"),
        ("BW", "bytes per second, decimal; R BW and W BW by direction"),
        ("QD", "requests in flight now"),
        ("p50 p99", "milliseconds that half of them, and 99 of 100, took at most"),
        ("8 s", "requests in each of the last eight seconds, against the most of them"),
        ("a/b", "used of a limit"),
        ("burst", "credit that is left for going over a limit, and for how long"),
        ("—", "not known yet, or the counters began anew"),
    ),
    "Letters of the drivers": (
        ("T", "throttle: a member of a throttle group"),
        ("W", "write-threshold"),
        ("B", "blkdebug, blklogwrites, blkverify"),
        ("C", "copy-before-write, copy-on-read"),
        ("P", "preallocate"),
        ("Q", "qcow2, quorum"),
        ("S", "snapshot-access"),
        ("J", "the filter of a job, and how far it is"),
        ("R", "raw: a window of what is below"),
        ("F M N 0", "where the data is: file, memory, nbd, null"),
        ("↳ name", "a shared node, shown in full above"),
    ),
    "Words for how it is": (
        ("HELD n", "requests waiting in a throttle"),
        ("NEAR", "a limit that is almost used up"),
        ("ERR n/s", "errors now, among requests that go well"),
        ("FAILED", "errors only; of a job: it has ended with one"),
        ("n err", "errors before"),
        ("SPENT", "the write threshold was reached"),
        ("FLEECING", "a point in time is kept for those who read it"),
        ("BROKEN", "a point in time that is lost"),
        ("READY", "a job that goes on when you tell it"),
        ("OFFLINE", "the server has gone; NO ANSWER: it is there and says nothing"),
        ("NO RUNNER", "nobody follows the file: an edit waits until somebody does"),
    ),
    "Signs left of a name": (
        ("+", "to come with the edit that waits"),
        ("-", "to go with it"),
        ("~", "to change with it"),
        ("!", "DRIFT: not as the file says"),
    ),
}
_KEYS_WIDTH, _NAME_WIDTH = 12, 13


def help_text(bindings: Iterable[Binding]) -> str:
    """One line an action: its keys, its name, what it does."""
    rows: dict[str, tuple[list[str], Binding]] = {}
    for binding in Binding.make_bindings(bindings):
        keys, _ = rows.setdefault(binding.id or binding.action, ([], binding))
        keys.append(binding.key_display or format_key(binding.key))
    return "\n".join(
        f"{' '.join(keys):<{_KEYS_WIDTH}} {binding.description:<{_NAME_WIDTH}} {binding.tooltip}"
        for keys, binding in rows.values()
    )


def key_names(binding: Binding) -> str:
    """``m esc``: what is to be pressed."""
    keys = Binding.make_bindings([binding])
    return " ".join(each.key_display or format_key(each.key) for each in keys)


def legend_text(legend: Iterable[tuple[str, str]]) -> str:
    """A sign and what it means, a line each."""
    return "\n".join(f"{sign:<{_KEYS_WIDTH}} {meaning}" for sign, meaning in legend)


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
        """Keys, then what is to be read."""
        with VerticalScroll(classes="dialog"):
            for title, bindings in _SECTIONS.items():
                if self._read_only and title == _CHANGES:
                    continue
                yield Static(title, classes="dialog-title")
                yield Static(help_text(remapped(bindings, self._keys)), markup=False)
            for title, legend in LEGENDS.items():
                yield Static(title, classes="dialog-title")
                yield Static(legend_text(legend), markup=False)

    def action_close(self) -> None:
        """Back to the panels."""
        self.dismiss()
