"""A commit of a file: it is started, and when it is done the file follows."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from blkrun import config
from blkrun.model import JobState
from blkrun.pivot_record import PivotRecord, write_record
from blkrun.reconcile.dump import dump
from blkrun.reconcile.follow import follow
from blkrun.reconcile.pivots import with_recorded
from blkrun.reconcile.plan import plan
from tests.reconcile.live_graph import LiveGraph
from tests.reconcile.test_stream_plans import FILE, done, graph
from tests.server import overlay

JOB = '[jobs.j]\ntype = "commit"\ndevice = "top"\n'
PIVOT = JOB + 'when-ready = "pivot"\n'


@pytest.fixture(autouse=True)
def _overlays(monkeypatch: pytest.MonkeyPatch) -> None:
    overlay.register(monkeypatch)


def asked(more: str, *changes: tuple[str, str, str, Any]) -> dict[str, Any]:
    """The file with the job, and with these keys set to other values."""
    document = tomllib.loads(FILE + more)
    for section, name, key, value in changes:
        document[section][name][key] = value
    document["jobs"]["j"]["enabled"] = False
    return document


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (JOB, "commit j of top (to the last of its images)"),
        (PIVOT + 'base-node = "low"\n', "commit j of top (to low, when ready: pivot)"),
        (JOB + 'top-node = "mid"\nspeed = "1MiB"\n', "commit j of mid (to the last of its images"),
    ],
)
def test_a_commit_is_one_operation(more: str, text: str) -> None:
    """And while it runs there is none."""
    (operation,) = plan(graph(FILE + more), graph(FILE))
    assert operation.type == "block-commit"
    assert operation.text.startswith(text)


@pytest.mark.parametrize(
    ("more", "change"),
    [
        (PIVOT, ("exports", "vda", "node", "base")),
        (PIVOT + 'base-node = "low"\n', ("exports", "vda", "node", "low")),
        (PIVOT + 'base-node = "mid"\n', ("exports", "vda", "node", "mid")),
        (JOB + 'top-node = "mid"\n', ("nodes", "top", "backing", "limit")),
        (JOB + 'top-node = "low"\n', ("nodes", "mid", "backing", "limit")),
        (JOB + 'top-node = "mid"\nbase-node = "low"\n', ("nodes", "top", "backing", "low")),
    ],
)
def test_the_file_follows(tmp_path: Path, more: str, change: tuple[str, str, str, Any]) -> None:
    """It names what stays, with everything else as it was; a plan of it is empty."""
    path = tmp_path / "lab.toml"
    path.write_text(FILE + more)
    server = LiveGraph(graph(FILE))
    server.perform(plan(graph(FILE + more), server.model()))
    live = done(server)
    assert plan(config.load(path).graph, live) == ()
    report = follow(path, config.load(path), lambda _: live)
    assert report is not None
    assert tomllib.loads(path.read_text()) == asked(more, change)
    assert plan(config.load(path).graph, live) == ()
    assert follow(path, config.load(path), lambda _: live) is None


def test_limits_of_the_export_hold(tmp_path: Path) -> None:
    """Iotest 191 of the seed's branch: they are over the disk before, and over the base after."""
    limited = FILE + "iops-total = 1000000\n"
    path = tmp_path / "lab.toml"
    path.write_text(limited + PIVOT)
    server = LiveGraph(graph(limited))
    throttle = server.graph.nodes["vda-throttle"]
    server.perform(plan(graph(limited + PIVOT), server.model()))
    live = done(server)
    assert server.graph.exports["vda"].root is throttle
    assert throttle.children["file"].name == "base"
    assert follow(path, config.load(path), lambda _: live) is not None
    assert tomllib.loads(path.read_text())["exports"]["vda"]["node"] == "base"
    assert plan(config.load(path).graph, live) == ()


def test_a_pivot_that_was_written_down(tmp_path: Path) -> None:
    """Should everything end before the file has followed, nobody is led back to the overlay."""
    control = tmp_path / "vm.qmp"
    write_record(control, PivotRecord("j", "top", ""))
    desired = graph(FILE + PIVOT)
    moved = graph(FILE.replace('node = "top"', 'node = "base"'))
    live = with_recorded(moved, desired, control)
    assert live.states["j"] == JobState(status="concluded", pivoted=True)
    assert plan(desired, live) == ()
    heard = replace(live, states={"j": JobState(status="concluded")})
    assert with_recorded(heard, desired, control) == live  # and not only that it has ended
    runs = replace(live, states={"j": JobState(status="running")})
    assert with_recorded(runs, desired, control) == runs


def test_a_dump_says_that_it_has_ended() -> None:
    """And asks for what there is."""
    server = LiveGraph(graph(FILE))
    server.perform(plan(graph(FILE + PIVOT), server.model()))
    text = dump(done(server), {}, "as it is")
    assert "# j has ended: who used what was committed uses the base.\n" in text
    assert plan(graph(text), done(server)) == ()
