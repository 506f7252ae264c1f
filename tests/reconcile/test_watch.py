"""When a file has changed and is whole again: looks and times passed in, then real files."""

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from blkrun.reconcile.watch import EMPTY_PATIENCE_NS, Look, Settler, look

TICK_NS = 50_000_000


def seen(number: int, size_bytes: int = 100) -> Look:
    """What a file looks like after its change ``number``."""
    return Look((1, 10), size_bytes, number, number)


OLD, NEW, NEWER = seen(0), seen(1), seen(2)
EMPTIED = seen(1, size_bytes=0)
RENAMED = Look((1, 11), 100, 0, 5)


def told(looks: list[Look | None], known: Look | None = OLD) -> list[int]:
    """At which of these looks, a tick apart, the change is told."""
    settler = Settler(known)
    return [at for at, each in enumerate(looks) if settler.observe(each, at * TICK_NS)]


PATIENCE_TICKS = EMPTY_PATIENCE_NS // TICK_NS


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([OLD] * 5, []),
        ([OLD, NEW, NEW, NEW, NEW], [2]),
        ([NEW, NEWER, NEWER, NEWER], [2]),
        ([RENAMED, RENAMED, RENAMED], [1]),
        ([EMPTIED, EMPTIED, EMPTIED, NEW, NEW, NEW], [4]),
        ([None, None, RENAMED, RENAMED, RENAMED], [3]),
        ([None, OLD, OLD, OLD], []),
        ([NEW, OLD, OLD, OLD], []),
        ([NEW, NEW, NEWER, NEWER], [1, 3]),
        ([NEW, NEW, OLD, OLD, OLD], [1, 3]),
    ],
    ids=[
        "nothing",
        "one save",
        "in place, in two steps",
        "rename over",
        "empty, then full",
        "deleted, then recreated",
        "gone for a moment",
        "changed and changed back",
        "two saves",
        "saved and restored",
    ],
)
def test_each_change_is_told_once(looks: list[Look | None], expected: list[int]) -> None:
    """A look counts when it equals the one before."""
    assert told(looks) == expected


@pytest.mark.parametrize("state", [None, EMPTIED], ids=["deleted", "empty"])
def test_what_stays_gone_is_told_after_patience(state: Look | None) -> None:
    """An empty or missing file is an edit after two seconds, once."""
    assert told([state] * (3 * PATIENCE_TICKS)) == [PATIENCE_TICKS]


def test_patience_starts_with_each_look_that_differs() -> None:
    """Truncated again and again is still in the middle of a save."""
    looks: list[Look | None] = [seen(at // 10, size_bytes=0) for at in range(1, 100)]
    assert told(looks) == []


def test_recreated_after_it_was_told_gone() -> None:
    """Its coming back is a change of its own."""
    looks = [None] * (PATIENCE_TICKS + 1) + [RENAMED] * 3
    assert told(looks) == [PATIENCE_TICKS, PATIENCE_TICKS + 2]


def test_a_file_that_is_not_there_at_first() -> None:
    """Known to be missing is not a change."""
    assert told([None] * 100, known=None) == []
    assert told([None, NEW, NEW], known=None) == [2]


@given(st.lists(st.sampled_from([OLD, NEW, NEWER, EMPTIED, None]), max_size=60))
def test_what_is_told_is_settled_and_new(looks: list[Look | None]) -> None:
    """Whatever is seen: told only when seen twice, and never the same twice in a row."""
    last: Look | None = OLD
    for at in told(looks):
        assert at > 0
        assert looks[at] == looks[at - 1]
        assert looks[at] != last
        last = looks[at]


@given(st.lists(st.sampled_from([OLD, NEW, None, EMPTIED]), max_size=30))
def test_a_last_save_is_always_told(looks: list[Look | None]) -> None:
    """After any mess, a file that is whole and stays so is read."""
    settler = Settler(OLD)
    for at, each in enumerate([*looks, NEWER, NEWER]):
        last = settler.observe(each, at * TICK_NS)
    assert last


# Real files


class Watched:
    """A settler on a path; ``changed`` looks twice, as the runner does in 0.1 s."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settler = Settler(look(path))
        self.now_ns = 0

    def changed(self) -> bool:
        """Whether a change has settled by now."""
        results = []
        for _ in range(2):
            self.now_ns += TICK_NS
            results.append(self.settler.observe(look(self.path), self.now_ns))
        return any(results)


def write(path: Path, text: str, modified_ns: int) -> None:
    """Write in place; the time is set, as two writes may come within one tick of the clock."""
    path.write_text(text)
    os.utime(path, ns=(modified_ns, modified_ns))


def test_look(tmp_path: Path) -> None:
    """Size, identity and times; None for what is not there, or not to be reached."""
    path = tmp_path / "f"
    assert look(path) is None
    assert look(path / "below") is None
    path.write_text("12345")
    first = look(path)
    assert first is not None
    assert first.size_bytes == 5
    assert look(path) == first


def test_saved_in_place(tmp_path: Path) -> None:
    """Also when size stays the same."""
    path = tmp_path / "f"
    write(path, "one", 1)
    watched = Watched(path)
    assert not watched.changed()
    write(path, "two", 2)
    assert watched.changed()
    assert not watched.changed()


def test_renamed_over(tmp_path: Path) -> None:
    """As most editors save: another file under the name, even with the same times."""
    path, new = tmp_path / "f", tmp_path / "new"
    write(path, "one", 1)
    watched = Watched(path)
    write(new, "two", 1)
    new.rename(path)
    assert watched.changed()
    assert not watched.changed()


def test_symlink_swapped(tmp_path: Path) -> None:
    """A link that leads elsewhere now."""
    one, two, path = tmp_path / "one", tmp_path / "two", tmp_path / "f"
    write(one, "one", 1)
    write(two, "two", 1)
    path.symlink_to(one)
    watched = Watched(path)
    new = tmp_path / "new"
    new.symlink_to(two)
    new.rename(path)
    assert watched.changed()
    assert not watched.changed()
    write(two, "2", 2)
    assert watched.changed()


def test_directory_swapped(tmp_path: Path) -> None:
    """The directory by that name is another one now."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "f", name, 1)
    watched = Watched(tmp_path / "a" / "f")
    (tmp_path / "a").rename(tmp_path / "old")
    assert not watched.changed()
    (tmp_path / "b").rename(tmp_path / "a")
    assert watched.changed()
    assert not watched.changed()


def test_deleted_and_recreated(tmp_path: Path) -> None:
    """Gone for a moment is no edit; what comes back is one."""
    path = tmp_path / "f"
    write(path, "one", 1)
    watched = Watched(path)
    path.rename(tmp_path / "kept")  # so that its inode is not given to the next
    assert not watched.changed()
    write(path, "two", 1)
    assert watched.changed()
    assert not watched.changed()
