"""The app with the incident on it, in the state that a screen is about."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input

from blkrun.dashboard.actions.base import Desk
from blkrun.dashboard.app import Dashboard
from blkrun.dashboard.feed import Rewound, Seen
from blkrun.dashboard.model.changes import Change
from blkrun.dashboard.model.drivers import Driver, Key
from blkrun.dashboard.model.edits import Edit
from blkrun.dashboard.model.preview import Outcome, Preview
from blkrun.dashboard.player import Player
from blkrun.dashboard.recording import Recording
from blkrun.dashboard.replaying import Replay
from blkrun.errors import BlkrunError
from tests.dashboard.dashboard_samples import FakeClock, FakeFeed, reply, snapshot
from tests.dashboard.incident import DIGEST, END_S, recording, told
from tests.dashboard.recording_samples import BEGIN_S, Told
from tests.dashboard.screens import screen_text

DRIVERS = (
    Driver("throttle", "A member of a throttle group: requests wait for their turn.", ()),
    Driver(
        "write-threshold",
        "Tells, once, of a write beyond an offset: that a thin disk is about to be full.",
        (Key("write-threshold", "the offset", "bytes", ()),),
    ),
    Driver(
        "copy-before-write",
        "Keeps the disk as it was when this was put in: old data goes to target before new.",
        (),
    ),
)
DIFF = """\
--- lab.toml
+++ lab.toml
@@ -3,3 +3,3 @@
 [throttle-groups.gold]
-iops-total = 3000
+iops-total = 3300
 iops-total-max = 6000
"""
REMOVAL = """\
--- lab.toml
+++ lab.toml
@@ -41,3 +41,0 @@
-[exports.vm1]
-node = "limit1"
"""


class FakeEditor:
    """Says what an edit would do, and refuses to do it."""

    async def preview(self, edit: Edit) -> Preview:
        """Always the same, but that a removal hurts."""
        if edit.command != "remove":
            operations = ("~ group gold (iops-total 3000 -> 3300)",)
            return Preview(changed=True, diff=DIFF, operations=operations, drains={})
        return Preview(
            changed=True,
            diff=REMOVAL,
            digest=DIGEST,
            operations=("- export vm1",),
            taken={"vm1": 2},
            drains={"vm1": 2},
            cancelled=("nightly",),
            why="it takes a disk from connected clients: vm1 (2)",
        )

    async def perform(self, edit: Edit, seen: Preview | None = None) -> Outcome:
        """No."""
        del edit, seen
        raise BlkrunError(
            'lab.toml:9:1: error: unknown key "iops-totl", did you mean "iops-total"?\n'
            "    9 | iops-totl = 12000\n"
            "      | ^^^^^^^^^"
        )

    async def drivers(self) -> tuple[Driver, ...]:
        """Some."""
        return DRIVERS

    async def changes(self) -> tuple[Change, ...]:
        """None."""
        return ()


CALM_S, REJECTED_S = 58, 64
"""Seconds of the incident: before the file was edited, and while there is a mistake in it."""


@cache
def incident(until_s: float = END_S) -> tuple[Told, ...]:
    """Up to a second; made once."""
    return tuple(each for each in told() if each[0] <= until_s)


def empty() -> tuple[Told, ...]:
    """A server that serves nothing."""
    looks = (reply(seconds, runner=4242) for seconds in range(3))
    return tuple(
        (second, Seen(snapshot(raw), BEGIN_S + second)) for second, raw in enumerate(looks)
    )


class Stage:
    """The app, its feed and clock, and a pilot."""

    def __init__(self, app: Dashboard, feed: FakeFeed, clock: FakeClock, pilot: Pilot[str]) -> None:
        self.app, self.feed, self.clock, self.pilot = app, feed, clock, pilot

    async def see(self, *reports: Told) -> None:
        """All of them at once, and then the clock is at the last."""
        self.clock.now_s = BEGIN_S + reports[-1][0]
        past = tuple((BEGIN_S + at_s, report) for at_s, report in reports)
        self.feed.tell(Rewound(past))
        await self.settle()

    async def resize(self, width: int, height: int) -> None:
        """The terminal has another size."""
        await self.pilot.resize_terminal(width, height)
        await self.settle()

    async def see_again(self) -> None:
        """The server says what it said."""
        assert self.app.board.snapshot is not None
        self.feed.tell(Seen(self.app.board.snapshot, self.clock.now_s))
        await self.settle()

    async def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def settle(self) -> None:
        """All is painted, and no cursor blinks."""
        await self.pilot.pause()
        for line in self.app.screen.query(Input):
            line.cursor_blink = False
        await self.pilot.pause()

    async def until(self, reached: Callable[[], bool]) -> None:
        """What a worker does takes its time."""
        for _ in range(_MOST_POLLS):
            if reached():
                return await self.settle()
            await asyncio.sleep(_POLL_S)
        raise AssertionError(screen_text(self.app))

    async def stand_still(self) -> None:
        """Until nothing has changed for a while: what Textual's own screens do nobody is told."""
        shown, since = "", 0
        for _ in range(_MOST_POLLS):
            await self.settle()
            since, shown = (
                (since + 1 if screen_text(self.app) == shown else 0),
                screen_text(self.app),
            )
            if since == _STILL_POLLS:
                return
            await asyncio.sleep(_POLL_S)
        raise AssertionError(shown)


_POLL_S, _MOST_POLLS, _STILL_POLLS = 0.02, 500, 15

Play = Callable[[Stage], Awaitable[None]]


def perform(
    play: Play,
    size: tuple[int, int],
    *,
    reports: Iterable[Told] = (),
    until_s: float = END_S,
    theme: str | None = "blkrun",
) -> None:
    """Run the app around a play, with the incident on it up to a second, or other reports."""

    async def act() -> None:
        clock = FakeClock()
        feed = FakeFeed(clock)
        desk = Desk(
            title="lab.toml",
            owner=True,
            file=Path("lab.toml"),
            editor=FakeEditor(),
            uri_of=lambda name: f"nbd+unix:///{name}?socket=/run/lab.sock",
        )
        app = Dashboard(feed, desk)
        if theme is not None:
            app.theme = theme
        async with app.run_test(size=size, notifications=True) as pilot:
            await pilot.pause()
            stage = Stage(app, feed, clock, pilot)
            await stage.see(*(tuple(reports) or incident(until_s)))
            await play(stage)

    asyncio.run(act())


def play_recording(folder: Path, play: Play, size: tuple[int, int]) -> None:
    """Run the app over a recording of the incident, at rest in the middle of it."""

    async def act() -> None:
        clock = FakeClock()
        with Recording.open(recording(folder / "lab.rec")) as played:
            player = Player(played, clock=clock)
            app = Replay(player, "lab.toml")
            app.theme = "blkrun"
            async with app.run_test(size=size) as pilot:
                stage = Stage(app, FakeFeed(clock), clock, pilot)
                await stage.press("space")
                app.playback.seek(BEGIN_S + CALM_S)
                goal_s = BEGIN_S + CALM_S
                await stage.until(lambda: app.board.seen_s == goal_s)
                await stage.until(lambda: bool(app.playback.position.overview.marks))
                app.show()
                await stage.settle()
                await play(stage)

    asyncio.run(act())
