"""Who did what: every change of a file that was applied or not, numbered, with the file's texts.

An SQLite file beside the control socket (``vm.history``), so that the runner and ``blkrun apply``
may write at the same time, and what they wrote is there after them::

    changes   number ▸ time, kind, by, digest, data      the last 1,000; numbers grow for ever
    sources   digest, place ▸ name, hash                 which files the change was about
    texts     hash ▸ text                                each text once, gone with its last use

``data`` is what the report of the change says (operations, summary, message, milliseconds, …).
A file's name is relative to the main file's directory; the main file comes first.
"""

import contextlib
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from blkrun.errors import BlkrunError

KEPT_CHANGES = 1000
KEPT_BYTES = 64 * 2**20
"""Of texts and data, compressed: beyond that the oldest changes go earlier."""

KINDS = frozenset(
    ("applied", "rejected", "failed", "pending", "followed", "drifted", "reverted", "rolled-back")
)
"""What is written down."""

_OUTCOMES = ("rejected", "failed", "pending")
"""Said once more of the same text these are no news; drift that comes again is."""

_FORMAT = 1
_BUSY_TIMEOUT_S = 2.0
_TABLES = f"""
PRAGMA auto_vacuum = FULL;
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, kind TEXT NOT NULL,
    by TEXT NOT NULL, digest TEXT NOT NULL, data BLOB NOT NULL
);
CREATE INDEX changes_digest ON changes (digest);
CREATE TABLE sources (
    digest TEXT NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (digest, place)
);
CREATE INDEX sources_hash ON sources (hash);
CREATE TABLE texts (hash BLOB PRIMARY KEY, text BLOB NOT NULL);
PRAGMA user_version = {_FORMAT};
"""
_COLUMNS = "number, time, kind, by, digest, data"


class HistoryError(BlkrunError):
    """The history cannot be read or written."""


class Change(Struct, frozen=True, kw_only=True):
    """One row.  ``time`` is in seconds since the epoch; ``digest`` says which texts."""

    number: int
    time: float
    kind: str
    by: str
    digest: str
    data: dict[str, Any]

    @property
    def operations(self) -> list[str]:
        """The plan, in words."""
        return list(self.data.get("operations") or ())


def history_path(control: Path) -> Path:
    """Where the history of a server's file is."""
    return control.with_suffix(".history")


class History:
    """Every call opens the file, does one thing and closes it again.  All raise HistoryError.

    One that is not there is empty, and made by the first ``record``.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        kept_changes: int = KEPT_CHANGES,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self.path = path
        self._clock = clock
        self._kept_changes = kept_changes
        self._kept_bytes = kept_bytes

    def record(
        self, kind: str, by: str, data: Mapping[str, Any], digest: str, texts: Mapping[str, bytes]
    ) -> int:
        """Write a change down; its number.  ``texts`` by their names, the main file's first.

        One that says the same as the last is the last, and a text that is in force already and is
        applied once more without any operation is no change either.
        """
        with self._writing() as db:
            last = _last(db)
            if last is not None and _is_same(last, kind, digest, data):
                return last.number
            row = (self._clock(), kind, by, digest, _pack(msgspec.json.encode(data)))
            done = db.execute(
                "INSERT INTO changes (time, kind, by, digest, data) VALUES (?, ?, ?, ?, ?)", row
            )
            _keep(db, digest, texts)
            self._prune(db)
            return int(done.lastrowid or 0)

    def changes(self, limit: int = KEPT_CHANGES) -> list[Change]:
        """The last ones, in their order."""
        with self._reading() as db:
            query = f"SELECT {_COLUMNS} FROM changes ORDER BY number DESC LIMIT ?"  # noqa: S608 - a constant
            return [_change(row) for row in db.execute(query, (limit,))][::-1]

    def change(self, number: int) -> Change | None:
        """One of them; None if it is not kept, or was not made yet."""
        with self._reading() as db:
            return _one(db, "number = ?", number)

    def last_applied(self) -> Change | None:
        """The change by which the file came into force as it is now."""
        with self._reading() as db:
            return _one(db, "kind = 'applied'")

    def applied_before(self, change: Change) -> Change | None:
        """The last one before it with other texts: what a rollback goes back to."""
        with self._reading() as db:
            where = "kind = 'applied' AND number < ? AND digest != ?"
            return _one(db, where, change.number, change.digest)

    def texts_before(self, change: Change) -> dict[str, bytes]:
        """What was written before a change: the texts of the last one that were others."""
        with self._reading() as db:
            where = "number < ? AND digest != ? AND digest IN (SELECT digest FROM sources)"
            before = _one(db, where, change.number, change.digest)
            return _texts(db, before.digest) if before is not None else {}

    def texts(self, digest: str) -> dict[str, bytes]:
        """The files of a change by their names, the main one first; empty if there are none."""
        with self._reading() as db:
            return _texts(db, digest)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        with self._opened("written") as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """As of one moment."""
        with self._opened("read") as db:
            db.execute("BEGIN")
            yield db

    @contextmanager
    def _opened(self, what: str) -> Iterator[sqlite3.Connection]:
        try:
            if what == "written" and not self.path.exists():
                self._make()
            with closing(self._connect()) as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version != _FORMAT:
                    message = f"it is of format {version}, this blkrun knows {_FORMAT}"
                    raise sqlite3.DatabaseError(message)
                yield db
        except (sqlite3.Error, OSError, zlib.error, msgspec.MsgspecError) as error:
            raise self._cannot(what, error) from error

    def _make(self) -> None:
        """Whole under another name first: several processes may be the first one at once.

        Only its owner can read it: it has what the file has.
        """
        number, name = mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        os.close(number)
        try:
            with closing(sqlite3.connect(name)) as db:
                db.executescript(_TABLES)
            with contextlib.suppress(FileExistsError):
                self.path.hardlink_to(name)
        finally:
            Path(name).unlink()

    def _connect(self) -> sqlite3.Connection:
        if self.path.exists():
            name = f"file:{quote(str(self.path))}?mode=rw"
            return sqlite3.connect(name, timeout=_BUSY_TIMEOUT_S, isolation_level=None, uri=True)
        db = sqlite3.connect(":memory:", isolation_level=None)
        db.executescript(_TABLES)
        return db

    def _cannot(self, what: str, error: Exception) -> HistoryError:
        text = f"the history {self.path} cannot be {what}: {error}"
        is_bad = isinstance(error, sqlite3.DatabaseError | zlib.error | msgspec.MsgspecError)
        if is_bad and not isinstance(error, sqlite3.OperationalError):
            text += "; move it away to begin a new one"
        return HistoryError(text)

    def _prune(self, db: sqlite3.Connection) -> None:
        db.execute(
            "DELETE FROM changes WHERE number <= (SELECT MAX(number) FROM changes) - ?",
            (self._kept_changes,),
        )
        _drop_unused(db)
        while _bytes(db) > self._kept_bytes and _count(db) > 1:
            db.execute("DELETE FROM changes WHERE number = (SELECT MIN(number) FROM changes)")
            _drop_unused(db)


def _last(db: sqlite3.Connection) -> Change | None:
    return _one(db, "1")


def _one(db: sqlite3.Connection, where: str, *values: int | str) -> Change | None:
    """The last change of which this holds."""
    query = f"SELECT {_COLUMNS} FROM changes WHERE {where} ORDER BY number DESC LIMIT 1"  # noqa: S608 - constants
    row = db.execute(query, values).fetchone()
    return _change(row) if row is not None else None


def _change(row: tuple[Any, ...]) -> Change:
    number, when, kind, by, digest, data = row
    unpacked = msgspec.json.decode(zlib.decompress(data), type=dict[str, Any])
    return Change(number=number, time=when, kind=kind, by=by, digest=digest, data=unpacked)


def _is_same(last: Change, kind: str, digest: str, data: Mapping[str, Any]) -> bool:
    if (last.kind, last.digest) != (kind, digest) or not digest:
        return False
    if kind == "applied":
        return not data.get("operations")
    said = ("operations", "message", "why")
    return kind in _OUTCOMES and all(last.data.get(key) == data.get(key) for key in said)


def _keep(db: sqlite3.Connection, digest: str, texts: Mapping[str, bytes]) -> None:
    for place, (name, text) in enumerate(texts.items()):
        mark = sha256(text).digest()
        db.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", (mark, _pack(text)))
        db.execute("INSERT OR IGNORE INTO sources VALUES (?, ?, ?, ?)", (digest, place, name, mark))


def _texts(db: sqlite3.Connection, digest: str) -> dict[str, bytes]:
    query = "SELECT name, text FROM sources JOIN texts USING (hash) WHERE digest = ? ORDER BY place"
    return {name: zlib.decompress(text) for name, text in db.execute(query, (digest,))}


def _drop_unused(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM sources WHERE digest NOT IN (SELECT digest FROM changes)")
    db.execute("DELETE FROM texts WHERE hash NOT IN (SELECT hash FROM sources)")


def _bytes(db: sqlite3.Connection) -> int:
    query = (
        "SELECT (SELECT TOTAL(LENGTH(text)) FROM texts) + (SELECT TOTAL(LENGTH(data)) FROM changes)"
    )
    return int(db.execute(query).fetchone()[0])


def _count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT COUNT(*) FROM changes").fetchone()[0])


def _pack(text: bytes) -> bytes:
    return zlib.compress(text)
