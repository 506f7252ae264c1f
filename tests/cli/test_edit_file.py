"""Edits by tool where nothing is served: what is shown, what is written, and what is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from blkrun.cli import Exit, edit_file, main
from blkrun.config.save import save_sources

TEXT = """\
# Mine.
[throttle-groups.slow]
iops-total = 500    # so slow

[backends.disk]
driver = "memory"

[nodes.limit]
driver         = "throttle"
throttle-group = "slow"
file           = "disk"

[exports.vda]
node = "limit"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that nobody serves."""
    path = tmp_path / "vm.toml"
    path.write_text(TEXT)
    return path


EDITS = {
    "insert": ["raw", "--driver", "raw", "--above", "disk", "--set", "size=1MiB"],
    "remove": ["limit"],
    "set": ["exports.vda.read-only", "true"],
    "disable": ["limit"],
    "limit": ["slow", "iops-total=700"],
}


@pytest.mark.parametrize(("command", "words"), EDITS.items(), ids=EDITS)
def test_every_edit(
    file: Path, command: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The diff is shown, the file written, comments kept; a dry run writes nothing."""
    assert main([command, str(file), *words, "--dry-run"]) == Exit.DONE
    shown = capsys.readouterr().out
    assert f"--- {file}\n+++ {file}\n@@" in shown
    assert "this is what starting it would do" in shown
    assert file.read_text() == TEXT
    assert main([command, str(file), *words]) == Exit.DONE
    said = capsys.readouterr().out
    assert said.startswith(shown[: shown.index("no server")])
    assert said.endswith("saved; nothing is served from it now\n")
    assert file.read_text() != TEXT
    assert "# Mine.\n" in file.read_text()
    assert "    # so slow\n" in file.read_text()


def test_nothing_to_change(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, and the file is not touched."""
    before = file.stat()
    assert main(["enable", str(file), "limit"]) == Exit.DONE
    assert main(["set", str(file), "exports.vda.node", "limit"]) == Exit.DONE
    assert capsys.readouterr().out.count("nothing to change") == 2
    assert file.stat() == before or file.stat().st_mtime_ns == before.st_mtime_ns


def test_an_edit_that_would_be_wrong(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that is wrong, with its places in the edited text; nothing is written."""
    words = ["exports.vda.nde", "x", "throttle-groups.slow.iops-total", "-5"]
    assert main(["set", str(file), "--", *words]) == Exit.USAGE
    said = capsys.readouterr()
    assert "+nde" in said.out
    assert 'vm.toml:15:1: error: unknown key "nde"' in said.err
    assert "throttle-groups.slow.iops-total" in said.err
    assert said.err.endswith("nothing was written\n")
    assert file.read_text() == TEXT


def test_an_edit_that_mends_a_file(file: Path) -> None:
    """What is wrong before need not be wrong after."""
    file.write_text(TEXT.replace("iops-total", "iops-totl"))
    words = ["--unset", "throttle-groups.slow.iops-totl"]
    assert main(["set", str(file), *words]) == Exit.DONE
    assert "iops" not in file.read_text()


@pytest.mark.parametrize("text", [b"[nodes.limit\n", b"# \xff\n" + TEXT.encode()])
def test_a_file_that_is_no_toml(
    file: Path, capsys: pytest.CaptureFixture[str], text: bytes
) -> None:
    """The place is shown; it is left alone."""
    file.write_bytes(text)
    assert main(["disable", str(file), "limit"]) == Exit.USAGE
    assert "vm.toml:1:" in capsys.readouterr().err
    assert file.read_bytes() == text


def test_line_ends_stay(file: Path) -> None:
    """Of the whole file, and the new line has the same."""
    file.write_bytes(TEXT.replace("\n", "\r\n").encode())
    assert main(["disable", str(file), "limit"]) == Exit.DONE
    text = file.read_bytes()
    assert b"enabled        = false\r\n" in text
    assert text.count(b"\n") == text.count(b"\r\n") == TEXT.count("\n") + 1


def test_for_scripts(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object, and nothing else."""
    assert main(["disable", str(file), "limit", "--dry-run", "--json"]) == Exit.DONE
    planned = json.loads(capsys.readouterr().out)
    assert (planned["changed"], planned["saved"]) == (True, False)
    outcome = planned["outcome"]
    assert outcome["actions"][0]["type"] == "object-add"
    assert outcome["operations"][0] == "+ throttle group slow: iops-total 500"
    assert (outcome["kind"], outcome["taken"], outcome["cancelled"]) == ("planned", {}, [])
    assert (outcome["refused"], outcome["drains"]) == (None, None)
    assert main(["disable", str(file), "limit", "--json"]) == Exit.DONE
    done = json.loads(capsys.readouterr().out)
    assert (done["saved"], done["outcome"]["kind"]) == (True, "saved")
    assert "+enabled        = false" in done["diff"].splitlines()
    assert main(["disable", str(file), "limit", "--json"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out) == {"changed": False}


def test_somebody_saves_meanwhile(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The edit is made again of what they wrote, and nothing of it is lost."""
    others = iter([TEXT.replace("500", "600"), None])

    def save(*sources: Any) -> bool:
        if (text := next(others)) is not None:
            file.write_text(text)
        return save_sources(*sources)

    monkeypatch.setattr(edit_file, "save_sources", save)
    assert main(["disable", str(file), "limit"]) == Exit.DONE
    assert "iops-total = 600" in file.read_text()
    assert "enabled" in file.read_text()


def test_somebody_saves_again_and_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is given up, and said."""
    monkeypatch.setattr(edit_file, "save_sources", lambda *_: False)
    assert main(["disable", str(file), "limit"]) == Exit.USAGE
    assert "changed again and again meanwhile; nothing was written" in capsys.readouterr().err


def test_the_files_that_it_includes(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each table is changed where it is; the diff names the file."""
    at = TEXT.index("[backends.disk]")
    (tmp_path / "tenants").mkdir()
    tenant = tmp_path / "tenants" / "a.toml"
    tenant.write_text(TEXT[at:])
    file.write_text(f'include = ["tenants/*.toml"]\n{TEXT[:at]}')
    main_text = file.read_text()
    assert main(["disable", str(file), "limit"]) == Exit.DONE
    assert f"--- {tenant}\n" in capsys.readouterr().out
    assert "enabled        = false\n" in tenant.read_text()
    assert file.read_text() == main_text


def test_a_missing_file_end(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text ends as it did, and the diff says so."""
    file.write_text(TEXT.rstrip("\n"))
    assert main(["set", str(file), "exports.vda.read-only", "true"]) == Exit.DONE
    assert file.read_text().endswith("read-only = true")
    assert "\\ no newline at the end" in capsys.readouterr().out


def test_words_that_do_not_pair(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key without its value, and nothing at all."""
    assert main(["set", str(file), "exports.vda.read-only"]) == Exit.USAGE
    assert "exports.vda.read-only has no value" in capsys.readouterr().err
    assert main(["set", str(file)]) == Exit.USAGE
