"""A feed that also writes what it tells.  The disk never holds up or ends the dashboard.

A thread of its own writes, and commits about once a second.  When that fails, or the disk is so
slow that too much waits, the recording ends with one sentence and the dashboard goes on.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any

from blkrun.dashboard.feed import Feed, Report, Rewound
from blkrun.dashboard.recording import Recorded
from blkrun.dashboard.recording_writer import Writer

_COMMIT_INTERVAL_S = 1.0
_MOST_WAITING = 1000
"""Reports: minutes of looks, some tens of megabytes."""
_LAST_WORDS_S = 5.0
"""How long a disk may take over the end."""

Item = tuple[Recorded, int]


class Recorder:
    """``note`` is called in the event loop, once at most, when there is no more recording."""

    def __init__(
        self,
        feed: Feed,
        writer: Writer,
        *,
        note: Callable[[str], object],
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._feed = feed
        self._writer = writer
        self._note = note
        self._unix_s = unix_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: Queue[Item | None] = Queue(_MOST_WAITING)
        self._over = False
        self._thread = Thread(target=self._write_all, name="recorder", daemon=True)
        self._thread.start()

    def now_s(self) -> float:
        """The feed's."""
        return self._feed.now_s()

    def wall_s(self, at_s: float) -> float:
        """The feed's."""
        return self._feed.wall_s(at_s)

    @property
    def refresh_s(self) -> float:
        """The feed's."""
        return self._feed.refresh_s

    def set_refresh(self, refresh_s: float) -> None:
        """The feed's."""
        self._feed.set_refresh(refresh_s)

    async def ask_runner(self, kind: str, data: dict[str, Any]) -> None:
        """The feed's."""
        await self._feed.ask_runner(kind, data)

    async def ask_server(self, command: str, arguments: dict[str, Any]) -> None:
        """The feed's."""
        await self._feed.ask_server(command, arguments)

    async def run(self, tell: Callable[[Report], object]) -> None:
        """Tell what the feed tells, and have it written."""
        self._loop = asyncio.get_running_loop()

        def hear(report: Report) -> None:
            tell(report)
            self._keep(report)

        await self._feed.run(hear)

    @property
    def recording(self) -> bool:
        """Whether what is told is still written."""
        return not self._over

    def close(self) -> None:
        """Write what waits, for a few seconds at most: a disk that hangs is left behind."""
        if self._thread.is_alive():
            with contextlib.suppress(Full):
                self._waiting.put(None, timeout=_LAST_WORDS_S)
                self._thread.join(_LAST_WORDS_S)

    def _keep(self, report: Report) -> None:
        if self._over or isinstance(report, Rewound):
            return
        try:
            self._waiting.put_nowait((report, round(self._unix_s() * 1000)))
        except Full:
            self._end("the disk is too slow")

    def _end(self, why: str) -> None:
        """In the event loop."""
        if not self._over:
            self._over = True
            self._note(f"the recording has ended: {why}")

    # In the thread

    def _write_all(self) -> None:
        try:
            while self._write_some():
                self._writer.commit()
            self._writer.commit()
        except sqlite3.Error as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - the top of a thread: nobody else would tell
            self._fail(repr(error))
        finally:
            self._writer.close()

    def _fail(self, why: str) -> None:
        """What comes until the event loop hears of it finds its place, or is dropped."""
        if self._loop is None:
            self._over = True
            return
        try:
            self._loop.call_soon_threadsafe(self._end, why)
        except RuntimeError:
            self._over = True  # the loop has ended meanwhile, and with it who would be told

    def _write_some(self) -> bool:
        """The next report and those of the second after it; False after the last."""
        item = self._waiting.get()
        deadline_s = time.monotonic() + _COMMIT_INTERVAL_S
        while item is not None:
            self._writer.write(*item)
            try:
                item = self._waiting.get(timeout=max(deadline_s - time.monotonic(), 0))
            except Empty:
                return True
        return False
