"""The README names what there is."""

import re
from pathlib import Path

import pytest
from textual.binding import Binding

from blkrun.cli import COMMANDS, Exit
from blkrun.dashboard.dialogs.help_screen import help_text
from blkrun.dashboard.keyboard import ALL
from blkrun.job_options import JOBS, CopyOptions, JobOptions
from blkrun.options import DRIVERS, BitmapOptions
from blkrun.server.qmp.commands import COMMANDS as QMP_COMMANDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_is_in_the_readme(driver: str) -> None:
    """A row in the table of drivers."""
    assert f"| `{driver}` |" in README


@pytest.mark.parametrize("job", JOBS)
def test_every_job_is_in_the_readme(job: str) -> None:
    """A row in the table of jobs, with the keys that only it has; what all have is below."""
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{job}` |")]
    text = README.split("| job | keys of its own")[1].split("| settings |")[0]
    shared = {*JobOptions.__struct_encode_fields__, *CopyOptions.__struct_encode_fields__}
    shared -= {"job-id"}
    for key in {*JOBS[job].__struct_encode_fields__} - shared - {"job-id"}:
        assert f"`{key}`" in row
    for key in shared - {"device", "target"} | {"enabled"}:
        assert f"`{key}`" in text


def test_every_key_of_a_bitmap_is_in_the_readme() -> None:
    """A row of its own."""
    (row,) = [line for line in README.splitlines() if line.startswith("| `[bitmaps.NAME]` |")]
    for key in BitmapOptions.__struct_encode_fields__:
        assert f"`{key}`" in row


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    """A line in the list of commands."""
    assert f"`blkrun {command} " in README


@pytest.mark.parametrize("command", [*QMP_COMMANDS, "qmp_capabilities"])
def test_every_qmp_command_is_in_the_readme(command: str) -> None:
    """Its name, in the paragraph on QMP."""
    assert f"`{command}`" in README


@pytest.mark.parametrize("code", [code for code in Exit if code is not Exit.INTERRUPTED])
def test_every_exit_code_is_in_the_readme(code: Exit) -> None:
    """Its number, in the sentence on exit codes."""
    assert f"{code.value} " in README.split("Exit codes")[1].split("\n\n")[0]


@pytest.mark.parametrize(
    "key", [*Binding.make_bindings(ALL)], ids=lambda key: f"{key.id}-{key.key}"
)
def test_every_key_is_in_the_readme(key: Binding) -> None:
    """In the section on the dashboard, as the footer writes it, and in the help with its words."""
    section = README.split("## The dashboard")[1].split("### Themes")[0]
    assert f"`{key.key_display or key.key}`" in section
    assert key.description in help_text([key])


def test_every_picture_of_the_readme_is_there() -> None:
    """None is named that `make pictures` does not take, and none that has gone."""
    named = re.findall(r"!\[.*\]\((.*)\)", README)
    assert named
    for path in named:
        assert (ROOT / path).read_text().startswith("<svg")
