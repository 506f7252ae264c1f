"""What was done, written down and told: a number from the history, then a report by the server."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blkrun.client import Client
from blkrun.config import Sources
from blkrun.errors import CommandError, NoServerError
from blkrun.history import KINDS, History, HistoryError, history_path
from blkrun.messages import event_text
from blkrun.toml.source import absolute

_OF_THE_GRAPH = ("drifted", "reverted", "drift-ended")


class Chronicle:
    """``by`` is the command that does it.  ``note`` hears what cannot be told otherwise.

    A history that cannot be written is told once, and hinders nothing: the reports go without a
    number then.
    """

    def __init__(self, control: Path, by: str, note: Callable[[str], None]) -> None:
        self.history = History(history_path(control))
        self._by = by
        self._note = note
        self._is_bad = False

    async def tell(
        self, client: Client, kind: str, data: dict[str, Any], sources: Sources | None
    ) -> dict[str, Any]:
        """Write it down if it is one of the history's kinds, and tell every watcher; what was told.

        A server that goes away meanwhile, or is too old to know of such things, hinders nothing.
        """
        data = data | {"by": self._by} | ({"digest": sources.digest} if sources else {})
        if kind in KINDS and (number := await self.write(kind, data, sources)) is not None:
            data = data | {"number": number}
        try:
            with contextlib.suppress(NoServerError):
                await client.execute("x-blkrun-report", {"kind": kind, "data": data})
        except CommandError:  # a server that was started by an older blkrun
            self._note(event_text({"event": event_of(kind), "data": data}))
        return data

    async def write(self, kind: str, data: dict[str, Any], sources: Sources | None) -> int | None:
        """The change's number; None if it cannot be written down."""
        row = {key: value for key, value in data.items() if key not in ("by", "digest")}
        digest, texts = str(data.get("digest", "")), named(sources) if sources else {}
        try:
            number = await asyncio.to_thread(
                self.history.record, kind, self._by, row, digest, texts
            )
        except HistoryError as error:
            if not self._is_bad:
                self._note(f"{error}; serving goes on, what is done is not written down")
            self._is_bad = True
            return None
        self._is_bad = False
        return number

    async def recall(self, digest: str, main: Path) -> Sources | None:
        """The texts of a digest that was applied once, as if they were read now."""
        try:
            texts = await asyncio.to_thread(self.history.texts, digest)
        except HistoryError:
            return None  # who writes to it next tells of it
        if not texts:
            return None
        return sources_of(texts, main)


def event_of(kind: str) -> str:
    """The event's name of a report's kind."""
    words = kind.upper().replace("-", "_")
    return f"X_BLKRUN_{words}" if kind in _OF_THE_GRAPH else f"X_BLKRUN_CONFIG_{words}"


def named(sources: Sources) -> dict[str, bytes]:
    """Texts by names that hold wherever the main file is: from its directory."""
    here = Path.cwd()
    directory = absolute(here, str(sources.main)).parent
    return {
        os.path.relpath(absolute(here, str(file)), directory): text
        for file, text in sources.texts.items()
    }


def sources_of(texts: dict[str, bytes], main: Path) -> Sources:
    """The same back; the first one is the main file, whatever it is called now."""
    _, *rest = texts
    files = {main: next(iter(texts.values()))}
    return Sources(main=main, texts=files | {main.parent / name: texts[name] for name in rest})
