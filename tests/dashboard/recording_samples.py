"""Recordings made up of reports: an incident, or whatever a test wants."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blkrun.dashboard.feed import Happened, Lost, Seen
from blkrun.dashboard.recording import Recorded
from blkrun.dashboard.recording_writer import Writer
from tests.dashboard.dashboard_samples import connected, event, lab, snapshot

BEGIN_S = 1_764_300_000
"""In November 2025."""

Told = tuple[float, Recorded]
"""Seconds after the beginning, and what was told then."""


def look(second: float, **more: Any) -> Told:
    """What the lab looked like; ``held`` requests wait, another ``pid`` is another server."""
    return second, Seen(snapshot(lab(second, **more)), BEGIN_S + second)


def happened(second: float, *events: dict[str, Any]) -> Told:
    """Events."""
    return second, Happened(events)


def lost(second: float, why: str = "no server") -> Told:
    """The server goes."""
    return second, Lost(why)


def record(path: Path, *told: Told, title: str = "lab.toml") -> Path:
    """A recording of just that."""
    writer = Writer.open(path, title=title, begin_ms=BEGIN_S * 1000)
    for second, report in told:
        writer.write(report, round((BEGIN_S + second) * 1000))
    writer.commit()
    writer.close()
    return path


def looks(begin_s: int, end_s: int, **more: Any) -> Iterable[Told]:
    """One a second."""
    return (look(second, **more) for second in range(begin_s, end_s))


def incident(path: Path) -> Path:
    """A minute: a client comes, its requests are held, the server restarts, the file is edited."""
    return record(
        path,
        *looks(0, 5, clients=0),
        happened(5, connected(BEGIN_S + 5)),
        *looks(5, 15),
        *looks(15, 25, held=14),
        lost(25, "the server has gone"),
        happened(31, event("X_BLKRUN_SERVER_RESTARTED", BEGIN_S + 31, pid=43)),
        *looks(31, 45, pid=43),
        happened(
            45,
            event(
                "X_BLKRUN_CONFIG_APPLIED",
                BEGIN_S + 45,
                file="lab.toml",
                summary="change 1 group",
                milliseconds=3,
            ),
        ),
        *looks(45, 60, pid=43),
    )
