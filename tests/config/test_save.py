"""Writing a file that somebody else edits too."""

import os
from pathlib import Path

import pytest

from blkrun.config import Sources
from blkrun.config.save import save, save_sources
from blkrun.errors import FileError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file as somebody saved it."""
    path = tmp_path / "vm.toml"
    path.write_bytes(b"before\n")
    path.chmod(0o640)
    return path


def test_it_is_replaced(file: Path) -> None:
    """By a new one, with the mode of the old; nothing else is left in the directory."""
    inode = file.stat().st_ino
    assert save(file, b"before\n", b"after\n")
    assert file.read_bytes() == b"after\n"
    assert file.stat().st_mode & 0o7777 == 0o640
    assert file.stat().st_ino != inode
    assert list(file.parent.iterdir()) == [file]


def test_a_link_stays(file: Path) -> None:
    """What it leads to is written, through several too."""
    first, second = file.with_name("first"), file.with_name("second")
    first.symlink_to(file)
    second.symlink_to("first")
    assert save(second, b"before\n", b"after\n")
    assert second.is_symlink()
    assert first.is_symlink()
    assert file.read_bytes() == b"after\n"


def test_a_file_that_says_something_else_by_now_is_left_alone(file: Path) -> None:
    """Somebody saved it since it was read."""
    assert not save(file, b"long ago\n", b"after\n")
    assert file.read_bytes() == b"before\n"
    assert list(file.parent.iterdir()) == [file]


def test_saved_at_the_last_moment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the new file was being written."""

    def slow(number: int) -> None:
        file.write_bytes(b"theirs\n")

    monkeypatch.setattr("os.fsync", slow)
    assert not save(file, b"before\n", b"after\n")
    assert file.read_bytes() == b"theirs\n"


def test_nowhere_to_write(tmp_path: Path) -> None:
    """It is said which file, and nothing is left."""
    with pytest.raises(FileError, match=r"cannot write vm\.toml: No such file"):
        save(tmp_path / "vm.toml", b"", b"after\n")


def test_a_failure_in_the_middle_leaves_the_old_one(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, for example."""

    def full(number: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FileError, match="No space left"):
        save(file, b"before\n", b"after\n")
    assert file.read_bytes() == b"before\n"
    assert list(file.parent.iterdir()) == [file]


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """Three files as they were read."""
    texts = {tmp_path / name: b"before\n" for name in "abc"}
    for path, text in texts.items():
        path.write_bytes(text)
    return Sources(main=tmp_path / "a", texts=texts)


def edited(sources: Sources) -> Sources:
    """Two of them changed."""
    a, _, c = sources.texts
    return sources.with_texts({a: b"after\n", c: b"after\n"})


def written(sources: Sources) -> list[bytes]:
    """What the files say now."""
    return [path.read_bytes() for path in sources.texts]


def test_several(sources: Sources) -> None:
    """Those that differ are replaced, the other is not touched."""
    inodes = [path.stat().st_ino for path in sources.texts]
    assert save_sources(sources, edited(sources))
    assert written(sources) == [b"after\n", b"before\n", b"after\n"]
    assert [path.stat().st_ino for path in sources.texts][1] == inodes[1]


def test_one_of_several_says_something_else_by_now(sources: Sources) -> None:
    """Those before it are put back."""
    list(sources.texts)[2].write_bytes(b"theirs\n")
    assert not save_sources(sources, edited(sources))
    assert written(sources) == [b"before\n", b"before\n", b"theirs\n"]


def test_one_of_several_cannot_be_written(sources: Sources) -> None:
    """It is said which, and those before it are put back."""
    last = list(sources.texts)[2]
    last.unlink()
    with pytest.raises(FileError, match="cannot write c"):
        save_sources(sources, edited(sources))
    assert written(Sources(main=sources.main, texts=dict(list(sources.texts.items())[:2]))) == [
        b"before\n",
        b"before\n",
    ]
