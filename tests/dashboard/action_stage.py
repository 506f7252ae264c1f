"""A dashboard over a fake feed and a fake editor, and the ways to have an action done."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.binding import Binding
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import OptionList

from blkrun.dashboard.app import Dashboard
from blkrun.dashboard.dialogs.box import Box
from blkrun.dashboard.keymap import remapped
from blkrun.dashboard.widgets.key_bar import KeyBar
from blkrun.dashboard.widgets.panel import LinesPanel, Panel
from tests.dashboard.dashboard_samples import FakeFeed, dashboard, lab
from tests.dashboard.fake_editor import FakeEditor

WIDE = (200, 60)


class Stage:
    """The app, who tells it things, and what a test wants to see."""

    def __init__(
        self,
        app: Dashboard,
        pilot: Pilot[str],
        *,
        feed: FakeFeed | None = None,
        editor: FakeEditor | None = None,
    ) -> None:
        self.app, self.pilot = app, pilot
        self.feed = feed or FakeFeed()
        self.editor = editor or FakeEditor()

    # What happens

    async def see(self, raw: dict[str, Any]) -> None:
        """A look arrives."""
        self.feed.see(raw)
        await self.pilot.pause()

    async def select(self, name: str) -> None:
        """In the graph."""
        assert self.app.panels.graph.select_name(name)
        await self.settle()

    async def press(self, *keys: str) -> None:
        """Keys, and what comes of them."""
        await self.pilot.press(*keys)
        await self.settle()

    async def settle(self) -> None:
        """Until no worker has anything to do but wait for somebody."""
        for _ in range(3):
            await self.pilot.pause()

    async def pass_time(self, seconds: float) -> None:
        """The clock goes on; timers of the app are due."""
        self.feed.now_s.now_s += seconds
        await self.until(lambda: not self.app._nudges._pending)

    async def until(self, there: Callable[[], object]) -> None:
        """Bounded."""
        for _ in range(200):
            await self.pilot.pause(0.01)
            if there():
                return
        raise AssertionError("nothing happened")

    async def click(self, widget: Widget, x: int, y: int, times: int = 1) -> None:
        """On a cell of a widget, its border included."""
        assert await self.pilot.click(widget, offset=(x, y), times=times)
        await self.settle()

    async def click_footer(self, key: Binding) -> bool:
        """The key in the footer; False if it is not there."""
        bar = self.app.screen.query_one(KeyBar)
        x = bar.place_of(str(key.id))
        if x is None:
            return False
        await self.click(bar, x + 1, 0)
        return True

    async def run_command(self, title: str) -> None:
        """As the palette does once it has gone."""
        done = self.commands()[title]()
        if done is not None:
            await done
        await self.settle()

    async def type_command(self, letters: str) -> None:
        """In the palette, as somebody would."""
        await self.press("ctrl+p")
        await self.pilot.press(*letters)
        found = self.screen.query_one(OptionList)
        await self.until(lambda: found.option_count == 1 and found.highlighted == 0)
        await self.press("enter")
        await self.until(lambda: not isinstance(self.screen, CommandPalette))
        await self.settle()

    def commands(self) -> dict[str, Callable[[], Any]]:
        """What the palette has now."""
        found = self.app.get_system_commands(self.app.screen)
        return {command.title: command.callback for command in found}

    # What there is to see

    @property
    def screen(self) -> Screen[Any]:
        """On top."""
        return self.app.screen

    @property
    def dialog(self) -> str:
        """Title and lines of the dialog on top; "" if there is none."""
        if not isinstance(self.screen, Box):
            return ""
        lines = (line.text.rstrip() for line in self.screen.lines.lines)
        return "\n".join((self.screen.heading, *lines))

    @property
    def told(self) -> list[str]:
        """Title and text of what was said at the screen's edge."""
        notices = self.app._notifications
        return [f"{notice.title}\n{notice.message}".strip() for notice in notices]

    def lines(self, panel: str) -> list[str]:
        """All lines of a panel."""
        return [line.text for line in self.app.query_one(f"#{panel}", LinesPanel).lines]

    @property
    def shown(self) -> list[str]:
        """The panels that have a place."""
        return [str(panel.id) for panel in self.app.query(Panel) if panel.display]

    @property
    def focused(self) -> str:
        """The panel with the focus."""
        return str(self.app.focused.id) if self.app.focused is not None else ""


Play = Callable[[Stage], Awaitable[None]]


@asynccontextmanager
async def stage(
    raw: dict[str, Any] | None = None, *, size: tuple[int, int] = WIDE, **desk: Any
) -> AsyncIterator[Stage]:
    """Of the lab, or what is given."""
    editor = FakeEditor()
    desk = {"editor": editor, "file": Path("lab.toml"), "owner": False, **desk}
    app, feed, _ = dashboard(**desk)
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        made = Stage(app, pilot, feed=feed, editor=editor)
        await made.see(raw if raw is not None else lab(1))
        yield made


def perform(play: Play, raw: dict[str, Any] | None = None, **how: Any) -> str | None:
    """Run the app around a play; gives the app's result."""

    async def act() -> str | None:
        async with stage(raw, **how) as made:
            await play(made)
        return made.app.return_value

    return asyncio.run(act())


def keys_of(app: Dashboard, key: Binding) -> list[str]:
    """All that do the same."""
    (own,) = remapped([key], app.settings.keys)
    return own.key.split(",")
