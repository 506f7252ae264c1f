"""Questions one after the other: what a flow asks of whoever shows them."""

from collections.abc import Sequence
from typing import Protocol

from textual.app import App

from blkrun.dashboard.dialogs.ask_screen import AskScreen
from blkrun.dashboard.dialogs.choose_screen import ChooseScreen
from blkrun.dashboard.model.choices import Check, Choice


class Asking(Protocol):
    """None is no answer, and the end of the flow."""

    async def choose(self, title: str, choices: Sequence[Choice]) -> str | None:
        """One of them."""

    async def ask(self, title: str, value: str, check: Check) -> str | None:
        """A text that ``check`` has nothing against."""


class ByScreens:
    """On the app's screen; only from a worker: an answer is waited for."""

    def __init__(self, app: App[str]) -> None:
        self._app = app

    async def choose(self, title: str, choices: Sequence[Choice]) -> str | None:
        """By a list."""
        return await self._app.push_screen_wait(ChooseScreen(title, choices))

    async def ask(self, title: str, value: str, check: Check) -> str | None:
        """By a line."""
        return await self._app.push_screen_wait(AskScreen(title, value, check))
