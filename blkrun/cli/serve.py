"""The second half of ``blkrun run``: the runner, with a dashboard or one line an event.

Leaving ends the server if this command started it, after asking when clients are connected
or jobs are not done.  ``--own``: also one that was running before.
SIGHUP (a closed terminal) leaves it running; the next ``blkrun run`` adopts it.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from blkrun.cli import Exit
from blkrun.cli.event_lines import event_lines
from blkrun.cli.other_loop import OtherLoop
from blkrun.cli.output import console
from blkrun.cli.progress import JobProgress
from blkrun.cli.stop import unfinished
from blkrun.cli.supervisor import notify
from blkrun.config import Sources
from blkrun.errors import BlkrunError, NoServerError
from blkrun.messages import Level, at_stake, event_text, report_text
from blkrun.model import Config
from blkrun.reconcile.apply import ask_live
from blkrun.reconcile.nbdkit import Server, log_path
from blkrun.reconcile.runner import Runner

_ASK_AGAIN_S = 5.0
_ASK_TIMEOUT_S = 2.0


StartServer = Callable[[Config], Server]
Tell = Callable[[str], None]


def serve(  # noqa: PLR0913 - all by name, and one caller
    config: Config,
    server: Server | None,
    *,
    start_server: StartServer,
    sources: Sources,
    shown: Path,
    headless: bool,
    own: bool,
    tell: Tell | None,
) -> Exit:
    """Serve until told to stop; ``server`` was just started, or is None if one was running.

    ``start_server`` starts another; ``own``: one that was running is ended as if started here;
    ``tell`` is given, when the file is in force, what somebody has to know who does not see it.

    Raises KeyboardInterrupt if told to stop before that.
    """
    if not headless and not (sys.stdin.isatty() and sys.stdout.isatty()):
        console().print("no terminal: serving headless")
        headless = True
    elif not headless and find_spec("textual") is None:
        console().print("no dashboard: pip install 'blkrun[dashboard]'; serving headless")
        headless = True
    printer = _Printer()
    runner = Runner(
        config,
        server,
        sources=sources,
        shown=shown,
        on_event=printer.event if headless else _ignore,
        note=printer.note,
        start_server=start_server,
    )
    runner.started_server |= own
    if headless:
        return asyncio.run(_headless(runner, printer, tell))
    return asyncio.run(_with_dashboard(runner, printer))


async def _headless(runner: Runner, printer: "_Printer", tell: Tell | None) -> Exit:
    progress = JobProgress(lambda: runner.client, printer.line)
    printer.also = (progress.hear, _tell_status)
    telling = asyncio.create_task(progress.run())
    try:
        await _start(runner.start())
        leave = _Leaving(runner, printer.note)
        _announce(runner)
        notify("READY=1")
        if tell is not None:
            tell(await _whereabouts(runner))
        await runner.run()
        notify("STOPPING=1")
        await leave.finish()
    finally:
        telling.cancel()
        await runner.close()
    return Exit.DONE


async def _start(start: Coroutine[Any, Any, None]) -> None:
    """Raises KeyboardInterrupt at a signal to end; a server started for this is the caller's."""
    starting = asyncio.ensure_future(start)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, starting.cancel)
    try:
        await starting
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _tell_status(event: dict[str, Any]) -> None:
    """The last thing that became of the file or the server, for ``systemctl status``."""
    if event["event"].startswith(("X_BLKRUN_CONFIG_", "X_BLKRUN_SERVER_")):
        notify(f"STATUS={event_text(event)}")


async def _with_dashboard(runner: Runner, printer: "_Printer") -> Exit:
    """The runner has a thread of its own: whatever holds the screen up, the file is followed."""
    from blkrun.dashboard import show  # noqa: PLC0415 - Textual is for those who look at it

    closing = asyncio.Event()
    printer.hold()  # the screen is the dashboard's until it has gone
    with OtherLoop("blkrun-runner") as other:
        try:
            await _start(other.run(runner.start()))
            running = asyncio.ensure_future(other.run(runner.run()))
            running.add_done_callback(lambda _: closing.set())
            choice = await show(
                control=runner.config.address.control,
                file=runner.config.path,
                uri_of=runner.config.address.uri,
                refresh_s=runner.config.dashboard.refresh / 1e9,
                owner=runner.started_server,
                closing=closing,
            )
            ended = running.done()
            if choice == "stop" and not ended:
                await other.run(runner.stop_server())
            other.call(runner.stop)
            await running
            stopped = choice == "stop"
            printer.note(_farewell(ended=ended, stopped=stopped, file=runner.config.path.name))
        finally:
            await other.run(runner.close())
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
        self.also: tuple[Callable[[dict[str, Any]], None], ...] = ()

    def hold(self) -> None:
        """Keep notes until ``release``."""
        self._held = []

    def release(self) -> None:
        """Print what was kept, and print at once again."""
        held, self._held = self._held or [], None
        for text in held:
            self.note(text)

    def event(self, event: dict[str, Any]) -> None:
        """In words, if it has any."""
        for hear in self.also:
            hear(event)
        for line in event_lines(event):
            self._out.print(line)

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
    out = console()
    for line in _places(runner):
        out.print(line)


def _places(runner: Runner) -> list[str]:
    config = runner.config
    uris = (config.address.uri(name) for name in config.graph.exports)
    return [f"serving {config.path} on {config.address.listen}", *(f"  {uri}" for uri in uris)]


async def _whereabouts(runner: Runner) -> str:
    """The same, who does it, and what one may do about it."""
    graph = await runner.client.execute("x-blkrun-query-graph")
    lines, file, log = _places(runner), runner.config.path, log_path(runner.config.address)
    last = graph["reports"].get("config", {})
    if last and last["kind"] != "applied":
        lines.append(report_text(last))
    lines.append(f"runner {os.getpid()}, server {graph['pid']}, log {log}")
    lines.append(f"see it with: blkrun attach {file}")
    lines.append(f"end it with: blkrun stop {file}")
    return "".join(f"{line}\n" for line in lines)
