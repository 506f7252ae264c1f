"""The header's facts: is the server there, what does it do in total, how old is what is shown."""

from dataclasses import dataclass
from enum import Enum

from blkrun.dashboard.model.jobs import JobCount
from blkrun.dashboard.model.rates import Interval, Rate, total
from blkrun.dashboard.model.snapshot import Snapshot

_SILENT_S = 3.0


class State(Enum):
    """Always shown as a word, too."""

    CONNECTING = "CONNECTING"
    RUN = "RUN"
    SILENT = "NO ANSWER"
    OFFLINE = "OFFLINE"

    @property
    def is_absent(self) -> bool:
        """What is known is not the present."""
        return self in (State.SILENT, State.OFFLINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """When the server was last heard of (the dashboard's clock), and whether it has gone."""

    last_s: float | None = None
    lost_s: float | None = None

    def state(self, now_s: float, refresh_s: float) -> State:
        """A server that is connected and does not answer is not offline, and not fine."""
        if self.lost_s is not None:
            return State.OFFLINE
        if self.last_s is None:
            return State.CONNECTING
        return State.SILENT if now_s - self.last_s > refresh_s + _SILENT_S else State.RUN

    def age_s(self, now_s: float) -> float:
        """How long the state that is not RUN lasts."""
        since = self.lost_s if self.lost_s is not None else self.last_s
        return now_s - since if since is not None else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that the header shows, times in whole seconds.  ``jobs``: only where they have no panel.

    ``followed``: a runner applies what is saved.  ``doing``: what is under way just now.
    ``replayed``: all of it was so once.
    """

    title: str
    state: State
    age_s: int = 0
    uptime_s: int = 0
    rate: Rate | None = None
    in_flight: int = 0
    held: int = 0
    clients: int = 0
    jobs: JobCount | None = None
    refresh_s: float = 0.5
    paused_s: int | None = None
    followed: bool = True
    doing: str = ""
    replayed: bool = False


def totals(snapshot: Snapshot, rates: Interval) -> tuple[Rate | None, int, int, int]:
    """Over all exports: rate, requests in flight, requests held back, clients."""
    held = sum(m.waiting for group in snapshot.throttle_groups for m in group.members)
    return (
        total(rates.exports.get(export.id) for export in snapshot.exports),
        sum(export.in_flight for export in snapshot.exports),
        held,
        sum(snapshot.clients.values()),
    )


def uptime_text(seconds: float) -> str:
    """``20 s``, ``4 min``, ``1 h 12 min``, ``3 d 2 h``: in steps, as each is a repaint."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour} h"
    if hours:
        return f"{hours} h {minute} min"
    return f"{minute} min" if minute else f"{second // 10 * 10} s"


def duration_text(seconds: float) -> str:
    """``7 s``, ``4:05``, ``1:12:44``, ``3 d 02:11``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02}:{minute:02}"
    if hours:
        return f"{hours}:{minute:02}:{second:02}"
    return f"{minute}:{second:02}" if minute else f"{second} s"
