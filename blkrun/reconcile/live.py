"""What a server reports, as the same frozen types that a file is read into."""

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import Struct

from blkrun.decode import Problem, decode
from blkrun.errors import BlkrunError
from blkrun.model import GraphModel
from blkrun.options import DRIVERS, BlockdevOptions, ExportOptions, ThrottleLimits

S = TypeVar("S", bound=Struct)


class Live(Struct, frozen=True, kw_only=True):
    """The graph in force and who uses it: export → number of clients."""

    graph: GraphModel
    clients: dict[str, int]
    pid: int


def read_live(reply: Mapping[str, Any]) -> Live:
    """From ``x-blkrun-query-graph``.  Inline children belong to their parents, not to a file."""
    nodes = {
        node["node-name"]: _node(node["options"])
        for node in reply["nodes"]
        if node["monitor-owned"]
    }
    groups = {
        group["id"]: _decode(ThrottleLimits, group["limits"]) for group in reply["throttle-groups"]
    }
    exports = {
        export["id"]: ExportOptions(
            node=export["node-name"],
            read_only=not export["writable"],
            description=export["description"],
        )
        for export in reply["exports"]
    }
    clients = {export["id"]: len(export["clients"]) for export in reply["exports"]}
    spent = {options["node-name"]: _node(options) for options in reply.get("spent", ())}
    graph = GraphModel(nodes=nodes, groups=groups, exports=exports, spent=spent)
    return Live(graph=graph, clients=clients, pid=reply["pid"])


def _node(wire: Mapping[str, Any]) -> BlockdevOptions:
    options = DRIVERS.get(wire["driver"])
    if options is None:
        raise BlkrunError(
            f"the server has a driver {wire['driver']!r} that this blkrun does not know; "
            "stop it with the blkrun that started it"
        )
    return _decode(options, {key: value for key, value in wire.items() if key != "driver"})


def _decode(struct: type[S], wire: Mapping[str, Any]) -> S:
    problems: list[Problem] = []
    decoded = decode(struct, wire, problems)
    if decoded is None:
        raise BlkrunError(f"the server speaks of options unknown here: {problems[0].message}")
    return decoded
