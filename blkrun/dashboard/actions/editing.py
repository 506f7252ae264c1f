"""The file in the user's own editor."""

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from textual.app import SuspendNotSupported

from blkrun.dashboard.actions.base import Acting
from blkrun.dashboard.model.places import line_of


class Editing(Acting):
    """The dashboard waits aside; looking and listening go on."""

    def offered(self) -> Mapping[str, bool]:
        """Not for a recording."""
        return {**super().offered(), "edit_file": self.desk.file is not None}

    def action_edit_file(self) -> None:
        """At the selected thing's table."""
        if self.desk.file is not None:
            self.run_worker(self._edit_file(self.desk.file), name="editor", group="editor")

    async def _edit_file(self, file: Path) -> None:
        try:
            command = editor_command(os.environ, file, self._line(file))
        except ValueError as error:  # a quotation that does not end
            self.tell(f"VISUAL or EDITOR cannot be read: {error}", severity="error")
            return
        try:
            with self.suspend(), self.batch_update():  # nothing is painted over the editor
                wrong = await _run(command)
        except SuspendNotSupported:
            self.tell(f"no editor can be shown here; edit {file}", severity="warning")
        else:
            if wrong:
                self.tell(wrong, severity="warning")

    def _line(self, file: Path) -> int | None:
        try:
            text = file.read_text(errors="replace")
        except OSError:
            return None  # the editor says it, or makes the file
        return line_of(text, self.subject.name) if self.subject is not None else None


async def _run(command: Sequence[str]) -> str:
    """What went wrong, or nothing.  Raises nothing: Textual would not take the terminal back."""
    try:
        process = await asyncio.create_subprocess_exec(*command)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return f"{command[0]} cannot be run: {why}; set EDITOR"
    code = await process.wait()
    return f"{Path(command[0]).name} ended with {code}" if code else ""


def editor_command(environ: Mapping[str, str], file: Path, line: int | None) -> list[str]:
    """``$VISUAL``, ``$EDITOR`` or vi, with ``+LINE`` as vi, emacs, nano, micro, kak, joe know it.

    Others get the file alone: they might open one called "+12".
    """
    words = shlex.split(environ.get("VISUAL") or environ.get("EDITOR") or "vi") or ["vi"]
    name = Path(words[0]).name
    if line is not None and name in _KNOW_PLUS_LINE:
        words.append(f"+{line}")
    return [*words, str(file)]


_KNOW_PLUS_LINE = frozenset(
    [
        "vi",
        "vim",
        "nvim",
        "view",
        "ex",
        "gvim",
        "emacs",
        "emacsclient",
        "nano",
        "pico",
        "micro",
        "kak",
        "joe",
        "jed",
        "mg",
        "ne",
        "mcedit",
    ]
)
