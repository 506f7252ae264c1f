"""What a plan takes: a thousand and ten thousand nodes, whatever the edit and the graph's shape.

No server: a plan is arithmetic.  What is timed is all that the runner works out before it asks
the server anything (``blkrun.reconcile.proposal.proposed``); what is told is the worst.
"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from msgspec import structs

from blkrun import config
from blkrun.model import EMPTY, Config, GraphModel
from blkrun.options import (
    BitmapOptions,
    BlockdevOptions,
    CopyBeforeWriteOptions,
    ExportOptions,
    MemoryOptions,
    ThrottleLimits,
    ThrottleOptions,
)
from blkrun.reconcile.live import Live
from blkrun.reconcile.proposal import proposed

SIZES = (1_000, 10_000)
"""Nodes, backends among them."""

_DISK_BYTES = 2**20
_EVERY = 10
"""Of each so many filters one keeps a point in time, where any does, and one has a bitmap."""


@dataclass(frozen=True)
class Shape:
    """Chains of filters, each with an export and a group; a disk each, or one for all."""

    filters: int
    shared: bool = False
    kept: bool = False
    """With copy-before-write and bitmaps on a tenth of the filters."""

    @property
    def title(self) -> str:
        """In words."""
        disks = "one disk" if self.shared else "own disks"
        return f"{self.filters} on {disks}{', with points in time and bitmaps' * self.kept}"

    def chains(self, nodes: int) -> int:
        """How many there are of a graph with about so many nodes."""
        per_chain = self.filters * (1 + self.kept / _EVERY) + (not self.shared)
        return max(1, round(nodes / per_chain))


SHAPES = tuple(
    Shape(filters, shared, kept)
    for filters in (1, 4, 100)
    for shared in (False, True)
    for kept in (False, True)
)


@dataclass
class _Draft:
    """A graph in the making."""

    nodes: dict[str, BlockdevOptions] = field(default_factory=dict)
    bitmaps: dict[str, BitmapOptions] = field(default_factory=dict)
    exports: dict[str, ExportOptions] = field(default_factory=dict)

    def disk(self, name: str) -> str:
        self.nodes[name] = MemoryOptions(node_name=name, size=_DISK_BYTES)
        return name

    def throttle(self, name: str, below: str, group: int) -> str:
        self.nodes[name] = ThrottleOptions(node_name=name, file=below, throttle_group=f"g{group}")
        return name

    def keeper(self, name: str, below: str) -> str:
        target = self.disk(f"{name}-old")
        self.nodes[name] = CopyBeforeWriteOptions(node_name=name, file=below, target=target)
        return name


def graph(
    shape: Shape,
    nodes: int,
    *,
    iops: int = 0,
    reverse: bool = False,
    prefix: str = "f",
    extra: bool = False,
) -> GraphModel:
    """``extra``: one more filter, at the top of the middle chain."""
    draft, chains = _Draft(), shape.chains(nodes)
    shared = draft.disk("disk") if shape.shared else None
    for chain in range(chains):
        top = shared or draft.disk(f"disk{chain}")
        numbers = range(chain * shape.filters, (chain + 1) * shape.filters)
        for number in reversed(numbers) if reverse else numbers:
            top = _filter(draft, shape, f"{prefix}{number}", number, top)
        if extra and chain == chains // 2:
            top = draft.throttle("extra", top, chain)
        only_reads = shape.shared and shape.kept  # it would write past points in time
        draft.exports[f"e{chain}"] = ExportOptions(node=top, read_only=only_reads)
    groups = {f"g{number}": ThrottleLimits(iops_total=iops) for number in range(chains)}
    return GraphModel(
        nodes=draft.nodes, groups=groups, exports=draft.exports, bitmaps=draft.bitmaps
    )


def _filter(draft: _Draft, shape: Shape, name: str, number: int, below: str) -> str:
    if shape.kept and number % _EVERY == _EVERY // 2:
        draft.bitmaps[f"{name}-map"] = BitmapOptions(node=name)
    if shape.kept and number % _EVERY == 0:
        return draft.keeper(name, below)
    return draft.throttle(name, below, number // shape.filters)


Edit = Callable[[Shape, int], tuple[GraphModel, GraphModel]]
"""Desired and live."""

EDITS: dict[str, Edit] = {
    "a fresh server": lambda shape, nodes: (graph(shape, nodes), EMPTY),
    "no change": lambda shape, nodes: (graph(shape, nodes), graph(shape, nodes)),
    "one filter inserted": lambda shape, nodes: (
        graph(shape, nodes, extra=True),
        graph(shape, nodes),
    ),
    "all limits changed": lambda shape, nodes: (
        graph(shape, nodes, iops=5),
        graph(shape, nodes),
    ),
    "chains reversed": lambda shape, nodes: (
        graph(shape, nodes, reverse=True),
        graph(shape, nodes),
    ),
    "every filter exchanged": lambda shape, nodes: (
        graph(shape, nodes, prefix="x"),
        graph(shape, nodes),
    ),
    "everything removed": lambda shape, nodes: (EMPTY, graph(shape, nodes)),
}


@dataclass(frozen=True)
class Planning:
    """The worst edit of a size: its time by round, and which it is."""

    ms: list[float]
    how: str


def measure_planning(
    rounds: int,
    sizes: Iterable[int] = SIZES,
    shapes: Sequence[Shape] = SHAPES,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, Planning]:
    """By how many nodes."""
    return {nodes: worst(_edits(nodes, rounds, shapes, clock)) for nodes in sizes}


def worst(found: Iterator[Planning]) -> Planning:
    """By the median."""
    return max(found, key=lambda each: median(each.ms))


def _edits(
    nodes: int, rounds: int, shapes: Sequence[Shape], clock: Callable[[], float]
) -> Iterator[Planning]:
    written = config.parse(_FILE, Path("bench.toml"))
    for shape in shapes:
        for title, edit in EDITS.items():
            desired, live = edit(shape, nodes)
            ms = [timed(written, desired, live, clock) for _ in range(rounds)]
            yield Planning(ms, f"{title}: {shape.title}")


_FILE = '[server]\nlisten = "unix:bench.sock"\ncontrol = "unix:bench-planning.qmp"\n'


def timed(
    written: Config, desired: GraphModel, live: GraphModel, clock: Callable[[], float]
) -> float:
    """One proposal, in milliseconds, with a client at each export.

    What earlier ones have left to the garbage collector is not its own to clear away.
    """
    wanted = structs.replace(written, graph=desired)
    found = Live(graph=live, clients=dict.fromkeys(live.exports, 1), pid=1)
    gc.collect()
    begin = clock()
    proposed(wanted, found)
    return (clock() - begin) * 1000
