"""The tour: each command of the command line, in turn, against one real server."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blkrun.cli import COMMANDS, Exit
from tests.dashboard.recording_samples import incident
from tests.live.hammering import Hammer
from tests.live.service import PATIENCE_S, THROTTLED, Service

FILE = "# of the tour\n" + THROTTLED

Step = tuple[str, tuple[str, ...], Exit, str]
"""Command, what is said after the file, how it ends, and something that it prints."""

TOUR: tuple[Step, ...] = (
    ("run", ("--headless",), Exit.FAILED, "already run by process"),
    ("check", (), Exit.DONE, "2 nodes, 1 group, 1 export"),
    ("status", (), Exit.DONE, "last edit: applied vm.toml"),
    ("plan", (), Exit.DONE, "nothing to do"),
    ("limit", ("g", "iops-total=50000"), Exit.DONE, "iops-total 100000 → 50000"),
    (
        "insert",
        ("alarm", "--driver", "write-threshold", "--above", "disk", "--set", "write-threshold=0"),
        Exit.DONE,
        "insert alarm between limit and disk",
    ),
    ("disable", ("limit",), Exit.DONE, "remove limit from between export vda and alarm"),
    ("enable", ("limit",), Exit.DONE, "insert limit between export vda and alarm"),
    ("remove", ("alarm",), Exit.DONE, "remove alarm from between limit and disk"),
    ("set", ("exports.vda.description", "d", "--dry-run"), Exit.DONE, "taken from them"),
    ("apply", (), Exit.DONE, "nothing to do"),
    ("reload", (), Exit.DONE, "applied vm.toml: nothing to change"),
    ("history", ("--json",), Exit.DONE, "remove alarm from between limit and disk"),
    ("rollback", ("2", "--yes"), Exit.DONE, "applied vm.toml: nothing to change"),
    ("dump", (), Exit.DONE, 'throttle-group = "g"'),
    ("events", (), Exit.DONE, "client 1 connected to vda"),
    ("logs", (), Exit.DONE, ""),
    ("attach", (), Exit.FAILED, "terminal"),
    ("stop", (), Exit.PENDING, "1 client connected to vda"),
)

WITHOUT_A_FILE: dict[str, tuple[tuple[str, ...], str]] = {
    "ps": ((), "vm.toml"),
    "drivers": (("throttle",), "throttle-group"),
    "schema": ((), '"write-threshold"'),
    "completion": (("bash",), "complete"),
    "replay": (("a.rec", "--json"), '{"at":1764300025.0,"lost":"the server has gone"}'),
    "init": (("other.toml", "--example", "null"), "wrote other.toml"),
}


def test_the_tour_leaves_nothing_out() -> None:
    """Every command is driven here."""
    assert {step[0] for step in TOUR} | {*WITHOUT_A_FILE} == {*COMMANDS}


def test_the_tour(serve: Callable[[str], Service], hammer: Callable[..., Hammer]) -> None:
    """Each does what it says, under a client that checks each byte; what it undoes is undone."""
    service = serve(FILE)
    client = hammer(service.uri())
    next(client.said())
    for command, words, code, said in TOUR:
        done = service.blkrun(command, *words)
        assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done
    assert service.live() == service.desired()
    assert service.file.read_text() == FILE.replace("100000", "50000")
    client.assert_unharmed()
    assert service.blkrun("stop", "--yes").returncode == Exit.DONE


@pytest.mark.parametrize("command", WITHOUT_A_FILE)
def test_commands_about_no_one_file(
    serve: Callable[[str], Service], tmp_path: Path, command: str
) -> None:
    """They say what they know, also beside a server that runs."""
    serve(FILE)
    incident(tmp_path / "a.rec")
    words, said = WITHOUT_A_FILE[command]
    done = subprocess.run(
        [sys.executable, "-m", "blkrun", command, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, said in done.stdout) == (Exit.DONE, True), done
