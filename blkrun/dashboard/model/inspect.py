"""All about one node, export or group: its table, its edges, and how it is doing, as rows.

Figures of the time between two looks are from ``rates``; counts are since it came to be.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blkrun.dashboard.lines import GAP, Tone
from blkrun.dashboard.model.copying import find, toml_of
from blkrun.dashboard.model.groups import group_rows
from blkrun.dashboard.model.jobs import job_rows, share_text
from blkrun.dashboard.model.rates import Interval, Latency, Rate, new_counts
from blkrun.dashboard.model.snapshot import (
    Bitmap,
    Durations,
    Export,
    Group,
    Latencies,
    Node,
    Snapshot,
    Stats,
)
from blkrun.dashboard.model.state import State, export_state, node_state
from blkrun.dashboard.model.status import duration_text
from blkrun.dashboard.model.subject import Subject
from blkrun.units import format_about, format_bytes, format_ns, format_short

BUCKETS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRow:
    """``label`` stands left of ``text``; ``bar``, a share, is drawn between them.

    A ``heading`` is over what follows.  ``code`` is a line of a text, without a label.
    """

    text: str = ""
    label: str = ""
    tone: Tone = "plain"
    bar: float | None = None
    heading: bool = False
    code: bool = False


@dataclass(frozen=True, slots=True)
class InspectView:
    """``title`` is what it is called; ``subject`` None: nothing is selected."""

    subject: Subject | None = None
    title: str = ""
    rows: tuple[InspectRow, ...] = ()


def inspect_view(
    snapshot: Snapshot,
    rates: Interval,
    subject: Subject | None,
    *,
    before: Snapshot | None = None,
    uri: str = "",
) -> InspectView:
    """``uri``: where clients find an export, if that is known; ``before``: the look before."""
    if subject is None:
        text = "select something in the graph"
        return InspectView(rows=(InspectRow(text=text, tone="dim"),))
    found = find(snapshot, subject)
    if isinstance(found, Node):
        rows = _node(found, snapshot, rates, before)
    elif isinstance(found, Export):
        rows = _export(found, snapshot, rates, before, uri)
    elif isinstance(found, Group):
        rows = _group(found, snapshot, rates, before)
    else:
        rows = iter((InspectRow(text=f"{subject.kind} {subject.name} has gone", tone="warn"),))
    return InspectView(subject, f"{subject.kind} {subject.name}", tuple(rows))


# Kinds of things


def _node(
    node: Node, snapshot: Snapshot, rates: Interval, before: Snapshot | None
) -> Iterator[InspectRow]:
    name, rate = node.node_name, rates.nodes.get(node.node_name)
    jobs = {row.name: row for row in job_rows(snapshot.jobs)}
    job = jobs.get(node.job or "")
    held = sum(
        member.waiting
        for group in snapshot.throttle_groups
        for member in group.members
        if member.node_name == name
    )
    yield from _state(node_state(node, rate, held, job.share if job is not None else None))
    yield from _code(toml_of(snapshot, Subject("node", name)))
    yield _fact("from", ", ".join(_parents(snapshot, name)) or "nothing leads here")
    drivers = {each.node_name: each.driver for each in snapshot.nodes}
    for role, child in node.children.items():
        yield _fact(role, f"{child} ({drivers.get(child, '?')})")
    access = "read-only" if node.options.get("read-only") else "read-write"
    yield _fact("size", f"{_exact(node.size)}, {access}")
    if node.job is not None:
        state = "" if job is None else f": {job.type}, {job.state}"
        share = "" if job is None or job.share is None else f", {share_text(job.share)}"
        yield _fact("job", f"{node.job}{state}{share}")
    yield from _specific(node.driver_specific)
    yield from map(_bitmap, node.bitmaps)
    latency, latencies = rates.node_latency.get(name), _at(snapshot, node.latency)
    yield from _numbers(rate, node.stats, node.in_flight, latency, latencies)
    yield from _histogram(latencies, _growth(before, Subject("node", name), rate, latencies))


def _export(
    export: Export, snapshot: Snapshot, rates: Interval, before: Snapshot | None, uri: str
) -> Iterator[InspectRow]:
    rate = rates.exports.get(export.id)
    yield from _state(export_state(rate, export.stats.failed))
    yield from _code(toml_of(snapshot, Subject("export", export.id)))
    if uri:
        yield _fact("uri", uri)
    access = "read-write" if export.writable else "read-only"
    yield _fact("size", f"{_exact(export.size)}, {access}")
    count = len(export.clients)
    busy = ", ".join(f"{each.id}: {each.in_flight} in flight" for each in export.clients)
    yield _fact("clients", f"{count} ({busy})" if busy else "none")
    latency, latencies = rates.export_latency.get(export.id), _at(snapshot, export.latency)
    yield from _numbers(rate, export.stats, export.in_flight, latency, latencies)
    subject = Subject("export", export.id)
    yield from _histogram(latencies, _growth(before, subject, rate, latencies))


def _group(
    group: Group, snapshot: Snapshot, rates: Interval, before: Snapshot | None
) -> Iterator[InspectRow]:
    row = next(row for row in group_rows(snapshot, rates, before) if row.name == group.id)
    if row.held:
        yield InspectRow(text=f"HELD {row.held}", tone="bad")
    yield from _code(toml_of(snapshot, Subject("group", group.id)))
    yield InspectRow(text="used of the limit", heading=True)
    for limit in row.limits:
        used = GAP if limit.used is None else format_short(limit.used)
        text = f"{used}/{format_short(limit.limit)}"
        yield InspectRow(label=limit.key, bar=limit.share, text=text, tone="number")
        if limit.burst_left is not None:
            lasts = "" if limit.lasts_s is None else f" {duration_text(limit.lasts_s)}"
            text = f"{limit.burst_left:.0%}{lasts} left"
            yield InspectRow(label="  burst", bar=limit.burst_left, text=text, tone="number")
    yield InspectRow(text="levels of the buckets", heading=True)
    for key, level in group.levels.items():
        yield _fact(key, f"{level:.0f}")
    yield InspectRow(text="members", heading=True)
    for member in row.members:
        rate = GAP if member.rate is None else f"{format_short(member.rate.operations)}/s"
        waits = "" if member.wait_ns is None else f", waits {format_ns(member.wait_ns)}"
        yield _fact(member.name, f"{rate}, {member.held} held{waits}")


# Parts


def _fact(label: str, text: str) -> InspectRow:
    return InspectRow(label=label, text=text)


def _state(state: State) -> Iterator[InspectRow]:
    if state:
        yield InspectRow(text=state.words[0], tone=state.tone)


def _code(text: str) -> Iterator[InspectRow]:
    for line in text.splitlines():
        yield InspectRow(text=line, tone="export" if line.startswith("[") else "plain", code=True)


def _parents(snapshot: Snapshot, name: str) -> Iterator[str]:
    yield from (f"export {each.id}" for each in snapshot.exports if each.node_name == name)
    for node in snapshot.nodes:
        yield from (
            node.node_name if role == "file" else f"{node.node_name} as {role}"
            for role, child in node.children.items()
            if child == name
        )


def _exact(size_bytes: int) -> str:
    about, exact = format_about(size_bytes), format_bytes(size_bytes)
    return exact if about == exact else f"{about} ({size_bytes} bytes)"


_BYTES = ("to-copy", "cluster-size", "dirty", "granularity", "write-threshold")


def _specific(specific: Mapping[str, Any]) -> Iterator[InspectRow]:
    """What its driver tells, in its own words; times and sizes in a unit that reads well."""
    for key, value in specific.items():
        if not isinstance(value, int) or isinstance(value, bool):
            yield _fact(key, str(value).lower() if isinstance(value, bool) else str(value))
        elif key.endswith("-ns"):
            yield _fact(key.removesuffix("-ns"), format_ns(value))
        else:
            yield _fact(key, _exact(value) if key in _BYTES else str(value))


def _bitmap(bitmap: Bitmap) -> InspectRow:
    words = [bitmap.name, f"per {format_bytes(bitmap.granularity)}"]
    words += ["records" if bitmap.recording else "does not record"]
    words += ["busy"] if bitmap.busy else []
    words += [] if bitmap.of_file else ["made by QMP"]
    return _fact("bitmap", ", ".join(words))


def _at(snapshot: Snapshot, place: int) -> Latencies:
    return snapshot.latencies[place] if place < len(snapshot.latencies) else Latencies()


def _numbers(
    rate: Rate | None,
    stats: Stats,
    in_flight: int,
    latency: Latency | None,
    latencies: Latencies,
) -> Iterator[InspectRow]:
    yield InspectRow(text="now", heading=True)
    yield _fact("in flight", str(in_flight))
    yield _fact("reads", _per_second(rate, "reads", "read_bytes"))
    yield _fact("writes", _per_second(rate, "writes", "write_bytes"))
    yield _fact("trims", _per_second(rate, "trims", "trim_bytes"))
    if latency is not None:
        p50, p99 = map(format_ns, latency)
        yield _fact("latency", f"p50 {p50}, p99 {p99}")
    yield InspectRow(text="since it is there", heading=True)
    yield from _counters(stats, latencies)


def _per_second(rate: Rate | None, operations: str, count_bytes: str) -> str:
    if rate is None:
        return GAP
    per_s, bytes_per_s = getattr(rate, operations), getattr(rate, count_bytes)
    return f"{format_short(per_s)}/s, {format_short(bytes_per_s)}B/s"


def _counters(stats: Stats, latencies: Latencies) -> Iterator[InspectRow]:
    """Zeroes count as writes; who flushes is known by how long it took."""
    flushes = sum(latencies.flushes.counts)
    for label, done, count_bytes, failed in (
        ("reads", stats.rd_operations, stats.rd_bytes, stats.failed_rd_operations),
        ("writes", stats.wr_operations, stats.wr_bytes, stats.failed_wr_operations),
        ("trims", stats.unmap_operations, stats.unmap_bytes, stats.failed_unmap_operations),
        ("flushes", flushes, 0, stats.failed_flush_operations),
    ):
        size = f", {format_about(count_bytes)}" if count_bytes else ""
        errors = f", {failed} failed" if failed else ""
        tone: Tone = "bad" if failed else "plain"
        yield InspectRow(label=label, text=f"{done}{size}{errors}", tone=tone)


def _growth(
    before: Snapshot | None, subject: Subject, rate: Rate | None, latencies: Latencies
) -> Mapping[int, int] | None:
    """Requests since the look before, by bucket; None if that is not known."""
    was = None if before is None or rate is None else find(before, subject)
    if before is None or not isinstance(was, Node | Export):
        return None
    return new_counts(_at(before, was.latency), latencies)


def _histogram(latencies: Latencies, growth: Mapping[int, int] | None) -> Iterator[InspectRow]:
    """How long reads and writes took: all of them, and in numbers the newest ones."""
    bars = buckets((latencies.reads, latencies.writes, latencies.zeroes))
    if bars:
        since = "since it is there" + ("" if growth is None else ", + since the last look")
        yield InspectRow(text=f"reads and writes by what they took ({since})", heading=True)
    most = max((count for *_, count in bars), default=0)
    for floor_ns, end_ns, count in bars:
        label = f"{format_ns(floor_ns)} to {format_ns(end_ns)}"
        text = format_short(count)
        if growth is not None:
            new = sum(more for at_ns, more in growth.items() if floor_ns <= max(at_ns, 1) < end_ns)
            text += f" {f'+{format_short(new)}' if new > 0 else '':>5}"
        yield InspectRow(label=label, bar=count / most, text=text, tone="number")


def buckets(kinds: Sequence[Durations]) -> list[tuple[int, int, int]]:
    """At most ``BUCKETS`` of (from ns, to ns, requests), each as many powers of two wide."""
    counts: dict[int, int] = {}
    for kind in kinds:
        for floor_ns, count in zip(kind.floors_ns, kind.counts, strict=True):
            if count:
                bits = max(floor_ns.bit_length(), 1)
                counts[bits] = counts.get(bits, 0) + count
    if not counts:
        return []
    first, last = min(counts), max(counts)
    width = -(-(last - first + 1) // BUCKETS)
    return [
        (
            1 << (start - 1),
            1 << (start + width - 1),
            sum(counts.get(bits, 0) for bits in range(start, start + width)),
        )
        for start in range(first, last + 1, width)
    ]
