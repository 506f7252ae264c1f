"""The event log: records under numbers that never change, the oldest dropped when it is full.

The same said again and again is one record with a count, which keeps its number and gets the time
of the last.
"""

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from blkrun.messages import Level, event_level, event_matters, event_text, event_time

KEPT_RECORDS = 5000

CONFIG_EVENT = "X_BLKRUN_CONFIG_"

_CLIENT_EVENT = "X_BLKRUN_CLIENT_"
_SUBJECT_KEYS = ("node-name", "export", "group", "device", "id", "job-id", "target")
"""From what an event is about to what it only mentions; a job's events call the job ``device``."""


@dataclass(frozen=True, slots=True)
class Record:
    """One event in words.  ``number`` counts what this dashboard has seen."""

    number: int
    time: str
    level: Level
    text: str
    event: Mapping[str, Any] = field(default_factory=dict)
    """As it came over the wire, the last one of ``count`` that said the same."""
    count: int = 1

    @property
    def folded(self) -> str:
        """How often it was said, or nothing for what was said once."""
        return f"\N{MULTIPLICATION SIGN}{self.count}" if self.count > 1 else ""


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

    @property
    def next(self) -> int:
        """The number that the next record gets."""
        return self._next

    @property
    def records(self) -> tuple[Record, ...]:
        """All that are kept now."""
        return tuple(self._records)

    def clear(self) -> None:
        """Forget all that was; those that come have numbers of their own."""
        self._records.clear()
        self.edited_at = None

    def add(self, events: Iterable[dict[str, Any]]) -> None:
        """Append what is news of events as they came over the wire."""
        for event in events:
            if event["event"].startswith(CONFIG_EVENT):
                self.edited_at = event_time(event)
            if event_matters(event):
                self._add(event)

    def _add(self, event: dict[str, Any]) -> None:
        """A job that ignores errors tries ten times a second, and each time it says the same."""
        level, text = event_level(event), event_text(event)
        last = self._records[-1] if self._records else None
        if last is not None and (last.level, last.text) == (level, text):
            again = replace(last, time=event_time(event), event=event, count=last.count + 1)
            self._records[-1] = again
            return
        self._records.append(Record(self._next, event_time(event), level, text, event))
        self._next += 1


def record_text(record: Record) -> str:
    """The whole record in one line, as it is copied."""
    parts = (record.time, record.level.value, record.folded, record.text)
    return " ".join(part for part in parts if part)


def record_json(record: Record) -> str:
    """The event itself, for who wants to see all that it says."""
    return json.dumps(record.event, indent=2, ensure_ascii=False, default=str)


def subject_names(record: Record) -> tuple[str, ...]:
    """Names that an event's data has, of nodes, exports, groups or jobs; first what it is about.

    The number of a client is no name.
    """
    data = record.event.get("data", {})
    of_client = str(record.event.get("event", "")).startswith(_CLIENT_EVENT)
    found = (data.get(key) for key in _SUBJECT_KEYS if not (of_client and key == "id"))
    return tuple(dict.fromkeys(name for name in found if isinstance(name, str) and name))
