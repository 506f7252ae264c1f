"""Medians over rounds, ratios within a round, and the table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any, Literal

from .load import Figures, Workload
from .middle import median_or_none, quotients
from .servers import NBDKIT_FILE, QCOW2_QEMU, QEMU, titled

Results = dict[str, dict[Workload, list[Figures]]]
"""Server's title → workload → figures by round."""

Figure = Literal["iops", "bytes_per_s", "p50_us", "p99_us", "longest_us", "cpu_us"]


def middle(runs: Sequence[Figures], figure: Figure) -> float:
    """The median over rounds."""
    return float(median(getattr(run, figure) for run in runs))


def runs_of(results: Results, title: str, workload: Workload) -> list[Figures]:
    """By round; empty if it was not measured."""
    return results.get(title, {}).get(workload, [])


def better_of(results: Results, titles: Sequence[str], workload: Workload) -> str:
    """The one that did more requests a second; empty if none was measured."""
    measured = {title: runs for title in titles if (runs := runs_of(results, title, workload))}
    return max(measured, key=lambda title: middle(measured[title], "iops"), default="")


def ratios(
    results: Results, title: str, others: Sequence[str], workload: Workload, figure: Figure
) -> list[float]:
    """A server's figure over that of the better of others, by round; empty if not measured."""
    other = better_of(results, others, workload)
    mine, theirs = runs_of(results, title, workload), runs_of(results, other, workload)
    return quotients([getattr(run, figure) for run in mine], [getattr(o, figure) for o in theirs])


def summary(results: Results, label: str = "") -> dict[str, dict[str, dict[str, float | None]]]:
    """Server's title → workload's name → medians and ratios."""
    return {
        title: {
            workload.name: _medians(runs) | _ratios(results, title, workload, label)
            for workload, runs in by_workload.items()
            if runs
        }
        for title, by_workload in results.items()
    }


def _medians(runs: Sequence[Figures]) -> dict[str, float | None]:
    return {
        "rounds": len(runs),
        "iops": middle(runs, "iops"),
        "megabytes-per-s": middle(runs, "bytes_per_s") / 1e6,
        "p50-us": middle(runs, "p50_us"),
        "p99-us": middle(runs, "p99_us"),
        "cpu-s-per-million": middle(runs, "cpu_us"),
    }


def _ratios(
    results: Results, title: str, workload: Workload, label: str
) -> dict[str, float | None]:
    compared = {"qemu": (*QEMU, *QCOW2_QEMU), "nbdkit": (NBDKIT_FILE,)}
    if label:
        compared["other"] = (titled(title, label),)
    figures: tuple[tuple[str, Figure], ...] = (("iops", "iops"), ("p99", "p99_us"))
    return {
        f"{word}-to-{name}": median_or_none(ratios(results, title, others, workload, figure))
        for name, others in compared.items()
        for word, figure in figures
    }


def as_json(results: Results, label: str = "") -> dict[str, Any]:
    """The medians and each round's figures."""
    rounds = {
        title: {
            workload.name: [asdict(run) for run in runs] for workload, runs in by_workload.items()
        }
        for title, by_workload in results.items()
    }
    return {"medians": summary(results, label), "rounds": rounds}


_COLUMNS = (
    ("iops", "IOPS", "{:,.0f}", 1.0),
    ("megabytes-per-s", "MB/s", "{:,.0f}", 1.0),
    ("p50-us", "p50 ms", "{:.3f}", 1e-3),
    ("p99-us", "p99 ms", "{:.3f}", 1e-3),
    ("cpu-s-per-million", "CPU s/M", "{:.1f}", 1.0),
    ("iops-to-qemu", "to qemu", "{:.2f}", 1.0),
    ("p99-to-qemu", "its p99", "{:.2f}", 1.0),
    ("iops-to-nbdkit", "to nbdkit", "{:.2f}", 1.0),
    ("p99-to-nbdkit", "its p99", "{:.2f}", 1.0),
)
_OTHER_COLUMNS = (
    ("iops-to-other", "to other", "{:.2f}", 1.0),
    ("p99-to-other", "its p99", "{:.2f}", 1.0),
)


def table(results: Results, label: str = "") -> str:
    """A block a workload: a line a server."""
    medians = summary(results, label)
    columns = (*_COLUMNS, *(_OTHER_COLUMNS if label else ()))
    workloads = list(dict.fromkeys(w for runs in results.values() for w in runs))
    width = max(map(len, medians), default=0)
    lines = []
    for workload in workloads:
        head = "".join(f"{title:>10}" for _, title, _, _ in columns)
        lines += ["", f"{workload.title}  [{workload.name}]", f"{'':{width}}{head}"]
        for title, by_workload in medians.items():
            if found := by_workload.get(workload.name):
                cells = "".join(f"{_cell(found, *column):>10}" for column in columns)
                lines.append(f"{title:{width}}{cells}")
    return "\n".join(lines[1:])


def _cell(found: Mapping[str, float | None], key: str, _: str, form: str, scale: float) -> str:
    value = found.get(key)
    return "-" if value is None else form.format(value * scale)
