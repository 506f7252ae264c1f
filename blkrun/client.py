"""The QMP client that the command line, the runner and the dashboard share: ``qemu.qmp`` inside.

Raises what callers act on: NoServerError when nobody answers or the server goes away,
CommandError when it says no.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

from qemu.qmp import ConnectError, ExecuteError, Message, QMPClient, QMPError, Runstate

from blkrun.errors import CommandError, CommandNotFound, DeviceNotFound, NoServerError, WaitError

# The library reports to its log what it also raises.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

CONNECT_TIMEOUT_S = 5.0
QUERY_TIMEOUT_S = 10.0
EDIT_TIMEOUT_S = 90.0
"""A transaction may open remote nodes and drain, which the server bounds by 30 s."""

_CLASSES = {error.qmp_class: error for error in (CommandNotFound, DeviceNotFound)}


class _QuietClient(QMPClient):
    """The library makes a readable text of every message for its log, also while that is off.

    For a reply of some size this takes ten times as long as all the rest.
    """

    def _cb_outbound(self, msg: Message) -> Message:
        return msg

    def _cb_inbound(self, msg: Message) -> Message:
        return msg


class Client:
    """One conversation with a server.  ``async with await Client.connect(path)`` closes it."""

    def __init__(self, qmp: QMPClient, control: Path) -> None:
        self._qmp = qmp
        self._control = control

    @classmethod
    async def connect(cls, control: Path) -> "Client":
        """Connect and negotiate.  Raises NoServerError, or WaitError if it hangs."""
        qmp = _QuietClient("blkrun")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await qmp.connect(str(control))
        except ConnectError as error:
            raise NoServerError(f"no server at {control}") from error
        except TimeoutError as error:
            raise WaitError(f"the server at {control} does not answer; is it stopped?") from error
        return cls(qmp, control)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up; also right after the server did."""
        with contextlib.suppress(QMPError, OSError, EOFError, TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._qmp.disconnect()

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = QUERY_TIMEOUT_S,
    ) -> Any:
        """Run one command.  Raises CommandError, NoServerError, or WaitError if it hangs."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._qmp.execute(command, arguments)
        except TimeoutError as error:
            message = f"the server at {self._control} has not answered {command} in {timeout_s:g} s"
            raise WaitError(message) from error
        except ExecuteError as error:
            raise _command_error(error) from error
        except (QMPError, OSError, EOFError) as error:
            raise NoServerError(f"the server at {self._control} has gone away") from error

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Every event from the connection's first moment on, until the server goes away."""
        gone = asyncio.ensure_future(self.gone())
        event = asyncio.ensure_future(self._qmp.events.get())
        try:
            while True:
                await asyncio.wait((event, gone), return_when=asyncio.FIRST_COMPLETED)
                if not event.done():
                    return
                yield dict(event.result())
                event = asyncio.ensure_future(self._qmp.events.get())
        finally:
            gone.cancel()
            event.cancel()

    async def gone(self) -> None:
        """Return when the connection has ended."""
        while self._qmp.runstate is Runstate.RUNNING:
            await self._qmp.runstate_changed()


def _command_error(error: ExecuteError) -> CommandError:
    body = error.received.get("error")
    data = body.get("data") if isinstance(body, dict) else None
    return command_error(str(error), error.error_class, data if isinstance(data, dict) else {})


def command_error(text: str, kind: str, data: Mapping[str, Any]) -> CommandError:
    """A refusal as it came over the wire: in an error, or in the answer of a dry run."""
    error = _CLASSES.get(kind, CommandError)(text, action=data.get("action"))
    error.subject = {key: data[key] for key in ("node-name", "export") if key in data}
    return error
