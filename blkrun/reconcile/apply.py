"""A plan, sent: one transaction, and its refusal told in terms of the file."""

from typing import Any

from blkrun.client import EDIT_TIMEOUT_S, Client
from blkrun.errors import BlkrunError, CommandError
from blkrun.model import Config, GraphModel
from blkrun.reconcile.live import Live, read_live
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.plan import endangered


class RefusedError(BlkrunError):
    """The server refused the transaction; nothing was changed.

    ``operation`` is the one to blame, if the server said so.
    """

    def __init__(self, message: str, operation: Operation | None) -> None:
        super().__init__(message)
        self.operation = operation


async def ask_live(client: Client) -> Live:
    """The graph in force, now."""
    return read_live(await client.execute("x-blkrun-query-graph"))


def taken_from_clients(
    operations: tuple[Operation, ...], desired: GraphModel, live: Live
) -> dict[str, int]:
    """Exports that the operations would take from clients → how many have each open."""
    names = endangered(operations, desired, live.graph)
    return {name: live.clients[name] for name in sorted(names) if live.clients.get(name)}


async def apply(
    client: Client, operations: tuple[Operation, ...], config: Config, *, hard: bool = False
) -> None:
    """All or nothing.  ``hard``: also take exports from connected clients.

    Raises RefusedError with the table and line that the refused operation came from.
    """
    actions = [_action(operation, hard=hard) for operation in operations]
    try:
        await client.execute("transaction", {"actions": actions}, timeout_s=EDIT_TIMEOUT_S)
    except CommandError as error:
        operation = None if error.action is None else operations[error.action]
        raise RefusedError(_explain(error, operation, config), operation) from error


def _action(operation: Operation, *, hard: bool) -> dict[str, Any]:
    action = operation.action()
    if hard and operation.type == "block-export-del":
        action["data"] = {**action["data"], "mode": "hard"}
    return action


def _explain(error: CommandError, operation: Operation | None, config: Config) -> str:
    if operation is None:
        return f"{config.path.name}: {error}"
    table = config.made_by.get(operation.table, operation.table)
    place = config.places.get(table)
    where = config.path.name if place is None else f"{config.shown(place.file)}:{place.line}"
    return f"{where}: [{table}] {error}"
