"""Real files: what is seen of them, and that they are read only when they are whole."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blkrun.config import Sources
from blkrun.errors import FileError
from blkrun.reconcile.settle import PATIENCE_NS
from blkrun.reconcile.watch import HURRIED_INTERVAL_S, Watcher, is_open_for_writing, look

INCLUDE = 'include = ["tenants/*.toml"]\n'


class Watched:
    """A watcher of a path that has been read; time passes only when a test says so."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 0
        monkeypatch.setattr("blkrun.reconcile.watch.monotonic_ns", lambda: self.now_ns)
        self.watcher = Watcher(path)
        assert self.read() is not None

    def changed(self, looks: int = 2) -> bool:
        """Whether a change has settled by now."""
        results = []
        for _ in range(looks):
            self.now_ns += 50_000_000
            results.append(self.watcher.has_changed())
        return any(results)

    def read(self, looks: int = 2) -> Sources | None:
        """What is read of it, if it has changed."""
        return self.watcher.read() if self.changed(looks) else None

    def texts(self, looks: int = 2) -> list[bytes]:
        """Only the texts."""
        sources = self.read(looks)
        assert sources is not None
        return list(sources.texts.values())


Watch = Callable[[Path], Watched]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Watch a path."""
    return lambda path: Watched(path, monkeypatch)


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


def test_saved_in_place(tmp_path: Path, watch: Watch) -> None:
    """Also when size stays the same."""
    path = tmp_path / "f"
    write(path, "one", 1)
    watched = watch(path)
    assert not watched.changed()
    write(path, "two", 2)
    assert watched.changed()
    assert not watched.changed()


def test_renamed_over(tmp_path: Path, watch: Watch) -> None:
    """As most editors save: another file under the name, even with the same times."""
    path, new = tmp_path / "f", tmp_path / "new"
    write(path, "one", 1)
    watched = watch(path)
    write(new, "two", 1)
    new.rename(path)
    assert watched.changed()
    assert not watched.changed()


def test_symlink_swapped(tmp_path: Path, watch: Watch) -> None:
    """A link that leads elsewhere now."""
    one, two, path = tmp_path / "one", tmp_path / "two", tmp_path / "f"
    write(one, "one", 1)
    write(two, "two", 1)
    path.symlink_to(one)
    watched = watch(path)
    new = tmp_path / "new"
    new.symlink_to(two)
    new.rename(path)
    assert watched.changed()
    assert not watched.changed()
    write(two, "2", 2)
    assert watched.changed()


def test_directory_swapped(tmp_path: Path, watch: Watch) -> None:
    """The directory by that name is another one now."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "f", name, 1)
    watched = watch(tmp_path / "a" / "f")
    (tmp_path / "a").rename(tmp_path / "old")
    assert not watched.changed()
    (tmp_path / "b").rename(tmp_path / "a")
    assert watched.changed()
    assert not watched.changed()


def test_deleted_and_recreated(tmp_path: Path, watch: Watch) -> None:
    """Gone for a moment is no edit; what comes back is one."""
    path = tmp_path / "f"
    write(path, "one", 1)
    watched = watch(path)
    path.rename(tmp_path / "kept")  # so that its inode is not given to the next
    assert not watched.changed()
    write(path, "two", 1)
    assert watched.changed()
    assert not watched.changed()


# What it includes


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A main file that includes two others."""
    (tmp_path / "tenants").mkdir()
    write(tmp_path / "vm.toml", INCLUDE, 1)
    for name in "ab":
        write(tmp_path / "tenants" / f"{name}.toml", f"# {name}", 1)
    return tmp_path / "vm.toml"


def test_included_files(lab: Path, watch: Watch) -> None:
    """Saved, added, renamed over and deleted: each is an edit."""
    watched, tenants = watch(lab), lab.parent / "tenants"
    assert not watched.changed()
    write(tenants / "a.toml", "# A", 2)
    assert watched.texts() == [INCLUDE.encode(), b"# A", b"# b"]
    write(tenants / "c.toml", "# c", 2)
    assert watched.texts() == [INCLUDE.encode(), b"# A", b"# b", b"# c"]
    write(tenants / "new", "# B", 2)
    (tenants / "new").rename(tenants / "b.toml")
    assert watched.texts() == [INCLUDE.encode(), b"# A", b"# B", b"# c"]
    (tenants / "b.toml").unlink()
    assert not watched.changed()
    watched.now_ns += PATIENCE_NS
    assert watched.texts() == [INCLUDE.encode(), b"# A", b"# c"]
    assert not watched.changed(20)


def test_another_pattern(lab: Path, watch: Watch) -> None:
    """It is looked at from then on, and what the old one matched is not."""
    watched = watch(lab)
    (lab.parent / "more").mkdir()
    write(lab, INCLUDE.replace("tenants", "more"), 2)
    assert len(watched.texts()) == 1
    write(lab.parent / "tenants" / "a.toml", "# other", 2)
    assert not watched.changed(20)
    write(lab.parent / "more" / "c.toml", "# c", 2)
    assert watched.texts()[1:] == [b"# c"]


def test_while_the_main_file_has_a_mistake(lab: Path, watch: Watch) -> None:
    """What it included is looked at as before."""
    watched = watch(lab)
    write(lab, INCLUDE + "[", 2)
    assert len(watched.texts()) == 1
    write(lab.parent / "tenants" / "a.toml", "# A", 2)
    assert watched.changed()


def test_directories_whose_names_are_a_pattern(lab: Path, watch: Watch) -> None:
    """They are listed twice a second."""
    write(lab, 'include = ["*/*.toml"]', 2)
    watched = watch(lab)
    (lab.parent / "more").mkdir()
    write(lab.parent / "more" / "c.toml", "# c", 2)
    assert watched.texts(looks=12)[1:] == [b"# c", b"# a", b"# b"]


def test_a_config_map(tmp_path: Path, watch: Watch) -> None:
    """Links into a directory behind a link that is swapped: all files change at once."""
    for version in ("1", "2"):
        (tmp_path / version / "tenants").mkdir(parents=True)
        write(tmp_path / version / "vm.toml", INCLUDE, 1)
        write(tmp_path / version / "tenants" / f"{version}.toml", f"# {version}", 1)
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "vm.toml").symlink_to("..data/vm.toml")
    (tmp_path / "tenants").symlink_to("..data/tenants")
    watched = watch(tmp_path / "vm.toml")
    (tmp_path / "..new").symlink_to("2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    watched.now_ns += PATIENCE_NS
    assert watched.texts(looks=2 + PATIENCE_NS // 50_000_000)[1:] == [b"# 2"]
    assert not watched.changed(20)


def test_the_main_file_goes(lab: Path, watch: Watch) -> None:
    """That is told by an error, once, and its coming back is an edit."""
    watched = watch(lab)
    lab.unlink()
    assert not watched.changed()
    watched.now_ns += PATIENCE_NS
    assert watched.changed()
    with pytest.raises(FileError, match="No such file"):
        watched.watcher.read()
    assert not watched.changed(20)
    write(lab, INCLUDE, 3)
    assert len(watched.texts()) == 3


# Reading


def test_a_file_that_is_open_for_writing(lab: Path, watch: Watch) -> None:
    """It may be in the middle of a save: not read before it is closed, or has had long rest."""
    watched = watch(lab)
    with lab.open("a") as file:
        file.write("# a half")
        file.flush()
        assert watched.changed()
        assert watched.watcher.read() is None
        assert not watched.watcher.is_settled()
        assert watched.changed(), "it is tried again"
        assert watched.watcher.read() is None
    assert watched.texts()[0].endswith(b"# a half")
    assert watched.watcher.is_settled()
    with lab.open("a") as file:
        file.write(" and more")
        file.flush()
        assert watched.read() is None
        watched.now_ns += PATIENCE_NS
        assert watched.texts()[0].endswith(b"and more")


def test_open_for_writing(tmp_path: Path) -> None:
    """Known only of those who write; what cannot be opened is written by nobody."""
    path = tmp_path / "f"
    assert not is_open_for_writing(str(path))
    path.write_text("1")
    assert not is_open_for_writing(str(path))
    with path.open():
        assert not is_open_for_writing(str(path))
    with path.open("a"):
        assert is_open_for_writing(str(path))
    assert not is_open_for_writing(str(tmp_path))


def test_saved_while_it_is_read(lab: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is not what was seen: it is read again later."""
    watched = watch(lab)
    write(lab, INCLUDE + "# 2", 2)
    assert watched.changed()
    read = watched.watcher.read.__globals__["read"]

    def read_late(path: Path) -> Sources:
        sources: Sources = read(path)
        write(lab, INCLUDE + "# 3", 3)
        return sources

    monkeypatch.setattr("blkrun.reconcile.watch.read", read_late)
    assert watched.watcher.read() is None
    monkeypatch.setattr("blkrun.reconcile.watch.read", read)
    assert watched.texts(3)[0].endswith(b"# 3")


def test_closed_while_it_is_read(lab: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second half comes when the first has been read and looked at: it was open before."""
    watched = watch(lab)
    file = lab.open("w")
    file.write(INCLUDE)
    file.flush()
    assert watched.changed()
    monkeypatch.setattr("blkrun.reconcile.watch._disagree", lambda *_: file.close())
    assert watched.watcher.read() is None
    file.close()


SAVER = """
import sys, time
path, halves, seconds = sys.argv[1], ("[a]\\nx = 1\\n", "[b]\\ny = {}\\n"), float(sys.argv[2])
end = time.monotonic() + seconds
number = 0
while time.monotonic() < end:
    number += 1
    with open(path, "w") as file:
        file.write(halves[0])
        file.flush()
        time.sleep((number % 3) * 0.012)
        file.write(halves[1].format(number))
    time.sleep(0.05 - (number % 3) * 0.012)
print(number)
"""


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[tuple[Path, "subprocess.Popen[str]"]]:
    """A process that saves in place every 50 ms, for four seconds."""
    path = tmp_path / "vm.toml"
    path.write_text("[a]\nx = 1\n[b]\ny = 0\n")
    command = [sys.executable, "-c", SAVER, str(path), "4"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield path, process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_saved_in_place_without_rest(saver: tuple[Path, "subprocess.Popen[str]"]) -> None:
    """Never a half, though each is a file by itself; some version about once a second; the last."""
    path, process = saver
    watcher = Watcher(path)
    texts: list[bytes] = []
    has_ended, ended = False, 0.0
    while not has_ended or time.monotonic() < ended + 0.5:
        if not has_ended:
            has_ended, ended = process.poll() is not None, time.monotonic()
        if watcher.has_changed() and (sources := watcher.read()) is not None:
            texts.append(sources.texts[path])
        time.sleep(watcher.pace_s)
    assert all(text.startswith(b"[a]\nx = 1\n[b]\ny = ") for text in texts), texts
    assert process.stdout is not None
    number = int(process.stdout.read())
    assert texts[-1] == b"[a]\nx = 1\n[b]\ny = %d\n" % number
    assert len(texts) >= 3
    assert watcher.pace_s > HURRIED_INTERVAL_S
