"""A stream of a file: it is started, and when it is done the file follows."""

import tomllib
from pathlib import Path

import pytest

from blkrun import config
from blkrun.model import GraphModel, JobState
from blkrun.reconcile.dump import dump
from blkrun.reconcile.follow import follow
from blkrun.reconcile.plan import plan
from tests.reconcile.live_graph import LiveGraph
from tests.server import overlay
from tests.server.inprocess import eventually

FILE = """\
[backends.base]
driver = "memory"
size = "64KiB"

[throttle-groups.g]

[nodes.limit]
driver = "throttle"
throttle-group = "g"
file = "base"

[nodes.low]
driver = "overlay"
size = "64KiB"
backing = "limit"    # over the base

[nodes.mid]
driver = "overlay"
size = "64KiB"
backing = "low"

[nodes.top]
driver = "overlay"
size = "64KiB"
backing = "mid"      # what it reads from

[exports.vda]
node = "top"
"""
JOB = '[jobs.j]\ntype = "stream"\ndevice = "top"\n'


@pytest.fixture(autouse=True)
def _overlays(monkeypatch: pytest.MonkeyPatch) -> None:
    overlay.register(monkeypatch)


def graph(text: str) -> GraphModel:
    """What a file asks for."""
    return config.parse(text, Path("/lab/lab.toml")).graph


def done(server: LiveGraph) -> GraphModel:
    """The live graph when its job has ended."""
    eventually(lambda: server.model().states["j"].ended)
    assert server.model().states["j"] == JobState(status="concluded", pivoted=True)
    return server.model()


def test_a_stream_is_started_and_not_again() -> None:
    """One operation; and while it runs, and when it has ended, there is none."""
    server = LiveGraph(graph(FILE))
    operations = plan(graph(FILE + JOB), server.model())
    assert [f"{each.sign} {each.text}" for each in operations] == [
        "+ stream j into top (base none)"
    ]
    server.perform(operations)
    assert plan(graph(FILE + JOB), done(server)) == ()


@pytest.mark.parametrize(
    ("more", "backing"),
    [
        ("", ""),
        ('base-node = "base"\n', "limit"),
        ('base-node = "low"\n', "low"),
        ('bottom = "mid"\n', "low"),
        ('bottom = "low"\n', "limit"),
    ],
)
def test_the_file_follows(tmp_path: Path, more: str, backing: str) -> None:
    """It says what is below now, with everything else as it was; a plan of it is empty."""
    path = tmp_path / "lab.toml"
    path.write_text(FILE + JOB + more)
    server = LiveGraph(graph(FILE))
    server.perform(plan(graph(FILE + JOB + more), server.model()))
    live = done(server)
    report = follow(path, config.load(path), lambda _: live)
    assert report is not None
    text = path.read_text()
    asked = tomllib.loads(FILE + JOB + more)
    asked["nodes"]["top"]["backing"] = backing
    asked["jobs"]["j"]["enabled"] = False
    assert tomllib.loads(text) == asked
    assert "# what it reads from" in text
    assert plan(config.load(path).graph, live) == ()
    assert follow(path, config.load(path), lambda _: live) is None


def test_a_dump_says_that_it_has_ended() -> None:
    """And asks for what there is."""
    server = LiveGraph(graph(FILE))
    server.perform(plan(graph(FILE + JOB), server.model()))
    text = dump(done(server), {}, "as it is")
    assert "# j has ended: the device does without what was streamed into it.\n" in text
    assert plan(graph(text), done(server)) == ()


def test_a_device_may_be_a_filter_over_the_overlay(tmp_path: Path) -> None:
    """What is streamed into is what has the data."""
    above = '[nodes.above]\ndriver = "throttle"\nthrottle-group = "g"\nfile = "top"\n'
    before = FILE.replace('node = "top"', 'node = "above"') + above
    path = tmp_path / "lab.toml"
    path.write_text(before + JOB.replace('"top"', '"above"'))
    server = LiveGraph(graph(before))
    server.perform(plan(config.load(path).graph, server.model()))
    live = done(server)
    assert plan(config.load(path).graph, live) == ()
    assert follow(path, config.load(path), lambda _: live) is not None
    assert tomllib.loads(path.read_text())["nodes"]["top"]["backing"] == ""
    assert plan(config.load(path).graph, live) == ()
