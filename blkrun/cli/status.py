"""``blkrun status FILE``: what is served, to whom and how fast, at this moment."""

import argparse
import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from blkrun.cli import Exit
from blkrun.cli.output import console
from blkrun.client import Client
from blkrun.config import locate
from blkrun.messages import drift_text, percent, report_text, seconds_left
from blkrun.model import ServerAddress
from blkrun.units import format_about, format_bytes, format_seconds, format_short

_MEASURE_S = 0.5
_NUMBERS = frozenset(
    ("R/s", "W/s", "BW", "QD", "CLIENTS", "HELD", "SIZE", "DONE", "OF", "%", "RATE", "LEFT")
)

Graph = Mapping[str, Any]


EXAMPLES = """
blkrun status vm.toml         tables, and the address of each disk
blkrun status vm.toml --json  every number there is, for a script
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and --json."""
    parser.add_argument("file", type=Path, help="the TOML file")
    parser.add_argument("--json", action="store_true", help="all numbers, as the server gives them")


def run(args: argparse.Namespace) -> int:
    """Two looks half a second apart give the rates; --json is one look."""
    address = locate(args.file)
    before, after = asyncio.run(_looks(address, rates=not args.json))
    if args.json:
        print(json.dumps(after, indent=2))  # noqa: T201 - the command's output
    else:
        _print(args.file.name, address, before, after)
    return Exit.DONE


async def _looks(address: ServerAddress, *, rates: bool) -> tuple[Graph, Graph]:
    async with await Client.connect(address.control) as client:
        before = await client.execute("x-blkrun-query-graph")
        if not rates:
            return before, before
        await asyncio.sleep(_MEASURE_S)
        return before, await client.execute("x-blkrun-query-graph")


def _print(name: str, address: ServerAddress, before: Graph, after: Graph) -> None:
    out = console()
    uptime_s = after["uptime-ns"] / 1e9
    out.print(f"{name}: server {after['pid']}, up {uptime_s:.0f} s", soft_wrap=True)
    seconds = (after["now-ns"] - before["now-ns"]) / 1e9
    out.print(_exports(before, after, seconds))
    out.print(_nodes(before, after, seconds))
    if after["throttle-groups"]:
        out.print(_groups(after))
    if after.get("jobs"):
        out.print(_jobs(after))
    for options in after.get("spent", ()):
        out.print(f"{options['node-name']} ({options['driver']}) is spent and has left the graph")
    for export in after["exports"]:
        out.print(address.uri(export["id"]))
    if drift := after["reports"].get("drift"):
        out.print(Text(drift_text(drift), style="yellow"))
        for operation in drift.get("operations", ()):
            out.print(Text(f"  {operation}"))
    if report := after["reports"].get("config"):
        out.print(Text(f"last edit: {report_text(report)}"))


def _exports(before: Graph, after: Graph, seconds: float) -> Table:
    table = _table("EXPORT", "NODE", "SIZE", "MODE", "CLIENTS", "R/s", "W/s", "BW", "QD")
    for export in after["exports"]:
        table.add_row(
            export["id"],
            export["node-name"],
            format_bytes(export["size"]),
            "rw" if export["writable"] else "ro",
            str(len(export["clients"])),
            *_rates(_find(before["exports"], "id", export["id"]), export, seconds),
        )
    return table


def _nodes(before: Graph, after: Graph, seconds: float) -> Table:
    table = _table("NODE", "DRIVER", "OVER", "SIZE", "R/s", "W/s", "BW", "QD")
    for node in after["nodes"]:
        name = node["node-name"]
        table.add_row(
            name if node["attached"] else f"{name} (not in use)",
            node["options"]["driver"],
            " ".join(node["children"].values()),
            format_bytes(node["size"]),
            *_rates(_find(before["nodes"], "node-name", name), node, seconds),
        )
    return table


def _groups(after: Graph) -> Table:
    table = _table("GROUP", "LIMITS", "MEMBERS", "HELD")
    for group in after["throttle-groups"]:
        limits = [
            f"{name} {value}"
            for name, value in group["limits"].items()
            if value and not (name.endswith("-length") and value == 1)
        ]
        table.add_row(
            group["id"],
            ", ".join(limits) or "none",
            " ".join(member["node-name"] for member in group["members"]),
            str(sum(member["waiting"] for member in group["members"])),
        )
    return table


def _jobs(after: Graph) -> Table:
    errors = any(job.get("error") for job in after["jobs"])
    columns = ("JOB", "TYPE", "COPIES", "STATUS", "DONE", "OF", "%", "RATE", "LEFT")
    table = _table(*columns, *(["ERROR"] if errors else []))
    for job in after["jobs"]:
        options = job["options"]
        running, left_s = job["status"] == "running", seconds_left(job)
        table.add_row(
            job["id"],
            job["type"],
            f"{options['device']} → {options['target']}",
            _job_status(job),
            format_about(job["current-progress"]),
            format_about(job["total-progress"]),
            str(percent(job)),
            f"{format_about(job['rate'])}/s" if running and job["rate"] else "-",
            format_seconds(left_s) if left_s is not None else "-",
            *([job.get("error", "")] if errors else []),
        )
    return table


def _job_status(job: Mapping[str, Any]) -> str:
    """QEMU's word, and what it leaves out."""
    if job["pivoted"] and job["type"] != "stream":
        return f"{job['status']}, pivoted"
    if job["cancelled"]:
        return f"{job['status']}, cancelled"
    if job["status"] in ("paused", "running") and job["io-status"] != "ok":
        return f"{job['status']} ({job['io-status']})"
    return str(job["status"])


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        right = column in _NUMBERS
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table


def _find(items: list[dict[str, Any]], key: str, name: str) -> Mapping[str, Any] | None:
    return next((item for item in items if item[key] == name), None)


def _rates(
    before: Mapping[str, Any] | None, after: Mapping[str, Any], seconds: float
) -> tuple[str, str, str, str]:
    if before is None or seconds <= 0:
        return "-", "-", "-", str(after["in-flight"])
    old, new = before["stats"], after["stats"]

    def rate(*names: str) -> str:
        return format_short(sum(new[name] - old[name] for name in names) / seconds)

    bandwidth = rate("rd_bytes", "wr_bytes")
    return rate("rd_operations"), rate("wr_operations"), bandwidth, str(after["in-flight"])
