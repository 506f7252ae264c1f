"""What a feed tells, and what the app asks of one: a server now, or a recording of it.

``poller`` looks at a server, ``player`` at a recording; ``recorder`` is a poller that also writes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from blkrun.dashboard.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server looked like at ``at_s`` of the feed's clock."""

    snapshot: Snapshot
    at_s: float


@dataclass(frozen=True, slots=True)
class Happened:
    """Events as they came over the wire, oldest first."""

    events: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody answers.  Said once; the next ``Seen`` ends it."""

    why: str


@dataclass(frozen=True, slots=True)
class Rewound:
    """What was told before is void: only a player goes back, or leaps.

    ``past`` is what is known instead, each report with when it was told: a whole, to be folded
    before anything of it is shown.  It never has a ``Rewound`` in it.
    """

    past: tuple[tuple[float, "Report"], ...]


Report = Seen | Happened | Lost | Rewound


class Feed(Protocol):
    """What the app needs; tests have another one."""

    def now_s(self) -> float:
        """The feed's clock: ages and plots are by it, and a recording's goes as it is played."""

    def wall_s(self, at_s: float) -> float:
        """A time of the feed's clock as seconds since 1970."""

    @property
    def refresh_s(self) -> float:
        """Time between two looks."""

    def set_refresh(self, refresh_s: float) -> None:
        """Change it, from now on."""

    async def run(self, tell: Callable[[Report], object]) -> None:
        """Look and tell, until cancelled."""

    async def ask_runner(self, kind: str, data: dict[str, Any]) -> None:
        """Ask whoever keeps the file.  Raises BlkrunError; says nothing of who heard it."""

    async def ask_server(self, command: str, arguments: dict[str, Any]) -> None:
        """One command, for what no file has a table of.  Raises BlkrunError."""
