"""From a file on disk to a Config: reading, switched-off filters, paths, lines."""

import os
from pathlib import Path

import pytest

from blkrun import config
from blkrun.errors import FileError
from blkrun.model import GraphModel
from blkrun.options import (
    ExportOptions,
    FileOptions,
    NbdOptions,
    RawOptions,
    RunnerOptions,
    ServerOptions,
    ThrottleLimits,
    ThrottleOptions,
)

FILE = Path("/lab/lab.toml")

TEXT = """\
[server]
threads = 3

[throttle-groups.gold]
iops-total = "2k"

[backends.disk]
driver = "file"
path = "sub/../disk.img"
size = "1GiB"

[nodes.window]
driver = "raw"
file = "slow"
[nodes.limit]
driver = "throttle"
throttle-group = "gold"
file = "disk"
[nodes.slow]
driver = "throttle"
throttle-group = "gold"
file = "limit"

[exports."my disk"]
node = "slow"
"""


def graph(text: str) -> GraphModel:
    """The desired graph of a text."""
    return config.parse(text, FILE).graph


def test_a_whole_config() -> None:
    """Every table arrives as its options, defaults filled in, units gone."""
    loaded = config.parse(TEXT, FILE)
    assert loaded.path == FILE
    assert loaded.server == ServerOptions(threads=3)
    assert loaded.runner == RunnerOptions()
    assert loaded.graph == GraphModel(
        nodes={
            "disk": FileOptions(node_name="disk", path="/lab/disk.img", size=2**30),
            "window": RawOptions(node_name="window", file="slow"),
            "limit": ThrottleOptions(node_name="limit", throttle_group="gold", file="disk"),
            "slow": ThrottleOptions(node_name="slow", throttle_group="gold", file="limit"),
        },
        groups={"gold": ThrottleLimits(iops_total=2000)},
        exports={"my disk": ExportOptions(node="slow")},
    )


def test_header_lines() -> None:
    """A table's dotted name, unquoted, leads to the line of its header."""
    places = config.parse(TEXT, FILE).places
    assert {at.file for at in places.values()} == {FILE}
    assert {name: at.line for name, at in places.items()} == {
        "server": 1,
        "throttle-groups": 4,
        "throttle-groups.gold": 4,
        "backends": 7,
        "backends.disk": 7,
        "nodes": 12,
        "nodes.window": 12,
        "nodes.limit": 15,
        "nodes.slow": 19,
        "exports": 24,
        "exports.my disk": 24,
    }


def test_lines_without_headers() -> None:
    """Tables written as dotted keys or in braces have the line of their first key."""
    text = '[backends]\na.driver = "null"\na.size = 4\nb = { driver = "null" }\n'
    places = config.parse(text, FILE).places
    assert (places["backends.a"].line, places["backends.b"].line) == (2, 4)


def test_a_filter_that_is_off_is_not_there() -> None:
    """Its parents, exports among them, have its child instead."""
    off = graph(TEXT.replace('file = "limit"', 'file = "limit"\nenabled = false'))
    assert "slow" not in off.nodes
    assert off.nodes["window"] == RawOptions(node_name="window", file="limit")
    assert off.exports["my disk"].node == "limit"


def test_several_in_a_row_that_are_off() -> None:
    """The way leads through all of them to what is left."""
    off = graph(TEXT.replace('throttle-group = "gold"', 'throttle-group = "gold"\nenabled = false'))
    assert list(off.nodes) == ["disk", "window"]
    assert off.nodes["window"] == RawOptions(node_name="window", file="disk")
    assert off.exports["my disk"].node == "disk"


def test_enabled_true_changes_nothing() -> None:
    """It is the default, written down."""
    on = TEXT.replace('file = "limit"', 'file = "limit"\nenabled = true')
    assert graph(on) == graph(TEXT)


def test_a_filter_that_is_off_is_checked() -> None:
    """A mistake in it is a mistake in the file."""
    text = TEXT.replace('file = "limit"', 'file = "limt"\nenabled = false\nx = 1')
    assert [each.line for each in config.check(text, FILE)] == [22, 24]


def test_commands_are_left_alone() -> None:
    """No word of an nbd command is taken for a path."""
    text = '[backends.n]\ndriver = "nbd"\ncommand = ["./server", "file", "a/../b"]\n'
    command = ("./server", "file", "a/../b")
    assert graph(text).nodes["n"] == NbdOptions(node_name="n", command=command)


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    """Paths are made absolute by their words: a link may be moved while the server runs."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    file = tmp_path / "link" / "a.toml"
    file.write_text('[backends.b]\ndriver = "file"\npath = "../x.img"\n')
    loaded = config.load(file)
    assert loaded.path == file
    node = loaded.graph.nodes["b"]
    assert isinstance(node, FileOptions)
    assert node.path == str(tmp_path / "x.img")


def test_relative_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative FILE gives absolute paths, and stays as it was written in messages."""
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text("[server]\n")
    assert config.load(Path("a.toml")).address.control == tmp_path / "a.qmp"
    Path("a.toml").write_text("[sever]\n")
    with pytest.raises(FileError, match=r'^a\.toml:1:2: error: unknown table "sever"'):
        config.load(Path("a.toml"))


def test_windows_line_ends_and_bytes() -> None:
    """CR LF is TOML too, and changes no place; bytes do as well as text."""
    text = TEXT.replace("\n", "\r\n").encode()
    assert config.parse(text, FILE).graph == graph(TEXT)
    broken = config.check(text.replace(b"threads", b"thread"), FILE)
    assert [(each.line, each.column, each.length) for each in broken] == [(2, 1, 6)]


@pytest.mark.parametrize("text", ["", " \n\t\n", "# nothing yet\n", b"\r\n"])
def test_an_empty_file_is_its_own_error(text: str | bytes) -> None:
    """A watcher must tell a save that is half done from a file that is wrong."""
    with pytest.raises(config.EmptyFileError, match="the file describes nothing"):
        config.parse(text, FILE)
    assert [each.line for each in config.check(text, FILE)] == [0]


def test_a_file_with_settings_only_is_not_empty() -> None:
    """Serving nothing on purpose is allowed."""
    assert graph("[server]\n") == GraphModel(nodes={}, groups={}, exports={})


def test_a_wrong_file_is_not_an_empty_one() -> None:
    """Only emptiness is EmptyFileError."""
    with pytest.raises(FileError) as raised:
        config.parse("[sever]\n", FILE)
    assert not isinstance(raised.value, config.EmptyFileError)


def test_the_error_carries_its_problems() -> None:
    """In the order of the text, each with the path of its key."""
    with pytest.raises(FileError) as raised:
        config.parse("[b]\n[server]\nthreads = 0\n", FILE)
    assert [problem.path for problem in raised.value.problems] == [("b",), ("server", "threads")]


def test_missing_file(tmp_path: Path) -> None:
    """One message, with the file's name and the reason."""
    file = tmp_path / "no.toml"
    with pytest.raises(FileError) as raised:
        config.load(file)
    assert str(raised.value) == f"{file}: error: cannot read the file: No such file or directory"


def test_directory(tmp_path: Path) -> None:
    """A directory is no file."""
    with pytest.raises(FileError, match="cannot read the file: Is a directory"):
        config.read(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    """The system's reason is given."""
    (tmp_path / "a.toml").touch(mode=0)
    with pytest.raises(FileError, match="Permission denied"):
        config.read(tmp_path / "a.toml")
