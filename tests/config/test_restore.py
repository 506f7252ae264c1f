"""Several files put back together: all of them or none, and none over another edit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blkrun.config.restore import restore
from blkrun.errors import FileError


@pytest.fixture
def files(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Three, and a folder that is left as tidy as it was."""
    named = {name: tmp_path / f"{name}.toml" for name in "abc"}
    for name, path in named.items():
        path.write_text(name)
    yield named
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def texts(files: dict[str, Path]) -> list[bytes | None]:
    """As they are."""
    return [path.read_bytes() if path.exists() else None for path in files.values()]


def test_changed_made_and_removed(files: dict[str, Path]) -> None:
    """Rights and links stay; a file that is made is its owner's like any other."""
    a, b, c = files.values()
    a.chmod(0o640)
    link = a.with_name("link")
    link.symlink_to(a)
    new = a.parent / "more" / "d.toml"
    before = {link: b"a", b: b"b", c: b"c", new: None}
    assert restore(before, {link: b"A", b: None, c: b"c", new: b"d"})
    assert texts(files) == [b"A", None, b"c"]
    assert link.is_symlink()
    assert a.stat().st_mode & 0o7777 == 0o640
    assert new.read_bytes() == b"d"


@pytest.mark.parametrize("edited", ["a", "b"])
def test_another_edit_meanwhile(files: dict[str, Path], edited: str) -> None:
    """Nothing is written, nor removed."""
    files[edited].write_text("edited")
    now = texts(files)
    a, b, _ = files.values()
    assert not restore({a: b"a", b: b"b"}, {a: b"A", b: None})
    assert texts(files) == now


def test_one_that_is_there_now(files: dict[str, Path]) -> None:
    """A file that would be made is not written over either."""
    a, b, _ = files.values()
    assert not restore({a: b"a", b: None}, {a: b"A", b: b"B"})
    assert texts(files) == [b"a", b"b", b"c"]


def test_where_one_cannot_be_written(files: dict[str, Path]) -> None:
    """The others are as they were, and the message names it."""
    a, b, _ = files.values()
    with pytest.raises(FileError, match="cannot write"):
        restore({a: b"a", b / "below": None}, {a: b"A", b / "below": b"x"})
    assert texts(files) == [b"a", b"b", b"c"]
