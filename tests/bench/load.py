"""The load: fio's nbd engine, and what is kept of its report."""

import json
import subprocess
from dataclasses import dataclass

from .servers import BenchError, which

BLOCK = "4k"
DEPTH = 16
SIZE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Workload:
    """One column group of the table."""

    rw: str
    connections: int

    @property
    def name(self) -> str:
        """As in the table's head."""
        plural = "s" if self.connections > 1 else ""
        return f"{self.rw}, {self.connections} connection{plural}"


WORKLOADS = tuple(Workload(rw, count) for count in (1, 4) for rw in ("randread", "randwrite"))


@dataclass(frozen=True)
class Figures:
    """What one run of fio found."""

    iops: float
    p99_us: float


def measure(uri: str, workload: Workload, seconds: float) -> Figures:
    """Load a server for some seconds.  Raises BenchError when fio does not get through."""
    command = [
        which("fio"),
        "--name=bench",
        "--ioengine=nbd",
        f"--uri={uri}",
        f"--rw={workload.rw}",
        f"--bs={BLOCK}",
        f"--size={SIZE_BYTES}",
        f"--iodepth={DEPTH}",
        f"--numjobs={workload.connections}",
        "--group_reporting",
        "--time_based",
        f"--runtime={round(seconds * 1000)}ms",
        "--ramp_time=300ms",
        "--norandommap",
        "--randrepeat=0",
        "--output-format=json",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 60, check=False
    )
    if done.returncode:
        raise BenchError(f"fio ended with status {done.returncode}: {done.stderr.strip()}")
    return parse(done.stdout, workload)


def parse(output: str, workload: Workload) -> Figures:
    """Take what matters from a report; fio prints notes before its JSON."""
    job = json.loads(output[output.index("{") :])["jobs"][0]
    side = job["read" if workload.rw == "randread" else "write"]
    if job["error"] or not side["total_ios"]:
        raise BenchError(f"fio reports error {job['error']} after {side['total_ios']} requests")
    return Figures(side["iops"], side["clat_ns"]["percentile"]["99.000000"] / 1000)
