"""The event log: records under numbers that never change, the oldest dropped when it is full."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from blkrun.messages import Level, event_level, event_matters, event_text, event_time

KEPT_RECORDS = 5000

CONFIG_EVENT = "X_BLKRUN_CONFIG_"


@dataclass(frozen=True, slots=True)
class Record:
    """One event in words.  ``number`` counts what this dashboard has seen."""

    number: int
    time: str
    level: Level
    text: str


class Log:
    """``first`` is the number of the oldest record kept; index = number - first."""

    def __init__(self, kept: int = KEPT_RECORDS) -> None:
        self._records: deque[Record] = deque(maxlen=kept)
        self._next = 0
        self.edited_at: str | None = None

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        return self._records[index]

    @property
    def first(self) -> int:
        """Also how many were dropped."""
        return self._next - len(self._records)

    def add(self, events: Iterable[dict[str, Any]]) -> None:
        """Append what is news of events as they came over the wire."""
        for event in events:
            if event["event"].startswith(CONFIG_EVENT):
                self.edited_at = event_time(event)
            if event_matters(event) and not self._again(event):
                self._append(event)

    def _again(self, event: dict[str, Any]) -> bool:
        """A job that ignores errors tries ten times a second, and each time it says the same."""
        if event["event"] != "BLOCK_JOB_ERROR" or not self._records:
            return False
        return self._records[-1].text == event_text(event)

    def _append(self, event: dict[str, Any]) -> None:
        self._records.append(
            Record(self._next, event_time(event), event_level(event), event_text(event))
        )
        self._next += 1
