"""Rows of the graph: from each export down to the backends, and what no export leads to.

A node with several parents is shown once in full; where it is met again stands ``↳ name``.  A node
that an edit is going to add is shown over the node that it will be over.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from blkrun.dashboard.model.jobs import job_share
from blkrun.dashboard.model.marks import Coming, Mark, Marks, marks_of
from blkrun.dashboard.model.rates import Interval, Latency, Rate
from blkrun.dashboard.model.snapshot import Export, Node, Snapshot
from blkrun.dashboard.model.state import QUIET, State, export_state, node_state
from blkrun.dashboard.model.subject import Subject


class Kind(Enum):
    """What a row is.  ``COMING``: a node that is not there yet, or not any more."""

    EXPORT = "export"
    NODE = "node"
    AGAIN = "again"
    COMING = "coming"
    HEADING = "heading"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphRow:
    """One row.  ``rate`` None is a gap; ``guides`` are the lines of the tree before the name.

    ``details`` say the same thing ever more briefly, for ever less room.  ``letter`` is for the
    driver.  Rows below one are those that follow it and are deeper.  ``spark``: its last seconds.
    """

    key: str
    kind: Kind
    name: str
    depth: int = 0
    guides: str = ""
    letter: str = ""
    driver: str = ""
    group: str = ""
    details: tuple[str, ...] = ("",)
    rate: Rate | None = None
    in_flight: int = 0
    latency: Latency | None = None
    state: State = QUIET
    mark: Mark = ""
    job: str | None = None
    folded: bool = False
    spark: str = ""

    @property
    def subject(self) -> Subject | None:
        """What somebody means who selects it."""
        if self.kind is Kind.EXPORT:
            return Subject("export", self.name)
        return Subject("node", self.name) if self.kind in (Kind.NODE, Kind.AGAIN) else None


def graph_rows(snapshot: Snapshot, rates: Interval) -> tuple[GraphRow, ...]:
    """The whole tree."""
    return tuple(_Walk(snapshot, rates, marks_of(snapshot.reports)).rows())


_LETTERS = {"null": "0", "mirror_top": "J"}


def letter_of(driver: str, job: str | None = None) -> str:
    """``T`` for throttle, ``F`` for file, …; ``J`` for the filter of a job, whichever it is."""
    return "J" if job is not None else _LETTERS.get(driver, driver[:1].upper() or "?")


class _Walk:
    """Depth first, remembering what has been shown."""

    def __init__(self, snapshot: Snapshot, rates: Interval, marks: Marks) -> None:
        self._snapshot = snapshot
        self._rates = rates
        self._marks = marks
        self._nodes = {node.node_name: node for node in snapshot.nodes}
        self._shown: set[str] = set()
        self._shares = {job.id: job_share(job) for job in snapshot.jobs}
        self._held = {
            member.node_name: member.waiting
            for group in snapshot.throttle_groups
            for member in group.members
        }
        self._over: dict[str, list[Coming]] = {}
        for coming in marks.coming:
            if coming.name not in self._nodes:
                self._over.setdefault(next(iter(coming.over), ""), []).append(coming)

    def rows(self) -> Iterator[GraphRow]:
        for export in self._snapshot.exports:
            row = self._export(export)
            yield row
            yield from self._place(export.node_name, f"{row.key}/0", "", "└ ", 1)
        unused = [node for node in self._snapshot.nodes if node.node_name not in self._shown]
        if unused:
            yield GraphRow(key="unused", kind=Kind.HEADING, name="not in use")
        below = {child for node in unused for child in node.children.values()}
        for node in unused:
            if node.node_name not in below:
                yield from self._place(node.node_name, "unused", "", "", 1)
        yield from self._elsewhere()

    def _elsewhere(self) -> Iterator[GraphRow]:
        """Over nothing that is there, or an export that is not there itself."""
        rest = [coming for found in self._over.values() for coming in found]
        known = {export.id for export in self._snapshot.exports}
        exports = [name for name in self._marks.exports if name not in known]
        if rest or exports:
            yield GraphRow(key="absent", kind=Kind.HEADING, name="not there")
        for name in exports:
            mark = self._marks.exports[name]
            yield _absent(f"absent export {name}", name, "export", mark, 1)
        for coming in rest:
            yield _coming(coming, "", 1)

    def _export(self, export: Export) -> GraphRow:
        count = len(export.clients)
        clients = {0: "no client", 1: "1 client"}.get(count, f"{count} clients")
        access = "rw" if export.writable else "ro"
        short = f"{clients} · {access}"
        rate = self._rates.exports.get(export.id)
        return GraphRow(
            key=f"export {export.id}",
            kind=Kind.EXPORT,
            name=export.id,
            details=(f"{short} · {size_text(export.size)}", short, clients),
            rate=rate,
            in_flight=export.in_flight,
            latency=self._rates.export_latency.get(export.id),
            state=export_state(rate, export.stats.failed),
            mark=self._marks.exports.get(export.id, ""),
        )

    def _place(
        self, name: str, edge: str, indent: str, branch: str, depth: int
    ) -> Iterator[GraphRow]:
        """A node and what is below it; first, what is to come between it and its parent."""
        for coming in self._chain(name):
            yield _coming(coming, indent + branch, depth)
            indent, branch, depth = _deeper(indent, branch), "└ ", depth + 1
        yield from self._node(name, edge, indent, branch, depth)

    def _chain(self, name: str) -> Iterator[Coming]:
        """What is to come over a node, from the top down."""
        found: list[Coming] = []
        rest = self._over.pop(name, [])
        while rest:
            found += rest
            rest = [above for each in rest for above in self._over.pop(each.name, ())]
        return reversed(found)

    def _node(
        self, name: str, edge: str, indent: str, branch: str, depth: int
    ) -> Iterator[GraphRow]:
        """``edge``: which one leads here, if it is not the first."""
        guides, node = indent + branch, self._nodes.get(name)
        if name in self._shown or node is None:
            key = f"{edge} again {name}"
            yield GraphRow(key=key, kind=Kind.AGAIN, name=name, depth=depth, guides=guides)
            return
        self._shown.add(name)
        row = self._full(node, guides, depth)
        yield row
        children, deeper = list(node.children.values()), _deeper(indent, branch)
        for number, child in enumerate(children, 1):
            below = "└ " if number == len(children) else "├ "
            yield from self._place(child, f"{row.key}/{number}", deeper, below, depth + 1)

    def _full(self, node: Node, guides: str, depth: int) -> GraphRow:
        name = node.node_name
        rate, share = self._rates.nodes.get(name), self._shares.get(node.job or "")
        return GraphRow(
            key=f"node {name}",
            kind=Kind.NODE,
            name=name,
            depth=depth,
            guides=guides,
            letter=letter_of(node.driver, node.job),
            driver=node.driver,
            group=node.group or "",
            details=_details(node),
            rate=rate,
            in_flight=node.in_flight,
            latency=self._rates.node_latency.get(name),
            state=node_state(node, rate, self._held.get(name, 0), share),
            mark=self._marks.nodes.get(name, ""),
            job=node.job,
        )


def _coming(coming: Coming, guides: str, depth: int) -> GraphRow:
    row = _absent(f"absent node {coming.name}", coming.name, coming.driver, coming.mark, depth)
    return replace(row, guides=guides, letter=letter_of(coming.driver))


def _absent(key: str, name: str, driver: str, mark: Mark, depth: int) -> GraphRow:
    word = "gone" if mark == "!" else "to come"
    return GraphRow(
        key=key,
        kind=Kind.COMING,
        name=name,
        depth=depth,
        driver=driver,
        details=(driver,),
        mark=mark,
        state=State((word,), "dim", 1),
    )


def _deeper(indent: str, branch: str) -> str:
    return indent + {"├ ": "│ ", "└ ": "  "}.get(branch, "")


def _details(node: Node) -> tuple[str, ...]:
    if node.job is not None:
        return (f"job {node.job} · {node.driver}", f"job {node.job}", node.job)
    if node.group is not None:
        return (f"{node.driver} @{node.group}", f"@{node.group}")
    if node.is_filter:
        return (node.driver,)
    return (f"{node.driver} {size_text(node.size)}", node.driver)


# What of it is shown


def folded_rows(rows: Collection[GraphRow], folded: Collection[str]) -> tuple[GraphRow, ...]:
    """Without what is below the rows with these keys; their state is then the most urgent of it."""
    return tuple(_folded(rows, folded)) if folded else tuple(rows)


def _folded(rows: Collection[GraphRow], folded: Collection[str]) -> Iterator[GraphRow]:
    top: GraphRow | None = None
    for row in rows:
        if top is not None and row.depth > top.depth:
            if row.state.urgency > top.state.urgency:
                top = _with(top, row.state)
            continue
        if top is not None:
            yield top
        top = _with(row, row.state) if row.key in folded else None
        if top is None:
            yield row
    if top is not None:
        yield top


def _with(row: GraphRow, state: State) -> GraphRow:
    return replace(row, folded=True, state=state)


def matching_rows(rows: Collection[GraphRow], only: str) -> tuple[GraphRow, ...]:
    """Those whose name, driver or group has ``only`` in it, in any case, and what is above them."""
    wanted = only.casefold()
    kept: list[GraphRow] = []
    depth = 0
    for row in reversed(tuple(rows)):
        texts = (row.name, row.driver, row.group)
        is_above = row.depth < depth
        if is_above or any(wanted in text.casefold() for text in texts if row.kind != Kind.HEADING):
            kept.append(row)
            depth = row.depth
    return tuple(reversed(kept))


def size_text(size_bytes: int) -> str:
    """Three digits of the largest binary unit, or four below the next: ``1.46GiB``, ``1023B``."""
    value, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g}{unit}" if value < 99.95 else f"{value:.0f}{unit}"
