"""``blkrun enable FILE JOB --again`` where nothing is served."""

from pathlib import Path

import pytest

from blkrun.cli import Exit, main

TEXT = """\
[backends.disk]
driver = "memory"

[backends.copy]
driver = "memory"

[jobs.nightly]
type    = "backup"
device  = "disk"
target  = "copy"
enabled = false
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a job that is off."""
    path = tmp_path / "vm.toml"
    path.write_text(TEXT)
    return path


def test_without_a_server_it_is_the_ordinary_edit(file: Path) -> None:
    """Nothing has ended where nothing runs."""
    assert main(["enable", str(file), "nightly", "--again"]) == Exit.DONE
    assert "enabled = true" in file.read_text()


@pytest.mark.parametrize("name", ["disk", "nowhere", "backends.disk"])
def test_what_is_no_job(file: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, and nothing is written."""
    assert main(["enable", str(file), name, "--again"]) == Exit.USAGE
    assert capsys.readouterr().err
    assert file.read_text() == TEXT
