"""A dashboard in a terminal beside a server of fifty nodes: what it takes, and costs the server.

Its CPU time is taken over half a minute, under a load on every export that leaves the machine some
room, and then without any.  What it costs the client of one export, which does all it can, is seen
in spans with and without a dashboard in turn, on one connection: two runs of fio differ by more.
Without is: stopped by a signal.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.live.terminal import Terminal

from .edits import LEAD_S, LOAD, EditPair, Span, logging, pairs, parse_log
from .load import fio
from .place import SIZE_BYTES, BenchError
from .process import Running, parse_cpu_s, which
from .schedule import Pace
from .servers import Server, blkrun

EXPORTS = 10
FILTERS = 4
NODES = EXPORTS * (FILTERS + 1)
IOPS_EACH = 1000
"""On every export, while the dashboard's time is taken."""

LOOK_S = 30.0
QUICK_LOOK_S = 4.0

STILL_S = 80.0
"""After that long in which nothing happens its plots are full, and their axes at rest."""
SPAN_S = 1.0
"""Two looks."""

PAIRS = 6
"""Spans with and without a dashboard in one round."""

START_S = 2.5
"""For a dashboard, or a load, to start and to settle."""


@dataclass(frozen=True)
class Share:
    """Of one core, and what went to the terminal meanwhile."""

    percent: float
    kb_per_s: float


@dataclass(frozen=True)
class Watching:
    """What was found."""

    busy: Share
    opened: Share
    """Right after its start, while nothing happens: its plots fill."""
    idle: Share
    """The same later; a quick run does not wait for that."""
    resident_mb: float
    pairs: Sequence[EditPair]

    def as_json(self) -> dict[str, Any]:
        """All that was measured."""
        return {**asdict(self), "pairs": [one.as_json() for one in self.pairs]}


def chains() -> str:
    """The configuration: disks in memory, each exported through filters without limits."""
    parts = ['[server]\nlisten = "unix:bench.sock"\ncontrol = "unix:bench.qmp"\n']
    parts.append("[throttle-groups.free]\n")
    for number in range(EXPORTS):
        below = f"disk{number}"
        parts.append(f'[backends.{below}]\ndriver = "memory"\nsize = {SIZE_BYTES}\n')
        for level in range(FILTERS):
            name = f"limit{number}-{level}"
            parts.append(
                f'[nodes.{name}]\ndriver = "throttle"\nthrottle-group = "free"\nfile = "{below}"\n'
            )
            below = name
        parts.append(f'[exports.{_export(number)}]\nnode = "{below}"\n')
    return "\n".join(parts)


def _export(number: int) -> str:
    return "vda" if number == 0 else f"vd{number}"


WATCHED = Server(
    f"blkrun with {NODES} nodes", partial(blkrun, sys.executable, chains()), has_image=False
)


def measure_watching(server: Running, pace: Pace, *, quick: bool = False) -> Watching:
    """On a server that is up.  Raises BenchError when fio or a dashboard fails."""
    seconds = QUICK_LOOK_S if quick else LOOK_S
    with _dashboard(server) as shown:
        begin_s = time.monotonic()
        opened = idle = _share(shown, seconds)
        if not quick:
            time.sleep(max(0.0, begin_s + STILL_S - time.monotonic()))
            idle = _share(shown, seconds)
        with _every_export_busy(server, START_S + seconds + START_S):
            time.sleep(START_S)
            busy = _share(shown, seconds)
        resident_mb = _peak_mb(shown.process.pid)
    return Watching(busy, opened, idle, resident_mb, _measure_cost(server, pace.judged_rounds))


@contextmanager
def _dashboard(server: Running) -> Iterator[Terminal]:
    """From when it has settled to when it has gone."""
    begin_s = time.monotonic()
    shown = Terminal("attach", str(server.room.directory / "bench.toml"))
    try:
        shown.wait_for(b"vda")
        time.sleep(max(0.0, begin_s + START_S - time.monotonic()))
        yield shown
        if shown.process.poll() is not None:
            raise BenchError(f"the dashboard ended with status {shown.process.returncode}")
    finally:
        shown.process.terminate()
        shown.process.wait()
        shown.close()


def _share(shown: Terminal, seconds: float) -> Share:
    begin_s, cpu_s, written = time.monotonic(), _cpu_s(shown.process.pid), len(shown.seen)
    time.sleep(seconds)
    took_s = time.monotonic() - begin_s
    used_s = _cpu_s(shown.process.pid) - cpu_s
    return Share(100 * used_s / took_s, (len(shown.seen) - written) / 1000 / took_s)


def _cpu_s(pid: int) -> float:
    return parse_cpu_s(Path(f"/proc/{pid}/stat").read_text(), os.sysconf("SC_CLK_TCK"))


def _peak_mb(pid: int) -> float:
    """The most that it ever had in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


@contextmanager
def _every_export_busy(server: Running, seconds: float) -> Iterator[None]:
    """Read and write at a steady rate on all of them."""
    reads = IOPS_EACH * 7 // 10
    command = [
        which("fio"),
        "--ioengine=nbd",
        "--rw=randrw",
        "--rwmixread=70",
        f"--rate_iops={reads},{IOPS_EACH - reads}",
        "--bs=4k",
        "--iodepth=4",
        f"--size={SIZE_BYTES}",
        "--time_based",
        f"--runtime={round(seconds * 1000)}ms",
        "--norandommap",
        "--randrepeat=0",
    ]
    for number in range(EXPORTS):
        uri = f"nbd+unix:///{_export(number)}?socket={server.room.socket}"
        command += [f"--name={_export(number)}", f"--uri={uri}"]
    with tempfile.TemporaryFile() as said:
        load = subprocess.Popen(command, stdout=said, stderr=said, cwd=server.room.directory)
        try:
            yield
            if load.poll():
                said.seek(0)
                raise BenchError(f"fio: {said.read().decode(errors='replace')}")
        finally:
            load.terminate()
            load.wait()


def _measure_cost(server: Running, rounds: int) -> list[EditPair]:
    """Spans with and without a dashboard: ``edited`` are those with."""
    with _dashboard(server) as shown, tempfile.TemporaryDirectory() as directory:
        watcher = _Watcher(shown.process, rounds * PAIRS)
        log = Path(directory) / "fio"
        with watcher.at_work():
            fio(server.room.uri, LOAD, watcher.seconds, *logging(log))
        rates = parse_log(log.with_name("fio_iops.1.log").read_text())
        longest = parse_log(log.with_name("fio_clat.1.log").read_text())
    return pairs(watcher.spans, rates, longest)


class _Watcher:
    """Stops a dashboard in every second span, in a thread beside fio.

    It stays connected; what it does when it goes on, a look and a whole screen, counts as well.
    """

    def __init__(self, dashboard: "subprocess.Popen[bytes]", count: int) -> None:
        self.spans: list[Span] = []
        self.seconds = LEAD_S + 2 * count * SPAN_S + 2 * LEAD_S
        self._dashboard = dashboard
        self._thread = threading.Thread(target=self._run, args=(count,), name="watcher")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Stop it and let it go on while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._thread.join()

    def _run(self, count: int) -> None:
        time.sleep(LEAD_S)
        for number in range(count):
            for watched in (False, True) if number % 2 else (True, False):
                self._dashboard.send_signal(signal.SIGCONT if watched else signal.SIGSTOP)
                begin_ms = time.time() * 1000
                time.sleep(SPAN_S)
                self.spans.append(Span(begin_ms, time.time() * 1000, watched))
        self._dashboard.send_signal(signal.SIGCONT)
