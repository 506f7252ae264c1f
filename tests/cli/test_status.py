"""``blkrun status``: the table of jobs."""

from typing import Any

import pytest
from rich.console import Console

from blkrun.cli.output import console
from blkrun.cli.status import _jobs


def job(**values: Any) -> dict[str, Any]:
    """As x-blkrun-query-graph has it."""
    return {
        "id": "nightly",
        "type": "backup",
        "options": {"device": "disk", "target": "copy"},
        "status": "running",
        "current-progress": 420 * 2**20,
        "total-progress": 2**30,
        "rate": 50 * 2**20,
        "io-status": "ok",
        "cancelled": False,
        "pivoted": False,
        **values,
    }


def row(**values: Any) -> list[str]:
    """The words of a job's line."""
    out = Console(width=200, color_system=None)
    with out.capture() as capture:
        out.print(_jobs({"jobs": [job(**values)]}))
    return [word for word in capture.get().splitlines()[1].split("  ") if word.strip()]


def test_a_running_job() -> None:
    """What it does, how far it is, how fast, and how long it still takes."""
    words = "nightly backup disk → copy running 420MiB 1GiB 41 50MiB/s 12s"
    assert " ".join(" ".join(row()).split()) == words


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"status": "concluded", "pivoted": True}, "concluded, pivoted"),
        ({"status": "concluded", "cancelled": True}, "concluded, cancelled"),
        ({"status": "aborting", "cancelled": True}, "aborting, cancelled"),
        ({"status": "paused", "io-status": "nospace"}, "paused (nospace)"),
        ({"status": "concluded", "error": "No space left on device"}, "No space left on device"),
    ],
)
def test_how_a_job_is(values: dict[str, Any], expected: str) -> None:
    """QEMU's word, and what it does not say; the error; no rate of what does not run."""
    words = row(**values)
    assert any(expected in word for word in words)
    assert "50MiB/s" not in " ".join(words)


def test_into_a_pipe_a_job_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever its length, for grep; in 80 columns a usual one is too."""
    name = "nightly-of-the-database-" * 5
    console().print(_jobs({"jobs": [job(id=name, error="No space left on device")]}))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if name in line]
    assert "No space left on device" in line
    out = Console(width=80, color_system=None)
    with out.capture() as capture:
        out.print(_jobs({"jobs": [job()]}))
    assert len(capture.get().splitlines()) == 2
