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
from blkrun.dashboard.recording import Recorded
from blkrun.errors import BlkrunError
from tests.dashboard.dashboard_samples import FakeClock, FakeFeed
from tests.dashboard.incident import DIGEST, END_S, told
from tests.dashboard.recording_samples import BEGIN_S, Told

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


@cache
def incident(until_s: int = END_S) -> tuple[Told, ...]:
    """Made once."""
    return tuple(told(until_s))


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

    async def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        await self.pilot.press(*keys)
        await self.settle()

    async def settle(self) -> None:
        """All is painted, and no cursor blinks."""
        await self.pilot.pause()
        for line in self.app.screen.query(Input):
            line.cursor_blink = False
        await self.pilot.pause()


Play = Callable[[Stage], Awaitable[None]]


async def nothing(_: Stage) -> None:
    """As it is when it is opened."""


def perform(
    play: Play,
    size: tuple[int, int],
    *,
    reports: Iterable[Told] | None = None,
    theme: str = "blkrun",
) -> None:
    """Run the app around a play, with the incident on it."""

    async def act() -> None:
        clock = FakeClock()
        feed = FakeFeed(clock)
        desk = Desk(title="lab.toml", owner=True, file=Path("lab.toml"), editor=FakeEditor())
        app = Dashboard(feed, desk)
        app.theme = theme
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            stage = Stage(app, feed, clock, pilot)
            await stage.see(*(incident() if reports is None else reports))
            await play(stage)

    asyncio.run(act())


def looks_and_events(until_s: int) -> tuple[Told, ...]:
    """The incident up to a second."""
    return tuple(each for each in incident() if each[0] <= until_s)


def last_look(reports: Iterable[Told]) -> Seen:
    """What was seen last."""
    looks: list[Recorded] = [report for _, report in reports if isinstance(report, Seen)]
    found = looks[-1]
    assert isinstance(found, Seen)
    return found
