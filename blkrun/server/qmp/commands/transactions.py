"""Several edits in one, and the same for a trial."""

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct

from blkrun.errors import CommandError
from blkrun.server.context import Context
from blkrun.server.graph import Drains
from blkrun.server.qmp.dispatch import Command
from blkrun.server.staging import Staging


class Properties(Struct, frozen=True):
    """How the jobs will end, and whether it is what a file asks for (ours)."""

    grouped: bool
    of_file: bool


class TransactionArguments(Struct, frozen=True):
    """Parsed actions: what each is called and stages, and the nodes that will go."""

    operations: tuple[str, ...]
    stages: tuple[Callable[[Staging], None], ...]
    departing: frozenset[str]
    properties: Properties


class CheckArguments(Struct, frozen=True):
    """Parsed actions, or what is wrong with one of them."""

    transaction: TransactionArguments | None
    error: CommandError | None = None


def _parse_transaction(raw: dict[str, Any]) -> TransactionArguments:
    for key in raw:
        if key not in ("actions", "properties"):
            raise CommandError(f"Parameter '{key}' is unexpected")
    actions = raw.get("actions")
    if actions is None:
        raise CommandError("Parameter 'actions' is missing")
    if not isinstance(actions, list):
        raise CommandError("Invalid parameter type for 'actions', expected: array")
    operations, stages, departing = [], [], set()
    for index, action in enumerate(actions):
        try:
            stage, gone = _parse_action(action, index)
        except CommandError as error:
            error.action = index
            raise
        operations.append(action["type"])
        stages.append(stage)
        departing |= gone
    properties = _parse_properties(raw.get("properties", {}))
    return TransactionArguments(tuple(operations), tuple(stages), frozenset(departing), properties)


def _parse_check(raw: dict[str, Any]) -> CheckArguments:
    try:
        return CheckArguments(_parse_transaction(raw))
    except CommandError as error:
        if error.action is None:
            raise
        return CheckArguments(None, error)


def _parse_properties(properties: Any) -> Properties:
    if not isinstance(properties, dict):
        raise CommandError("Invalid parameter type for 'properties', expected: object")
    for key in properties:
        if key not in ("completion-mode", "x-blkrun-of-file"):
            raise CommandError(f"Parameter 'properties.{key}' is unexpected")
    of_file = properties.get("x-blkrun-of-file", False)
    if not isinstance(of_file, bool):
        raise CommandError(
            "Invalid parameter type for 'properties.x-blkrun-of-file', expected: boolean"
        )
    return Properties(_parse_grouped(properties.get("completion-mode", "individual")), of_file)


def _parse_grouped(mode: Any) -> bool:
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


def _transaction(context: Context, args: TransactionArguments) -> dict[str, Any]:
    """To a file's: what it has drained.  Everybody else gets QEMU's answer, which is empty."""
    drains = context.graph.transaction(
        args.stages,
        args.departing,
        grouped=args.properties.grouped,
        operations=args.operations,
        of_file=args.properties.of_file,
    )
    return {"drains": _listed(drains)} if args.properties.of_file else {}


def _check(context: Context, args: CheckArguments) -> dict[str, Any]:
    try:
        return {"drains": _listed(_rehearse(context, args)), "refused": None}
    except CommandError as error:
        refused = {"action": error.action, "class": error.qmp_class, "desc": str(error)}
        return {"drains": [], "refused": refused | error.subject}


def _rehearse(context: Context, args: CheckArguments) -> Drains:
    transaction = args.transaction
    if transaction is None:
        raise args.error or AssertionError("it was parsed, or it was not")
    return context.graph.rehearse(
        transaction.stages, transaction.departing, grouped=transaction.properties.grouped
    )


def _listed(drains: Drains) -> list[dict[str, Any]]:
    return [{"export": name, "clients": count} for name, count in drains.items()]


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        name="transaction",
        doc="Do several edits, all or none, with one drained section if one is needed.",
        parse=_parse_transaction,
        run=_transaction,
    ),
    Command(
        name="x-blkrun-check-transaction",
        doc="Say what a transaction would drain, or why it would be refused, and change nothing.",
        parse=_parse_check,
        run=_check,
    ),
)
