"""A real terminal for the dashboard: a tmux of its own, on a private socket, ended by its id."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.live.service import wait_for

_CLEAN = ["TERM", "NO_COLOR", "COLORTERM", "TMUX", "VISUAL", "EDITOR"]
"""Of the one who runs the tests."""


class Tmux:
    """``with Tmux(directory, "attach", FILE) as terminal``: a blkrun command in a tmux.

    ``around``: what runs the command.
    """

    def __init__(
        self,
        directory: Path,
        *command: str,
        size: tuple[int, int] = (100, 30),
        environ: dict[str, str] | None = None,
        around: Sequence[str] = (),
    ) -> None:
        self._socket = directory / "tmux.sock"
        self._size = size
        self._command = [*around, sys.executable, "-m", "blkrun", *command]
        kept = {key: value for key, value in os.environ.items() if key not in _CLEAN}
        config = {"XDG_CONFIG_HOME": str(directory / "config")}
        self._environ = kept | config | {"LANG": "C.UTF-8", "TERM": "xterm-256color"}
        self._environ |= environ or {}

    def __enter__(self) -> Self:
        """The pane stays when its command has ended, to be looked at."""
        width, height = map(str, self._size)
        shell = f'{shlex.join(self._command)}; echo "ended with $?"; exec cat'
        self._tmux(
            ("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, "sh", "-c", shell)
        )
        self._server = int(self._tmux(("display-message", "-p", "#{pid}")))
        return self

    def __exit__(self, *_: object) -> None:
        """Tmux hangs up on what runs in it."""
        self._tmux(("kill-server",))
        wait_for(lambda: not _is_there(self._server), "tmux to end")

    def _tmux(self, arguments: Sequence[str]) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self._socket), *arguments],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    @property
    def text(self) -> str:
        """The screen as it is now.  Nothing that is run here may fall over."""
        shown = self._tmux(("capture-pane", "-p"))
        assert "Traceback" not in shown, shown
        return shown

    @property
    def coloured(self) -> str:
        """The same with its escapes."""
        return self._tmux(("capture-pane", "-p", "-e"))

    def press(self, *keys: str) -> None:
        """Keys by tmux's names, one after the other."""
        self._tmux(("send-keys", *keys))

    def type(self, text: str) -> None:
        """Characters as they are."""
        self._tmux(("send-keys", "-l", "--", text))

    def click(self, x: int, y: int) -> None:
        """A left click on a cell, from 0, as terminals send it (SGR 1006)."""
        for end in ("M", "m"):
            self.type(f"\x1b[<0;{x + 1};{y + 1}{end}")

    @property
    def is_restored(self) -> bool:
        """The usual screen, with its cursor, and no mouse reports."""
        asked = "#{alternate_on}#{cursor_flag}#{mouse_any_flag}"
        return self._tmux(("display-message", "-p", asked)).strip() == "010"

    def set_option(self, name: str, value: str) -> None:
        """One of the server's."""
        self._tmux(("set-option", "-s", name, value))

    @property
    def copied(self) -> str:
        """What a program has put into the clipboard, which is tmux's newest buffer."""
        return self._tmux(("list-buffers", "-F", "#{buffer_sample}"))

    def resize(self, width: int, height: int) -> None:
        """Another size."""
        self._tmux(("resize-window", "-x", str(width), "-y", str(height)))

    def wait_for(self, *parts: str) -> str:
        """The screen once all of these are on it; the failure shows the screen there was."""
        seen = ""

        def there() -> bool:
            nonlocal seen
            seen = self.text
            return all(part in seen for part in parts)

        try:
            wait_for(there, f"{parts} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{seen}") from None
        return seen

    def wait_until_gone(self, part: str) -> None:
        """The screen without it."""
        try:
            wait_for(lambda: part not in self.text, f"{part!r} to go")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text}") from None

    def find(self, part: str) -> tuple[int, int]:
        """Column and row of a text that is on the screen."""
        for row, line in enumerate(self.text.splitlines()):
            if part in line:
                return line.index(part), row
        raise AssertionError(f"{part!r} is not on the screen\n{self.text}")


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
