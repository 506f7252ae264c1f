"""Writes a recording, or goes on with one.  The format is said in ``recording``."""

import fcntl
import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import Self

from blkrun import __version__
from blkrun.dashboard.feed import Lost
from blkrun.dashboard.recording import (
    MOST_MS,
    VERSION,
    Meta,
    Recorded,
    Recording,
    compress,
    connect,
    done_on_error,
    encode,
    meta_value,
    told,
)
from blkrun.errors import FileError

_WINDOW_BYTES = 32768
"""What zlib sees of a dictionary: its end."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE report (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX report_by_time ON report (kind, at_ms);
"""


_LAST_MS = """
SELECT max(at_ms) FROM report
WHERE kind IN ('look', 'events', 'lost') AND at_ms BETWEEN 0 AND ?
"""
"""Of damage there may be any time: what is written after it would not be read."""


class Writer:
    """Writes reports; ``commit`` makes what was written last.  May be used by one other thread."""

    def __init__(self, database: sqlite3.Connection, lock: int) -> None:
        self._database = database
        self._lock = lock
        known = meta_value(database, "dictionary")
        self._dictionary = known if isinstance(known, bytes) else b""
        (last_ms,) = database.execute(_LAST_MS, (MOST_MS,)).fetchone()
        self._last_ms: int | None = None if last_ms is None else int(last_ms)
        if self._last_ms is not None:
            self.write(Lost("nothing was recorded"), self._last_ms + 1)

    @classmethod
    def open(cls, path: Path, *, title: str, begin_ms: int) -> Self:
        """Begin a recording, or go on with one of the same title.  Raises FileError."""
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return cls._go_on(path, title)
        except OSError as error:
            raise FileError(f"{path}: cannot be written: {error.strerror}") from error
        return cls._begin(path, lock, Meta(title, __version__, begin_ms))

    @classmethod
    def _begin(cls, path: Path, lock: int, meta: Meta) -> Self:
        gone = partial(path.unlink, missing_ok=True)
        with done_on_error(gone), done_on_error(partial(os.close, lock)), told(path):
            _take(lock, path)
            database = connect(path, "rw")
            with done_on_error(database.close):
                database.executescript(_SCHEMA)
                rows = {"version": VERSION, "blkrun": meta.blkrun, "title": meta.title}
                rows["begin-ms"] = meta.begin_ms
                database.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
                database.commit()
                return cls(database, lock)

    @classmethod
    def _go_on(cls, path: Path, title: str) -> Self:
        with Recording.open(path) as recording:
            theirs = recording.meta.title
        if theirs != title:
            raise FileError(f"{path}: is a recording of {theirs}; name another file to record to")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise FileError(f"{path}: cannot be written: {error.strerror}") from error
        with done_on_error(partial(os.close, lock)), told(path):
            _take(lock, path)
            database = connect(path, "rw")
            with done_on_error(database.close):
                return cls(database, lock)

    def write(self, report: Recorded, at_ms: int) -> None:
        """Time never goes back, whatever the clock does.  Raises sqlite3.Error."""
        self._last_ms = at_ms if self._last_ms is None else max(at_ms, self._last_ms)
        kind, text = encode(report)
        if kind == "look" and not self._dictionary:
            self._dictionary = text[-_WINDOW_BYTES:]
            query = "INSERT OR REPLACE INTO meta VALUES ('dictionary', ?)"
            self._database.execute(query, (self._dictionary,))
        self._database.execute(
            "INSERT INTO report (at_ms, kind, body) VALUES (?, ?, ?)",
            (self._last_ms, kind, compress(text, self._dictionary)),
        )

    def commit(self) -> None:
        """From now on a kill loses nothing of it.  Raises sqlite3.Error."""
        self._database.commit()

    def close(self) -> None:
        """With what was committed.  The lock goes last: closing it would end SQLite's."""
        self._database.close()
        os.close(self._lock)


def _take(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileError(f"{path}: another blkrun records to it; name another file") from None
    except OSError as error:  # some file systems in the network have none
        raise FileError(f"{path}: cannot be locked: {error.strerror}") from error
