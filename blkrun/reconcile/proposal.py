"""A plan and what it means for clients: what ``plan``, ``apply`` and the runner show alike.

``proposed`` is pure; ``propose`` also asks the server for a dry run of the very transaction that
``apply`` would send.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from blkrun.client import EDIT_TIMEOUT_S, Client, command_error
from blkrun.errors import CommandNotFound
from blkrun.model import Config, GraphModel
from blkrun.options import ThrottleOptions, children_of
from blkrun.reconcile.apply import drains_of, refusal, transaction_of
from blkrun.reconcile.live import Live
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.pivots import with_recorded
from blkrun.reconcile.plan import endangered, plan
from blkrun.reconcile.reports import why_not_now

Clients = Mapping[str, int]
"""Export → how many clients."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What applying a file would do.  Mappings lead from exports to numbers of clients."""

    operations: tuple[Operation, ...]
    taken: Clients
    """Who would lose their disk, or see another."""
    clients: Clients
    """Who is connected to what changes."""
    why: str | None
    """Why it waits for somebody's yes, or None if it does not."""
    drains: Clients | None = None
    """Whose requests would be held while it is done; None: no server was asked."""
    refused: str | None = None
    """Why the server would not do it, with the place in the file."""


def proposed(config: Config, live: Live) -> Proposal:
    """What can be told without asking the server: pure but for what a pivot has written down."""
    graph = with_recorded(live.graph, config.graph, config.address.control)
    operations = plan(config.graph, graph)
    taken = _connected(endangered(operations, config.graph, graph), live)
    changed = _changed_exports(operations, config.graph, graph)
    return Proposal(
        operations, taken, _connected(changed, live), why_not_now(config, operations, taken)
    )


async def propose(client: Client, config: Config, live: Live) -> Proposal:
    """With the server's dry run.  Raises BlkrunError if there is no answer."""
    proposal = proposed(config, live)
    return await rehearsed(client, config, proposal) if proposal.operations else proposal


async def rehearsed(client: Client, config: Config, proposal: Proposal) -> Proposal:
    """A proposal, and what the server says to it."""
    operations = proposal.operations
    try:
        answer = await client.execute(
            "x-blkrun-check-transaction",
            transaction_of(operations, hard=True),
            timeout_s=EDIT_TIMEOUT_S,
        )
    except CommandNotFound:  # a server that was started by an older blkrun
        return proposal
    refused = answer["refused"]
    if refused is not None:
        error = command_error(refused["desc"], refused["class"], refused)
        return replace(proposal, drains={}, refused=str(refusal(error, operations, config)))
    return replace(proposal, drains=drains_of(answer))


def _connected(exports: set[str], live: Live) -> dict[str, int]:
    return {name: live.clients[name] for name in sorted(exports) if live.clients.get(name)}


def _changed_exports(
    operations: tuple[Operation, ...], desired: GraphModel, live: GraphModel
) -> set[str]:
    """Live exports that are changed themselves, or have something under them that is."""
    members = _members(live)
    touched = {name for operation in operations for name in _touched(operation, live, members)}
    return {name for name in live.exports if not touched.isdisjoint(_reach(name, desired, live))}


def _reach(export: str, desired: GraphModel, live: GraphModel) -> set[str]:
    """The export, as ``"export NAME"``, and all nodes under it, now or then."""
    found = {f"export {export}"}
    for graph in (live, desired):
        if export in graph.exports:
            found |= _below(graph, graph.exports[export].node)
    return found


def _below(graph: GraphModel, root: str) -> set[str]:
    found: set[str] = set()
    rest = [root]
    while rest:
        name = rest.pop()
        if name not in found:
            found.add(name)
            rest.extend(children_of(graph.nodes[name]).values() if name in graph.nodes else ())
    return found


def _touched(
    operation: Operation, live: GraphModel, members: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Nodes, and exports as ``"export NAME"``, that are not after an operation what they were."""
    data: dict[str, Any] = operation.data
    match operation.type:
        case "block-export-del" | "block-export-add":
            yield f"export {data['id']}"
        case "x-blkrun-set-edge":
            yield f"export {data['parent']}" if data["role"] == "root" else data["parent"]
        case "block-insert-node" | "block-remove-node":
            parent = data["parent"]
            yield f"export {parent}" if parent in live.exports else parent
        case "blockdev-reopen":
            yield from (options["node-name"] for options in data["options"])
        case "x-blkrun-replace-node":
            yield data["node-name"]
        case "qom-set":
            yield from members.get(data["path"], ())
        case "block-dirty-bitmap-add" | "block-dirty-bitmap-remove":
            yield data["node"]
        case "blockdev-backup" | "blockdev-mirror":
            yield data["device"]
        case "x-blkrun-job-change" | "x-blkrun-job-remove" if data["id"] in live.jobs:
            yield live.jobs[data["id"]].device


def _members(live: GraphModel) -> dict[str, list[str]]:
    """Throttle group → its nodes, once for all operations: there may be a group a node."""
    found: dict[str, list[str]] = {}
    for name, options in live.nodes.items():
        if isinstance(options, ThrottleOptions):
            found.setdefault(options.throttle_group, []).append(name)
    return found
