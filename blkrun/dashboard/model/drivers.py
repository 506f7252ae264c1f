"""What can be put in between two nodes, as ``blkrun drivers --json`` lists it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

_SAID = ("driver", "file", "image")
"""By the edit itself."""

_LONGEST_NAME = 31


@dataclass(frozen=True, slots=True)
class Key:
    """An option that has to be given.  ``unit`` is bytes, count, seconds, ns or None."""

    name: str
    text: str
    unit: str | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Driver:
    """One of them, and what it needs besides its child."""

    name: str
    text: str
    keys: tuple[Key, ...] = ()


def insertable(rows: Iterable[Any]) -> tuple[Driver, ...]:
    """Those of all drivers, jobs and tables."""
    return tuple(
        Driver(row["name"], row["description"], tuple(map(_key, _asked_for(row))))
        for row in rows
        if row.get("insertable")
    )


def free_name(driver: str, taken: Collection[str]) -> str:
    """The driver's name, or with a number: ``throttle``, ``throttle2``."""
    if driver not in taken:
        return driver
    names = (f"{driver[: _LONGEST_NAME - len(str(number))]}{number}" for number in count(2))
    return next(name for name in names if name not in taken)


def _asked_for(row: Any) -> list[Any]:
    return [each for each in row["options"] if each["required"] and each["name"] not in _SAID]


def _key(row: Any) -> Key:
    choices = tuple(map(str, row["schema"].get("enum", ())))
    return Key(row["name"], row["description"], row["unit"], choices)
