"""A pseudo-terminal with blkrun in it, read in a thread, or not at all, or gone."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from contextlib import suppress
from pathlib import Path

from tests.live.service import wait_for

ENTER_SCREEN = b"\x1b[?1049h"
LEAVE_SCREEN = b"\x1b[?1049l"
RESTORE = (LEAVE_SCREEN, b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?1003l", b"\x1b[?2004l", b"\x1b[<u")
"""The usual screen, the cursor, no mouse, no bracketed paste, usual keys."""


class Terminal:
    """100 by 30.

    ``stuck``: nobody reads it, and it is full to begin with: whoever writes to it waits for ever.
    ``controlling``: its end is told by a signal, as to whatever a shell has started.
    """

    def __init__(self, *words: str, stuck: bool = False, controlling: bool = True) -> None:
        self.main, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        if stuck:
            _fill(other)
        self.before = termios.tcgetattr(other)
        command = [sys.executable, "-m", "blkrun", *words]
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command] if controlling else command,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=not controlling,
            env=os.environ | {"TERM": "xterm-256color", "PYTHONFAULTHANDLER": "1"},
        )
        self._other: int | None = other  # open, so that what it was set to can be seen at the end
        self.seen = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        if not stuck:
            self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):
            while data := os.read(self.main, 65536):
                self.seen += data

    def wait_for(self, what: bytes) -> None:
        """Until it has been written."""
        wait_for(lambda: what in self.seen, f"{what!r} at the end of {bytes(self.seen[-2000:])!r}")

    def settings(self) -> list[object]:
        """As the terminal is set."""
        assert self._other is not None
        return list(termios.tcgetattr(self._other))

    def hang_up(self) -> None:
        """The terminal's end."""
        assert self._other is not None
        os.close(self._other)
        self._other = None
        main, self.main = self.main, -1
        os.close(main)

    def end_within(self, seconds: float) -> int:
        """The exit code."""
        return self.process.wait(seconds)

    def close(self) -> None:
        """Whatever is left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for descriptor in (self._other, self.main):
            if descriptor is not None and descriptor != -1:
                os.close(descriptor)
        if self._reader.is_alive():
            self._reader.join()


def _fill(descriptor: int) -> None:
    """The kernel moves on what was written, and then there is room again, for a while."""
    os.set_blocking(descriptor, False)
    while select.select((), (descriptor,), (), 0.1)[1]:
        with suppress(BlockingIOError):
            os.write(descriptor, b" " * 100)
    os.set_blocking(descriptor, True)


def is_listening(pid: int, *numbers: int) -> bool:
    """Whether a process has handlers for these signals."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return all(caught >> (number - 1) & 1 for number in numbers)
