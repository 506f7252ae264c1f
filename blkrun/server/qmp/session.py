"""One client's conversation: negotiation, commands in order, replies, events.

Sans I/O: bytes in, bytes out through ``send``, which never blocks.  Events that come before the
client has negotiated are kept for it.
"""

import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from blkrun.errors import CommandError, CommandNotFound
from blkrun.server.context import Context
from blkrun.server.events import Event
from blkrun.server.qmp.commands import COMMANDS
from blkrun.server.qmp.commands.protocol import version
from blkrun.server.qmp.dispatch import Command
from blkrun.server.qmp.framing import Framer, FramingError

_EARLY_EVENTS = 10_000
"""Kept for a client that has not negotiated; older ones go, as it may never do so."""

_MEMBERS = ("execute", "arguments", "id")


class Session:
    """``feed`` gives False when the conversation is over."""

    def __init__(self, context: Context, send: Callable[[bytes], None]) -> None:
        self._context = context
        self._send_bytes = send
        self._framer = Framer()
        self._negotiated = False
        self._early_events: deque[Event] = deque(maxlen=_EARLY_EVENTS)

    def greet(self) -> None:
        """The first thing a client sees."""
        self._send({"QMP": {"version": version(), "capabilities": []}})

    def on_event(self, event: Event) -> None:
        """Deliver; called by whichever thread emits."""
        if self._negotiated:
            self._send(event)
        else:
            self._early_events.append(event)

    def feed(self, data: bytes) -> bool:
        """Bytes from the client."""
        try:
            for value in self._framer.feed(data):
                self._answer(value)
        except FramingError as error:
            self._send(_error(CommandError(str(error)), None))
            return False
        return True

    def _answer(self, request: Any) -> None:
        has_id = isinstance(request, dict) and "id" in request
        identity = {"id": request["id"]} if has_id else None
        try:
            name, arguments = _parse(request)
            result = self._execute(name, arguments)
        except CommandError as error:
            self._send(_error(error, identity))
        except Exception as error:  # noqa: BLE001 - an edge: a defect is told, and logged whole
            traceback.print_exc()
            self._send(_error(CommandError(f"internal error: {error!r}"), identity))
        else:
            self._send({"return": {} if result is None else result, **(identity or {})})
            if name == "qmp_capabilities":
                self._start_events()

    def _execute(self, name: str, arguments: dict[str, Any]) -> Any:
        if name == "qmp_capabilities":
            return self._negotiate(arguments)
        if not self._negotiated:
            raise CommandNotFound("Expecting capabilities negotiation with 'qmp_capabilities'")
        command = COMMANDS.get(name)
        if command is None:
            raise CommandNotFound(f"The command {name} has not been found")
        return _run(command, self._context, command.parse(arguments))

    def _negotiate(self, arguments: dict[str, Any]) -> None:
        if self._negotiated:
            raise CommandNotFound("Capabilities negotiation is already complete, command ignored")
        for key in arguments:
            if key != "enable":
                raise CommandError(f"Parameter '{key}' is unexpected")
        enable = arguments.get("enable", [])
        if not isinstance(enable, list):
            raise CommandError("Invalid parameter type for 'enable', expected: array")
        for capability in enable:
            raise CommandError(f"Parameter 'null' does not accept value '{capability}'")

    def _start_events(self) -> None:
        """Nothing may come between the kept events and the live ones."""
        with self._context.events.paused():
            for event in self._early_events:
                self._send(event)
            self._early_events.clear()
            self._negotiated = True

    def _send(self, message: dict[str, Any]) -> None:
        self._send_bytes(msgspec.json.encode(message) + b"\r\n")


def _run(command: Command[Any], context: Context, arguments: Any) -> Any:
    if command.stage is None:
        if command.run is None:
            raise AssertionError(f"{command.name} neither runs nor stages")
        return command.run(context, arguments)
    stage = command.stage
    departing = {command.departing(arguments)} if command.departing else ()
    context.graph.transaction(
        [lambda staging: stage(staging, arguments)], departing, operations=[command.name]
    )
    return None


def _parse(request: Any) -> tuple[str, dict[str, Any]]:
    """QEMU's checks of a request's shape, in its words."""
    if not isinstance(request, dict):
        raise CommandError("QMP input must be a JSON object")
    for member in request:
        if member not in _MEMBERS:
            raise CommandError(f"QMP input member '{member}' is unexpected")
    if "execute" not in request:
        raise CommandError("QMP input lacks member 'execute'")
    name, arguments = request["execute"], request.get("arguments", {})
    if not isinstance(name, str):
        raise CommandError("QMP input member 'execute' must be a string")
    if not isinstance(arguments, dict):
        raise CommandError("QMP input member 'arguments' must be an object")
    return name, arguments


def _error(error: CommandError, identity: dict[str, Any] | None) -> dict[str, Any]:
    """``data`` is ours: the index of the action that was refused, or the place in the graph."""
    body: dict[str, Any] = {"class": error.qmp_class, "desc": str(error)}
    index = {} if error.action is None else {"action": error.action}
    if data := index | error.subject:
        body["data"] = data
    return {"error": body, **(identity or {})}
