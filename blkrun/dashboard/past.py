"""What rebuilds the past of a moment of a recording: some of the looks, gaps, events."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from blkrun.dashboard.feed import Happened, Lost, Report
from blkrun.dashboard.model.record import KEPT_RECORDS
from blkrun.dashboard.recording import Entry, Recording

GAP_MS = 10_000
"""A dashboard looks every 5 s at least, and calls more than 3 s above that no answer."""

_PAST_MS = 30 * 60_000
"""As far as plots go back."""
_DENSE_MS = 60_000
_DENSE_SLOT_MS = 500
_SPARSE_SLOT_MS = 10_000
_MOST_LOSSES = 200


class Hole(NamedTuple):
    """Nothing was told where looks should be.  ``id`` is of the row after it."""

    id: int
    at_ms: int
    length_ms: int

    @property
    def report(self) -> Lost:
        """As if the poller had said it."""
        return Lost(f"nothing was recorded for {self.length_ms // 1000} s")


class Past(NamedTuple):
    """Reports with their times, and where that has led."""

    reports: tuple[tuple[float, Report], ...]
    told_id: int
    look: Entry | None
    """The last look, unless the server was lost after it."""


class GivenUpError(Exception):
    """Nobody wants to know any more."""


def with_holes(entries: Iterable[Entry], look: Entry | None) -> Iterator[Entry | Hole]:
    """Rows, and the holes between them; ``look`` is the one before, unless it is lost since."""
    for entry in entries:
        if entry.kind == "look":
            if look is not None and entry.at_ms - look.at_ms > GAP_MS:
                yield Hole(entry.id, look.at_ms + GAP_MS, entry.at_ms - look.at_ms)
            look = entry
        elif entry.kind == "lost":
            look = None
        yield entry


def last_look(entries: Iterable[Entry], look: Entry | None) -> Entry | None:
    """The last one that the server was not lost after."""
    for entry in entries:
        if entry.kind != "events":
            look = entry if entry.kind == "look" else None
    return look


def chosen(looks: Sequence[Entry], at_ms: int) -> set[int]:
    """Ids of some 300 looks: the last minute's nearly all, and one every few seconds before."""
    slots: dict[tuple[int, int], int] = {}
    for look in looks:
        slot_ms = _DENSE_SLOT_MS if look.at_ms > at_ms - _DENSE_MS else _SPARSE_SLOT_MS
        slots[slot_ms, look.at_ms // slot_ms] = look.id
    return {*slots.values(), *(look.id for look in looks[-2:])}


def thinned(looks: Sequence[Entry], most: int) -> set[int]:
    """Ids of that many at most, spread evenly; the last is one of them."""
    every = -(-len(looks) // most) or 1
    return {look.id for look in looks[::-1][::every]}


def read_past(
    recording: Recording, at_ms: int, told_id: int, is_wanted: Callable[[], bool]
) -> Past:
    """All that a dashboard wants to know at a moment.  Raises FileError, GivenUpError."""
    since_ms = at_ms - _PAST_MS
    looks = recording.newest("look", since_ms, told_id)[::-1]
    if not looks and (old := recording.look_before(told_id + 1)) is not None:
        looks, since_ms = [old], old.at_ms
    losses = recording.newest("lost", since_ms, told_id, _MOST_LOSSES)
    rows = sorted((*looks, *losses))
    look = last_look(rows, None)
    kept = chosen(looks, at_ms)
    steps = [step for step in with_holes(rows, None) if not _is_look(step) or step.id in kept]
    reports = [
        (step.id, step.at_ms / 1000, report)
        for step in steps
        if (report := _read(recording, step, is_wanted)) is not None
    ]
    reports += _newest_events(recording, told_id, is_wanted)
    reports.sort(key=lambda told: told[0])  # stable: a hole is before its row
    if look is not None and at_ms - look.at_ms > GAP_MS:
        hole = Hole(told_id, look.at_ms + GAP_MS, at_ms - look.at_ms)
        reports.append((told_id, hole.at_ms / 1000, hole.report))
        look = None
    return Past(tuple((at_s, report) for _, at_s, report in reports), told_id, look)


def _is_look(step: Entry | Hole) -> bool:
    return isinstance(step, Entry) and step.kind == "look"


def _read(recording: Recording, step: Entry | Hole, is_wanted: Callable[[], bool]) -> Report | None:
    if not is_wanted():
        raise GivenUpError
    return step.report if isinstance(step, Hole) else recording.read(step)


def _newest_events(
    recording: Recording, told_id: int, is_wanted: Callable[[], bool]
) -> list[tuple[int, float, Report]]:
    """As many as the log keeps; a row has one at least, and there may be rows of days."""
    found: list[tuple[int, float, Report]] = []
    count = 0
    for entry in recording.newest("events", 0, told_id, KEPT_RECORDS):
        report = _read(recording, entry, is_wanted)
        if isinstance(report, Happened):
            found.append((entry.id, entry.at_ms / 1000, report))
            count += len(report.events)
        if count >= KEPT_RECORDS:
            break
    return found
