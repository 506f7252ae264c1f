"""The file a recording is: SQLite, a row a report, each compressed by itself.

::

    meta    key, value    version, blkrun, title, begin-ms, dictionary
    report  id, at_ms, kind, body
            kind   look: a Snapshot · events: those of a Happened · lost: why
            body   zlib of JSON, with the first snapshot as dictionary where there is one

``id`` grows with ``at_ms``, unix time when it was told.  A writer that is killed loses what it had
not committed, about a second; what a reader cannot read is counted and left out.
"""

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

import msgspec

from blkrun.dashboard.feed import Happened, Lost, Seen
from blkrun.dashboard.model.snapshot import Snapshot
from blkrun.errors import FileError

VERSION = 1

Kind = Literal["look", "events", "lost"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Recorded = Seen | Happened | Lost
"""The reports that a recording has."""

_MOST_BODY_BYTES = 64 * 2**20
MOST_MS = 2**43
"""In the year 2248: later times come from damage."""
_MOST_INTEGER = 2**63 - 1
"""Of SQLite's."""
_BUSY_S = 5.0


class Entry(NamedTuple):
    """A row without its body."""

    id: int
    at_ms: int
    kind: Kind


class Meta(NamedTuple):
    """What a recording says of itself."""

    title: str
    blkrun: str
    begin_ms: int


def encode(report: Recorded) -> tuple[Kind, bytes]:
    """Its kind and its JSON."""
    match report:
        case Seen(snapshot):
            return "look", _to_json(snapshot)
        case Happened(events):
            return "events", _to_json(events)
        case Lost(why):
            return "lost", _to_json(why)


def decode(kind: str, text: bytes, at_ms: int) -> Recorded:
    """Raises msgspec.MsgspecError or RecursionError for what is no such report."""
    match kind:
        case "look":
            return Seen(msgspec.json.decode(text, type=Snapshot), at_ms / 1000)
        case "events":
            return Happened(msgspec.json.decode(text, type=tuple[dict[str, Any], ...]))
        case _:
            return Lost(msgspec.json.decode(text, type=str))


def compress(text: bytes, dictionary: bytes = b"") -> bytes:
    """A zlib stream; it says itself whether it needs the dictionary."""
    packer = zlib.compressobj(zdict=dictionary) if dictionary else zlib.compressobj()
    return packer.compress(text) + packer.flush()


def decompress(body: bytes, dictionary: bytes = b"") -> bytes:
    """Raises zlib.error for what is damaged, ends early or would fill the memory."""
    unpacker = zlib.decompressobj(zdict=dictionary)
    text = unpacker.decompress(body, _MOST_BODY_BYTES)
    if not unpacker.eof:
        raise zlib.error("incomplete")
    return text


def _to_json(value: Any) -> bytes:
    """A file name need not be text: what is none of it is replaced."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
        return text.encode(errors="replace")


class Recording:
    """Reads a recording, never writes to it.  Every method may raise FileError."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database
        self._unreadable: set[int] = set()
        self.meta = self._read_meta()
        self._dictionary = b""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raises FileError for what is no recording, is damaged, or of another version."""
        try:
            is_file = path.is_file()
        except OSError as error:  # nobody may look there, or nothing can be called so
            raise FileError(f"{path}: cannot be read: {error.strerror}") from error
        if not is_file:
            raise FileError(f"{path}: no such recording")
        with told(path):
            try:
                database = _connect_whole(path)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                    raise
                # It was being written when the recorder was killed: SQLite undoes that.
                with contextlib.closing(connect(path, "rw")) as healed:
                    meta_value(healed, "version")
                database = _connect_whole(path)
        with done_on_error(database.close):
            return cls(path, database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is read any more."""
        self._database.close()

    def _read_meta(self) -> Meta:
        with told(self.path):
            version = _number(meta_value(self._database, "version"))
            if version != VERSION:
                raise FileError(
                    f"{self.path}: a recording of format {version}, and this blkrun reads "
                    f"format {VERSION}; replay it with "
                    f"blkrun {_text(meta_value(self._database, 'blkrun'))}"
                )
            return Meta(
                _text(meta_value(self._database, "title")),
                _text(meta_value(self._database, "blkrun")),
                _number(meta_value(self._database, "begin-ms")) or 0,
            )

    @property
    def unreadable(self) -> int:
        """Rows that were come across and could not be read."""
        return len(self._unreadable)

    def bounds_ms(self) -> tuple[int, int]:
        """The times of the first and the last report; both the beginning when there is none."""
        times = [
            time
            for kind in KINDS
            for end in ("min", "max")
            for (time,) in self._rows(
                f"SELECT {end}(at_ms) FROM report WHERE kind = ? AND at_ms BETWEEN 0 AND ?",  # noqa: S608 - one of two words
                kind,
                MOST_MS,
            )
            if isinstance(time, int)
        ]
        begin_ms = self.meta.begin_ms
        return min(times, default=begin_ms), max(times, default=begin_ms)

    def last_id(self, at_ms: int) -> int:
        """Of what was told up to then; 0 if nothing was."""
        found = (
            self._last_entry(kind, "at_ms <= ? ORDER BY at_ms DESC, id DESC", at_ms)
            for kind in KINDS
        )
        return max((entry.id for entry in found if entry is not None), default=0)

    def look_before(self, row_id: int) -> Entry | None:
        """The last look with a smaller id."""
        return self._last_entry("look", "id < ? ORDER BY id DESC", row_id)

    def look_after(self, row_id: int) -> Entry | None:
        """The next look with a greater id."""
        return self._last_entry("look", "id > ? ORDER BY id", row_id)

    def _last_entry(self, kind: Kind, condition: str, bound: int) -> Entry | None:
        rows = self._rows(
            f"SELECT id, at_ms, kind FROM report WHERE kind = ? AND {condition} LIMIT 1",  # noqa: S608 - written above
            kind,
            bound,
        )
        return next(iter(self._entries(rows)), None)

    def outline(self, after_id: int, to_id: int) -> list[Entry]:
        """What there is with ids from after the one to the other, in their order."""
        query = "SELECT id, at_ms, kind FROM report WHERE id > ? AND id <= ? ORDER BY id"
        return self._entries(self._rows(query, after_id, to_id))

    def entries(self) -> list[Entry]:
        """All there is, in order: from the index alone, which is small."""
        query = "SELECT id, at_ms, kind FROM report WHERE kind = ?"
        return sorted(entry for kind in KINDS for entry in self._entries(self._rows(query, kind)))

    def newest(
        self, kind: Kind, since_ms: int, to_id: int, most: int = _MOST_INTEGER
    ) -> list[Entry]:
        """Those of a kind since a time up to an id, the newest first, and no more than so many."""
        query = (
            "SELECT id, at_ms, kind FROM report WHERE kind = ? AND at_ms >= ? AND id <= ? "
            "ORDER BY at_ms DESC, id DESC LIMIT ?"
        )
        return self._entries(self._rows(query, kind, since_ms, to_id, most))

    def read(self, entry: Entry) -> Recorded | None:
        """None when it cannot be read; that is counted."""
        rows = self._rows("SELECT body FROM report WHERE id = ?", entry.id)
        try:
            ((body,),) = rows
            text = decompress(body, self._needed_dictionary())
            return decode(entry.kind, text, entry.at_ms)
        except (ValueError, TypeError, zlib.error, msgspec.MsgspecError, RecursionError):
            self._unreadable.add(entry.id)
            return None

    def reports(self) -> Iterator[tuple[float, Recorded]]:
        """All that can be read, with its unix time, in order."""
        last_id = 0
        while entries := self.outline(last_id, last_id + 1000) or self._beyond(last_id + 1000):
            for entry in entries:
                if (report := self.read(entry)) is not None:
                    yield entry.at_ms / 1000, report
            last_id = entries[-1].id

    def _beyond(self, row_id: int) -> list[Entry]:
        query = "SELECT id, at_ms, kind FROM report WHERE id > ? ORDER BY id LIMIT 1"
        return self._entries(self._rows(query, row_id))

    def _needed_dictionary(self) -> bytes:
        """It is there with the first look, which a recording that goes on may not have yet."""
        if not self._dictionary:
            with told(self.path):
                value = meta_value(self._database, "dictionary")
            self._dictionary = value if isinstance(value, bytes) else b""
        return self._dictionary

    def _entries(self, rows: list[Any]) -> list[Entry]:
        good = []
        for row_id, at_ms, kind in rows:
            if isinstance(at_ms, int) and 0 <= at_ms <= MOST_MS and kind in KINDS:
                good.append(Entry(row_id, at_ms, kind))
            else:
                self._unreadable.add(row_id)
        return good

    def _rows(self, query: str, *values: int | str) -> list[Any]:
        bounds = [min(each, _MOST_INTEGER) if isinstance(each, int) else each for each in values]
        with told(self.path):
            return self._database.execute(query, bounds).fetchall()


def connect(path: Path, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    """SQLite, trusting nothing in the file."""
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_S,
        check_same_thread=False,  # one at a time, as their owners see to
    )
    with done_on_error(database.close):
        database.text_factory = _replaced
        database.execute("PRAGMA trusted_schema = OFF")
    return database


def _connect_whole(path: Path) -> sqlite3.Connection:
    """SQLite itself takes what is missing of the last page for zeroes."""
    database = connect(path, "ro")
    with done_on_error(database.close):
        with contextlib.closing(database.execute("BEGIN")):
            meta_value(database, "version")  # from now on nobody writes
            (pages,), (page_bytes,) = (
                database.execute(f"PRAGMA {name}").fetchone()
                for name in ("page_count", "page_size")
            )
            size_bytes = path.stat().st_size
        database.rollback()
        if size_bytes < pages * page_bytes:
            raise FileError(
                f"{path}: is damaged (its end is missing); if it is a copy, copy it again"
            )
    return database


@contextlib.contextmanager
def done_on_error(undo: Callable[[], object]) -> Iterator[None]:
    """What was opened is nobody's when what follows fails."""
    try:
        yield
    except BaseException:
        undo()
        raise


def _replaced(text: bytes) -> str:
    return text.decode(errors="replace")


def meta_value(database: sqlite3.Connection, key: str) -> Any:
    """Empty when it is not there."""
    row = database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row is not None else b""


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "?"


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """SQLite's errors in the words of somebody who wants to see a recording."""
    try:
        yield
    except sqlite3.Error as error:
        if _is_no_recording(error):
            message = f"{path}: is no recording of blkrun; name another file"
        elif error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CORRUPT:
            message = f"{path}: is damaged ({error}); if it is a copy, copy it again"
        else:
            message = f"{path}: cannot be used: {error}"
        raise FileError(message) from error
    except UnicodeDecodeError as error:  # of a message of SQLite's that quotes what it found
        raise FileError(f"{path}: is damaged; if it is a copy, copy it again") from error


def _is_no_recording(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode == sqlite3.SQLITE_NOTADB or "no such" in str(error)
