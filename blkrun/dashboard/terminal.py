"""The terminal: Textual's driver, but one that no terminal can hold up.

Textual hands what it paints to a thread, thirty pieces ahead at most, and then waits: a terminal
that is not read (a stuck connection) would stop the whole event loop, signals included.
"""

import os
import select
import stat
import threading
from asyncio import get_running_loop
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from textual.drivers.linux_driver import LinuxDriver

_MOST_QUEUED_BYTES = 2**18
"""About ten whole screens."""

_PATIENCE_S = 0.5
"""For a terminal to take the last words."""

_STDOUT = 1
"""Textual would write to stderr, which may well go to a file."""

_ROOM_MS = 200
"""For a terminal to say that it takes more."""


class Output:
    """Writes in a thread of its own; ``write`` never waits.

    While the terminal is too far behind, what is written is dropped.  When it has caught up,
    ``caught_up`` is called, in that thread: then all has to be painted anew.
    """

    def __init__(self, descriptor: int, caught_up: Callable[[], object]) -> None:
        self._descriptor = descriptor
        self._caught_up = caught_up
        self._changed = threading.Condition()  # the four below
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._is_behind = False
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="blkrun-terminal", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """In order, later."""
        data = text.encode(errors="replace")
        with self._changed:
            if self._is_behind:
                return
            self._queue.append(data)
            self._queued_bytes += len(data)
            self._is_behind = self._queued_bytes > _MOST_QUEUED_BYTES
            self._changed.notify()

    def skip(self) -> None:
        """Forget what has not been written: something else is to be seen next."""
        with self._changed:
            self._queue.clear()
            self._queued_bytes = 0
            self._is_behind = False

    def close(self) -> None:
        """Wait a moment until all is written; a terminal that does not take it goes without."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        while (data := self._next()) is not None:
            with suppress(OSError):  # nobody is there any more; who watches over it ends the app
                self._write(memoryview(data))

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._queue:
                if self._is_behind:
                    self._is_behind = False
                    self._caught_up()
                if self._is_closing:
                    return None
                self._changed.wait()
            data = self._queue.popleft()
            self._queued_bytes -= len(data)
            return data

    def _write(self, data: memoryview) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody else who has it open made it so
                select.select((), (self._descriptor,), ())


class TerminalDriver(LinuxDriver):
    """Writes through an Output, and does not mind the terminal's end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._output: Output | None = None

    def start_application_mode(self) -> None:
        """Also when it comes back from the shell; but not when it was only stopped and goes on.

        Textual starts anew at every SIGCONT, with one more thread that reads keys.
        """
        repaint = partial(self._app.refresh, layout=True)
        later = partial(get_running_loop().call_soon_threadsafe, repaint)
        if self._output is not None:
            later()
            return
        self._output = Output(_STDOUT, partial(_unless_closed, later))
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual says none

    def write(self, data: str) -> None:
        """Never waits."""
        if self._output is not None:
            self._output.write(data)

    def stop_application_mode(self) -> None:
        """Restore the terminal; of what is not painted yet nothing would be left to see."""
        if self._output is not None:
            self._output.skip()
        super().stop_application_mode()

    def close(self) -> None:
        """All is written, or never will be."""
        super().close()
        if self._output is not None:
            self._output.close()
            self._output = None

    def run_input_thread(self) -> None:
        """Keys, until the terminal goes."""
        with suppress(OSError):
            super().run_input_thread()


def _unless_closed(call: Callable[[], object]) -> None:
    """The loop may have ended before the terminal caught up."""
    with suppress(RuntimeError):
        call()


def has_hung_up() -> bool:
    """Whether the terminal that keys come from has gone."""
    return _state(0, 0, 0) != 0  # poll tells of an end without being asked


def let_go() -> None:
    """After the dashboard: what is printed next must not wait for a terminal that takes nothing."""
    for descriptor in (1, 2):
        try:
            is_device = stat.S_ISCHR(os.fstat(descriptor).st_mode)
        except OSError:  # it is closed
            continue
        if is_device and _state(descriptor, select.POLLOUT, _ROOM_MS) != select.POLLOUT:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)


def _state(descriptor: int, wanted: int, patience_ms: int) -> int:
    poll = select.poll()
    poll.register(descriptor, wanted)
    return dict(poll.poll(patience_ms)).get(descriptor, 0)
