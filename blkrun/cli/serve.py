"""The second half of ``blkrun run``: the runner, with a dashboard or one line an event.

Leaving ends the server if this command started it, after asking when clients are connected
or jobs are not done.
SIGHUP (a closed terminal) leaves it running; the next ``blkrun run`` adopts it.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.text import Text

from blkrun.cli import Exit
from blkrun.cli.output import console
from blkrun.cli.progress import JobProgress
from blkrun.cli.stop import unfinished
from blkrun.errors import BlkrunError, NoServerError
from blkrun.messages import (
    Level,
    at_stake,
    event_level,
    event_matters,
    event_text,
    event_time,
    operations_text,
)
from blkrun.model import Config
from blkrun.reconcile.apply import ask_live
from blkrun.reconcile.nbdkit import Server
from blkrun.reconcile.runner import Runner
from blkrun.reconcile.watch import Look

_STYLES = {Level.GOOD: "green", Level.WARNING: "yellow", Level.ERROR: "bold red", Level.INFO: ""}
_ASK_AGAIN_S = 5.0
_ASK_TIMEOUT_S = 2.0


def serve(
    config: Config, server: Server | None, *, shown: Path, seen: Look | None, headless: bool
) -> Exit:
    """Serve until told to stop; ``server`` was just started, or is None if one was running."""
    if not headless and not (sys.stdin.isatty() and sys.stdout.isatty()):
        console().print("no terminal: serving headless")
        headless = True
    elif not headless and find_spec("textual") is None:
        console().print("no dashboard: pip install 'blkrun[dashboard]'; serving headless")
        headless = True
    printer = _Printer()
    on_event = printer.event if headless else _ignore
    runner = Runner(config, server, shown=shown, seen=seen, on_event=on_event, note=printer.note)
    return asyncio.run((_headless if headless else _with_dashboard)(runner, printer))


async def _headless(runner: Runner, printer: "_Printer") -> Exit:
    progress = JobProgress(lambda: runner.client, printer.line)
    printer.also = progress.hear
    telling = asyncio.create_task(progress.run())
    try:
        await runner.start()
        _announce(runner)
        leave = _Leaving(runner, printer.note)
        await runner.run()
        await leave.finish()
    finally:
        telling.cancel()
        await runner.close()
    return Exit.DONE


async def _with_dashboard(runner: Runner, printer: "_Printer") -> Exit:
    from blkrun.dashboard import show  # noqa: PLC0415 - Textual is for those who look at it

    closing = asyncio.Event()
    printer.hold()  # the screen is the dashboard's until it has gone
    try:
        await runner.start()
        running = asyncio.create_task(runner.run())
        running.add_done_callback(lambda _: closing.set())
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, closing.set)
        choice = await show(
            control=runner.config.address.control,
            title=runner.config.path.name,
            refresh_s=runner.config.dashboard.refresh / 1e9,
            owner=runner.started_server,
            closing=closing,
        )
        ended = running.done()
        if choice == "stop" and not ended:
            await runner.stop_server()
        runner.stop()
        await running
        printer.note(_farewell(ended=ended, stopped=choice == "stop", file=runner.config.path.name))
    finally:
        await runner.close()
        printer.release()
    return Exit.DONE


def _farewell(*, ended: bool, stopped: bool, file: str) -> str:
    """What has become of the server: the screen that showed it has gone."""
    if ended:
        return "the server has ended: somebody stopped it"
    return "stopped" if stopped else f"the server goes on; end it with: blkrun stop {file}"


def _ignore(event: dict[str, Any]) -> None:
    """The dashboard hears events itself."""


class _Printer:
    """One line an event."""

    def __init__(self) -> None:
        self._out = console()
        self._held: list[str] | None = None
        self.also: Callable[[dict[str, Any]], None] = _ignore

    def hold(self) -> None:
        """Keep notes until ``release``."""
        self._held = []

    def release(self) -> None:
        """Print what was kept, and print at once again."""
        held, self._held = self._held or [], None
        for text in held:
            self.note(text)

    def event(self, event: dict[str, Any]) -> None:
        """Time, level, words in one line; what is wrong with a file also shows the place."""
        self.also(event)
        if not event_matters(event):
            return
        level = event_level(event)
        text = event_text(event)
        data = event.get("data", {})
        line = Text(f"{event_time(event)} {level.value:5} {text}", style=_STYLES[level])
        if operations := operations_text(data):
            line.append(f": {operations}", style="dim")
        self._out.print(line)
        for place in str(data.get("message", "")).splitlines()[1:]:
            self._out.print(f"  {place}", style="dim")

    def line(self, text: str) -> None:
        """What no event tells, with the time."""
        clock = datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
        self._out.print(f"{clock} {Level.INFO.value:5} {text}")

    def note(self, text: str) -> None:
        """Something no server could tell."""
        if self._held is not None:
            self._held.append(text)
        else:
            self._out.print(text, style="yellow")


class _Leaving:
    """What the signals mean: SIGINT and SIGTERM stop what was started here, SIGHUP only leaves."""

    def __init__(self, runner: Runner, note: Any) -> None:
        self._runner = runner
        self._note = note
        self._stop_server = False
        self._asked_at: float | None = None
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, runner.stop)
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)

    def _stop(self) -> None:
        self._stop_server = True
        self._runner.stop()

    def _interrupt(self) -> None:
        """Ctrl-C: at once if nothing is at stake, else the second one within five seconds."""
        self._task = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._asked_at is not None and now - self._asked_at < _ASK_AGAIN_S:
            self._stop()
            return
        self._asked_at = now
        if not (stake := await self._at_stake()):
            self._stop()
            return
        self._note(f"{stake}; Ctrl-C again to stop anyway")

    async def _at_stake(self) -> str:
        """What a stop would end; a server that hangs is asked no longer than a moment."""
        if not self._runner.started_server:
            return ""
        with contextlib.suppress(BlkrunError, TimeoutError):
            async with asyncio.timeout(_ASK_TIMEOUT_S):
                live = await ask_live(self._runner.client)
                return at_stake(live.clients, unfinished(live))
        return ""

    async def finish(self) -> None:
        """After ``run`` has returned."""
        runner = self._runner
        if self._stop_server and runner.started_server:
            with contextlib.suppress(NoServerError):
                await runner.stop_server()
            self._note("stopped")
        elif self._stop_server:
            self._note(
                "the server was running before and goes on; "
                f"end it with: blkrun stop {runner.config.path.name}"
            )


def _announce(runner: Runner) -> None:
    """Where clients find the disks."""
    config = runner.config
    out = console()
    out.print(f"serving {config.path} on {config.address.listen}")
    for name in config.graph.exports:
        out.print(f"  {config.address.uri(name)}")
