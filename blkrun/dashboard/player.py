"""A feed over a recording: it goes at the speed that is asked for, halts, steps and leaps.

Reading is done in one thread of its own, telling in the event loop.  A leap is one report,
``Rewound``; if another one is asked for meanwhile, the older is given up.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from blkrun.dashboard.feed import Lost, Report, Rewound
from blkrun.dashboard.model.playback import SPEEDS, Mark, Overview, Position
from blkrun.dashboard.past import (
    GAP_MS,
    GivenUpError,
    Hole,
    last_look,
    read_past,
    thinned,
    with_holes,
)
from blkrun.dashboard.recording import Entry, Recording
from blkrun.dashboard.survey import find_gaps, read_marks, slices
from blkrun.errors import BlkrunError, FileError

_MOST_LOOKS_A_FRAME = 6
"""More would be told at high speeds than anybody can see."""

Tell = Callable[[Report], object]
T = TypeVar("T")


class _Goal(NamedTuple):
    """Where to leap: what was told up to a time, or up to a row."""

    at_s: float
    row_id: int | None = None


class Player:
    """Begins at the first report, playing.  Controls are for the event loop's thread."""

    def __init__(
        self,
        recording: Recording,
        *,
        refresh_s: float = 0.5,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._recording = recording
        self._refresh_s = refresh_s
        self._clock = clock
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="player")
        self._wake = asyncio.Event()
        first_ms, last_ms = recording.bounds_ms()
        self._position = Position(
            at_s=first_ms / 1000, first_s=first_ms / 1000, last_s=last_ms / 1000, playing=True
        )
        self._goal: _Goal | None = _Goal(first_ms / 1000)
        self._steps = 0
        self._due_s = first_ms / 1000
        self._counted_s = clock()
        self._told_id = 0
        self._told_s = first_ms / 1000
        self._look: Entry | None = None

    # What the app asks of every feed

    def now_s(self) -> float:
        """Of the last that was told, unless the server is lost: a look is not old by itself."""
        return self._told_s if self._look is not None else self._position.at_s

    def wall_s(self, at_s: float) -> float:
        """The same."""
        return at_s

    @property
    def refresh_s(self) -> float:
        """Time between two frames while it is played."""
        return self._refresh_s

    def set_refresh(self, refresh_s: float) -> None:
        """Change it, from now on."""
        self._refresh_s = refresh_s
        self._wake.set()

    async def ask_runner(self, kind: str, data: dict[str, Any]) -> None:
        """There is none."""
        del kind, data
        raise BlkrunError("a recording: nothing can be changed")

    async def ask_server(self, command: str, arguments: dict[str, Any]) -> None:
        """Nor is there one."""
        await self.ask_runner(command, arguments)

    async def run(self, tell: Tell) -> None:
        """Play, until cancelled."""
        survey = asyncio.create_task(self._survey())
        try:
            while True:
                await self.frame(tell)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._patience_s()):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            survey.cancel()
            self.close()

    def close(self) -> None:
        """Wait until nothing is read any more: a moment."""
        self._goal = None
        self._reader.shutdown(cancel_futures=True)

    def _patience_s(self) -> float | None:
        return self._refresh_s if self._position.playing else None

    # Controls

    @property
    def position(self) -> Position:
        """Where it is, for the slider."""
        return replace(self._position, unreadable=self._recording.unreadable)

    def play(self) -> None:
        """Go on; from the first report when all has been played."""
        if self._position.at_s >= self._position.last_s:
            self.seek(self._position.first_s)
        self._move(playing=True)

    def pause(self) -> None:
        """Stay where it is."""
        self._move(playing=False)

    def set_speed(self, speed: int) -> None:
        """Recorded seconds a second: one of SPEEDS."""
        if speed not in SPEEDS:
            raise ValueError(speed)
        self._move(speed=speed)

    def seek(self, at_s: float) -> None:
        """Leap to a time, as far as there is one."""
        self._steps = 0
        self._goal = _Goal(min(max(at_s, self._position.first_s), self._position.last_s))
        self._move()

    def leap(self, seconds: float) -> None:
        """Seek from here, or from where it is about to leap to: keys may be held down."""
        here_s = self._goal.at_s if self._goal is not None else self._position.at_s
        self.seek(here_s + seconds)

    def step(self, steps: int) -> None:
        """Halt, and go to the next look or one before."""
        self._steps += steps
        self._move(playing=False)

    def _move(self, **changes: Any) -> None:
        """What has passed until now has passed as it was."""
        self._count()
        self._position = replace(self._position, **changes)
        self._wake.set()

    def _count(self) -> None:
        now_s = self._clock()
        if self._position.playing:
            self._due_s += (now_s - self._counted_s) * self._position.speed
        self._counted_s = now_s

    # Playing

    async def frame(self, tell: Tell) -> None:
        """Tell what is due.  What cannot be read any more is the end of it."""
        try:
            while (goal := self._goal) is not None:
                await self._leap(goal, tell)
            if (steps := self._steps) != 0:
                self._steps = 0
                await self._take(steps, tell)
            elif self._position.playing:
                await self._advance(tell)
        except FileError as error:
            self.pause()
            self._look = None
            tell(Lost(str(error)))

    async def _leap(self, goal: _Goal, tell: Tell) -> None:
        """Unless another goal comes meanwhile."""
        at_ms = round(goal.at_s * 1000)

        def read() -> Any:
            row_id = goal.row_id if goal.row_id is not None else self._recording.last_id(at_ms)
            return read_past(self._recording, at_ms, row_id, lambda: self._goal is goal)

        try:
            past = await self._in_thread(read)
        except GivenUpError:
            return
        if self._goal is not goal:
            return
        self._goal = None
        self._told_id, self._look = past.told_id, past.look
        self._told_s = past.reports[-1][0] if past.reports else goal.at_s
        self._arrive(goal.at_s)
        tell(Rewound(past.reports))

    def _arrive(self, at_s: float) -> None:
        self._due_s, self._counted_s = at_s, self._clock()
        self._position = replace(self._position, at_s=at_s)

    async def _take(self, steps: int, tell: Tell) -> None:
        """Steps to looks: on are told, back are leaps."""
        look = await self._in_thread(lambda: self._look_away(steps))
        if look is None or self._goal is not None:
            return
        if steps < 0:
            self._goal = _Goal(look.at_ms / 1000, look.id)
            await self._leap(self._goal, tell)
            return
        await self._tell_up_to(look.id, tell)
        self._arrive(look.at_ms / 1000)

    def _look_away(self, steps: int) -> Entry | None:
        """The one that many looks on or back, as far as there are; from the one that is shown."""
        found = None
        if steps > 0:
            row_id = self._told_id
            while steps > 0 and (look := self._recording.look_after(row_id)) is not None:
                found, row_id, steps = look, look.id, steps - 1
            return found
        shown = self._recording.look_before(self._told_id + 1)
        while shown is not None and steps < 0:
            shown = self._recording.look_before(shown.id)
            found, steps = shown or found, steps + 1
        return found

    async def _advance(self, tell: Tell) -> None:
        """Up to what is due now; at the end it halts."""
        self._count()
        due_ms = int(self._due_s * 1000)
        _, last_ms = await self._in_thread(self._recording.bounds_ms)  # it may still grow
        row_id = await self._in_thread(lambda: self._recording.last_id(due_ms))
        if self._goal is not None:
            return
        await self._tell_up_to(row_id, tell)
        at_s = min(self._due_s, last_ms / 1000)
        ended = self._due_s >= last_ms / 1000
        self._position = replace(
            self._position,
            at_s=at_s,
            last_s=last_ms / 1000,
            playing=self._position.playing and not ended,
        )
        if ended:
            self._due_s = at_s
        if self._look is not None and at_s * 1000 - self._look.at_ms > GAP_MS:
            hole = Hole(row_id, self._look.at_ms + GAP_MS, int(at_s * 1000) - self._look.at_ms)
            self._look = None
            tell(hole.report)

    async def _tell_up_to(self, row_id: int, tell: Tell) -> None:
        """All events and gaps on the way, and some of the looks."""
        if row_id <= self._told_id:
            return
        told_id, look = self._told_id, self._look
        entries, reports = await self._in_thread(lambda: self._read_frame(told_id, row_id, look))
        if self._goal is not None:
            return
        self._told_id, self._look = row_id, last_look(entries, look)
        for at_s, report in reports:
            self._told_s = at_s
            tell(report)

    def _read_frame(
        self, told_id: int, row_id: int, look: Entry | None
    ) -> tuple[Sequence[Entry], Sequence[tuple[float, Report]]]:
        entries = self._recording.outline(told_id, row_id)
        kept = thinned([entry for entry in entries if entry.kind == "look"], _MOST_LOOKS_A_FRAME)
        reports: list[tuple[float, Report]] = []
        for step in with_holes(entries, look):
            report: Report | None
            if isinstance(step, Hole):
                report = step.report
            elif step.kind == "look" and step.id not in kept:
                continue
            else:
                report = self._recording.read(step)
            if report is not None:
                reports.append((step.at_ms / 1000, report))
        return entries, reports

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)

    async def _survey(self) -> None:
        """Marks and gaps of the whole, found in slices; what is told goes before."""
        with contextlib.suppress(FileError):
            entries = await self._in_thread(self._recording.entries)
            last_s = self._position.last_s
            marks: list[Mark] = []
            for part in slices(entries):
                marks += await self._in_thread(partial(read_marks, self._recording, part))
            overview = Overview(tuple(marks), find_gaps(entries, last_s))
            self._position = replace(self._position, overview=overview)
