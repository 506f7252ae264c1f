"""Rows of the throttle groups: how much of each limit its members use, and who waits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
    """``used`` None is a gap.  ``burst_left`` is the share of a burst's credit, if there is one."""

    name: str
    used: float | None
    limit: int
    burst_left: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRow:
    """A throttle node of the group."""

    name: str
    rate: Rate | None
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """A group with its limits and members."""

    name: str
    limits: tuple[LimitRow, ...]
    members: tuple[MemberRow, ...]

    @property
    def held(self) -> int:
        """Requests that wait in it now."""
        return sum(member.held for member in self.members)


def group_rows(snapshot: Snapshot, rates: Interval) -> tuple[GroupRow, ...]:
    """All groups."""
    return tuple(_group(group, rates) for group in snapshot.throttle_groups)


def _group(group: Group, rates: Interval) -> GroupRow:
    members = tuple(
        MemberRow(
            name=member.node_name, rate=rates.nodes.get(member.node_name), held=member.waiting
        )
        for member in group.members
    )
    used = total(member.rate for member in members)
    return GroupRow(name=group.id, limits=tuple(_limits(group, used)), members=members)


def _limits(group: Group, used: Rate | None) -> Iterator[LimitRow]:
    size = group.limits.get("iops-size", 0)
    for key, name in _NAMES.items():
        if limit := group.limits.get(key, 0):
            amount = None if used is None else _USED[key](used, size)
            yield LimitRow(name=name, used=amount, limit=limit, burst_left=_burst_left(group, key))


def _burst_left(group: Group, key: str) -> float | None:
    credit = group.limits.get(f"{key}-max", 0) * group.limits.get(f"{key}-max-length", 1)
    if not credit:
        return None
    return min(max(1 - group.levels.get(key, 0.0) / credit, 0.0), 1.0)


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
