"""A plan, sent: one transaction, and its refusal told in terms of the file."""

from typing import Any

from blkrun.client import EDIT_TIMEOUT_S, Client
from blkrun.errors import BlkrunError, CommandError
from blkrun.model import Config
from blkrun.reconcile.live import Live, read_live
from blkrun.reconcile.operation import Operation


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


def transaction_of(operations: tuple[Operation, ...], *, hard: bool) -> dict[str, Any]:
    """The arguments of ``transaction``.  ``hard``: also take exports from connected clients."""
    actions = [_action(operation, hard=hard) for operation in operations]
    return {"actions": actions, "properties": {"x-blkrun-of-file": True}}


async def apply(
    client: Client, operations: tuple[Operation, ...], config: Config, *, hard: bool = False
) -> dict[str, int]:
    """All or nothing.  Gives the exports that were held for it → how many clients waited.

    Raises RefusedError with the table and line that the refused operation came from.
    """
    try:
        return drains_of(await _send(client, transaction_of(operations, hard=hard)))
    except CommandError as error:
        raise refusal(error, operations, config) from error


def drains_of(answer: dict[str, Any]) -> dict[str, int]:
    """Export → clients, of a transaction's answer or a dry run's."""
    return {each["export"]: each["clients"] for each in answer.get("drains", ())}


async def _send(client: Client, transaction: dict[str, Any]) -> Any:
    """A server that was started by an older blkrun does not know our property."""
    try:
        return await client.execute("transaction", transaction, timeout_s=EDIT_TIMEOUT_S)
    except CommandError as error:
        if error.action is not None or "'properties.x-blkrun-of-file'" not in str(error):
            raise
    actions = {"actions": transaction["actions"]}
    return await client.execute("transaction", actions, timeout_s=EDIT_TIMEOUT_S)


def refusal(error: CommandError, operations: tuple[Operation, ...], config: Config) -> RefusedError:
    """``vm.toml:12: [nodes.limit] Could not …``; the table is the subject's if no action is."""
    operation = None if error.action is None else operations[error.action]
    table = _table_of(error.subject, config) if operation is None else operation.table
    if table is None:
        return RefusedError(f"{config.path.name}: {error}", operation)
    return RefusedError(f"{place_of(table, config)} {error}", operation)


def place_of(table: str, config: Config) -> str:
    """``vm.toml:12: [nodes.limit]``, for a table or what another one makes (Config.made_by).

    What a plan takes away may have no table any more, or never had one:
    ``vm.toml: [nodes.limit], which is not in the file:``.
    """
    table = config.made_by.get(table, table)
    place = config.places.get(table)
    if place is None:
        return f"{config.path.name}: [{table}], which is not in the file:"
    return f"{config.shown(place.file)}:{place.line}: [{table}]"


def _table_of(subject: dict[str, str], config: Config) -> str | None:
    """The table of what a graph that is refused as a whole is about."""
    if "export" in subject:
        return f"exports.{subject['export']}"
    name = subject.get("node-name")
    tables = [f"{kind}.{name}" for kind in ("nodes", "backends")]
    jobs = config.graph.jobs.values()
    tables += [f"jobs.{job.job_id}" for job in jobs if job.filter_node_name == name]
    return next((table for table in tables if table in {**config.places, **config.made_by}), None)


def _action(operation: Operation, *, hard: bool) -> dict[str, Any]:
    action = operation.action()
    if hard and operation.type == "block-export-del":
        action["data"] = {**action["data"], "mode": "hard"}
    return action
