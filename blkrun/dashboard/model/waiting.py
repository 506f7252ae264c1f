"""An edit that waits for a yes: what it would do and to whom, from the runner's report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from blkrun.dashboard.lines import clean

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Waiting:
    """``digest`` is of the file's text: the yes is for this one and no other."""

    digest: str
    file: str
    question: str
    lines: tuple[str, ...]
    exports: tuple[str, ...] = ()
    """Those whose clients it concerns."""

    @property
    def by_hand(self) -> str:
        """What says yes if no runner does."""
        return f"blkrun apply {self.file}"


def waiting(report: Mapping[str, Any] | None) -> Waiting | None:
    """None if nothing waits, or nobody could be told what the yes is for."""
    if not report or report.get("kind") != "pending" or not report.get("digest"):
        return None
    file = clean(str(report.get("file", "")))
    question = f"Apply {file}: {clean(str(report.get('summary', '')))}?"
    lines = tuple(map(clean, _lines(report)))
    exports = (*(report.get("taken") or ()), *(report.get("drains") or ()))
    return Waiting(str(report["digest"]), file, question, lines, tuple(dict.fromkeys(exports)))


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    operations = [str(each) for each in report.get("operations") or ()]
    yield from operations[:_SHOWN]
    if len(operations) > _SHOWN:
        yield f"and {len(operations) - _SHOWN} more"
    yield from concerned(report)
    if not report.get("taken"):
        yield f"it waits: {report.get('why', '')}"


def concerned(report: Mapping[str, Any], *, done: bool = False) -> Iterator[str]:
    """Clients that lose a disk, or whose requests wait; ``done``: that they did."""
    taken, drains = report.get("taken") or {}, report.get("drains") or {}
    for export, count in taken.items():
        yield f"{'took' if done else 'takes'} {export} from {_clients(count)}"
    wait = "waited while it was" if done else "wait while it is"
    for export, count in drains.items():
        if count and export not in taken:
            yield f"{export}: requests of {_clients(count)} {wait} done"


def _clients(count: int) -> str:
    return f"{count} client{'s' * (count != 1)}"
