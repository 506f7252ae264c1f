"""Rows of the graph: from each export down to the backends, and what no export leads to.

A node with several parents is shown once in full; where it is met again stands ``↳ name``.  A job's
filter is ``▸ name``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from blkrun.dashboard.model.jobs import job_share
from blkrun.dashboard.model.rates import Interval, Rate
from blkrun.dashboard.model.snapshot import Export, Node, Snapshot


class Kind(Enum):
    """What a row is."""

    EXPORT = "export"
    NODE = "node"
    AGAIN = "again"
    HEADING = "heading"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphRow:
    """One row.  ``rate`` None is a gap; ``guides`` are the lines of the tree before the name.

    ``details`` say the same thing ever more briefly, for ever less room.  ``job``: whose filter it
    is, and how far that is.
    """

    key: str
    kind: Kind
    name: str
    guides: str = ""
    details: tuple[str, ...] = ("",)
    rate: Rate | None = None
    in_flight: int = 0
    p99_ns: int | None = None
    held: int = 0
    failed: int = 0
    job: str | None = None
    job_share: float | None = None


def graph_rows(snapshot: Snapshot, rates: Interval) -> tuple[GraphRow, ...]:
    """The whole tree."""
    return tuple(_Walk(snapshot, rates).rows())


class _Walk:
    """Depth first, remembering what has been shown."""

    def __init__(self, snapshot: Snapshot, rates: Interval) -> None:
        self._snapshot = snapshot
        self._rates = rates
        self._nodes = {node.node_name: node for node in snapshot.nodes}
        self._shown: set[str] = set()
        self._shares = {job.id: job_share(job) for job in snapshot.jobs}
        self._held = {
            member.node_name: member.waiting
            for group in snapshot.throttle_groups
            for member in group.members
        }

    def rows(self) -> Iterator[GraphRow]:
        for export in self._snapshot.exports:
            yield self._export(export)
            yield from self._node(export.node_name, f"/{export.id}", "", "└ ")
        unused = [node for node in self._snapshot.nodes if node.node_name not in self._shown]
        if unused:
            yield GraphRow(key="//", kind=Kind.HEADING, name="not in use")
        below = {child for node in unused for child in node.children.values()}
        for node in unused:
            if node.node_name not in below:
                yield from self._node(node.node_name, "//", "", "")

    def _export(self, export: Export) -> GraphRow:
        count = len(export.clients)
        clients = {0: "no client", 1: "1 client"}.get(count, f"{count} clients")
        access = "rw" if export.writable else "ro"
        short = f"{clients} · {access}"
        latency = self._rates.export_latency.get(export.id)
        return GraphRow(
            key=f"/{export.id}",
            kind=Kind.EXPORT,
            name=export.id,
            details=(f"{short} · {size_text(export.size)}", short, clients),
            rate=self._rates.exports.get(export.id),
            in_flight=export.in_flight,
            p99_ns=latency.p99_ns if latency else None,
            failed=export.stats.failed,
        )

    def _node(self, name: str, parent: str, indent: str, branch: str) -> Iterator[GraphRow]:
        key, guides = f"{parent}/{name}", indent + branch
        node = self._nodes.get(name)
        if name in self._shown or node is None:
            yield GraphRow(key=key, kind=Kind.AGAIN, name=f"↳ {name}", guides=guides)
            return
        self._shown.add(name)
        yield GraphRow(
            key=key,
            kind=Kind.NODE,
            name=name if node.job is None else f"▸ {name}",
            guides=guides,
            details=_details(node),
            rate=self._rates.nodes.get(name),
            in_flight=node.in_flight,
            held=self._held.get(name, 0),
            failed=node.stats.failed,
            job=node.job,
            job_share=self._shares.get(node.job or ""),
        )
        deeper = indent + {"├ ": "│ ", "└ ": "  "}.get(branch, "")
        children = list(node.children.values())
        for number, child in enumerate(children, 1):
            yield from self._node(child, key, deeper, "└ " if number == len(children) else "├ ")


def _details(node: Node) -> tuple[str, ...]:
    if node.job is not None:
        return (f"job {node.job} · {node.driver}", f"job {node.job}", node.job)
    if node.group is not None:
        return (f"{node.driver} @{node.group}", f"@{node.group}")
    if node.is_filter:
        return (node.driver,)
    return (f"{node.driver} {size_text(node.size)}", node.driver)


def size_text(size_bytes: int) -> str:
    """At most three digits of the largest binary unit: ``10GiB``, ``1.46GiB``."""
    value, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g}{unit}" if value < 1000 else f"{value:.0f}{unit}"
