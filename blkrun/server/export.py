"""Exports: the named root edges that NBD clients open, and how they come to rest."""

import errno
import threading
from typing import Any, NoReturn

from blkrun.options import BlockdevOptions, ExportOptions
from blkrun.server.node import Node
from blkrun.server.route import Route
from blkrun.server.stats import NOTHING_YET, Tally, total
from blkrun.server.way import Way


class Export:
    """A root edge.  ``gate`` is None, or an event that requests wait for in a drained section."""

    def __init__(self, name: str, options: ExportOptions) -> None:
        self.name = name
        self.options = options
        self.children: dict[str, Node[Any]] = {}
        self.shutting_down = False
        self.route = HELD
        """What requests take.  It is HELD while the gate is closed; see ``blkrun.server.route``."""
        self.routes: list[Route] = []  # those whose requests may still be under way; kept by Graph
        self.past = NOTHING_YET  # of routes that are no more
        self.gate: threading.Event | None = None

    @property
    def root(self) -> Node[Any]:
        """The node that clients see as a disk."""
        return self.children["root"]

    @property
    def stats(self) -> Tally:
        """What clients have asked for since the export began."""
        return total((self.past, *self.routes))

    def attach(self, role: str, child: Node[Any]) -> None:
        """Point the root edge at a node."""
        self.children[role] = child

    def shut_down(self) -> None:
        """Answer every further request with ESHUTDOWN: the export has been deleted."""
        self.shutting_down = True
        self.children["root"] = _GONE
        self.route = Route((), _GONE_WAY)

    def close_gate(self) -> None:
        """Hold new requests."""
        self.gate = threading.Event()
        self.route = HELD

    def open_gate(self, route: Route) -> None:
        """Let them go, this way."""
        gate, self.gate = self.gate, None
        self.route = route
        if gate is not None:
            gate.set()

    def at_rest(self) -> bool:
        """Whether no request is under way, on the last route or on one from before."""
        return not any(route.in_flight for route in self.routes)


def _refuse(*_: object) -> NoReturn:
    raise OSError(errno.ESHUTDOWN, "this export has been deleted")


_GONE_WAY = Way._make(_refuse for _ in Way._fields)

HELD = Route((), _GONE_WAY)
"""Nobody goes this way: who finds it in place of a route waits for the gate."""


class _Gone(Node[Any]):
    """What is left of a deleted export for the clients that still have it open."""

    driver = "gone"


_GONE = _Gone(BlockdevOptions(node_name="gone"))
