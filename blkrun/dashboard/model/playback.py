"""Where a recording is being played, and times as they are typed and shown."""

import re
import time
from dataclasses import dataclass
from typing import Literal

SPEEDS = (1, 2, 5, 10, 60)

Mark = tuple[float, Literal["warn", "error"]]
Gap = tuple[float, float]

_DAY_S = 86400
_TYPED = re.compile(r"(?P<sign>[+-])?(?P<parts>[0-9]{1,6}(:[0-9]{1,6}){0,2})")


@dataclass(frozen=True, slots=True)
class Overview:
    """What a whole recording has in it, in order: events that matter, and what is missing."""

    marks: tuple[Mark, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """All that the slider shows.  Times are seconds since 1970."""

    at_s: float
    first_s: float
    last_s: float
    playing: bool = False
    speed: int = 1
    overview: Overview = Overview()
    unreadable: int = 0

    def cell(self, at_s: float, width: int) -> int:
        """The place of a time on a bar; outside of it for one outside of the recording."""
        length_s = self.last_s - self.first_s
        return round((at_s - self.first_s) * (width - 1) / length_s) if length_s > 0 else 0


def neighbour(speed: int, steps: int) -> int:
    """A speed that many steps up or down, as far as there are."""
    place = SPEEDS.index(speed) + steps
    return SPEEDS[min(max(place, 0), len(SPEEDS) - 1)]


def clock_text(at_s: float, *, date: bool = False) -> str:
    """``12:04:31``, local time; with the day where one is not enough."""
    return time.strftime("%m-%d %H:%M:%S" if date else "%H:%M:%S", time.localtime(at_s))


def spans_days(first_s: float, last_s: float) -> bool:
    """Whether a time of day would be ambiguous or surprising."""
    return time.localtime(first_s)[:3] != time.localtime(last_s)[:3]


def typed_time(text: str, position: Position) -> float | None:
    """What ``12:04``, ``12:04:31``, ``+90`` or ``-1:30`` mean; None for anything else.

    A time of day is the one in the recording, the nearest if there are several or none; a sum is
    of seconds, minutes:seconds or hours:minutes:seconds from where it is played.
    """
    match = _TYPED.fullmatch(text.strip())
    if match is None:
        return None
    parts = [int(part) for part in match["parts"].split(":")]
    if match["sign"]:
        seconds = 0
        for part in parts:
            seconds = seconds * 60 + part
        return position.at_s + (seconds if match["sign"] == "+" else -seconds)
    if len(parts) < 2 or parts[0] > 23 or max(parts[1:]) > 59:
        return None
    return _time_of_day(*parts, position=position)


def _time_of_day(hour: int, minute: int, second: int = 0, *, position: Position) -> float:
    """Days are counted by the calendar: not all of them have 24 hours."""
    first = time.localtime(position.first_s)
    days = int((position.last_s - position.first_s) // _DAY_S) + 2
    moments = [
        time.mktime(
            (first.tm_year, first.tm_mon, first.tm_mday + day, hour, minute, second, 0, 0, -1)
        )
        for day in range(-1, days)
    ]

    def distance(moment: float) -> tuple[float, float]:
        outside_s = max(position.first_s - moment, moment - position.last_s, 0.0)
        return outside_s, abs(moment - position.at_s)

    return min(moments, key=distance)
