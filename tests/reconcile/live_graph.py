"""What a plan is for: a real graph in this process, spoken to as a runner does."""

from collections.abc import Iterable
from typing import Any

import msgspec

from blkrun.model import EMPTY, GraphModel
from blkrun.reconcile.live import read_live
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.plan import plan
from blkrun.server.context import Context
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.qmp.session import Session


class LiveGraph:
    """A real graph in this process, spoken to as a runner does."""

    def __init__(self, model: GraphModel = EMPTY) -> None:
        events = Events()
        self.graph = Graph(events)
        context = Context(
            graph=self.graph, events=events, shutdown=lambda: None, threads=1, started_ns=0
        )
        self._replies: list[dict[str, Any]] = []
        self._session = Session(context, lambda data: self._replies.append(_decode(data)))
        self.execute("qmp_capabilities", {})
        self.perform(plan(model, EMPTY))

    def model(self) -> GraphModel:
        """What it has, as the runner reads it."""
        return read_live(self.execute("x-blkrun-query-graph", {})).graph

    def perform(self, operations: Iterable[Operation]) -> None:
        """As one transaction."""
        self.execute("transaction", {"actions": [each.action() for each in operations]})

    def execute(self, command: str, arguments: dict[str, Any]) -> Any:
        """The command's return value; it must not be refused."""
        request = {"execute": command, "arguments": arguments}
        assert self._session.feed(msgspec.json.encode(request))
        reply = self._replies.pop()
        assert "return" in reply, reply
        return reply["return"]


def _decode(data: bytes) -> dict[str, Any]:
    return msgspec.json.decode(data, type=dict[str, Any])
