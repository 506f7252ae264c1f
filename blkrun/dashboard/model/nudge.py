"""Limits up and down by keys: steps that feel regular, and presses that come together as one edit.

Steps are at most a tenth and lead along the same values up and down: 10, 11, … 20, 22, … 50, 55, …
100, and so in every decade.  A limit is never nudged to 0, which would be none.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from blkrun.options import MAX_LIMIT
from blkrun.units import format_bytes

TOGETHER_S = 0.4
"""A press that comes sooner after another one of its group is the same edit."""

Move = Literal["up", "down", "double", "halve"]

_DECADE: tuple[int, ...] = (*range(10, 20), *range(20, 50, 2), *range(50, 101, 5))
_BINARY_UNITS: tuple[int, ...] = (2**40, 2**30, 2**20, 2**10)


def moved(key: str, value: int, move: Move) -> int:
    """The next value of a limit.  Sizes in binary units stay so: 100MiB → 110MiB."""
    if move == "double":
        return min(value * 2, MAX_LIMIT)
    if move == "halve":
        return max(value // 2, 1)
    unit = _unit(value) if key.startswith("bps") else 1
    step = _up if move == "up" else _down
    return min(max(step(value // unit), 1) * unit, MAX_LIMIT)


def written(key: str, value: int) -> str:
    """As the file has it: ``110MiB``, ``1100``."""
    is_round = key.startswith("bps") and value % 1024 == 0
    return format_bytes(value) if is_round and value else str(value)


def with_burst(limits: Mapping[str, int], key: str, value: int) -> dict[str, int]:
    """What has to change with it: QEMU refuses a burst that is lower than its average.

    An average that goes beyond its burst takes it along, no farther; a burst stops at its average.
    """
    if key.endswith("-max"):
        return {key: max(value, limits.get(key.removesuffix("-max"), 0))}
    burst = limits.get(f"{key}-max", 0)
    return {key: value} | ({f"{key}-max": value} if 0 < burst < value else {})


@dataclass(frozen=True, slots=True)
class Nudge:
    """What is to be done: key → (old, new)."""

    group: str
    values: Mapping[str, tuple[int, int]]


@dataclass(slots=True)
class _Pending:
    """Presses of one group that are no edit yet.  ``before`` is as it was at the first."""

    before: dict[str, int]
    last_s: float
    wanted: dict[str, int] = field(default_factory=dict)


class Nudges:
    """Presses go in, edits come out when the presses have ceased; no clock of its own."""

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}
        self._under_way: dict[str, dict[str, int]] = {}

    def press(
        self, now_s: float, group: str, key: str, limits: Mapping[str, int], move: Move
    ) -> int | None:
        """What is wanted of the limit now; None: there is none to nudge.

        ``limits`` are the group's as the server has them.
        """
        known = {**limits, **self._under_way.get(group, {})}
        if not known.get(key):
            return None
        pending = self._pending.setdefault(group, _Pending(known, now_s))
        now = {**known, **pending.wanted}
        pending.wanted |= with_burst(now, key, moved(key, now[key], move))
        pending.last_s = now_s
        return pending.wanted[key]

    def wanted(self, group: str, key: str) -> int | None:
        """What the limit is about to be, if it is."""
        pending = self._pending.get(group)
        under_way = self._under_way.get(group, {})
        return {**under_way, **(pending.wanted if pending else {})}.get(key)

    def next_s(self) -> float | None:
        """When something is due next, as far as is known."""
        idle = (each for group, each in self._pending.items() if group not in self._under_way)
        return min((each.last_s + TOGETHER_S for each in idle), default=None)

    def due(self, now_s: float) -> tuple[Nudge, ...]:
        """What is to be done now; each is under way until it has ``ended``."""
        found = []
        for group, pending in list(self._pending.items()):
            if group in self._under_way or now_s < pending.last_s + TOGETHER_S:
                continue
            del self._pending[group]
            values = {
                key: (pending.before.get(key, 0), new)
                for key, new in pending.wanted.items()
                if new != pending.before.get(key, 0)
            }
            if values:
                self._under_way[group] = {key: new for key, (_, new) in values.items()}
                found.append(Nudge(group, values))
        return tuple(found)

    def ended(self, group: str) -> None:
        """An edit has been made or has failed: what the server says counts again."""
        self._under_way.pop(group, None)


def _unit(value: int) -> int:
    """The largest that the value is a multiple of, and ten of it fit; else a KiB, or a byte.

    Only of what one would write in it: 8000000000000 is no number of KiB.
    """
    few = 10 * 1024
    whole = [unit for unit in _BINARY_UNITS if value % unit == 0 and 0 < value // unit < few]
    return next((unit for unit in whole if value // unit >= 10), whole[-1] if whole else 1)


def _up(value: int) -> int:
    if value < 10:
        return value + 1
    scale = _scale(value)
    return _DECADE[bisect_right(_DECADE, value // scale)] * scale


def _down(value: int) -> int:
    if value <= 10:
        return value - 1
    scale = _scale(value)
    part = -(-value // scale)  # rounded up: one that is between two steps goes to the lower one
    at = bisect_left(_DECADE, part)
    return _DECADE[at - 1] * scale if at else 95 * scale // 10


def _scale(value: int) -> int:
    """What the second digit stands for."""
    return int("1".ljust(len(str(value)) - 1, "0"))
