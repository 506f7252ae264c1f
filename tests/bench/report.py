"""Medians over rounds, and the table."""

from statistics import median
from typing import Any

from .load import WORKLOADS, Figures, Workload
from .servers import DAEMON, PLUGIN

Results = dict[str, dict[Workload, list[Figures]]]
"""Server → workload → figures by round."""


def summary(results: Results) -> dict[str, dict[str, dict[str, float]]]:
    """Server → workload's name → medians; ratios are taken in each round before their median."""
    return {
        server: {
            workload.name: {
                "iops": median(run.iops for run in runs),
                "p99-us": median(run.p99_us for run in runs),
                "iops-to-qemu": _ratio(runs, results[DAEMON][workload]),
                "iops-to-nbdkit": _ratio(runs, results[PLUGIN][workload]),
                "p99-to-qemu": median(
                    run.p99_us / other.p99_us
                    for run, other in zip(runs, results[DAEMON][workload], strict=True)
                ),
            }
            for workload, runs in by_workload.items()
        }
        for server, by_workload in results.items()
    }


def as_json(results: Results, about: dict[str, Any]) -> dict[str, Any]:
    """Everything: the medians and each round's figures."""
    rounds = {
        server: {
            workload.name: [{"iops": run.iops, "p99-us": run.p99_us} for run in runs]
            for workload, runs in by_workload.items()
        }
        for server, by_workload in results.items()
    }
    return {"about": about, "medians": summary(results), "rounds": rounds}


def table(results: Results) -> str:
    """One block a workload."""
    medians = summary(results)
    width = max(len(server) for server in medians)
    lines = []
    for workload in WORKLOADS:
        head = f"{'IOPS':>8} {'p99 ms':>8} {'to qemu-s-d':>12} {'to nbdkit C':>12}"
        lines += ["", workload.name, f"{'':{width}}  {head}"]
        for server, by_workload in medians.items():
            found = by_workload[workload.name]
            lines.append(
                f"{server:{width}}  {found['iops']:>8,.0f} {found['p99-us'] / 1000:>8.2f} "
                f"{found['iops-to-qemu']:>12.2f} {found['iops-to-nbdkit']:>12.2f}"
            )
    return "\n".join(lines[1:])


def _ratio(runs: list[Figures], others: list[Figures]) -> float:
    return median(run.iops / other.iops for run, other in zip(runs, others, strict=True))
