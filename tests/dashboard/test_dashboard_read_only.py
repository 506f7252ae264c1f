"""A dashboard that only looks."""

import asyncio

from textual.pilot import Pilot

from blkrun.dashboard.keys import EDIT_KEYS
from tests.dashboard.dashboard_samples import dashboard, lab

PENDING = {
    "kind": "pending",
    "file": "lab.toml",
    "digest": "d1",
    "summary": "~1",
    "operations": ["~ disk: size 1GiB → 2GiB"],
    "why": "apply is ask",
}


def test_what_changes_something_is_not_on_offer() -> None:
    """No key, no line in the palette, and no way to run it; what only looks is there."""

    async def story() -> None:
        app, feed, _ = dashboard(read_only=True)
        async with app.run_test(size=(100, 30)) as pilot:
            await look_and_press(pilot)
            feed.see(lab(1, reports={"config": PENDING}))
            await pilot.pause()
            await look_and_press(pilot)
            await app.run_action("apply")
            await pilot.pause()
            assert len(app.screen_stack) == 1
            offered = {command.title for command in app.get_system_commands(app.screen)}
            assert not {key.description for key in EDIT_KEYS} & offered
            assert {"Pause", "Help", "Quit"} <= offered

    async def look_and_press(pilot: Pilot[str]) -> None:
        await pilot.press("a")
        await pilot.pause()
        assert len(pilot.app.screen_stack) == 1

    asyncio.run(story())
