"""The runner: keeps a server equal to a file, for as long as it runs.

One loop, one thing at a time: the server has gone → ``_recover``; the file has changed → ``_read``;
else whatever events have asked for, by the ``Reconciler``, which does the work and tells of it
through the server, so that every watcher sees one stream of events.

Its own death touches nothing: the next runner finds the server and goes on.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blkrun.client import Client
from blkrun.config import Sources
from blkrun.errors import BlkrunError, FileError, NoServerError, WaitError
from blkrun.model import Config
from blkrun.reconcile import nbdkit
from blkrun.reconcile.apply import ask_live
from blkrun.reconcile.control import stop_server, wait_until_ready
from blkrun.reconcile.reconciler import Reconciler
from blkrun.reconcile.watch import Watcher

_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 5.0

OnEvent = Callable[[dict[str, Any]], None]


class Runner:
    """``on_event`` hears every event of the server; ``note`` what no server can tell.

    ``server`` is the one just started for this file, or None if one was there already; ``config``
    was read from ``sources``, ``shown`` is the file's path as the user wrote it, for messages.
    """

    def __init__(  # noqa: PLR0913 - all by name, and one caller
        self,
        config: Config,
        server: nbdkit.Server | None,
        *,
        sources: Sources,
        shown: Path,
        on_event: OnEvent,
        note: Callable[[str], None],
        start_server: Callable[[Config], nbdkit.Server] = nbdkit.start,
    ) -> None:
        self._start_server = start_server
        self.started_server = server is not None
        self._on_event = on_event
        self._note = note
        self._reconciler = Reconciler(config, sources, shown, note)
        self._watcher = Watcher(shown)
        self._watcher.follow(sources)
        self._is_asked = False
        self._server = server
        self._client: Client | None = None
        self._listening: asyncio.Task[None] | None = None
        self._retry_s = _FIRST_RETRY_S
        self._death: str | None = None
        self._stop = asyncio.Event()

    @property
    def config(self) -> Config:
        """What is in force."""
        return self._reconciler.config

    @property
    def client(self) -> Client:
        """The conversation with the server."""
        return self._reconciler.client

    # Life

    async def start(self) -> None:
        """Meet the server and bring it to what the file says.

        Raises BlkrunError: then nothing runs that did not run before.
        """
        if self._server is None:
            await self._adopt()
            return
        try:
            await self._meet(self._server)
            await self._reconciler.start()
        except BlkrunError:
            self._server.end()
            raise

    async def run(self) -> None:
        """Keep server and file equal until ``stop``, which does not wait for the step at hand."""
        stopped = asyncio.ensure_future(self._stop.wait())
        while not self._stop.is_set():
            step = asyncio.ensure_future(self._step())
            await asyncio.wait((step, stopped), return_when=asyncio.FIRST_COMPLETED)
            if step.done():
                step.result()
            else:
                step.cancel()
                with contextlib.suppress(asyncio.CancelledError, BlkrunError):
                    await step

    async def _step(self) -> None:
        """One look at everything, and what follows from it."""
        try:
            if self._listening is None or self._listening.done():
                await self._recover()
            elif self._watcher.has_changed():
                await self._read()
            else:
                await self._reconciler.do_due(self._watcher.is_settled)
        except NoServerError:
            self._watcher.forget()  # the next step recovers, and then this edit is due again
        except WaitError as error:
            self._note(f"{error}")
        await asyncio.sleep(self._watcher.pace_s)

    async def _read(self) -> None:
        """The file was saved, or somebody wants it to be read again."""
        try:
            sources = self._watcher.read()
        except FileError as error:
            self._is_asked = False
            await self._reconciler.missing(error)
            return
        if sources is not None:
            asked, self._is_asked = self._is_asked, False
            await self._reconciler.edit(sources, asked=asked)

    def stop(self) -> None:
        """Let ``run`` return; the server goes on."""
        self._stop.set()

    async def stop_server(self) -> None:
        """End the server."""
        self.stop()
        # Our own child's number is known; a server that hangs would not tell it.
        pid = self._server.pid if self._server is not None else (await ask_live(self.client)).pid
        await stop_server(self.client, pid, self.config.address)

    async def close(self) -> None:
        """Hang up; the server goes on."""
        if self._listening is not None:
            self._listening.cancel()
        if self._client is not None:
            await self._client.close()

    # The server

    async def _adopt(self) -> None:
        """Go on with a server that ran before.  Raises NoServerError."""
        self._take(await Client.connect(self.config.address.control))
        await self._reconciler.adopt()

    async def _meet(self, server: nbdkit.Server) -> None:
        self._take(await wait_until_ready(server, self.config.address))

    def _take(self, client: Client) -> None:
        self._client = client
        self._reconciler.meet(client)
        self._listening = asyncio.create_task(self._pass_events(client))

    async def _pass_events(self, client: Client) -> None:
        async for event in client.events():
            if event["event"] == "SHUTDOWN":
                self.stop()
            elif _asks_to_reload(event):
                self._is_asked = True
                self._watcher.forget()
            self._reconciler.hear(event)
            self._on_event(event)

    async def _recover(self) -> None:
        """The conversation has ended: go on with the server if it is there, else start another.

        One attempt a step; the time between attempts grows.
        """
        if self._client is not None:
            await self._client.close()
        try:
            if nbdkit.answers(self.config.address):
                await self._adopt()
            else:
                await self._start_again()
        except (BlkrunError, OSError) as error:
            self._note(f"no server, trying again: {error}")
            await asyncio.sleep(self._retry_s)
            self._retry_s = min(self._retry_s * 2, _LAST_RETRY_S)
        else:
            self._retry_s = _FIRST_RETRY_S
            self._watcher.forget()  # what was pending for a client's sake may be due now

    async def _start_again(self) -> None:
        """A new server with what is in force, or none at all."""
        if self._death is None:
            how = self._server.ended() if self._server is not None else None
            self._death = how or "it went away"
        server = self._server = self._start_server(self.config)
        try:
            await self._meet(server)
            await self._reconciler.bring_back(self._death)
        except BlkrunError:
            if self._listening is not None:
                self._listening.cancel()
            server.end()
            raise
        self.started_server = True
        self._death = None


def _asks_to_reload(event: dict[str, Any]) -> bool:
    if event["event"] != "X_BLKRUN_RUNNER_ASKED":
        return False
    return bool(event["data"].get("kind") == "reload")
