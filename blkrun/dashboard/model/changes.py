"""Changes of a file that one can go back to, as ``blkrun history --json`` lists them."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blkrun.dashboard.model.choices import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """``at_s`` is since 1970; ``by`` is who had it applied."""

    number: int
    kind: str
    at_s: float
    by: str = ""
    digest: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)


def read_changes(rows: Iterable[Any]) -> tuple[Change, ...]:
    """Of ``--json``.  Raises KeyError, TypeError or ValueError if it is none."""
    return tuple(
        Change(
            number=int(row["number"]),
            kind=str(row["kind"]),
            at_s=float(row["time"]),
            by=str(row.get("by", "")),
            digest=str(row.get("digest", "")),
            said=row.get("data") or {},
        )
        for row in rows
    )


def change_choices(changes: Iterable[Change]) -> tuple[Choice, ...]:
    """Those that were in force, newest first."""
    applied = sorted(
        (change for change in changes if change.kind == "applied"),
        key=lambda change: change.number,
        reverse=True,
    )
    return tuple(
        Choice(str(each.number), f"{each.number}  {_when(each)}", _what(each)) for each in applied
    )


def _when(change: Change) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(change.at_s))


def _what(change: Change) -> str:
    """What was done then, in a line."""
    done = "; ".join(map(str, change.said.get("operations") or ())) or "nothing to do"
    return f"by {change.by}: {done}" if change.by else done
