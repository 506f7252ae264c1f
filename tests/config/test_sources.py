"""Reading a file and what it includes: which files, in which order, and the digest of them."""

import os
from pathlib import Path

import pytest

from blkrun import config
from blkrun.config import Sources, patterns
from blkrun.errors import FileError


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with three tenants, and we are in it."""
    for name in ("tenants/b.toml", "tenants/a.toml", "tenants/.hidden.toml", "more/deep/c.toml"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {name}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(include: str, path: str = "vm.toml") -> Path:
    """A main file that includes."""
    Path(path).write_text(f"include = {include}\n")
    return Path(path)


@pytest.mark.parametrize(
    ("include", "names"),
    [
        ('["tenants/*.toml"]', ["tenants/a.toml", "tenants/b.toml"]),
        ('["tenants/b.toml", "tenants/*.toml"]', ["tenants/b.toml", "tenants/a.toml"]),
        ('["more/**/*.toml"]', ["more/deep/c.toml"]),
        ('["./tenants/[a]*"]', ["tenants/a.toml"]),
        ('["nowhere/*.toml"]', []),
        ('["*.toml"]', []),
        ("[]", []),
    ],
)
def test_which_files(lab: Path, include: str, names: list[str]) -> None:
    """In the order of the patterns, each sorted, no file twice, and never the main file."""
    path = write(include)
    sources = config.read(path)
    assert list(sources.texts) == [path, *map(Path, names)]
    assert sources.texts[path] == path.read_bytes()
    assert sources.unread == ()


def test_names_are_shown_beside_the_main_file(lab: Path) -> None:
    """As the user wrote the main file, so the others are written; absolute ones stay so."""
    write(f'["tenants/a.toml", "{lab}/tenants/b.toml"]')
    for main in (Path("..") / lab.name / "vm.toml", lab / "vm.toml"):
        assert list(config.read(main).texts) == [
            main,
            main.parent / "tenants/a.toml",
            lab / "tenants/b.toml",
        ]


def test_the_main_file_under_another_name_is_not_included(lab: Path) -> None:
    """A link to it is the same file."""
    write('["*.toml"]')
    Path("link.toml").symlink_to("vm.toml")
    assert list(config.read(Path("link.toml")).texts) == [Path("link.toml")]


def test_a_directory_that_looks_like_a_pattern(lab: Path) -> None:
    """Only what is written in the file is a pattern."""
    Path("lab[1]/t").mkdir(parents=True)
    Path("lab[1]/t/a.toml").touch()
    main = write('["t/*.toml"]', "lab[1]/vm.toml")
    assert list(config.read(main).texts) == [main, Path("lab[1]/t/a.toml")]
    (pattern,) = patterns(main.read_bytes(), main) or ()
    assert pattern == f"{lab}/lab[[]1]/t/*.toml"


def test_patterns_are_absolute(lab: Path) -> None:
    """Whatever else is wrong with the file, as long as it is TOML."""
    text = b'include = ["tenants/*.toml", "../x/*", "/etc/vm/*", 3, ""]\n[sever]\n'
    expected = (f"{lab}/tenants/*.toml", f"{lab.parent}/x/*", "/etc/vm/*")
    assert patterns(text, Path("vm.toml")) == expected
    assert patterns(b"", Path("vm.toml")) == ()
    assert patterns(b'include = "tenants"', Path("vm.toml")) == ()
    assert patterns(b'include = ["tenants/*.toml"', Path("vm.toml")) is None


def test_the_digest_changes_with_every_edit(lab: Path) -> None:
    """A text, a name, a file more or one less."""
    path = write('["tenants/*.toml"]')
    digests = [config.read(path).digest]
    for edit in (
        lambda: Path("tenants/a.toml").write_text("# other\n"),
        lambda: Path("tenants/a.toml").rename("tenants/z.toml"),
        lambda: Path("tenants/z.toml").unlink(),
        lambda: Path("tenants/c.toml").touch(),
        lambda: path.write_text('include = ["tenants/*.toml"]'),
    ):
        edit()
        digests.append(config.read(path).digest)
    assert len(set(digests)) == len(digests)
    assert config.load(path).digest == digests[-1]


def test_the_digest_is_the_same_from_everywhere(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner and a command in another directory speak of one edit."""
    path = write('["tenants/*.toml"]')
    here = config.read(path).digest
    assert config.read(lab / path).digest == here
    monkeypatch.chdir("tenants")
    assert config.read(Path("../vm.toml")).digest == here


def test_texts_cannot_be_shifted_between_files() -> None:
    """The same bytes, cut elsewhere, are another edit."""
    a, b = Path("a"), Path("b")
    one = Sources(main=a, texts={a: b"x", b: b"y"})
    assert one.digest != Sources(main=a, texts={a: b"xy", b: b""}).digest
    assert one.digest == Sources(main=a, texts={a: b"x", b: b"y"}).digest


def test_a_plain_name_is_meant_to_be_there(lab: Path) -> None:
    """It is no pattern: that it is missing is an error at its place."""
    path = write('["tenants/a.toml", "tenants/no.toml"]')
    (one,) = config.check(config.read(path))
    assert (one.file, one.line, one.column) == (path, 1, 30)
    assert one.message == "cannot read tenants/no.toml: No such file or directory"


def test_what_cannot_be_read_is_told_with_the_rest(lab: Path) -> None:
    """One error at the pattern; what may be defined there is not missed elsewhere."""
    Path("tenants/d.toml").mkdir()
    path = write('["tenants/*.toml"]')
    path.write_text(path.read_text() + '[exports.vda]\nnode = "x"\n[exports.vdb]\n')
    found = config.check(config.read(path))
    assert [(each.line, each.message) for each in found] == [
        (1, "cannot read tenants/d.toml: Is a directory"),
        (4, '"node" is missing in exports.vdb'),
    ]
    digest = config.read(path).digest
    Path("tenants/d.toml").rmdir()
    assert config.read(path).digest != digest


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(lab: Path) -> None:
    """The system's reason is given."""
    Path("tenants/d.toml").touch(mode=0)
    with pytest.raises(FileError, match=r"cannot read tenants/d\.toml: Permission denied"):
        config.load(write('["tenants/*.toml"]'))


@pytest.mark.parametrize(
    ("include", "place", "message"),
    [
        ('"tenants/*.toml"', (1, 11), "include is not a list of patterns"),
        ('["a/*", 3]', (1, 19), "include[1]: 3 is not a pattern of file names"),
        ('[""]', (1, 12), "include[0]: '' is not a pattern of file names"),
        ('["a\\u0000"]', (1, 12), "include[0]: 'a\\x00' is not a pattern of file names"),
    ],
)
def test_include_itself(lab: Path, include: str, place: tuple[int, int], message: str) -> None:
    """What is no pattern, with the remedy."""
    (one,) = config.check(config.read(write(include)))
    assert (one.line, one.column) == place
    assert one.message == f'{message}: write include = ["tenants/*.toml"]'
