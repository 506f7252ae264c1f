"""The live graph: nodes, throttle groups, exports, and how an edit becomes true.

``transaction`` runs actions on a :class:`Staging`; if they and the final check succeed, ``commit``
makes it live, with requests in flight:

1. exports and jobs below which a node is disturbed (reopened, replaced), or that would see more
   than one store, are drained, so that no request sees half of an edit; elsewhere nothing stops;
2. edges are changed, groups retuned, and the exports get their new routes, each by one store;
3. nodes no longer under any export let their waiting requests go;
4. after the grace period, when every request that could have seen them has ended, removed nodes
   are closed.

All of it is done by one thread at a time, under ``lock``; requests never take it.
"""

import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

from blkrun.errors import CommandError
from blkrun.options import BlockdevOptions
from blkrun.server.client import Client
from blkrun.server.connection import Connection
from blkrun.server.events import Events
from blkrun.server.export import Export
from blkrun.server.jobs.job import Job
from blkrun.server.jobs.registry import Jobs
from blkrun.server.later import Later
from blkrun.server.node import Node, Parent
from blkrun.server.sinking import sinking
from blkrun.server.staging import Edge, Staging, close_node
from blkrun.server.throttle.group import ThrottleGroup
from blkrun.server.traffic import Traffic, chooses, under_way

DRAIN_TIMEOUT_S = 30.0
"""How long requests below may take to end before an edit that must drain is given up."""

_GRACE_IN_COMMAND_S = 0.2
_END_TIMEOUT_S = 5.0
_SHORTEST_POLL_S = 0.00005
_LONGEST_POLL_S = 0.002


Actions = Iterable[Callable[[Staging], None]]

Drains = dict[str, int]
"""Exports whose requests are held while an edit becomes true → how many clients wait meanwhile."""


class Disturbance(NamedTuple):
    """What an edit changes that more than one store makes up, and who comes to rest for that."""

    changing: Collection[object]
    exports: list[Export]
    jobs: set[Job]
    sinking: list[Export]
    """Those of the exports whose clients have written what will be a backing image."""


class Graph:
    """``lock`` serialises edits, and may be held for as long as opening and draining take.

    ``swapping`` is held inside it, only while tables and edges change: who just looks takes that.
    """

    def __init__(self, events: Events) -> None:
        self.lock = threading.RLock()
        self.swapping = threading.Lock()
        self.events = events
        self.nodes: dict[str, Node[Any]] = {}
        self.groups: dict[str, ThrottleGroup] = {}
        self.memberships: dict[Node[Any], ThrottleGroup] = {}
        self.exports: dict[str, Export] = {}
        self.revision = 0
        """How many edits have become true, also those that nobody asked for."""
        self.spent: dict[str, BlockdevOptions] = {}
        """Filters that had done their work and left by themselves, with the options they had."""
        self.control: Path | None = None
        """The control socket, beside which what must outlive the server is written down."""
        self.later = Later()
        self.jobs = Jobs()
        self._traffic = Traffic()
        self._closing: set[Node[Any]] = set()  # removed, but not closed yet
        self._connections: dict[int, Connection] = {}
        self._connections_lock = threading.Lock()  # the dict above and the number below
        self._last_connection = 0

    # Clients

    def connect(
        self,
        export_name: str,
        report_error: Callable[[BaseException], None],
        client: Client | None = None,
    ) -> Connection:
        """A client opens an export.  Raises CommandError if there is none of that name."""
        client = client or Client()  # nobody: it is never gone
        with self.lock:  # the size it is told is one that an edit has been checked against
            export = self.exports.get(export_name)
            if export is None:
                raise CommandError(f"Export '{export_name}' is not found")
            with self._connections_lock:
                self._last_connection += 1
                connection = Connection(
                    self._last_connection, export, report_error, client, self._connections
                )
                self._connections[connection.number] = connection
        data = {"export": export.name, "id": connection.number}
        self.events.emit("X_BLKRUN_CLIENT_CONNECTED", data)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """A client has gone, and all its requests have ended."""
        connection.close()
        with self._connections_lock:
            del self._connections[connection.number]
        data = {"export": connection.export.name, "id": connection.number}
        self.events.emit("X_BLKRUN_CLIENT_DISCONNECTED", data)

    def clients_of(self, export: Export) -> list[Connection]:
        """Who has an export open."""
        with self._connections_lock:
            return [client for client in self._connections.values() if client.export is export]

    def clients(self) -> dict[Export, list[Connection]]:
        """Who has what open, deleted exports among it."""
        found: dict[Export, list[Connection]] = {}
        with self._connections_lock:
            for client in self._connections.values():
                found.setdefault(client.export, []).append(client)
        return found

    # Edits

    def transaction(
        self,
        actions: Actions,
        departing: Collection[str] = (),
        *,
        grouped: bool = False,
        operations: Sequence[str] = (),
        of_file: bool = False,
    ) -> Drains:
        """All actions hold, or none.  Raises CommandError with the index of the one refused.

        ``grouped``: so do the jobs that they start, at their end.  ``operations`` and ``of_file``
        are for the event: the actions' names, none if the server did this by itself; and whether
        a file asked for it.
        """
        with self.lock:
            staging = Staging(self, departing, grouped=grouped)
            try:
                _stage(staging, actions)
                drains = self._commit(staging, {"of-file": of_file, "operations": [*operations]})
            except BaseException:
                if not staging.committed:
                    staging.abort()
                raise
            return drains

    def rehearse(
        self, actions: Actions, departing: Collection[str] = (), *, grouped: bool = False
    ) -> Drains:
        """What ``transaction`` would drain; raises what it would, as far as can be known.

        Nodes are opened for it, and closed again; nothing stays, and no event tells of it.
        """
        with self.lock:
            staging = Staging(self, departing, grouped=grouped, rehearsal=True)
            try:
                _stage(staging, actions)
                return self._clients_held(self._disturbance(staging))
            finally:
                staging.abort()

    def _commit(self, staging: Staging, about: dict[str, Any]) -> Drains:
        """Make the staged graph live.  Draining may fail, before anything is changed."""
        staged = set(staging.nodes.values())
        kept_exports = set(staging.exports.values())
        gone_exports = [export for export in self.exports.values() if export not in kept_exports]
        gone_nodes = [node for node in self.nodes.values() if node not in staged]
        gone_nodes += staging.leftovers()
        sizes = {node: staging.size(node) for node in staging.nodes.values()}
        disturbance = self._disturbance(staging)
        self._await_strays(disturbance.changing)
        with self._drained(disturbance.exports, disturbance.jobs):
            drains = self._clients_held(disturbance)
            self._flush(disturbance.sinking)
            for settle in staging.settles:
                settle()
            with self.swapping:
                self._become(staging, sizes, gone_exports)
        self.events.emit("X_BLKRUN_GRAPH_CHANGED", {"revision": self.revision, **about})
        for start in staging.starts:
            start()
        self._close_after_grace(gone_nodes)
        for export in gone_exports:
            self.events.emit("BLOCK_EXPORT_DELETED", {"id": export.name})
        return drains

    def _disturbance(self, staging: Staging) -> Disturbance:
        """Who must be at rest while the staged graph becomes the live one."""
        swaps = {edge for edge, node in staging.edges.items() if self._is_swap(edge, node)}
        sunk = sinking(staging, self.exports.values(), swaps)
        disturbed = staging.disturbed.union(self._starting(staging), *sunk.values())
        changing = disturbed.union(parent for parent, _ in swaps if chooses(parent))
        jobs = staging.stopped.union(self._jobs_over(changing))
        return Disturbance(changing, self._exports_over(changing, staging), jobs, list(sunk))

    def _flush(self, exports: Iterable[Export]) -> None:
        """What their clients have written so far, at rest."""
        for export in exports:
            try:
                self._traffic.route_of(export).way.flush()
            except OSError as error:
                raise CommandError(
                    f"Export '{export.name}' could not be flushed: {error.strerror}; "
                    "nothing was changed"
                ) from error

    def _clients_held(self, disturbance: Disturbance) -> Drains:
        return {export.name: len(self.clients_of(export)) for export in disturbance.exports}

    def _become(
        self, staging: Staging, sizes: dict[Node[Any], int], gone_exports: Iterable[Export]
    ) -> None:
        """The staged graph is the live one.  From here on nothing can fail."""
        old_nodes = set(self.nodes.values())
        self.revision += 1
        self._swap(staging, sizes)
        for export in gone_exports:
            export.shut_down()
        left = self._update_detached()
        for node in left:
            if node in old_nodes:
                node.taken_out()
        self._traffic.reroute(self.exports.values(), self.nodes.values())
        for node in left:  # not before: until now new requests came
            node.drain_begin()

    def _starting(self, staging: Staging) -> set[Node[Any]]:
        """Nodes that come into the way of requests at rest only, and what is right below them.

        And those that go out of it at rest only.
        """
        live = set(self.nodes.values())
        leaving = {node for node in live if node.leaves_at_rest and not node.detached}
        coming = {
            node
            for node in staging.nodes.values()
            if node.starts_at_rest and (node.detached or node not in live)
        }
        if coming or leaving:  # one that no export leads to is in nobody's way
            below = set().union(*map(staging.below, staging.exports.values()))
            coming &= below
            leaving -= below
        return leaving.union(coming, *(staging.children(node).values() for node in coming))

    @staticmethod
    def _is_swap(edge: Edge, node: Node[Any] | None) -> bool:
        """Whether a staged edge leads elsewhere than now, or nowhere, or appears."""
        parent, role = edge
        return parent.children.get(role) is not node

    def _swap(self, staging: Staging, sizes: dict[Node[Any], int]) -> None:
        """From here on nothing can fail."""
        staging.committed = True
        for node, size_bytes in sizes.items():
            node.size_bytes = size_bytes
            for bitmap in node.bitmaps.values():
                bitmap.resize(size_bytes)
        for commit in staging.commits:
            commit()
        for (parent, role), child in staging.edges.items():
            if child is not None:
                parent.attach(role, child)
            elif isinstance(parent, Node):
                parent.detach(role, by_itself=(parent, role) in staging.by_itself)
        self.nodes, self.exports = staging.nodes, staging.exports
        self.groups, self.memberships = staging.groups, staging.memberships
        self.spent = staging.spent
        for group, limits in staging.limits.items():
            if group.limits != limits:
                group.retune(limits)
        self._refresh_parents()

    def _refresh_parents(self) -> None:
        for node in self.nodes.values():
            node.parents.clear()
        parents: list[Parent] = [*self.nodes.values(), *self.exports.values()]
        for parent in parents:
            for role, child in parent.children.items():
                child.parents.add((parent, role))

    def _exports_over(self, changing: Collection[object], staging: Staging) -> list[Export]:
        """Live exports whose requests would see more than one store, on the old way or the new.

        A route is one store, however many edges it was made from; a node with edges of its own
        to choose from looks at them per request, perhaps several times.
        """
        if not changing:
            return []
        staged = set(staging.exports.values())
        chosen = []
        for export in self.exports.values():
            below = nodes_below(export.root)
            if export in staged:
                below |= staging.below(export)
            if not below.isdisjoint(changing):
                chosen.append(export)
        return chosen

    def _jobs_over(self, changing: Collection[object]) -> list[Job]:
        """Jobs whose own requests would."""
        jobs = self.jobs.listing() if changing else []
        return [job for job in jobs if not _below_job(job).isdisjoint(changing)]

    def _await_strays(self, changing: Collection[object]) -> None:
        """Before a node changes: no request of an earlier route may be inside it.

        Draining does not find these: their export does not reach the node any more.
        """
        strays = self._traffic.strays(changing)
        nodes = set().union(*(route.reach() for route in strays))
        for node in nodes:
            node.drain_begin()
        try:
            if not _wait_until(lambda: not under_way(strays), DRAIN_TIMEOUT_S):
                raise CommandError(
                    "requests from before the last edit are still under way after "
                    f"{DRAIN_TIMEOUT_S:.0f} s; nothing was changed"
                )
        finally:
            for node in nodes:
                node.drain_end()

    def _update_detached(self) -> list[Node[Any]]:
        """What is back under an export, or a job, holds requests back again.  Gives what left."""
        tops = [export.root for export in self.exports.values()]
        tops += (node for node in self.nodes.values() if node.job_id is not None)
        attached = set().union(*map(nodes_below, tops))
        left = []
        for node in self.nodes.values():
            detached = node not in attached
            if detached and not node.detached:
                left.append(node)
            elif node.detached and not detached:
                node.drain_end()
            node.detached = detached
        return left

    # Rest

    @contextmanager
    def _drained(self, exports: Collection[Export], jobs: Collection[Job]) -> Iterator[None]:
        """Hold new requests, of clients and jobs, let throttled ones go, wait for the last to end.

        A job whose thread does this is past its work, and so at rest.
        """
        nodes = set().union(
            *(nodes_below(export.root) for export in exports), *map(_below_job, jobs)
        )
        for export in exports:
            export.close_gate()
        for job in jobs:
            job.drain_begin()
        for node in nodes:
            node.drain_begin()
        try:
            deadline = monotonic() + DRAIN_TIMEOUT_S
            for export in exports:
                _await_rest(f"Export '{export.name}'", export.at_rest, deadline)
            for job in jobs:
                _await_rest(f"Job '{job.id}'", job.at_rest, deadline)
            yield
        finally:
            for node in nodes:
                node.drain_end()
            for job in jobs:
                job.drain_end()
            for export in exports:
                export.open_gate(self._traffic.route_of(export))

    def let_all_go(self) -> None:
        """Before the server ends: no request waits in a throttle any more.

        Nor does this wait for long: an edit under way may be waiting for what hangs.
        """
        held = self.lock.acquire(timeout=_END_TIMEOUT_S)
        try:
            for node in list(self.nodes.values()):
                node.drain_begin()
        finally:
            if held:
                self.lock.release()

    def close(self) -> None:
        """The server ends and no request will come: close every node, parents first.

        One that still copies to what hangs stays open; with the process it ends.
        """
        self.later.stop()
        with self.lock:
            nodes = parents_first(self.nodes.values())
            _wait_until(lambda: not any(node.is_busy() for node in nodes), _END_TIMEOUT_S)
            for node in nodes:
                if not node.is_busy():
                    _close(node)
            self.nodes = {}

    def at_rest(self) -> bool:
        """Whether no request is under way anywhere."""
        return self._traffic.at_rest()

    def _close_after_grace(self, nodes: list[Node[Any]]) -> None:
        """Close removed nodes when the requests that may come to them have ended.

        Nearly always that is now; a request that takes long is waited for in the background.
        """
        if not nodes:
            return
        for node in nodes:
            if not node.detached:
                node.drain_begin()
        inside = self._traffic.strays(nodes)
        above = {node for node in self._closing if not nodes_below(node).isdisjoint(nodes)}
        self._closing.update(nodes)

        def ended() -> bool:
            return (
                not under_way(inside)
                and not any(node.is_busy() for node in nodes)
                and above.isdisjoint(self._closing)
            )

        def close() -> None:
            _wait_until(ended, None)
            for node in parents_first(nodes):
                _close(node)
                self._closing.discard(node)

        if _wait_until(ended, _GRACE_IN_COMMAND_S):
            close()
        else:
            threading.Thread(target=close, name="blkrun-grace", daemon=True).start()


def _stage(staging: Staging, actions: Actions) -> None:
    """Try all actions.  Raises CommandError with the index of the one that is refused."""
    index: int | None = None
    try:
        for index, action in enumerate(actions):  # noqa: B007 - used when one is refused
            action(staging)
        index = None
        staging.check()
    except CommandError as error:
        if error.action is None:
            error.action = index
        raise


def _close(node: Node[Any]) -> None:
    """Close a node that is in no table any more: an error cannot undo the edit, so it is logged."""
    try:
        close_node(node)
    except OSError as error:
        print(f"closing {node.name}: {error}", file=sys.stderr)  # noqa: T201 - the server's log


def parents_first(nodes: Iterable[Node[Any]]) -> list[Node[Any]]:
    """In an order in which they can be closed: a format's last requests go to its children."""
    rest = [(node, False) for node in nodes]
    wanted = {node for node, _ in rest}
    ordered: list[Node[Any]] = []
    seen: set[Node[Any]] = set()
    while rest:
        node, below_done = rest.pop()
        if below_done:
            ordered.append(node)
        elif node not in seen:
            seen.add(node)
            rest.append((node, True))
            rest.extend((child, False) for child in node.children.values())
    return [node for node in reversed(ordered) if node in wanted]


def nodes_below(root: Node[Any]) -> set[Node[Any]]:
    """A node and everything under it."""
    found: set[Node[Any]] = set()
    rest = [root]
    while rest:
        node = rest.pop()
        if node not in found and node.driver != "gone":
            found.add(node)
            rest.extend(node.children.values())
    return found


def _below_job(job: Job) -> set[Node[Any]]:
    return set().union(*map(nodes_below, job.nodes()))


def _await_rest(who: str, at_rest: Callable[[], bool], deadline: float) -> None:
    if not _wait_until(at_rest, max(0.0, deadline - monotonic())):
        raise CommandError(
            f"{who} did not come to rest within {DRAIN_TIMEOUT_S:.0f} s; nothing was changed"
        )


def _wait_until(done: Callable[[], bool], timeout_s: float | None) -> bool:
    """Poll: requests are over in microseconds, and signalling would cost every one of them."""
    deadline = None if timeout_s is None else monotonic() + timeout_s
    pause_s = _SHORTEST_POLL_S
    while not done():
        if deadline is not None and monotonic() > deadline:
            return False
        sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_POLL_S)
    return True
