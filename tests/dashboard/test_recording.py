"""The file a recording is: what goes in comes out, and damage is said or left out."""

import contextlib
import errno
import fcntl
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blkrun.dashboard import recording as module
from blkrun.dashboard import recording_writer
from blkrun.dashboard.feed import Happened, Lost, Seen
from blkrun.dashboard.past import read_past
from blkrun.dashboard.recording import (
    Recorded,
    Recording,
    compress,
    decode,
    decompress,
    encode,
)
from blkrun.dashboard.recording_writer import Writer
from blkrun.errors import FileError
from tests.dashboard.dashboard_samples import NASTY_NAMES, connected, lab, node, snapshot
from tests.dashboard.recording_samples import (
    BEGIN_S,
    Told,
    happened,
    incident,
    look,
    looks,
    lost,
    record,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
COUNT = st.integers(0, 2**63 - 1)
SNAPSHOTS = st.builds(
    lambda pid, name, size, reports: msgspec.structs.replace(
        snapshot(lab(1)),
        pid=pid,
        nodes=(msgspec.structs.replace(snapshot(lab(1)).nodes[0], node_name=name, size=size),),
        reports=reports,
    ),
    COUNT,
    TEXT,
    COUNT,
    st.dictionaries(TEXT, st.none() | st.dictionaries(TEXT, JSON, max_size=3), max_size=3),
)
EVENTS = st.lists(st.dictionaries(TEXT, JSON, max_size=4), max_size=4).map(tuple)


def everything(path: Path) -> list[tuple[float, Recorded]]:
    """All that a recording tells."""
    with Recording.open(path) as recording:
        return list(recording.reports())


def spoil(path: Path, query: str, *values: object) -> None:
    """Change a recording behind its back."""
    database = sqlite3.connect(path)
    database.execute(query, values)
    database.commit()
    database.close()


@given(
    SNAPSHOTS.map(lambda seen: Seen(seen, 1.5)) | EVENTS.map(Happened) | TEXT.map(Lost),
    st.binary(max_size=200),
)
def test_reports_come_back_as_they_were(report: Recorded, dictionary: bytes) -> None:
    """Whatever is in them, with a dictionary and without."""
    kind, text = encode(report)
    assert decode(kind, decompress(compress(text, dictionary), dictionary), 1500) == report


def test_names_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    """A message may quote a file name that is no UTF-8; the rest of the row is as it was."""
    wild = snapshot(lab(1) | {"nodes": [node(name, "null") for name in NASTY_NAMES]})
    path = record(tmp_path / "a.rec", (0, Seen(wild, 0)))
    ((_, report),) = everything(path)
    assert isinstance(report, Seen)
    expected = [name.replace("\ud800", "?") for name in NASTY_NAMES]
    assert [node.node_name for node in report.snapshot.nodes] == expected


def test_a_recording_tells_what_was_told_in_order(tmp_path: Path) -> None:
    """With the times at which it was told; also before the first look gave a dictionary."""
    told = (happened(0, connected(1)), look(1), look(2, held=3), lost(3), look(4, pid=43))
    path = record(tmp_path / "a.rec", *told)
    assert everything(path) == [(BEGIN_S + second, report) for second, report in told]
    with Recording.open(path) as recording:
        assert recording.bounds_ms() == (BEGIN_S * 1000, (BEGIN_S + 4) * 1000)
        assert recording.meta.title == "lab.toml"


def test_a_recording_is_for_its_owner_only(tmp_path: Path) -> None:
    """It tells names of files and clients."""
    path = record(tmp_path / "a.rec", look(0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_one_file(tmp_path: Path) -> None:
    """So that it can be sent to somebody."""
    record(tmp_path / "a.rec", look(0))
    assert [path.name for path in tmp_path.iterdir()] == ["a.rec"]


def test_going_on_leaves_a_gap(tmp_path: Path) -> None:
    """Between two recorders nothing is known, whatever the time was."""
    path = record(tmp_path / "a.rec", look(0), look(1))
    record(path, look(2))
    kinds = [type(report) for _, report in everything(path)]
    assert kinds == [Seen, Seen, Lost, Seen]


def test_time_does_not_go_back(tmp_path: Path) -> None:
    """A clock that is set back stops the recording's for a while."""
    path = record(tmp_path / "a.rec", look(5), look(3), look(6))
    assert [at_s - BEGIN_S for at_s, _ in everything(path)] == [5, 5, 6]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("another title", "is a recording of lab.toml; name another file"),
        ("text", "is no recording of blkrun"),
        ("empty", "is no recording of blkrun"),
        ("folder", "no such recording"),
        ("other database", "is no recording of blkrun"),
        ("no folder", "cannot be written: No such file"),
        ("in use", "another blkrun records to it"),
    ],
)
def test_nothing_else_is_written_to(tmp_path: Path, what: str, words: str) -> None:
    """A file that is there stays as it is, and the message names it."""
    path = tmp_path / ("nowhere/a.rec" if what == "no folder" else "a.rec")
    title = "lab.toml"
    match what:
        case "another title":
            record(path, look(0))
            title = "vm.toml"
        case "text":
            path.write_text("dear diary, " * 1000)
        case "empty":
            path.touch()
        case "folder":
            path.mkdir()
        case "other database":
            spoil(path, "CREATE TABLE cats (name)")
        case "in use":
            other = Writer.open(path, title=title, begin_ms=0)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(FileError) as caught:
        Writer.open(path, title=title, begin_ms=0)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)
    assert not path.is_file() or path.read_bytes() == before
    if what == "in use":
        other.close()


def test_a_recording_that_cannot_be_begun_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full, perhaps: the next try is not told that the file is no recording."""
    monkeypatch.setattr(recording_writer, "_SCHEMA", "CREATE TABLE meta (key); nonsense")
    with pytest.raises(FileError, match="syntax error"):
        Writer.open(tmp_path / "a.rec", title="lab.toml", begin_ms=0)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("there", [False, True])
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    """Some in the network have none; that is told, and what is there stays."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    path = tmp_path / "a.rec"
    if there:
        record(path, look(0))
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(FileError, match=r"a\.rec: cannot be locked: No locks available"):
        Writer.open(path, title="lab.toml", begin_ms=0)
    assert path.exists() is there


def is_open(path: Path) -> bool:
    """Whether this process has the file open."""
    links = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return path in [each.readlink() for each in links]


@pytest.mark.parametrize(
    "spoiling",
    [
        "UPDATE meta SET value = 2 WHERE key = 'version'",
        "DROP TABLE meta",
        "DROP TABLE report",
        "truncate",
        "text",
    ],
)
def test_what_is_refused_is_closed(tmp_path: Path, spoiling: str) -> None:
    """Read or written: nobody would close it later, while the error is known."""
    path = record(tmp_path / "a.rec", look(0))
    if spoiling == "truncate":
        os.truncate(path, path.stat().st_size // 2)
    elif spoiling == "text":
        path.write_text("dear diary, " * 1000)
    else:
        spoil(path, spoiling)
    with pytest.raises(FileError) as writing:
        Writer.open(path, title="lab.toml", begin_ms=0)
    with contextlib.ExitStack() as opened, pytest.raises(FileError) as reading:
        opened.enter_context(Recording.open(path)).bounds_ms()
    assert not is_open(path), (writing, reading)


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    """Is told as any other."""
    with pytest.raises(FileError, match="cannot be read: File name too long"):
        Recording.open(tmp_path / ("a" * 300))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE report SET at_ms = 'soon' WHERE id = 3", [0, 1, 1.001, 9]),
        (f"UPDATE report SET at_ms = {2**60} WHERE id = 3", [0, 1, 1.001, 9]),
        ("UPDATE meta SET value = 'text' WHERE key = 'dictionary'", [2.001, 9]),
        ("UPDATE meta SET value = x'' WHERE key = 'dictionary'", [2.001, 9]),
        ("DELETE FROM meta WHERE key = 'dictionary'", [2.001, 9]),
    ],
)
def test_going_on_after_damage(tmp_path: Path, change: str, told: list[float]) -> None:
    """What comes after it can be read."""
    path = record(tmp_path / "a.rec", look(0), look(1), look(2))
    spoil(path, change)
    record(path, look(9))
    assert [round(at_s - BEGIN_S, 3) for at_s, _ in everything(path)] == told


@pytest.mark.parametrize("last_id", [2**63 - 1, 2**63 - 7])
def test_ids_end_somewhere(tmp_path: Path, last_id: int) -> None:
    """A damaged one may be the last that there is."""
    path = record(tmp_path / "a.rec", look(0), look(1), look(2))
    spoil(path, f"UPDATE report SET id = {last_id} WHERE id = 3")
    with Recording.open(path) as recording:
        assert len(list(recording.reports())) == 3
        assert len(read_past(recording, (BEGIN_S + 2) * 1000, last_id, lambda: True).reports) == 3


def test_another_version_is_refused(tmp_path: Path) -> None:
    """With the blkrun that can read it."""
    path = record(tmp_path / "a.rec", look(0))
    spoil(path, "UPDATE meta SET value = 2 WHERE key = 'version'")
    spoil(path, "UPDATE meta SET value = '9.1' WHERE key = 'blkrun'")
    with pytest.raises(FileError, match=r"format 2, and this .* format 1; replay .* blkrun 9\.1"):
        Recording.open(path)


@pytest.mark.parametrize(
    "change",
    [
        "body = x'00'",
        "body = substr(body, 1, length(body) - 1)",
        "body = 'text'",
        "at_ms = 'soon'",
        f"at_ms = {2**60}",
        "kind = 'dream'",
        "kind = 'events'",
    ],
)
def test_a_row_that_cannot_be_read_is_left_out_and_counted(tmp_path: Path, change: str) -> None:
    """The others are told."""
    path = record(tmp_path / "a.rec", look(0), look(1), look(2))
    spoil(path, f"UPDATE report SET {change} WHERE id = 2")
    with Recording.open(path) as recording:
        times = [at_s - BEGIN_S for at_s, _ in recording.reports()]
        assert (times, recording.unreadable) == ([0, 2], 1)


def test_a_row_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording may come from anybody."""
    monkeypatch.setattr(module, "_MOST_BODY_BYTES", 1000)
    path = record(tmp_path / "a.rec", lost(0, "x" * 1001), lost(1))
    assert everything(path) == [(BEGIN_S + 1, Lost("no server"))]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_truncated_file_is_said_to_be_damaged(tmp_path: Path, share: float) -> None:
    """Whether it is opened or read."""
    path = incident(tmp_path / "a.rec")
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(FileError, match=r"a\.rec: is damaged"):
        everything(path)


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_damage_is_never_more_than_an_error(
    tmp_path_factory: pytest.TempPathFactory, dice: random.Random
) -> None:
    """Any bytes changed: the clear message, or what is left."""
    path = incident(tmp_path_factory.mktemp("damage") / "a.rec")
    content = bytearray(path.read_bytes())
    for _ in range(dice.randrange(1, 30)):
        content[dice.randrange(len(content))] = dice.randrange(256)
    path.write_bytes(content)
    with contextlib.suppress(FileError), Recording.open(path) as recording:
        recording.bounds_ms()
        list(recording.reports())


def replace_time(told: Told, at_s: float) -> Recorded:
    """A look at another time."""
    report = told[1]
    return replace(report, at_s=at_s) if isinstance(report, Seen) else report


ENDLESS = """
import sys, time
from pathlib import Path
from blkrun.dashboard.recording_writer import Writer
from tests.dashboard.recording_samples import look
writer = Writer.open(Path(sys.argv[1]), title="lab.toml", begin_ms=0)
for second in range(10**6):
    writer.write(look(second)[1], second * 1000)
    if second % 5 == 4:
        writer.commit()
        print(second, flush=True)
"""


def test_a_killed_recorder_leaves_what_it_had_committed(tmp_path: Path) -> None:
    """Also one that is killed in the middle of a commit; and a recorder can go on."""
    for attempt in range(5):
        path = tmp_path / f"{attempt}.rec"
        process = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(20 + attempt * 7):
            committed = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        committed = max([committed, *map(int, process.stdout.read().split())])
        process.wait()
        process.stdout.close()
        seen = [report for _, report in everything(path)]
        assert len(seen) >= committed + 1
        assert seen == [replace_time(look(second), second) for second in range(len(seen))]
        record(path, look(10**7))
        assert len(everything(path)) == len(seen) + 2


def test_what_is_being_recorded_can_be_read(tmp_path: Path) -> None:
    """Up to the last commit, and then what came since."""
    writer = Writer.open(tmp_path / "a.rec", title="lab.toml", begin_ms=0)
    writer.write(look(0)[1], 0)
    writer.commit()
    with Recording.open(tmp_path / "a.rec") as recording:
        assert len(list(recording.reports())) == 1
        writer.write(look(1)[1], 1000)
        writer.commit()
        assert recording.bounds_ms() == (0, 1000)
        assert len(list(recording.reports())) == 2
    writer.close()


def test_places_in_a_recording(tmp_path: Path) -> None:
    """Found by time and by neighbour."""
    told = (look(0), happened(1, connected(1)), look(2), look(2), lost(9))
    with Recording.open(record(tmp_path / "a.rec", *told)) as recording:
        ids = [recording.last_id(BEGIN_S * 1000 + ms) for ms in (-1, 0, 1500, 2000, 8000, 99000)]
        assert ids == [0, 1, 2, 4, 4, 5]
        before, after = recording.look_before(4), recording.look_after(1)
        assert (before and before.id, after and after.id) == (3, 3)
        assert recording.look_before(1) is None
        assert recording.look_after(4) is None
        assert [entry.kind for entry in recording.outline(1, 4)] == ["events", "look", "look"]
        newest = recording.newest("look", (BEGIN_S + 1) * 1000, 5)
        assert [entry.id for entry in newest] == [4, 3]
        newest = recording.newest("look", (BEGIN_S + 1) * 1000, 5, 1)
        assert [entry.id for entry in newest] == [4]


def test_a_title_that_is_a_question(tmp_path: Path) -> None:
    """A path is no URI."""
    path = record(tmp_path / "what?mode=%41#.rec", *looks(0, 2))
    assert len(everything(path)) == 2
