"""All numbers of an instant, to be saved: as JSON with everything, as CSV with one row a thing."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from blkrun.dashboard.model.rates import Interval, Latency, Rate
from blkrun.dashboard.model.snapshot import Snapshot

COLUMNS = (
    "kind",
    "name",
    "driver",
    "size_bytes",
    "reads_per_s",
    "writes_per_s",
    "trims_per_s",
    "read_bytes_per_s",
    "write_bytes_per_s",
    "trim_bytes_per_s",
    "errors_per_s",
    "in_flight",
    "waiting",
    "p50_ns",
    "p99_ns",
    "clients",
)
"""Of the CSV; what is not known or has no meaning is empty, never 0."""

_RATES = {
    "reads_per_s": "reads",
    "writes_per_s": "writes",
    "trims_per_s": "trims",
    "read_bytes_per_s": "read_bytes",
    "write_bytes_per_s": "write_bytes",
    "trim_bytes_per_s": "trim_bytes",
    "errors_per_s": "errors",
}

Figures = dict[str, str | int | float]
"""One row of the CSV, by column."""


def as_json(snapshot: Snapshot, rates: Interval, *, title: str, taken: str) -> str:
    """Everything there is, and the rates since the look before.  ``taken``: when, ISO 8601."""
    whole = {
        "title": title,
        "taken": taken,
        "figures": list(figures(snapshot, rates)),
        "snapshot": snapshot,
    }
    try:
        return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n"
    except UnicodeEncodeError:  # a file's name need not be text
        return json.dumps(msgspec.to_builtins(whole), indent=2) + "\n"


def as_csv(snapshot: Snapshot, rates: Interval) -> str:
    """A heading, then exports, nodes and throttle groups."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(figures(snapshot, rates))
    return out.getvalue()


def figures(snapshot: Snapshot, rates: Interval) -> Iterator[Figures]:
    """One row for each export, node and throttle group."""
    waiting = {
        member.node_name: member.waiting
        for group in snapshot.throttle_groups
        for member in group.members
    }
    for export in snapshot.exports:
        name = export.id
        yield {
            "kind": "export",
            "name": name,
            "size_bytes": export.size,
            "in_flight": export.in_flight,
            "clients": len(export.clients),
            **_numbers(rates.exports.get(name), rates.export_latency.get(name)),
        }
    for node in snapshot.nodes:
        name = node.node_name
        held: Figures = {"waiting": waiting[name]} if name in waiting else {}
        yield {
            "kind": "node",
            "name": name,
            "driver": node.driver,
            "size_bytes": node.size,
            "in_flight": node.in_flight,
            **held,
            **_numbers(rates.nodes.get(name), rates.node_latency.get(name)),
        }
    for group in snapshot.throttle_groups:
        members = [rate for m in group.members if (rate := rates.nodes.get(m.node_name))]
        yield {
            "kind": "group",
            "name": group.id,
            "waiting": sum(member.waiting for member in group.members),
            **_numbers(sum(members, Rate()) if members else None, None),
        }


def _numbers(rate: Rate | None, latency: Latency | None) -> Figures:
    found: dict[str, Any] = {}
    if rate is not None:
        found |= {name: round(getattr(rate, each), 3) for name, each in _RATES.items()}
    if latency is not None:
        found |= {"p50_ns": latency.p50_ns, "p99_ns": latency.p99_ns}
    return found
