"""The history: numbered for ever, the last ones kept with their texts, and no more than that."""

import json
import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from blkrun.history import KEPT_CHANGES, History, HistoryError, history_path

KEPT = 5


@pytest.fixture
def history(tmp_path: Path) -> History:
    """An empty one; its clock stands still."""
    return History(tmp_path / "vm.history", clock=lambda: 12.5)


class Model(RuleBasedStateMachine):
    """A list, of which the last five are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.history = History(Path(self.directory.name) / "h", kept_changes=KEPT)
        self.rows: list[tuple[int, str, str, list[str]]] = []
        self.texts = {f"digest {n}": {"vm.toml": b"%d" % n, "t/a.toml": b"same"} for n in range(4)}

    @rule(
        kind=st.sampled_from(["applied", "rejected", "drifted", "rolled-back"]),
        digest=st.sampled_from(["", *(f"digest {n}" for n in range(4))]),
        operations=st.lists(st.sampled_from(["+ a", "- b"]), max_size=2),
    )
    def record(self, kind: str, digest: str, operations: list[str]) -> None:
        """As the runner does."""
        data = {"operations": operations}
        number = self.history.record(kind, "run", data, digest, self.texts.get(digest, {}))
        last = self.rows[-1] if self.rows else (0, "", "", [])
        same = digest and (kind, digest, operations) == last[1:]
        again = kind == "applied" and digest and last[1:3] == (kind, digest) and not operations
        if again or (same and kind == "rejected"):
            assert number == last[0]
        else:
            assert number == last[0] + 1
            self.rows.append((number, kind, digest, operations))

    @invariant()
    def is_as_the_list(self) -> None:
        """All rows, all texts, and nothing beside them."""
        kept = self.rows[-KEPT:]
        assert [
            (each.number, each.kind, each.digest, each.operations)
            for each in self.history.changes()
        ] == kept
        used = {digest for _, _, digest, _ in kept if digest}
        for digest, texts in self.texts.items():
            assert self.history.texts(digest) == (texts if digest in used else {})
        if self.rows:
            with closing(sqlite3.connect(self.history.path)) as db:
                (count,) = db.execute("SELECT COUNT(*) FROM texts").fetchone()
            assert count == (len(used) + 1 if used else 0)
        applied = [row for row in kept if row[1] == "applied"]
        last = self.history.last_applied()
        assert (last.number if last else None) == (applied[-1][0] if applied else None)
        if last is not None:
            others = [row[0] for row in applied if row[2] != last.digest]
            before = self.history.applied_before(last)
            assert (before.number if before else None) == (others[-1] if others else None)

    def teardown(self) -> None:
        """Away with it."""
        self.directory.cleanup()


Model.TestCase.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
test_it_is_a_list_of_the_last_ones = Model.TestCase


def test_what_is_written_is_read(history: History) -> None:
    """A whole change, in another process's eyes."""
    data = {"operations": ["+ node a"], "summary": "+1", "milliseconds": 1.5, "why": "ä"}
    assert history.record("applied", "run", data, "d", {"vm.toml": b"\xff\0"}) == 1
    change = History(history.path).change(1)
    assert change is not None
    assert (change.time, change.kind, change.by, change.digest) == (12.5, "applied", "run", "d")
    assert change.data == data
    assert history.texts("d") == {"vm.toml": b"\xff\0"}
    assert history.change(2) is None


def test_one_that_is_not_there(history: History) -> None:
    """Is empty, and looking does not make it."""
    assert history.changes() == []
    assert history.last_applied() is None
    assert not history.path.exists()


def test_only_its_owner_reads_it(history: History) -> None:
    """A file may have secrets in it."""
    old = os.umask(0)
    try:
        history.record("applied", "run", {}, "d", {})
    finally:
        os.umask(old)
    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600


def test_the_last_thousand(tmp_path: Path) -> None:
    """Are kept, and the numbers go on."""
    history = History(tmp_path / "h")
    for number in range(1, 21):
        assert history.record("drifted", "run", {}, "", {}) == number
    with closing(sqlite3.connect(history.path)) as db:
        db.execute("UPDATE changes SET number = number + 2000")
        db.execute("UPDATE sqlite_sequence SET seq = 3000")
        db.commit()
    assert history.record("drifted", "run", {}, "", {}) == 3001
    assert history.changes()[0].number == 3001 - KEPT_CHANGES + 1


def test_its_size_is_bounded(tmp_path: Path) -> None:
    """Large texts push out the oldest changes, and the file gives the space back."""
    history = History(tmp_path / "h", kept_bytes=100_000)
    noise = random.Random(1)
    for number in range(1, 41):
        history.record("applied", "run", {}, f"{number}", {"vm.toml": noise.randbytes(20_000)})
    assert [each.number for each in history.changes()] == [37, 38, 39, 40]
    assert history.path.stat().st_size < 200_000
    history.record("applied", "run", {}, "big", {"vm.toml": noise.randbytes(200_000)})
    assert [each.number for each in history.changes()] == [41]


@pytest.mark.parametrize("content", [b"no database at all" * 100, None])
def test_a_damaged_one_is_told(history: History, content: bytes | None) -> None:
    """With its place and the remedy; it is not written over."""
    if content is None:
        history.record("applied", "run", {}, "d", {"vm.toml": b"1"})
        whole = history.path.read_bytes()
        content = whole[:4096] + b"\xff" * (len(whole) - 4096)
    history.path.write_bytes(content)
    with pytest.raises(HistoryError, match=r"vm.history cannot be (written|read): .*move it away"):
        history.record("applied", "run", {}, "e", {"vm.toml": b"2"})
    with pytest.raises(HistoryError, match="cannot be read"):
        history.changes()
    assert history.path.read_bytes() == content


def test_one_of_a_newer_blkrun(history: History) -> None:
    """Is left alone."""
    with closing(sqlite3.connect(history.path)) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(HistoryError, match="of format 9, this blkrun knows 1"):
        history.record("applied", "run", {}, "d", {})


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    """A directory that is not there, or something else under its name."""
    with pytest.raises(HistoryError, match=r"cannot be written: .*No such file"):
        History(tmp_path / "no" / "h").record("applied", "run", {}, "d", {})
    with pytest.raises(HistoryError, match="cannot be written"):
        History(tmp_path).record("applied", "run", {}, "d", {})


WRITER = """
import sys
from pathlib import Path
from blkrun.history import History
history = History(Path(sys.argv[1]))
for at in range(50):
    print(history.record("drifted", sys.argv[2], {"at": at}, "", {}))
"""


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[list["subprocess.Popen[str]"]]:
    """Three processes that write at the same time, from its making on."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "h")]
    started = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "abc"
    ]
    yield started
    for each in started:
        each.kill()
        each.wait()


def test_several_processes_write(tmp_path: Path, writers: list["subprocess.Popen[str]"]) -> None:
    """Every change has a number of its own, and is there."""
    numbers = [int(line) for each in writers for line in each.communicate(timeout=60)[0].split()]
    assert sorted(numbers) == list(range(1, 151))
    rows = History(tmp_path / "h").changes()
    assert [each.number for each in rows] == list(range(1, 151))
    for name in "abc":
        assert [each.data["at"] for each in rows if each.by == name] == list(range(50))


@given(
    st.dictionaries(st.text(min_size=1).filter(lambda t: t.isprintable()), st.binary(max_size=99)),
    st.lists(st.text(), max_size=3),
)
@settings(max_examples=30, deadline=None)
def test_any_texts_and_operations(texts: dict[str, bytes], operations: list[str]) -> None:
    """Come back as they were, in their order."""
    operations = [
        json.loads(json.dumps(each.encode("utf-8", "replace").decode())) for each in operations
    ]
    with TemporaryDirectory() as directory:
        history = History(history_path(Path(directory) / "vm.qmp"))
        number = history.record("applied", "run", {"operations": operations}, "d", texts)
        assert list(history.texts("d").items()) == list(texts.items())
        change = history.change(number)
        assert change is not None
        assert change.operations == operations
