"""One browser's dashboard: a process of its own, which never outlives the visit.

textual-serve asks its process to quit and then waits for as long as that takes, which is for good
when the browser took no more of what the process still writes.
"""

import asyncio
import contextlib
import shlex
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable

from textual_serve.app_service import AppService

_QUIT_TIMEOUT_S = 2.0
_PRELUDE = b"__GANGLION__\n"
_NO_MORE = (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError)
"""The process has ended, or says anything but a prelude; or the browser has gone."""


class Visit(AppService):
    """What the process says on stderr comes on ours."""

    _output: asyncio.StreamReader | None = None

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        """Without a shell; and in a session of its own, as our terminal is not for visitors."""
        process = await asyncio.create_subprocess_exec(
            *shlex.split(self.command),
            stdin=PIPE,
            stdout=PIPE,
            env=self._build_environment(width=width, height=height),
            start_new_session=True,
        )
        self._process, self._stdin, self._output = process, process.stdin, process.stdout
        return process

    async def run(self) -> None:
        """Pass on what the process says.  A browser whose process has ended is told so."""
        if (output := self._output) is None:
            return
        with contextlib.suppress(*_NO_MORE):
            await self._pass_on(output)
        with contextlib.suppress(ConnectionError):
            await self.remote_close()
        while await output.read(65536):
            pass  # a process that cannot write cannot quit

    async def _pass_on(self, output: asyncio.StreamReader) -> None:
        """Packets: kind, length, what is in it."""
        take: dict[bytes, Callable[[bytes], Awaitable[None]]]
        take = {b"D": self.on_data, b"M": self.on_meta, b"P": self.on_packed}
        await output.readuntil(_PRELUDE)
        while (kind := await output.readexactly(1)) in take:
            length = int.from_bytes(await output.readexactly(4), "big")
            await take[kind](await output.readexactly(length))

    async def stop(self) -> None:
        """Ask the process to quit, and kill it if it does not."""
        if self._process is None or self._task is None:
            return
        await self._download_manager.cancel_app_downloads(app_service_id=self.app_service_id)
        try:
            async with asyncio.timeout(_QUIT_TIMEOUT_S):
                await self.send_meta({"type": "quit"})
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
        await self._process.wait()
        self._task.cancel()
        await asyncio.wait((self._task,))
