"""An edit that waits for a yes: when the key is there, what is asked, and what the yes says."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from blkrun.client import Client
from blkrun.dashboard.app import Dashboard
from blkrun.dashboard.dialogs.apply_screen import ApplyScreen
from blkrun.dashboard.model.waiting import waiting
from blkrun.dashboard.poller import Poller
from blkrun.errors import CommandNotFound
from tests.dashboard.dashboard_samples import FakeClock, FakeFeed, dashboard, lab

PENDING = {
    "kind": "pending",
    "file": "lab.toml",
    "digest": "d1",
    "summary": "~1 -1",
    "operations": ["- export vdb", "~ disk: size 1GiB → 2GiB"],
    "taken": {"vdb": 2},
    "drains": {"vda": 1, "vdb": 2, "idle": 0},
    "why": "it takes a disk from connected clients: vdb (2)",
}

Play = Callable[[Dashboard, FakeFeed, FakeClock, Pilot[str]], Awaitable[None]]


def perform(play: Play) -> None:
    """Run the app around a play, with an edit that waits."""

    async def act() -> None:
        app, feed, clock = dashboard()
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.pause()
            feed.see(lab(1, reports={"config": PENDING}))
            await pilot.pause()
            await play(app, feed, clock, pilot)

    asyncio.run(act())


def notices(app: Dashboard) -> list[str]:
    """What is said at the screen's edge."""
    return [notice.message for notice in app._notifications]


def test_the_question_names_operations_and_clients() -> None:
    """Who loses a disk, who waits; who is not concerned is not named."""
    found = waiting(PENDING)
    assert found is not None
    assert found.question == "Apply lab.toml: ~1 -1?"
    assert found.lines == (
        "- export vdb",
        "~ disk: size 1GiB → 2GiB",
        "takes vdb from 2 clients",
        "vda: requests of 1 client wait while it is done",
    )
    many = waiting(PENDING | {"operations": ["+ n"] * 12, "taken": {}, "drains": None})
    assert many is not None
    assert many.lines[-2:] == ("and 2 more", f"it waits: {PENDING['why']}")


@pytest.mark.parametrize(
    "report", [None, {}, PENDING | {"kind": "applied"}, PENDING | {"digest": ""}]
)
def test_nothing_waits(report: dict[str, Any] | None) -> None:
    """Nor does what no yes could be given to."""
    assert waiting(report) is None


def test_yes_is_for_the_text_that_was_asked_about() -> None:
    """By its digest; the key is on offer only while something waits."""

    async def play(app: Dashboard, feed: FakeFeed, _: FakeClock, pilot: Pilot[str]) -> None:
        assert app.check_action("apply", ())
        await pilot.press("a")
        assert isinstance(app.screen, ApplyScreen)
        text = "\n".join(str(part.content) for part in app.screen.query(Static))
        assert "takes vdb from 2 clients" in text
        await pilot.press("y")
        await pilot.pause()
        assert feed.asked == [("apply", {"digest": "d1"})]
        feed.see(lab(2, reports={"config": PENDING | {"kind": "applied"}}))
        await pilot.pause()
        assert not app.check_action("apply", ())
        await pilot.press("a")
        assert not isinstance(app.screen, ApplyScreen)

    perform(play)


def test_the_question_says_who_the_clients_are() -> None:
    """By process, where the server knows it; others are not left out."""

    async def play(app: Dashboard, feed: FakeFeed, _: FakeClock, pilot: Pilot[str]) -> None:
        raw = lab(2, clients=3, reports={"config": PENDING})
        raw["exports"][0]["clients"][1]["peer"] = {"pid": 7, "uid": 0, "process": "fio"}
        feed.see(raw)
        await pilot.press("a")
        text = "\n".join(str(part.content) for part in app.screen.query(Static))
        assert "vda: one that is not known, fio pid 7 uid 0, one that is not known" in text

    perform(play)


@pytest.mark.parametrize("key", ["n", "escape"])
def test_no_asks_for_nothing(key: str) -> None:
    """It goes on waiting."""

    async def play(app: Dashboard, feed: FakeFeed, _: FakeClock, pilot: Pilot[str]) -> None:
        await pilot.press("a", key)
        await pilot.pause()
        assert feed.asked == []
        assert app.check_action("apply", ())

    perform(play)


def test_a_question_about_what_waits_no_more_goes_away() -> None:
    """Another text may do something else."""

    async def play(app: Dashboard, feed: FakeFeed, _: FakeClock, pilot: Pilot[str]) -> None:
        await pilot.press("a")
        feed.see(lab(2, reports={"config": PENDING | {"digest": "d2"}}))
        await pilot.pause()
        assert not isinstance(app.screen, ApplyScreen)
        assert feed.asked == []

    perform(play)


def test_nobody_heard_the_yes() -> None:
    """After a while it is said what to do."""

    async def play(app: Dashboard, feed: FakeFeed, clock: FakeClock, pilot: Pilot[str]) -> None:
        await pilot.press("a", "y")
        await pilot.pause()
        assert notices(app) == []
        clock.now_s += 6
        feed.see(lab(2, reports={"config": PENDING}))
        await pilot.pause()
        assert notices(app) == [
            "it still waits; if no blkrun run keeps the file: blkrun apply lab.toml"
        ]

    perform(play)


def test_a_server_that_cannot_pass_it_on() -> None:
    """One that was started by an older blkrun: the command to type is named."""

    async def play(app: Dashboard, feed: FakeFeed, _: FakeClock, pilot: Pilot[str]) -> None:
        feed.refusal = CommandNotFound("The command x-blkrun-ask-runner has not been found")
        await pilot.press("a", "y")
        await pilot.pause()
        assert notices(app)[0].endswith("say yes with: blkrun apply lab.toml")

    perform(play)


def test_on_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a conversation of its own, by the server's command."""
    said: list[Any] = []

    class Server:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            said.append("closed")

        async def execute(self, command: str, arguments: dict[str, Any]) -> None:
            said.append((command, arguments))

    async def connect(control: Path) -> Server:
        said.append(control)
        return Server()

    monkeypatch.setattr(Client, "connect", connect)
    asyncio.run(Poller(Path("vm.qmp"), refresh_s=1).ask_runner("apply", {"digest": "d1"}))
    arguments = {"kind": "apply", "data": {"digest": "d1"}}
    assert said == [Path("vm.qmp"), ("x-blkrun-ask-runner", arguments), "closed"]
