"""Rows of the throttle groups: how much of each limit its members use, and who waits."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from blkrun.dashboard.model.marks import Mark, marks_of
from blkrun.dashboard.model.rates import Interval, Rate, total
from blkrun.dashboard.model.snapshot import Group, Snapshot

_NAMES = {
    "iops-total": "iops",
    "iops-read": "iops rd",
    "iops-write": "iops wr",
    "bps-total": "bytes",
    "bps-read": "byte rd",
    "bps-write": "byte wr",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow:
    """``used`` None is a gap.  ``burst_left`` is the share of a burst's credit, if there is one.

    ``lasts_s``: how long that lasts at the present rate, if it is being used up.
    """

    key: str
    name: str
    used: float | None
    limit: int
    burst_left: float | None = None
    lasts_s: float | None = None

    @property
    def share(self) -> float:
        """Used of the limit."""
        return (self.used or 0.0) / self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRow:
    """A throttle node of the group.  ``wait_ns``: what those waited, on average, who had to."""

    name: str
    rate: Rate | None
    held: int
    wait_ns: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """A group with its limits and members; those first in which requests wait."""

    name: str
    limits: tuple[LimitRow, ...]
    members: tuple[MemberRow, ...]
    mark: Mark = ""

    @property
    def held(self) -> int:
        """Requests that wait in it now."""
        return sum(member.held for member in self.members)


def group_rows(
    snapshot: Snapshot, rates: Interval, before: Snapshot | None = None
) -> tuple[GroupRow, ...]:
    """All groups.  ``before``: an earlier snapshot, or nobody knows how long requests waited."""
    waits = _waits(before, snapshot) if before is not None else {}
    marks = marks_of(snapshot.reports).groups
    return tuple(
        _group(group, rates, waits, marks.get(group.id, "")) for group in snapshot.throttle_groups
    )


def _waits(before: Snapshot, after: Snapshot) -> dict[str, float]:
    """Node → ns a request waited, on average of those between the two that had to."""
    if before.pid != after.pid:
        return {}
    old = {node.node_name: node.driver_specific for node in before.nodes}
    found: dict[str, float] = {}
    for node in after.nodes:
        new, was = node.driver_specific, old.get(node.node_name, {})
        if "waited-ns" not in new or "waited-ns" not in was:
            continue
        count = new["waited-operations"] - was["waited-operations"]
        if count > 0:
            found[node.node_name] = (new["waited-ns"] - was["waited-ns"]) / count
    return found


def _group(group: Group, rates: Interval, waits: Mapping[str, float], mark: Mark) -> GroupRow:
    members = [
        MemberRow(
            name=member.node_name,
            rate=rates.nodes.get(member.node_name),
            held=member.waiting,
            wait_ns=waits.get(member.node_name),
        )
        for member in group.members
    ]
    used = total(member.rate for member in members)
    members.sort(key=lambda member: not member.held)
    return GroupRow(
        name=group.id, limits=tuple(_limits(group, used)), members=tuple(members), mark=mark
    )


def _limits(group: Group, used: Rate | None) -> Iterator[LimitRow]:
    size = group.limits.get("iops-size", 0)
    for key, name in _NAMES.items():
        if limit := group.limits.get(key, 0):
            amount = None if used is None else _USED[key](used, size)
            credit = group.limits.get(f"{key}-max", 0) * group.limits.get(f"{key}-max-length", 1)
            left = max(credit - group.levels.get(key, 0.0), 0.0)
            yield LimitRow(
                key=key,
                name=name,
                used=amount,
                limit=limit,
                burst_left=min(left / credit, 1.0) if credit else None,
                lasts_s=left / (amount - limit) if credit and amount and amount > limit else None,
            )


def _units(operations: float, count_bytes: float, iops_size: int) -> float:
    """What the group counts as operations: more than one for a request above iops-size."""
    return max(operations, count_bytes / iops_size) if iops_size else operations


def _reads(rate: Rate, size: int) -> float:
    return _units(rate.reads, rate.read_bytes, size)


def _writes(rate: Rate, size: int) -> float:
    """Trims are charged as writes of their length."""
    return _units(rate.writes + rate.trims, rate.write_bytes + rate.trim_bytes, size)


_USED: dict[str, Callable[[Rate, int], float]] = {
    "iops-total": lambda rate, size: _reads(rate, size) + _writes(rate, size),
    "iops-read": _reads,
    "iops-write": _writes,
    "bps-total": lambda rate, _: rate.read_bytes + rate.write_bytes + rate.trim_bytes,
    "bps-read": lambda rate, _: rate.read_bytes,
    "bps-write": lambda rate, _: rate.write_bytes + rate.trim_bytes,
}
