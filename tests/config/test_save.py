"""Writing a file that somebody else edits too."""

import os
from pathlib import Path

import pytest

from blkrun.config.save import save
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
