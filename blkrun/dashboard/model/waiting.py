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
    return Waiting(str(report["digest"]), file, question, tuple(map(clean, _lines(report))))


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    operations = [str(each) for each in report.get("operations") or ()]
    yield from operations[:_SHOWN]
    if len(operations) > _SHOWN:
        yield f"and {len(operations) - _SHOWN} more"
    taken, drains = report.get("taken") or {}, report.get("drains") or {}
    for export, count in taken.items():
        yield f"takes {export} from {_clients(count)}"
    for export, count in drains.items():
        if count and export not in taken:
            yield f"{export}: requests of {_clients(count)} wait while it is done"
    if not taken:
        yield f"it waits: {report.get('why', '')}"


def _clients(count: int) -> str:
    return f"{count} client{'s' * (count != 1)}"
