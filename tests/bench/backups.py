"""What a backup costs a client that writes at full speed: blkrun's beside qemu-storage-daemon's.

Spans without a backup and backups alternate on one connection, because two runs of fio differ by
more than that.  Each backup is of the whole disk to a fresh file.  One that is faster leaves the
client less while it runs, but for a shorter time; so what is compared is the work: how much of the
client's time, at its rate without one, a whole backup takes.
"""

import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.live.service import Qmp

from .edits import Sample, conversation, parse_log
from .load import Workload, fio_command
from .middle import median_or_none
from .place import SIZE_BYTES, BenchError, Room
from .process import Running, which
from .servers import FILE, Server

PLAIN_S = 0.6
SETTLE_S = 0.2
"""After a backup, until its target's pages are gone; counts for nothing."""

LEAD_S = 1.0
"""For fio to start and get going before the first span."""

FIO_S = 120.0
"""It is stopped when all is done."""

LIMIT = 50 * 2**20


@dataclass(frozen=True)
class Scene:
    """A load, the speed limit of the backups (0: none), and how many there are in a round."""

    name: str
    workload: Workload
    speed: int
    backups: int

    @property
    def title(self) -> str:
        """For people."""
        limit = f"at {self.speed >> 20} MiB/s" if self.speed else "as fast as it can"
        return f"a backup {limit} under {self.workload.title}"


SCENES = tuple(
    Scene(f"backup-qd{depth}-{name}", Workload("randwrite", 4, depth, 1), speed, backups)
    for name, speed, backups in (("fast", 0, 4), ("50m", LIMIT, 2))
    for depth in (16, 1)
)


@dataclass(frozen=True)
class Span:
    """A time, in milliseconds since 1970, in which there was a backup or none."""

    begin_ms: float
    end_ms: float
    backup: bool

    @property
    def seconds(self) -> float:
        """How long it was."""
        return (self.end_ms - self.begin_ms) / 1000


@dataclass(frozen=True)
class Spans:
    """What the client saw in all spans of a kind of one round; ``seconds`` of each."""

    iops: float
    p99_us: float
    longest_us: float
    seconds: float


@dataclass(frozen=True)
class Cost:
    """One round of a server."""

    plain: Spans
    backup: Spans

    @property
    def kept(self) -> float:
        """Of the rate, while a backup runs."""
        return self.backup.iops / self.plain.iops

    @property
    def p99(self) -> float:
        """Times as long as without."""
        return self.backup.p99_us / self.plain.p99_us

    @property
    def lost_ms(self) -> float:
        """Of the client's time for a whole backup."""
        return 1000 * self.backup.seconds * (1 - self.kept)

    def as_json(self) -> dict[str, Any]:
        """All that was measured."""
        ratios = {"kept": self.kept, "p99": self.p99, "lost-ms": self.lost_ms}
        return {"plain": asdict(self.plain), "backup": asdict(self.backup), **ratios}


Costs = dict[str, dict[str, list[Cost]]]
"""Scene → server's title → by round."""


def cost(spans: Sequence[Span], requests: Sequence[Sample]) -> Cost:
    """From when each request ended and how long it took, in ns.

    The first and the last span are without a backup, and a backup may let nothing through.  Raises
    BenchError if fio was not there all the time.
    """
    return Cost(
        *(_seen([s for s in spans if s.backup is kind], requests) for kind in (False, True))
    )


def _seen(spans: Sequence[Span], requests: Sequence[Sample]) -> Spans:
    inside = [
        sorted(each.value for each in requests if span.begin_ms <= each.end_ms < span.end_ms)
        for span in spans
    ]
    if any(not values and not span.backup for values, span in zip(inside, spans, strict=True)):
        raise BenchError("fio was not under way in all spans")
    seconds = sum(span.seconds for span in spans)
    taken = sorted(value for each in inside for value in each) or [seconds * 1e9]
    return Spans(
        iops=sum(map(len, inside)) / seconds,
        p99_us=taken[len(taken) * 99 // 100] / 1000,
        longest_us=taken[-1] / 1000,
        seconds=seconds / len(spans),
    )


def more_lost(by_title: Mapping[str, Sequence[Cost]], title: str) -> list[float]:
    """How much more of the client's time a backup takes than the better of QEMU's; ms, by round.

    A difference, for what is lost may be next to nothing.
    """
    theirs = [by_title[name] for name in QEMU if by_title.get(name)]
    if not theirs:
        return []
    better = min(theirs, key=lambda costs: statistics.median(one.lost_ms for one in costs))
    pairs = zip(by_title.get(title, []), better, strict=False)
    return [mine.lost_ms - other.lost_ms for mine, other in pairs]


# The servers

QEMU = ("qemu backup, aio threads", "qemu backup, io_uring")


def backup_servers(servers: Sequence[Server]) -> list[Server]:
    """QEMU's with a monitor, and of those to be measured the ones that serve a file alone."""
    qemu = [
        Server(name, partial(_qemu, aio), may_be_missing=aio == "io_uring")
        for name, aio in zip(QEMU, ("threads", "io_uring"), strict=True)
    ]
    return [*qemu, *(server for server in servers if server.name == FILE)]


def _qemu(aio: str, room: Room) -> list[str]:
    return [
        which("qemu-storage-daemon"),
        f"--blockdev=driver=file,node-name=disk,filename={room.image},aio={aio}",
        f"--chardev=socket,id=monitor,path={room.control},server=on,wait=off",
        "--monitor=chardev=monitor",
        f"--nbd-server=addr.type=unix,addr.path={room.socket},max-connections=0",
        "--export=type=nbd,id=export,node-name=disk,name=vda,writable=on",
    ]


def _target(server: Server, path: Path) -> dict[str, Any]:
    node = {"driver": "file", "node-name": "copy"}
    if server.name == FILE:
        return node | {"path": str(path)}
    return node | {
        "filename": str(path),
        "aio": "io_uring" if "uring" in server.name else "threads",
    }


# Measuring


@dataclass
class _Backups:
    """Spans with and without a backup, in a thread beside fio."""

    server: Server
    room: Room
    scene: Scene
    spans: list[Span] = field(default_factory=list)

    def run(self) -> None:
        """All of a round.  Raises AssertionError or OSError."""
        time.sleep(LEAD_S)
        with conversation(self.room.control) as qmp:
            self._plain()
            for _ in range(self.scene.backups):
                self._back_up(qmp)
                time.sleep(SETTLE_S)
                self._plain()

    def _plain(self) -> None:
        with self._span(backup=False):
            time.sleep(PLAIN_S)

    def _back_up(self, qmp: Qmp) -> None:
        path = self.room.directory / "copy.img"
        with path.open("wb") as image:
            image.truncate(SIZE_BYTES)
        qmp.do("blockdev-add", **_target(self.server, path))
        job = {"job-id": "j", "device": "disk", "target": "copy", "sync": "full"}
        with self._span(backup=True):
            qmp.do("blockdev-backup", **job, speed=self.scene.speed)
            done = qmp.wait_event("BLOCK_JOB_COMPLETED")["data"]
        assert "error" not in done, done
        while qmp.wait_event("JOB_STATUS_CHANGE")["data"]["status"] != "null":
            pass
        qmp.do("blockdev-del", **{"node-name": "copy"})
        path.unlink()

    @contextmanager
    def _span(self, *, backup: bool) -> Iterator[None]:
        begin_ms = time.time() * 1000
        yield
        self.spans.append(Span(begin_ms, time.time() * 1000, backup))


def measure_backups(server: Server, up: Running, scene: Scene) -> Cost:
    """One round.  Raises BenchError when fio or a backup fails."""
    backups = _Backups(server, up.room, scene)
    with tempfile.TemporaryDirectory(dir=up.room.directory) as directory:
        log = Path(directory) / "fio"
        with _loaded(up.room.uri, scene.workload, log):
            try:
                backups.run()
            except (AssertionError, OSError) as error:
                raise BenchError(f"{server.title}: a backup under load failed: {error}") from error
        requests = parse_log(log.with_name("fio_clat.1.log").read_text())
    up.room.write_back()
    return cost(backups.spans, requests)


@contextmanager
def _loaded(uri: str, workload: Workload, log: Path) -> Iterator[None]:
    """A fio that logs each request, and is stopped at the end of the block."""
    logging = (f"--write_lat_log={log}", "--disable_lat=1", "--disable_slat=1")
    command = fio_command(uri, workload, FIO_S, *logging, "--log_unix_epoch=1")
    with log.with_name("said").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield
        if process.poll() is not None:
            raise BenchError(f"fio ended with status {process.returncode} before it was stopped")
    finally:
        process.send_signal(signal.SIGINT)  # it writes its log
        process.wait()


# The report


def table(costs: Costs) -> str:
    """A block a scene: a line a server."""
    return "\n\n".join(
        _block(scene, costs[scene.name]) for scene in SCENES if costs.get(scene.name)
    )


_COLUMNS = (
    "IOPS",
    "with",
    "kept",
    "p99 ms",
    "with",
    "its ratio",
    "backup s",
    "lost ms",
    "than qemu",
)


def _block(scene: Scene, by_title: Mapping[str, Sequence[Cost]]) -> str:
    width = max(map(len, by_title))
    rows = [f"{scene.title}  [{scene.name}]", " " * width + "".join(f"{c:>10}" for c in _COLUMNS)]
    for title, found in by_title.items():
        cells = "".join(f"{cell:>10}" for cell in _cells(found, more_lost(by_title, title)))
        rows.append(f"{title:{width}}{cells}")
    return "\n".join(rows)


def _cells(found: Sequence[Cost], than_qemu: Sequence[float]) -> list[str]:
    def middle(values: Iterator[float]) -> float:
        return statistics.median(values)

    more = median_or_none(than_qemu)
    return [
        f"{middle(one.plain.iops for one in found):,.0f}",
        f"{middle(one.backup.iops for one in found):,.0f}",
        f"{middle(one.kept for one in found):.2f}",
        f"{middle(one.plain.p99_us for one in found) / 1000:.3f}",
        f"{middle(one.backup.p99_us for one in found) / 1000:.3f}",
        f"{middle(one.p99 for one in found):.1f}",
        f"{middle(one.backup.seconds for one in found):.2f}",
        f"{middle(one.lost_ms for one in found):,.0f}",
        "-" if more is None else f"{more:+,.0f}",
    ]


def as_json(costs: Costs) -> dict[str, Any]:
    """Each round's figures."""
    return {
        scene: {title: [one.as_json() for one in found] for title, found in by_title.items()}
        for scene, by_title in costs.items()
    }
