"""The conversation itself: version, commands, transaction, quit."""

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct

from blkrun import __version__
from blkrun.errors import CommandError
from blkrun.server.context import Context
from blkrun.server.qmp.dispatch import Command, NoArguments, arguments
from blkrun.server.staging import Staging


class TransactionArguments(Struct, frozen=True):
    """Parsed actions: what each stages, the nodes that will go, how the jobs will end."""

    stages: tuple[Callable[[Staging], None], ...]
    departing: frozenset[str]
    grouped: bool


def version() -> dict[str, Any]:
    """QEMU's shape; the numbers are blkrun's."""
    major, minor, micro = (int(part) for part in __version__.split(".")[:3])
    return {
        "qemu": {"major": major, "minor": minor, "micro": micro},
        "package": f"blkrun {__version__}",
    }


def _query_commands(context: Context, args: NoArguments) -> list[dict[str, str]]:
    del context, args
    from blkrun.server.qmp.commands import COMMANDS  # noqa: PLC0415 - this row is in that table

    return [{"name": name} for name in sorted((*COMMANDS, "qmp_capabilities"))]


def _quit(context: Context, args: NoArguments) -> None:
    del args
    context.events.emit("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})
    context.shutdown()


def _parse_transaction(raw: dict[str, Any]) -> TransactionArguments:
    for key in raw:
        if key not in ("actions", "properties"):
            raise CommandError(f"Parameter '{key}' is unexpected")
    actions = raw.get("actions")
    if actions is None:
        raise CommandError("Parameter 'actions' is missing")
    if not isinstance(actions, list):
        raise CommandError("Invalid parameter type for 'actions', expected: array")
    stages, departing = [], set()
    for index, action in enumerate(actions):
        try:
            stage, gone = _parse_action(action, index)
        except CommandError as error:
            error.action = index
            raise
        stages.append(stage)
        departing |= gone
    grouped = _parse_grouped(raw.get("properties", {}))
    return TransactionArguments(tuple(stages), frozenset(departing), grouped)


def _parse_grouped(properties: Any) -> bool:
    if not isinstance(properties, dict):
        raise CommandError("Invalid parameter type for 'properties', expected: object")
    for key in properties:
        if key != "completion-mode":
            raise CommandError(f"Parameter 'properties.{key}' is unexpected")
    mode = properties.get("completion-mode", "individual")
    if not isinstance(mode, str):
        raise CommandError(
            "Invalid parameter type for 'properties.completion-mode', expected: string"
        )
    if mode not in ("individual", "grouped"):
        raise CommandError(f"Parameter 'completion-mode' does not accept value '{mode}'")
    return mode == "grouped"


def _parse_action(action: Any, index: int) -> tuple[Callable[[Staging], None], set[str]]:
    from blkrun.server.qmp.commands import COMMANDS  # noqa: PLC0415 - this row is in that table

    if not isinstance(action, dict):
        raise CommandError(f"Invalid parameter type for 'actions[{index}]', expected: object")
    for key in ("type", "data"):
        if key not in action:
            raise CommandError(f"Parameter 'actions[{index}].{key}' is missing")
    kind, data = action["type"], action["data"]
    if kind == "abort":
        return _abort, set()
    command = COMMANDS.get(kind) if isinstance(kind, str) else None
    if command is None or command.stage is None:
        raise CommandError(f"Parameter 'type' does not accept value '{kind}'")
    if not isinstance(data, dict):
        raise CommandError(f"Invalid parameter type for 'actions[{index}].data', expected: object")
    parsed = command.parse(data)
    stage = command.stage
    return partial(_stage, stage, parsed), {
        command.departing(parsed)
    } if command.departing else set()


def _stage(stage: Callable[[Staging, Any], None], parsed: Any, staging: Staging) -> None:
    stage(staging, parsed)


def _abort(staging: Staging) -> None:
    del staging
    raise CommandError("Transaction aborted using Abort action")


def _transaction(context: Context, args: TransactionArguments) -> None:
    context.graph.transaction(args.stages, args.departing, grouped=args.grouped)


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="query-version",
        doc="The version of the server.",
        parse=arguments(NoArguments),
        run=lambda context, args: version(),  # noqa: ARG005
    ),
    Command(
        name="query-commands",
        doc="The names of all commands.",
        parse=arguments(NoArguments),
        run=_query_commands,
    ),
    Command(
        name="transaction",
        doc="Do several edits, all or none, with one drained section if one is needed.",
        parse=_parse_transaction,
        run=_transaction,
    ),
    Command(
        name="quit",
        doc="End the server; requests that wait in a throttle go first.",
        parse=arguments(NoArguments),
        run=_quit,
    ),
)
