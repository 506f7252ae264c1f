"""Completion of what only the file, or the declarations, know."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest

from blkrun.cli.completing import ByName

MAIN = """
include = ["tenants/*.toml"]
[throttle-groups.slow]
[backends.disk]
[nodes.limit]
enabled = true
[exports.vda]
node = "limit"
[jobs.nightly]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that includes another; what is wrong with its tables does not matter here."""
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "a.toml").write_text("[nodes.limit-a]\n[exports.a]\n")
    (tmp_path / "vm.toml").write_text(MAIN)
    return tmp_path / "vm.toml"


def offered(dest: str, prefix: str = "", file: Path | None = None) -> list[str]:
    """For an argument of this name, in a line that names the file or not."""
    parser = ArgumentParser()
    action = parser.add_argument("--x", dest=dest)
    parsed = Namespace(file=file)
    return ByName()(prefix=prefix, action=action, parser=parser, parsed_args=parsed)


@pytest.mark.parametrize(
    ("dest", "prefix", "words"),
    [
        ("node", "", ["limit", "disk", "nightly", "limit-a"]),
        ("node", "limit", ["limit", "limit-a"]),
        ("above", "", ["limit", "disk", "limit-a"]),
        ("below", "", ["limit", "vda", "limit-a", "a"]),
        ("group", "", ["slow", "vda", "a"]),
        ("job", "", ["nightly"]),
        ("export", "v", ["vda"]),
        ("words", "exports.", ["exports.vda.node"]),
        ("unset", "nodes.l", ["nodes.limit.enabled"]),
        ("seconds", "", []),
    ],
)
def test_names_of_the_file(file: Path, dest: str, prefix: str, words: list[str]) -> None:
    """Of included files too; an argument that is called otherwise completes to nothing."""
    assert offered(dest, prefix, file) == words


@pytest.mark.parametrize("text", ["[nodes.a", "nodes = 3", 'include = ["gone.toml"]', "\xff"])
def test_a_file_that_is_wrong_completes_to_nothing(file: Path, text: str) -> None:
    """And TAB says nothing about it: that is for blkrun check."""
    file.write_text(text, encoding="latin-1")
    assert offered("node", file=file) == []


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Likewise, and while none is written yet."""
    assert offered("node", file=tmp_path / "no.toml") == []
    assert offered("node") == []


@pytest.mark.parametrize(
    ("dest", "prefix", "words"),
    [
        ("driver", "th", ["throttle"]),
        ("driver", "me", []),
        ("name", "mir", ["mirror"]),
        ("limits", "iops-s", ["iops-size="]),
        ("example", "qui", ["quickstart"]),
    ],
)
def test_names_that_every_file_may_have(dest: str, prefix: str, words: list[str]) -> None:
    """No file is needed for these."""
    assert offered(dest, prefix) == words
