"""What is to be reached, and whether it was: the least, the aim, and what was measured."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from .edits import EditRound
from .load import Workload
from .report import Figure, Results, compared, runs_of
from .servers import CHAINS, NBDKIT_FILE, NBDKIT_RATE, QEMU, THROTTLE
from .stats_call import NODES, StatsCall

ONE = Workload("randread", 4, 16, 1)
FOUR = Workload("randread", 4, 16, 4)
SEQUENTIAL = Workload("read", 1024, 16, 1)


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
    """A target that is a figure of one throttle over that of the better of other servers."""

    target: Target
    workload: Workload
    others: tuple[str, ...]
    figure: Figure = "iops"

    def measured(self, results: Results) -> float | None:
        """The median ratio."""
        return compared(results, THROTTLE, self.others, self.workload, self.figure)


@dataclass(frozen=True)
class Outcome:
    """A target, and what was measured."""

    target: Target
    measured: float | None
    remark: str = ""
    verdict: str = field(init=False)

    def __post_init__(self) -> None:
        missing = self.measured is None and self.remark
        words = self.remark if missing else self.target.verdict(self.measured)
        object.__setattr__(self, "verdict", words)


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
EDITS_LOST = Target(
    "a filter in and out ten times a second, throughput lost", "no edits", 3, 1, "%"
)
EDITS_LONGEST = Target("the same, longest request", "no edits", 5.0, 1.0, "ms more")
STATS = Target(f"one x-blkrun-stats call, {NODES} nodes, server time", "", 1.0, 0.2, "ms")


def judged() -> dict[Workload, frozenset[str]]:
    """Workload → the servers that a row depends on."""
    needed: dict[Workload, set[str]] = {ONE: set(CHAINS.values())}
    for row in COMPARISONS:
        needed.setdefault(row.workload, set()).update((THROTTLE, *row.others))
    return {workload: frozenset(names) for workload, names in needed.items()}


def outcomes(
    results: Results, edits: Sequence[EditRound], stats: StatsCall | None
) -> list[Outcome]:
    """Every row, measured or not."""
    return [
        *(Outcome(row.target, row.measured(results)) for row in COMPARISONS),
        *(Outcome(_FILTERS[step], lost_per_filter(results, *step)) for step in _STEPS),
        *_edits(edits),
        Outcome(STATS, stats.ms, stats.how) if stats else Outcome(STATS, None),
    ]


def lost_per_filter(results: Results, shorter: int, longer: int) -> float | None:
    """Per cent of the throughput that each of the further filters costs: the geometric mean."""
    pairs = zip(
        runs_of(results, CHAINS[longer], ONE), runs_of(results, CHAINS[shorter], ONE), strict=False
    )
    step = 1 / (longer - shorter)
    losses = [100 * (1 - (slow.iops / fast.iops) ** step) for slow, fast in pairs]
    return median(losses) if losses else None


def _edits(edits: Sequence[EditRound]) -> list[Outcome]:
    if not edits:
        return [Outcome(EDITS_LOST, None), Outcome(EDITS_LONGEST, None)]
    return [
        Outcome(EDITS_LOST, median(one.lost_percent for one in edits)),
        Outcome(EDITS_LONGEST, median(one.longer_ms for one in edits)),
    ]


def as_json(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    """A row an object."""
    return [
        {
            "work": one.target.work,
            "against": one.target.against,
            "unit": one.target.unit,
            "measured": one.measured,
            "least": one.target.least,
            "aim": one.target.aim,
            "verdict": one.verdict,
            "remark": one.remark,
        }
        for one in found
    ]


def table(found: Sequence[Outcome]) -> str:
    """What to reach, a line a row."""
    rows = [("what to reach", "against", "measured", "least", "aim", "")]
    rows += [_row(one) for one in found]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:>{widths[3]}}  {row[4]:>{widths[4]}}  {row[5]}".rstrip()
        for row in rows
    )


def _row(one: Outcome) -> tuple[str, str, str, str, str, str]:
    target = one.target
    measured = "-" if one.measured is None else f"{one.measured:.2f} {target.unit}"
    remark = f" ({one.remark})" if one.remark and one.measured is not None else ""
    return (
        target.work,
        target.against,
        measured,
        f"{target.least:g}",
        f"{target.aim:g}",
        f"{one.verdict}{remark}",
    )
