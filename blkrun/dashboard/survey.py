"""What a whole recording has in it: where events matter, and where nothing is known."""

from collections.abc import Iterator, Sequence

from blkrun.dashboard.feed import Happened
from blkrun.dashboard.model.playback import Gap, Mark
from blkrun.dashboard.past import GAP_MS, Hole, with_holes
from blkrun.dashboard.recording import Entry, Recording
from blkrun.messages import Level, event_level

_AT_ONCE = 200
"""Rows: whoever leaps meanwhile does not wait for long."""


def slices(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Rows of events, some at a time."""
    happened = [entry for entry in entries if entry.kind == "events"]
    for begin in range(0, len(happened), _AT_ONCE):
        yield happened[begin : begin + _AT_ONCE]


def read_marks(recording: Recording, entries: Sequence[Entry]) -> list[Mark]:
    """Those that a glance should find."""
    marks: list[Mark] = []
    for entry in entries:
        report = recording.read(entry)
        levels = {*map(event_level, report.events)} if isinstance(report, Happened) else set()
        if Level.ERROR in levels:
            marks.append((entry.at_ms / 1000, "error"))
        elif Level.WARNING in levels:
            marks.append((entry.at_ms / 1000, "warn"))
    return marks


def find_gaps(entries: Sequence[Entry], last_s: float) -> tuple[Gap, ...]:
    """From where the server was lost, or the last look before a hole, to the next look."""
    gaps: list[Gap] = []
    lost_ms: int | None = None
    for step in with_holes(entries, None):
        if isinstance(step, Hole):
            lost_ms = step.at_ms - GAP_MS
        elif step.kind == "lost" and lost_ms is None:
            lost_ms = step.at_ms
        elif step.kind == "look" and lost_ms is not None:
            gaps.append((lost_ms / 1000, step.at_ms / 1000))
            lost_ms = None
    if lost_ms is not None and lost_ms / 1000 < last_s:
        gaps.append((lost_ms / 1000, last_s))
    return tuple(gaps)
