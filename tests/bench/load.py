"""The load: fio's nbd engine, and what is kept of its report."""

import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .place import EMPTY_QCOW2, QCOW2, RAW, BenchError, Image
from .process import Running, which

_TITLES = {
    "randread": "random read",
    "randwrite": "random write",
    "randrw": "random, 70 % read and 30 % write",
    "read": "sequential read",
    "write": "sequential write",
}


@dataclass(frozen=True)
class Workload:
    """A block of the table: fio's pattern, and the depth of each connection's queue."""

    rw: str
    block_kib: int
    depth: int
    connections: int
    image: Image = RAW

    @property
    def name(self) -> str:
        """Short, for --only and JSON: ``randread-4k-qd16-c1``, ``randread-qcow2-4k-qd16-c1``."""
        rw = self.rw if self.image is RAW else f"{self.rw}-{self.image.name}"
        return f"{rw}-{self.block_kib}k-qd{self.depth}-c{self.connections}"

    @property
    def title(self) -> str:
        """For people."""
        size = f"{self.block_kib >> 10} MiB" if self.block_kib >= 1024 else f"{self.block_kib} KiB"
        plural = "s" if self.connections > 1 else ""
        where = f" {self.image.title}" if self.image.title else ""
        return (
            f"{size} {_TITLES[self.rw]}{where}, queue depth {self.depth}, "
            f"{self.connections} connection{plural}"
        )

    @property
    def writes(self) -> bool:
        """Whether it leaves dirty pages."""
        return self.rw not in ("read", "randread")


WORKLOADS = (
    *(
        Workload(rw, 4, depth, connections)
        for rw in ("randread", "randwrite")
        for connections in (1, 2, 4)
        for depth in (1, 16, 64)
    ),
    *(Workload(rw, kib, 16, 1) for kib in (64, 1024) for rw in ("read", "write")),
    Workload("randrw", 4, 16, 1),
    Workload("randread", 4, 16, 1, QCOW2),
    Workload("read", 1024, 16, 1, QCOW2),
    Workload("randwrite", 4, 16, 1, EMPTY_QCOW2),
)

WARM_UP_REQUESTS = 4096
"""Of an empty image: each of its 512 L2 tables has come into being, and a cluster in a thousand."""

FIO_EXTRA_S = 30.0
"""What fio may take besides its run; then it is killed, for its server does not answer."""


@dataclass(frozen=True)
class Figures:
    """What one measurement found."""

    requests: int
    iops: float
    bytes_per_s: float
    p50_us: float
    p99_us: float
    longest_us: float
    cpu_us: float = 0.0
    """CPU time of the server for each request: seconds for a million of them."""


def measure(server: Running, workload: Workload, seconds: float) -> Figures:
    """Load a server for some seconds.  Raises BenchError when fio does not get through.

    Without a ramp, so that CPU time and requests are those of one interval.  A fresh image has
    its tables allocated first, so that what is measured is the same from beginning to end.
    """
    if workload.image.fresh:
        fio(
            server.room.uri,
            workload,
            FIO_EXTRA_S,
            f"--number_ios={WARM_UP_REQUESTS}",
            "--time_based=0",
        )
        server.room.write_back()
    before = server.cpu_s()
    report = fio(server.room.uri, workload, seconds)
    cpu_s = server.cpu_s() - before
    if workload.writes:
        server.room.write_back()
    return parse(report, cpu_s)


def parse(report: str, cpu_s: float) -> Figures:
    """Take what matters from fio's report; notes may come before its JSON."""
    job = json.loads(report[report.index("{") :])["jobs"][0]
    side = job["mixed"]
    if job["error"] or not side["total_ios"]:
        raise BenchError(f"fio reports error {job['error']} after {side['total_ios']} requests")
    latency = side["clat_ns"]
    return Figures(
        requests=side["total_ios"],
        iops=side["iops"],
        bytes_per_s=side["bw_bytes"],
        p50_us=latency["percentile"]["50.000000"] / 1000,
        p99_us=latency["percentile"]["99.000000"] / 1000,
        longest_us=latency["max"] / 1000,
        cpu_us=cpu_s * 1_000_000 / side["total_ios"],
    )


def fio(uri: str, workload: Workload, seconds: float, *more: str) -> str:
    """Run it; its report as JSON.  Raises BenchError when it does not get through."""
    command = fio_command(uri, workload, seconds, *more)
    status, report, said = finished(command, seconds + FIO_EXTRA_S)
    if status:
        raise BenchError(f"fio ended with status {status}: {said.strip()}")
    return report


def finished(command: list[str], limit_s: float) -> tuple[int, str, str]:
    """A command's status and what it wrote; with its children it is killed after a while.

    fio forks for each connection, and a child that waits for a server would outlive it.  Raises
    BenchError after that while.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, said = process.communicate(timeout=limit_s)
    except BaseException as error:  # Ctrl-C too, which its session does not get
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            name = Path(command[0]).name
            raise BenchError(f"{name} got no answer for {limit_s:.0f} s, and was killed") from error
        raise
    return process.returncode, output, said


def fio_command(uri: str, workload: Workload, seconds: float, *more: str) -> list[str]:
    """What it is started with."""
    return [
        which("fio"),
        "--name=bench",
        "--ioengine=nbd",
        f"--uri={uri}",
        f"--rw={workload.rw}",
        "--rwmixread=70",
        f"--bs={workload.block_kib}k",
        f"--size={workload.image.size_bytes}",
        f"--iodepth={workload.depth}",
        f"--numjobs={workload.connections}",
        "--group_reporting",
        "--unified_rw_reporting=mixed",
        "--time_based",
        f"--runtime={round(seconds * 1000)}ms",
        "--norandommap",
        "--randrepeat=0",
        "--output-format=json",
        *more,
    ]
