"""One configuration in several files: what may be where, and errors in the right one."""

from pathlib import Path

import pytest

from blkrun import config
from blkrun.config import Sources
from blkrun.errors import FileError
from blkrun.model import GraphModel
from blkrun.options import FileOptions

MAIN, A, B = Path("/lab/vm.toml"), Path("/lab/tenants/a.toml"), Path("/lab/tenants/b.toml")

TEXTS = {
    MAIN: """\
include = ["tenants/*.toml"]
[throttle-groups.gold]
iops-total = 100
[backends.disk]
driver = "file"
path = "disk.img"
""",
    A: """\
[backends.a]
driver = "file"
path = "disk.img"
[nodes.limit-a]
driver = "throttle"
throttle-group = "gold"
file = "a"
[exports.a]
node = "limit-a"
""",
    B: """\
[exports.b]
node = "disk"
[exports.ab]
node = "limit-a"
""",
}


def sources(changes: dict[Path, str] | None = None) -> Sources:
    """The three files, some of them saying something else."""
    texts = {file: text.encode() for file, text in {**TEXTS, **(changes or {})}.items()}
    return Sources(main=MAIN, texts=texts)


def found(changes: dict[Path, str]) -> list[tuple[str, int, int, str]]:
    """File, line, column and message of each diagnostic."""
    return [
        (each.file.name, each.line, each.column, each.message)
        for each in config.check(sources(changes))
    ]


def changed(file: Path, old: str, new: str) -> dict[Path, str]:
    """One file with one change."""
    assert old in TEXTS[file]
    return {file: TEXTS[file].replace(old, new)}


def test_they_are_one_graph() -> None:
    """Tables refer to each other across files; paths start from the file that they are in."""
    parsed = config.parse(sources())
    assert set(parsed.graph.nodes) == {"disk", "a", "limit-a"}
    assert set(parsed.graph.exports) == {"a", "b", "ab"}
    paths = [each.path for each in parsed.graph.nodes.values() if isinstance(each, FileOptions)]
    assert paths == ["/lab/disk.img", "/lab/tenants/disk.img"]
    assert parsed.path == MAIN
    assert str(parsed.address.control) == "/lab/vm.qmp"


def test_it_is_the_graph_of_one_file() -> None:
    """Written in one file, it would be the same."""
    paths = changed(A, '"disk.img"', '"../disk-a.img"')
    whole = "".join([TEXTS[MAIN], TEXTS[A].replace('"disk.img"', '"disk-a.img"'), TEXTS[B]])
    assert config.parse(sources(paths)).graph == config.parse(whole, MAIN).graph


def test_places() -> None:
    """Each table has its file and line; a section is where it is first written."""
    places = config.parse(sources()).places
    assert (places["throttle-groups.gold"].file, places["throttle-groups.gold"].line) == (MAIN, 2)
    assert (places["nodes.limit-a"].file, places["nodes.limit-a"].line) == (A, 4)
    assert (places["exports.ab"].file, places["exports.ab"].line) == (B, 3)
    assert (places["exports"].file, places["backends"].file) == (A, MAIN)


def test_files_as_messages_have_them() -> None:
    """From the main file's directory."""
    parsed = config.parse(sources())
    assert [parsed.shown(file) for file in (MAIN, A)] == ["vm.toml", "tenants/a.toml"]


def test_an_empty_file_defines_nothing() -> None:
    """All of a tenant's tables may be commented out, or gone."""
    only = config.parse(sources({A: "# away\n", B: ""})).graph
    assert only.exports == {}


def test_a_main_file_that_only_includes() -> None:
    """It is not empty; without that line it is, whatever else there is."""
    include = 'include = ["tenants/*.toml"]\n'
    assert config.parse(sources({MAIN: include, A: "", B: ""})).graph == GraphModel(
        nodes={}, groups={}, exports={}
    )
    with pytest.raises(config.EmptyFileError):
        config.parse(sources({MAIN: "# nothing\n"}))


def test_errors_of_all_files_at_once() -> None:
    """Sorted by file and then by place, with the file that each is in."""
    changes = changed(MAIN, "iops-total", "iops-totl")
    changes |= changed(A, 'file = "a"', 'file = "bb"\nfoo = 1')
    remedy = "[backends.bb] would define it"
    changes |= changed(B, '"disk"', '"dsk"')
    assert found(changes) == [
        ("vm.toml", 3, 1, 'unknown key "iops-totl" in throttle-groups.gold'),
        ("a.toml", 7, 8, 'nodes.limit-a.file: there is no node or backend "bb"; ' + remedy),
        ("a.toml", 8, 1, 'unknown key "foo" in nodes.limit-a'),
        ("b.toml", 2, 8, 'exports.b.node: there is no node or backend "dsk"'),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nthreads = 0\n", "[server] belongs in the main file: move it to vm.toml"),
        ("[runner]\n", "[runner] belongs in the main file: move it to vm.toml"),
        ("[dashboard]\n", "[dashboard] belongs in the main file: move it to vm.toml"),
        ('include = ["x"]\n', '"include" belongs in the main file: move it to vm.toml'),
        ("[node.x]\n", 'unknown table "node"'),
        ("server = 1\n", "[server] belongs in the main file: move it to vm.toml"),
    ],
)
def test_what_only_the_main_file_may_have(text: str, message: str) -> None:
    """One error with the remedy."""
    (one,) = config.check(sources({B: text}))
    assert (one.file, one.line, one.message) == (B, 1, message)


def test_a_table_in_two_files() -> None:
    """It is an error in the second, which shows the first; neither adds to the other."""
    table = '[nodes.limit-a]\ndriver = "throttle"\nthrottle-group = "gold"\nfile = "disk"\n'
    (one,) = config.check(sources({B: TEXTS[B] + table}))
    assert (one.file, one.line, one.column) == (B, 5, 8)
    assert one.message == "nodes.limit-a is written twice"
    assert one.related is not None
    assert (one.related.file, one.related.line, one.related.column) == (A, 4, 8)
    assert one.related.message == "nodes.limit-a is first written here"


def test_a_table_spread_over_two_files() -> None:
    """Each half is wrong by itself, and told so too."""
    changes = changed(A, 'throttle-group = "gold"\n', "")
    changes |= {B: '[nodes.limit-a]\nthrottle-group = "gold"\n'}
    assert [each[:3] for each in found(changes)] == [
        ("a.toml", 4, 1),
        ("b.toml", 1, 1),
        ("b.toml", 1, 8),
    ]


def test_a_name_taken_in_another_file() -> None:
    """Nodes and backends share their names across files."""
    (one,) = config.check(sources({B: '[nodes.disk]\ndriver = "raw"\nfile = "a"\n'}))
    assert (one.file, one.line) == (B, 1)
    assert one.related is not None
    assert (one.related.file, one.related.line) == (MAIN, 4)


def test_one_image_in_two_files() -> None:
    """However each spells it from its own directory."""
    (one,) = config.check(sources(changed(A, '"disk.img"', '"../disk.img"')))
    assert (one.file, one.line, one.related and one.related.file) == (A, 3, MAIN)
    assert "are one file, /lab/disk.img" in one.message


def test_a_file_that_is_not_toml() -> None:
    """One error with its place; what it may define is not missed, other mistakes are told."""
    changes = {A: TEXTS[A] + "x = = 1\n"} | changed(MAIN, "iops-total", "iops-totl")
    assert found(changes) == [
        ("vm.toml", 3, 1, 'unknown key "iops-totl" in throttle-groups.gold'),
        ("a.toml", 10, 5, "invalid value"),
    ]


def test_how_they_look() -> None:
    """Each with the line of its own file, notes too."""
    changes = {B: '[nodes.disk]\ndriver = "raw"\nfile = "a"\n'}
    with pytest.raises(FileError) as raised:
        config.parse(sources(changes))
    assert str(raised.value) == (
        '/lab/tenants/b.toml:1:8: error: the name "disk" is taken: '
        "nodes and backends share their names\n"
        "    1 | [nodes.disk]\n"
        "      |        ^^^^\n"
        "/lab/vm.toml:4:11: note: backends.disk is here\n"
        "    4 | [backends.disk]\n"
        "      |           ^^^^"
    )


def test_rows() -> None:
    """For --json each place has its file."""
    changes = {B: '[nodes.disk]\ndriver = "raw"\nfile = "a"\n'}
    (one,) = config.check(sources(changes))
    row = one.row()
    assert (row["file"], row["related"]["file"]) == (str(B), str(MAIN))
    assert row["severity"] == "error"
