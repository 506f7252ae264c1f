"""The units in examples/systemd call blkrun as it is."""

import shlex
from pathlib import Path

import pytest

from blkrun.cli import COMMANDS, _parser

UNITS = Path(__file__).resolve().parents[1] / "examples" / "systemd"
LINES = [
    line.split("=", 1)[1]
    for unit in sorted(UNITS.iterdir())
    for line in unit.read_text().splitlines()
    if line.startswith("Exec")
]


@pytest.mark.parametrize("line", LINES)
def test_every_command_line_is_understood(line: str) -> None:
    """Its options exist, and the file is the instance's."""
    program, *words = shlex.split(line)
    assert program == "/usr/local/bin/blkrun"
    assert words[0] in COMMANDS
    assert str(_parser(words).parse_args(words).file) == "/etc/blkrun/%i.toml"
