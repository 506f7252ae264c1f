"""``blkrun check``."""

import argparse
import json
from pathlib import Path

import pytest

from blkrun.cli import check


def run(*words: str) -> int:
    """The command with its own arguments."""
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return check.run(parser.parse_args(words))


@pytest.fixture
def good(tmp_path: Path) -> str:
    """A file with nothing wrong in it."""
    text = '[backends.a]\ndriver = "null"\n[backends.b]\ndriver = "null"\n[exports.x]\nnode = "a"\n'
    (tmp_path / "good.toml").write_text(text)
    return str(tmp_path / "good.toml")


@pytest.fixture
def bad(tmp_path: Path) -> str:
    """A file with two mistakes."""
    (tmp_path / "bad.toml").write_text('[sever]\n[exports.x]\nnode = "a"\n')
    return str(tmp_path / "bad.toml")


def test_good(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard output, and 0."""
    assert run(good) == 0
    assert capsys.readouterr() == (f"{good}: ok, 2 nodes, 0 groups, 1 export\n", "")


def test_jobs_are_counted_where_there_are_any(
    good: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One more number in the line."""
    with Path(good).open("a") as file:
        file.write('[jobs.j]\ntype = "backup"\ndevice = "a"\ntarget = "b"\n')
    assert run(good) == 0
    assert capsys.readouterr().out == f"{good}: ok, 2 nodes, 0 groups, 1 export, 1 job\n"


def test_good_in_json(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No problem, no row."""
    assert run("--json", good) == 0
    assert capsys.readouterr() == ("", "")


def test_bad(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every diagnostic on standard error, without colour where no terminal is, and 2."""
    assert run(bad) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f'{bad}:1:2: error: unknown table "sever" — did you mean "server"?\n')
    assert err.count("error:") == 2
    assert err.endswith("^^^\n")
    assert "\x1b" not in err


def test_bad_in_json(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line on standard output."""
    assert run("--json", bad) == 2
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert err == ""
    assert rows[0] == {
        "file": bad,
        "line": 1,
        "column": 2,
        "length": 5,
        "severity": "error",
        "message": 'unknown table "sever"',
        "suggestion": "server",
        "related": None,
    }
    assert rows[1]["line"] == 3


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_colour_on_a_terminal(
    bad: str,
    no_colour: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Coloured on a terminal, unless NO_COLOR says otherwise."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", no_colour)
    run(bad)
    assert ("\x1b[1;31m" in capsys.readouterr().err) is (no_colour == "")


def test_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said once, on either channel."""
    file = str(tmp_path / "no.toml")
    message = "cannot read the file: No such file or directory"
    assert run(file) == 2
    assert capsys.readouterr() == ("", f"{file}: error: {message}\n")
    assert run("--json", file) == 2
    row = json.loads(capsys.readouterr().out)
    assert (row["line"], row["message"]) == (0, message)


def test_empty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty file is wrong too."""
    (tmp_path / "empty.toml").touch()
    assert run(str(tmp_path / "empty.toml")) == 2
    assert "error: the file describes nothing" in capsys.readouterr().err
