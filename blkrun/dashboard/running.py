"""Running the app in a terminal, until the user, a signal or the terminal's end is against it."""

import asyncio
import os
import signal
import sys
from contextlib import suppress

from blkrun.dashboard.actions.base import Acting
from blkrun.dashboard.terminal import TerminalDriver, has_hung_up, let_go

_LOOK_S = 1.0
"""Between two looks whether the terminal is there: not all who lose it are sent a signal."""


async def run(
    app: Acting, closing: asyncio.Event | None, *, headless: bool = False, mouse: bool = True
) -> str:
    """Run until the user leaves or ``closing`` is set; anything but a wish to stop is "detach".

    Signals that end programs set it too, from here on: the terminal is always restored.
    """
    closing = closing or asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, closing.set)
    in_terminal = not headless and "TEXTUAL_DRIVER" not in os.environ  # else in a browser
    if in_terminal:
        app.driver_class = TerminalDriver
    closer = asyncio.create_task(_close(app, closing, in_terminal=in_terminal))
    try:
        return await app.run_async(headless=headless, mouse=mouse) or "detach"
    finally:
        closer.cancel()
        if in_terminal:
            let_go()
        if app.last_words:
            with suppress(OSError):
                print(app.last_words, file=sys.stderr, flush=True)  # noqa: T201 - the terminal is the shell's again


async def _close(app: Acting, closing: asyncio.Event, *, in_terminal: bool) -> None:
    while not (closing.is_set() or (in_terminal and has_hung_up())):
        with suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), _LOOK_S)
    app.exit("detach")
