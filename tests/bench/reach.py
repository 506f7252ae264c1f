"""What is to be reached, and whether it was: the least, the aim, and what was measured."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .backups import SCENES, Costs, more_lost
from .edits import EditPair
from .load import Workload
from .middle import interval, median_or_none, quotients
from .place import EMPTY_QCOW2
from .place import QCOW2 as QCOW2_IMAGE
from .planning import SIZES, Planning
from .report import Figure, Results, ratios, runs_of
from .servers import (
    CHAINS,
    FILE,
    NBDKIT_FILE,
    NBDKIT_RATE,
    QCOW2,
    QCOW2_QEMU,
    QEMU,
    THROTTLE,
    titled,
)
from .stats_call import NODES, StatsCall
from .watching import NODES as WATCHED_NODES
from .watching import Watching

ONE = Workload("randread", 4, 16, 1)
FOUR = Workload("randread", 4, 16, 4)
SEQUENTIAL = Workload("read", 1024, 16, 1)
QCOW2_RANDOM = Workload("randread", 4, 16, 1, QCOW2_IMAGE)
QCOW2_SEQUENTIAL = Workload("read", 1024, 16, 1, QCOW2_IMAGE)
QCOW2_ALLOCATING = Workload("randwrite", 4, 16, 1, EMPTY_QCOW2)


@dataclass(frozen=True)
class Target:
    """A row: what is at least to be reached, and what is aimed at."""

    work: str
    against: str
    least: float
    aim: float
    unit: str = "x"
    more_is_better: bool = False

    def verdict(self, measured: float | None) -> str:
        """In words."""
        if measured is None:
            return "not measured"
        sign = 1 if self.more_is_better else -1
        if sign * measured >= sign * self.aim:
            return "aim reached"
        if sign * measured >= sign * self.least:
            return "least reached, short of the aim"
        return "SHORT of the least"


@dataclass(frozen=True)
class Comparison:
    """A target that is a figure of a server of ours over that of the better of others."""

    target: Target
    workload: Workload
    others: tuple[str, ...]
    figure: Figure = "iops"
    ours: str = THROTTLE

    def ratios(self, results: Results, label: str) -> list[float]:
        """By round."""
        return ratios(results, titled(self.ours, label), self.others, self.workload, self.figure)


@dataclass(frozen=True)
class Outcome:
    """A target, and what was measured in each round."""

    target: Target
    values: Sequence[float] = ()
    remark: str = ""

    @property
    def measured(self) -> float | None:
        """The median over rounds."""
        return median_or_none(self.values)

    @property
    def between(self) -> tuple[float, float] | None:
        """What the true median lies between, where there are rounds enough to say."""
        return interval(self.values)

    @property
    def seen(self) -> bool:
        """Whether this run has anything to say on it."""
        return bool(self.values or self.remark)

    @property
    def verdict(self) -> str:
        """In words."""
        words = self.target.verdict(self.measured)
        if not self.remark:
            return words
        return f"{words} ({self.remark})" if self.values else self.remark


_QEMU = "qemu-storage-daemon, its better aio"
_ONE = "4 KiB random read, depth 16, 1 connection"
_FOUR = "4 KiB random read, depth 16, 4 connections"

COMPARISONS = (
    Comparison(Target(_ONE, _QEMU, 0.9, 1.2, more_is_better=True), ONE, QEMU),
    Comparison(Target(_ONE, NBDKIT_RATE, 0.65, 0.9, more_is_better=True), ONE, (NBDKIT_RATE,)),
    Comparison(Target(f"{_ONE}, p99", _QEMU, 1.5, 1.0), ONE, QEMU, "p99_us"),
    Comparison(Target(_FOUR, _QEMU, 0.8, 1.0, more_is_better=True), FOUR, QEMU),
    Comparison(
        Target(f"{_FOUR}, p99", NBDKIT_FILE, 3.0, 1.2), FOUR, (NBDKIT_FILE,), figure="p99_us"
    ),
    Comparison(
        Target("1 MiB sequential read", _QEMU, 1.3, 1.6, more_is_better=True), SEQUENTIAL, QEMU
    ),
    *(
        Comparison(
            Target(f"qcow2, {work}", _QEMU, least, aim, more_is_better=True),
            workload,
            QCOW2_QEMU,
            ours=QCOW2,
        )
        for workload, work, least, aim in (
            (QCOW2_RANDOM, "4 KiB random read, depth 16", 0.7, 0.9),
            (QCOW2_SEQUENTIAL, "1 MiB sequential read", 1.0, 1.3),
            (QCOW2_ALLOCATING, "4 KiB writes that allocate, depth 16", 0.5, 0.8),
        )
    ),
)

_LENGTHS = tuple(CHAINS)
_STEPS = tuple(itertools.pairwise(_LENGTHS))
_FILTERS = {
    step: Target(
        f"each further pass-through filter, {step[0]} → {step[1]}, throughput lost",
        "one filter shorter",
        5.0,
        2.0,
        "%",
    )
    for step in _STEPS
}
BACKUPS = {
    scene.name: Target(
        f"{scene.title}: the client's time lost", "qemu-storage-daemon's", 100, 0, "ms more"
    )
    for scene in SCENES
}
EDITS_LOST = Target(
    "a filter in and out ten times a second, throughput lost", "no edits", 3, 1, "%"
)
EDITS_LONGEST = Target("the same, longest request", "no edits", 5.0, 1.0, "ms more")
PLANNING = {
    nodes: Target(f"a plan, {nodes:,} nodes, the worst of edits", "", least, aim, "ms")
    for nodes, (least, aim) in zip(SIZES, ((50, 20), (1_000, 250)), strict=True)
}
STATS = Target(f"one x-blkrun-stats call, {NODES} nodes, server time", "", 1.0, 0.2, "ms")

_WATCHED = f"a dashboard, {WATCHED_NODES} nodes"
WATCHING_BUSY = Target(f"{_WATCHED} under load: of one core", "", 8, 6, "%")
WATCHING_IDLE = Target(f"{_WATCHED}, nothing happens: of one core", "", 1, 0.5, "%")
WATCHING_MEMORY = Target(f"{_WATCHED}: memory", "", 80, 60, "MB")
WATCHING_LOST = Target(f"{_WATCHED}, throughput lost", "no dashboard", 2, 1, "%")


def judged() -> dict[Workload, frozenset[str]]:
    """Workload → the servers that a row depends on."""
    needed: dict[Workload, set[str]] = {ONE: set(CHAINS.values())}
    for row in COMPARISONS:
        needed.setdefault(row.workload, set()).update((row.ours, *row.others))
    return {workload: frozenset(names) for workload, names in needed.items()}


def outcomes(
    results: Results,
    edits: Sequence[EditPair],
    stats: StatsCall | None,
    label: str = "",
    *,
    costs: Costs | None = None,
    plans: Mapping[int, Planning] | None = None,
    watching: Watching | None = None,
) -> list[Outcome]:
    """Every row, measured or not, of this checkout or of another."""
    return [
        *(Outcome(row.target, row.ratios(results, label)) for row in COMPARISONS),
        *(Outcome(_FILTERS[step], lost_per_filter(results, step, label)) for step in _STEPS),
        *_backups(costs or {}, titled(FILE, label)),
        *_edits(edits),
        *_plans(plans or {}),
        Outcome(STATS, stats.ms, stats.how) if stats else Outcome(STATS),
        *_watching(watching),
    ]


def lost_per_filter(results: Results, step: tuple[int, int], label: str = "") -> list[float]:
    """Per cent of the throughput that each of the further filters costs, by round.

    The geometric mean: each filter leaves the same share of what there was without it.
    """
    fast, slow = (
        [run.iops for run in runs_of(results, titled(CHAINS[filters], label), ONE)]
        for filters in step
    )
    shorter, longer = step
    return [100 * (1 - left ** (1 / (longer - shorter))) for left in quotients(slow, fast)]


def _backups(costs: Costs, title: str) -> list[Outcome]:
    return [
        Outcome(target, more_lost(costs.get(scene, {}), title)) for scene, target in BACKUPS.items()
    ]


def _edits(edits: Sequence[EditPair]) -> list[Outcome]:
    return [
        Outcome(EDITS_LOST, [one.lost_percent for one in edits]),
        Outcome(EDITS_LONGEST, [one.longer_ms for one in edits]),
    ]


def _plans(plans: Mapping[int, Planning]) -> list[Outcome]:
    return [
        Outcome(target, plans[nodes].ms, plans[nodes].how) if nodes in plans else Outcome(target)
        for nodes, target in PLANNING.items()
    ]


def _watching(found: Watching | None) -> list[Outcome]:
    if found is None:
        rows = (WATCHING_BUSY, WATCHING_IDLE, WATCHING_MEMORY, WATCHING_LOST)
        return [Outcome(target) for target in rows]
    return [
        Outcome(WATCHING_BUSY, [found.busy.percent], f"{found.busy.kb_per_s:.1f} kB/s painted"),
        Outcome(
            WATCHING_IDLE,
            [found.idle.percent],
            f"{found.idle.kb_per_s:.1f} kB/s painted; just opened {found.opened.percent:.2f} %",
        ),
        Outcome(WATCHING_MEMORY, [found.resident_mb]),
        Outcome(WATCHING_LOST, [one.lost_percent for one in found.pairs]),
    ]


def as_json(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    """A row an object."""
    return [
        {
            "work": one.target.work,
            "against": one.target.against,
            "unit": one.target.unit,
            "measured": one.measured,
            "between": one.between,
            "least": one.target.least,
            "aim": one.target.aim,
            "verdict": one.verdict,
        }
        for one in found
    ]


def table(found: Sequence[Outcome], label: str = "") -> str:
    """What to reach, a line a row."""
    rows = [
        (titled("what to reach", label), "against", "measured", "95 % between", "least", "aim", "")
    ]
    rows += [_row(one) for one in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:{'<' if number in _WORDS else '>'}{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


_WORDS = (0, 1, 6)
"""Columns that are set to the left."""


def _row(one: Outcome) -> tuple[str, str, str, str, str, str, str]:
    target = one.target
    measured = "-" if one.measured is None else f"{one.measured:.2f} {target.unit}"
    between = "{:.2f} .. {:.2f}".format(*one.between) if one.between else ""
    limits = f"{target.least:g}", f"{target.aim:g}"
    return target.work, target.against, measured, between, *limits, one.verdict
