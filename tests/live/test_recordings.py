"""A real server, recorded and replayed: the same looks, a restart as a gap, from the terminal."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blkrun.dashboard.feed import Happened, Lost, Report, Rewound, Seen
from blkrun.dashboard.player import Player
from blkrun.dashboard.poller import Poller
from blkrun.dashboard.recorder import Recorder
from blkrun.dashboard.recording import Recording
from blkrun.dashboard.recording_writer import Writer
from tests.dashboard.dashboard_samples import FakeClock
from tests.live.service import PATIENCE_S, THROTTLED, Service

pytestmark = pytest.mark.live

Serve = Callable[[str], Service]


async def record(service: Service, path: Path, act: Callable[[list[Report]], bool]) -> list[Report]:
    """What a dashboard hears, recorded, until the act says that it is enough."""
    heard: list[Report] = []
    enough = asyncio.Event()

    def hear(report: Report) -> None:
        heard.append(report)
        if act(heard):
            enough.set()

    writer = Writer.open(path, title="vm.toml", begin_ms=0)
    recorder = Recorder(Poller(service.control, refresh_s=0.05), writer, note=print)
    task = asyncio.create_task(recorder.run(hear))
    try:
        await asyncio.wait_for(enough.wait(), PATIENCE_S)
    finally:
        task.cancel()
        await asyncio.wait([task])
        await asyncio.to_thread(recorder.close)
    return heard


async def replay(path: Path) -> list[Report]:
    """All that a player tells from the first look on, look by look."""
    told: list[Report] = []
    with Recording.open(path) as recording:
        player = Player(recording, clock=FakeClock())
        await player.frame(told.append)
        (first,) = told
        assert isinstance(first, Rewound)
        told[:] = [report for _, report in first.past]
        count = -1
        while count != len(told):
            count = len(told)
            player.step(1)
            await player.frame(told.append)
        player.close()
    return told


def looks(reports: list[Report]) -> list[object]:
    """Their snapshots."""
    return [report.snapshot for report in reports if isinstance(report, Seen)]


def events(reports: list[Report]) -> list[object]:
    """All that happened."""
    return [event for report in reports if isinstance(report, Happened) for event in report.events]


def test_a_replay_shows_what_was_seen(serve: Serve, tmp_path: Path) -> None:
    """Every snapshot and every event, equal in all that they say."""
    service = serve(THROTTLED)
    path = tmp_path / "a.rec"

    def five_looks(heard: list[Report]) -> bool:
        return len(looks(heard)) >= 5 and bool(events(heard))

    heard = asyncio.run(record(service, path, five_looks))
    told = asyncio.run(replay(path))
    assert looks(told) == looks(heard)
    shown = events(told)
    assert shown == events(heard)[: len(shown)]


def test_a_restart_is_a_gap(serve: Serve, tmp_path: Path) -> None:
    """Between two processes, with the loss in its place."""
    service = serve(THROTTLED)
    path = tmp_path / "a.rec"

    def kill_once(heard: list[Report]) -> bool:
        seen = looks(heard)
        if len(seen) == 2 and isinstance(heard[-1], Seen):
            os.kill(heard[-1].snapshot.pid, 9)
        lost = [index for index, report in enumerate(heard) if isinstance(report, Lost)]
        return bool(lost) and any(isinstance(report, Seen) for report in heard[lost[0] :])

    asyncio.run(record(service, path, kill_once))
    told = asyncio.run(replay(path))
    place = next(index for index, report in enumerate(told) if isinstance(report, Lost))
    before = {each.snapshot.pid for each in told[:place] if isinstance(each, Seen)}
    after = {each.snapshot.pid for each in told[place:] if isinstance(each, Seen)}
    assert len(before) == len(after) == 1
    assert before != after


def test_from_the_terminal(serve: Serve, tmp_path: Path) -> None:
    """``attach --record``, left with q, and what ``replay`` says of it, as a screen and as JSON."""
    service = serve(THROTTLED)
    path = tmp_path / "a.rec"
    said = on_terminal("attach", str(service.file), "--record", str(path), until=b"RUN")
    assert b"look at it again with: blkrun replay " in said
    done = subprocess.run(
        [sys.executable, "-m", "blkrun", "replay", str(path), "--json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    first, *others = map(json.loads, done.stdout.splitlines())
    assert first["recording"]["title"] == "vm.toml"
    assert any(line.get("look", {}).get("pid") == service.server_pid() for line in others)
    on_terminal("replay", str(path), until=b"vm.toml")


def on_terminal(*words: str, until: bytes) -> bytes:
    """Run a command on a terminal of 100 by 30, press q when it shows that; all it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "blkrun", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
    )
    os.close(theirs)
    try:
        shown = b""
        while until not in shown:
            shown += os.read(ours, 65536)
        os.write(ours, b"q")
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # nobody has the other end any more
                break
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return shown
