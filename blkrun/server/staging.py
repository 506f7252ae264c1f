"""The graph as it will be: where a transaction's actions are tried before anything is touched.

A :class:`Staging` begins as the live graph.  Actions change *it*, opening new nodes as they go;
``check`` looks at the result as a whole; then ``Graph.commit`` makes the live graph equal to it
or ``abort`` closes what was opened.  Live nodes, edges and groups are only read here, so a
failure at any point leaves no trace.
"""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from blkrun.errors import CommandError
from blkrun.options import BlockdevOptions, ThrottleLimits, with_child
from blkrun.server.dirty import DirtyBitmap
from blkrun.server.export import Export
from blkrun.server.jobs.job import Job
from blkrun.server.jobs.transaction import JobTransaction
from blkrun.server.node import Node, Parent
from blkrun.server.reaching import reaching
from blkrun.server.routing import apart

if TYPE_CHECKING:
    from blkrun.server.graph import Graph
    from blkrun.server.throttle.group import ThrottleGroup

MAX_DEPTH = 200
"""Nodes above each other; a request's way down must fit the interpreter's stack."""

Edge = tuple[Parent, str]


class Staging:
    """Copies of the live tables, a journal of edges, and what commit and abort will have to do."""

    def __init__(
        self,
        graph: "Graph",
        departing: Collection[str] = (),
        *,
        grouped: bool = False,
        rehearsal: bool = False,
    ) -> None:
        self.graph = graph
        self.rehearsal = rehearsal
        """It will be aborted, whatever comes of it: nobody is to see or hear anything."""
        self.nodes: dict[str, Node[Any]] = dict(graph.nodes)
        self.exports: dict[str, Export] = dict(graph.exports)
        self.groups: dict[str, ThrottleGroup] = dict(graph.groups)
        self.memberships: dict[Node[Any], ThrottleGroup] = dict(graph.memberships)
        self.spent: dict[str, BlockdevOptions] = dict(graph.spent)
        self.limits: dict[ThrottleGroup, ThrottleLimits] = {}
        self.edges: dict[Edge, Node[Any] | None] = {}
        """None: it will lead nowhere."""
        self.by_itself: set[Edge] = set()
        """Of the edges that will lead nowhere, those that nothing is said of."""
        self.commits: list[Callable[[], None]] = []
        self.settles: list[Callable[[], None]] = []
        """Done when all that is disturbed is at rest, before anything changes; may fail."""
        self.starts: list[Callable[[], None]] = []
        self.aborts: list[Callable[[], None]] = []
        self.disturbed: set[Node[Any]] = set()
        self.frozen: set[DirtyBitmap] = set()
        self.stopped: set[Job] = set()
        self.committed = False
        self.job_transaction = JobTransaction() if grouped else None
        self._departing = departing
        self._jobs: dict[str, Job] = {}
        self._parents: dict[Node[Any], set[Edge]] = {}
        self._new_roles: dict[Parent, dict[str, None]] = {}
        """Edges that are not there yet, in order."""
        self._job_edges: dict[Node[Any], dict[Edge, Node[Any]]] = {}
        """By child, those of its parents that are jobs' filters: a disk may have many others."""
        self._users: dict[ThrottleGroup, set[Node[Any]]] = {}
        self._opened: list[Node[Any]] = []
        self._sizes: dict[Node[Any], int] = {}
        self._bitmaps: dict[Node[Any], dict[str, DirtyBitmap]] = {}
        for node, group in self.memberships.items():
            self._users.setdefault(group, set()).add(node)
        for node in self.nodes.values():
            if node.job_id is not None:
                for role, child in node.children.items():
                    self._note_job_edge((node, role), child)

    # Looking

    def node(self, name: str) -> Node[Any] | None:
        """By node-name."""
        return self.nodes.get(name)

    def child(self, parent: Parent, role: str) -> Node[Any] | None:
        """Where an edge will lead."""
        edge = (parent, role)
        return self.edges[edge] if edge in self.edges else parent.children.get(role)

    def children(self, parent: Parent) -> dict[str, Node[Any]]:
        """Role → node, as it will be."""
        staged = {
            role: self.edges.get((parent, role), old) for role, old in parent.children.items()
        }
        for role in self._new_roles.get(parent, ()):
            staged[role] = self.edges[parent, role]
        return {role: child for role, child in staged.items() if child is not None}

    def parents(self, node: Node[Any]) -> set[Edge]:
        """The edges that will lead to a node."""
        if node not in self._parents:
            self._parents[node] = set(node.parents)
        return self._parents[node]

    def stand_in(self, node: Node[Any]) -> Node[Any]:
        """What whoever wants a node gets: the filter that a job has put over it, if there is one.

        So nobody reads or writes the disk past the job, and nobody need know of the filter.
        """
        for (_, role), top in self._job_edges.get(node, {}).items():
            if role == "file":
                return top
        return node

    def job_at(self, node: Node[Any]) -> Job | None:
        """The job that copies a node, or to it."""
        for top in self._job_edges.get(node, {}).values():
            if top.job_id is not None:
                return self.find_job(top.job_id)
        return None

    def find_job(self, job_id: str) -> Job:
        """By id, also one that starts with this edit.  Raises CommandError."""
        return self._jobs.get(job_id) or self.graph.jobs.find(job_id)

    def departing(self) -> Iterable[Node[Any]]:
        """Live nodes that this transaction is going to remove or replace, with those inline."""
        found = [self.graph.nodes[name] for name in self._departing if name in self.graph.nodes]
        for node in found:  # which grows: inline nodes have inline ones
            found += (child for child in node.children.values() if not child.monitor_owned)
        return found

    def is_used(self, group: "ThrottleGroup") -> bool:
        """Whether nodes will be members of a group."""
        return bool(self._users.get(group))

    def group_limits(self, group: "ThrottleGroup") -> ThrottleLimits:
        """The limits a group will have."""
        return self.limits.get(group, group.limits)

    def bitmaps(self, node: Node[Any]) -> dict[str, DirtyBitmap]:
        """The dirty bitmaps a node will have, by name."""
        return self._bitmaps.setdefault(node, dict(node.bitmaps))

    def size(self, node: Node[Any]) -> int:
        """The size a node will have.  Raises CommandError where a window does not fit."""
        if node not in self._sizes:
            sizes = {role: self.size(child) for role, child in self.children(node).items()}
            self._sizes[node] = node.size_over(sizes)
        return self._sizes[node]

    def read_only(self, node: Node[Any]) -> bool:
        """Whether a node, or one that its data goes through, refuses writes."""
        if node.options.read_only or node.options.only_reads:
            return True
        if node.fans_out:
            return any(map(self.read_only, self.children(node).values()))
        child = self.child(node, node.main)
        return child is not None and self.read_only(child)

    def is_grown(self, node: Node[Any]) -> bool:
        """Whether a node above makes it longer or shorter: its size changes without an edit."""
        return any(
            isinstance(parent, Node) and (role in parent.grows or self._hands_on(parent, role))
            for parent, role in self.parents(node)
        )

    def is_written(self, node: Node[Any]) -> bool:
        """Whether clients or jobs write through a node: to a backing nobody does."""
        return any(self._writes(parent, role) for parent, role in self.parents(node))

    def _writes(self, parent: Parent, role: str) -> bool:
        if isinstance(parent, Export):
            return not parent.options.read_only
        if not isinstance(parent, Node) or parent.options.read_only or parent.options.only_reads:
            return False
        return role != "backing" and (parent.job_id is not None or self.is_written(parent))

    def _hands_on(self, parent: Node[Any], role: str) -> bool:
        passes = (parent.passes_on or parent.is_filter) and role == parent.main
        return (passes or parent.fans_out) and self.is_grown(parent)

    # Changing

    def add_node(self, node: Node[Any], children: Mapping[str, Node[Any]]) -> None:
        """Open a new node over its children.  Raises CommandError; then it is not there."""
        self.nodes[node.name] = node
        self.spent.pop(node.name, None)
        for role, child in children.items():
            node.attach(role, child)  # at once: no request can see this node yet
            self._link((node, role), child)
        try:
            with reaching(apart()):
                node.open(self)
            self._opened.append(node)
            self._sizes.clear()  # it may have made what is below it longer
        except OSError as error:
            raise CommandError(f"Could not open node '{node.name}': {error.strerror}") from error

    def use_group(self, node: Node[Any], name: str) -> "ThrottleGroup":
        """A node will be a member of a group.  Raises CommandError if there is none."""
        group = self.groups.get(name)
        if group is None:
            raise CommandError(f"Throttle group '{name}' does not exist")
        self._leave_group(node)
        self.memberships[node] = group
        self._users.setdefault(group, set()).add(node)
        return group

    def drop_node(self, node: Node[Any]) -> None:
        """Take a node that nobody uses out of the graph."""
        del self.nodes[node.name]
        self._leave_group(node)
        for role, child in self.children(node).items():
            self._unlink((node, role), child)

    def retire(self, node: Node[Any]) -> None:
        """A filter leaves by itself: its child takes its place.

        It is remembered, so that who compares this graph with a file knows that nobody else took
        it out.
        """
        below = self.children(node)[node.main]
        self.take_out(node)
        if node.monitor_owned:
            self.spent[node.name] = with_child(node.options, node.main, below.name)

    def take_out(self, node: Node[Any], instead: Node[Any] | None = None) -> None:
        """Drop a filter; its parents get its child, or another node, instead."""
        instead = instead or self.children(node)[node.main]
        for parent, role in set(self.parents(node)):
            self.set_edge(parent, role, instead)
        self.drop_node(node)

    def set_edge(self, parent: Parent, role: str, child: Node[Any] | None) -> None:
        """Point an edge at a node; None: nowhere, which only some drivers can do with."""
        old = self.child(parent, role)
        if old is not None:
            self._unlink((parent, role), old)
        if role not in parent.children:
            self._new_roles.setdefault(parent, {})[role] = None
        self.edges[parent, role] = child
        if child is not None:
            self._link((parent, role), child)
        self._sizes.clear()

    def _link(self, edge: Edge, child: Node[Any]) -> None:
        self.parents(child).add(edge)
        self._note_job_edge(edge, child)

    def _note_job_edge(self, edge: Edge, child: Node[Any]) -> None:
        parent, _ = edge
        if isinstance(parent, Node) and parent.job_id is not None:
            self._job_edges.setdefault(child, {})[edge] = parent

    def _unlink(self, edge: Edge, child: Node[Any]) -> None:
        self.parents(child).discard(edge)
        self._job_edges.get(child, {}).pop(edge, None)

    def _leave_group(self, node: Node[Any]) -> None:
        group = self.memberships.pop(node, None)
        if group is not None:
            self._users[group].discard(node)

    def add_job(self, job: Job) -> None:
        """A job that starts when the edit has become true, or is rolled back with it.

        It is made with ``job_transaction``, which is None unless completion is grouped.  Raises
        CommandError where ``Jobs.add`` does.  A rehearsal's never comes into being: a job that is
        created and rolled back tells everybody of it.
        """
        if self.rehearsal:
            self.graph.jobs.check_new(job.id, self._jobs)
        else:
            self.graph.jobs.add(job)
            self.starts.append(job.start)
            self.aborts.append(job.roll_back)
        self._jobs[job.id] = job

    # Deciding

    def below(self, export: Export) -> set[Node[Any]]:
        """The nodes that will be under an export."""
        root = self.child(export, "root")
        return set() if root is None else self.tree(root)

    def tree(self, root: Node[Any]) -> set[Node[Any]]:
        """A node, and those that will be under it."""
        found: set[Node[Any]] = set()
        rest = [root]
        while rest:
            node = rest.pop()
            if node not in found:
                found.add(node)
                rest.extend(self.children(node).values())
        return found

    def leftovers(self) -> list[Node[Any]]:
        """Nodes that were opened here and dropped again: after a commit they are in no table."""
        kept = set(self.nodes.values())
        return [node for node in self._opened if node not in kept]

    def check(self) -> None:
        """Whether the graph as it will be may be.  Raises CommandError with its ``subject``."""
        self._drop_orphans()
        self._check_cycles()
        subject: dict[str, str] = {}
        try:
            for node in self.nodes.values():
                subject = {"node-name": node.name}
                self.size(node)
                node.check(self)
            kept = set(self.nodes.values())
            for node in self.graph.nodes.values():
                if node not in kept:
                    subject = {"node-name": node.name}
                    node.leave(self)
            for export in self.exports.values():
                subject = {"export": export.name}
                self._check_export(export)
        except CommandError as error:
            error.subject = subject
            raise

    def abort(self) -> None:
        """Undo what was done for nothing, and close what was opened, last first.

        What fails of it is logged: the rest is undone all the same.
        """
        closes = [partial(close_node, node) for node in self._opened]
        undone: list[Callable[[], None]] = [*reversed(self.aborts), *reversed(closes)]
        for undo in undone:
            try:
                undo()
            except OSError as error:
                print(f"undoing an edit: {error}", file=sys.stderr)  # noqa: T201 - the server's log

    def _drop_orphans(self) -> None:
        """Inline children belong to their parents: they go with the last of them."""
        orphans = [node for node in self.nodes.values() if self._is_orphan(node)]
        while orphans:
            node = orphans.pop()
            below = set(self.children(node).values())
            self.drop_node(node)
            orphans += filter(self._is_orphan, below)

    def _is_orphan(self, node: Node[Any]) -> bool:
        return not (node.monitor_owned or node.job_id is not None or self.parents(node))

    def _check_export(self, export: Export) -> None:
        root = self.child(export, "root")
        if root is None:
            raise AssertionError("an export has a root from block-export-add on")
        if not export.options.read_only and self.read_only(root):
            raise CommandError(f"Cannot export read-only node as writable: '{root.name}'")
        clients = self.graph.clients_of(export)
        if not clients:
            return
        told, size_bytes = export.root.size_bytes, self.size(root)
        if size_bytes != told and size_bytes != live_size(export.root):
            raise CommandError(
                f"Export '{export.name}' has {len(clients)} client(s), who were told a size of "
                f"{told} bytes; it would become {size_bytes}"
            )

    def _check_cycles(self) -> None:
        """Depth-first over everything, with a stack of its own; also bounds the depth."""
        depth: dict[Node[Any], int] = {}
        for start in self.nodes.values():
            self._measure_depth(start, depth)

    def _measure_depth(self, start: Node[Any], depth: dict[Node[Any], int]) -> None:
        path: list[tuple[Node[Any], list[tuple[str, Node[Any]]]]] = []
        on_path: set[Node[Any]] = set()

        def push(node: Node[Any]) -> None:
            path.append((node, list(self.children(node).items())))
            on_path.add(node)

        if start not in depth:
            push(start)
        while path:
            node, rest = path[-1]
            if rest:
                role, child = rest.pop()
                if child in on_path:
                    raise _refused(node, cycle_words(child, role, node))
                if child not in depth:
                    push(child)
                continue
            path.pop()
            on_path.discard(node)
            below = [depth[child] for child in self.children(node).values()]
            depth[node] = 1 + max(below, default=0)
            if depth[node] > MAX_DEPTH:
                raise _refused(
                    node,
                    f"Node '{node.name}' would be the top of {depth[node]} nodes; "
                    f"the limit is {MAX_DEPTH}",
                )


def cycle_words(child: Node[Any], role: str, parent: Node[Any]) -> str:
    """Why an edge cannot be, in QEMU's words."""
    return f"Making '{child.name}' a {role} child of '{parent.name}' would create a cycle"


def _refused(node: Node[Any], message: str) -> CommandError:
    """The graph as a whole, for what is at a node."""
    error = CommandError(message)
    error.subject = {"node-name": node.name}
    return error


def close_node(node: Node[Any]) -> None:
    """Close it; it may make its last requests.  Raises OSError."""
    with reaching(apart()):
        node.close()


def live_size(node: Node[Any]) -> int:
    """The size of a live node by now: what is below may have grown since the last edit."""
    return node.size_over({role: live_size(child) for role, child in node.children.items()})
