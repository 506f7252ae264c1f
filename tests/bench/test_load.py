"""The matrix, and fio's report."""

import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.bench.load import WORKLOADS, Workload, finished, fio_command, parse
from tests.bench.place import EMPTY_QCOW2, QCOW2, BenchError


def report(**changes: Any) -> str:
    """What fio 3.33 prints with unified_rw_reporting=mixed, as far as it is read, and its notes."""
    mixed = {
        "total_ios": 200_000,
        "iops": 100_000.5,
        "bw_bytes": 409_602_048,
        "clat_ns": {
            "max": 24_534_545,
            "percentile": {"50.000000": 118_272, "99.000000": 2_056_192},
        },
    }
    job = {"jobname": "bench", "error": 0, "mixed": mixed | changes}
    return f"fio: connected to NBD server\n{json.dumps({'jobs': [job]})}"


def test_the_matrix_is_complete() -> None:
    """4 KiB at every depth with every number of connections, both sequential sizes, mixed."""
    small = {
        Workload(rw, 4, depth, connections)
        for rw, depth, connections in product(("randread", "randwrite"), (1, 16, 64), (1, 2, 4))
    }
    assert small <= set(WORKLOADS)
    large = {(one.rw, one.block_kib) for one in WORKLOADS if one.rw in ("read", "write")}
    assert large == set(product(("read", "write"), (64, 1024)))
    assert "randrw" in {one.rw for one in WORKLOADS}


def test_names_are_unique() -> None:
    """--only and the JSON tell workloads apart by name."""
    assert len({one.name for one in WORKLOADS}) == len(WORKLOADS)
    assert len({one.title for one in WORKLOADS}) == len(WORKLOADS)


def test_a_name_tells_everything() -> None:
    """Pattern, size, depth, connections, in that order."""
    assert Workload("randread", 4, 16, 2).name == "randread-4k-qd16-c2"
    title = "1 MiB sequential write, queue depth 4, 1 connection"
    assert Workload("write", 1024, 4, 1).title == title


def test_the_names_of_qcow2_hold_no_other_name() -> None:
    """``--only qcow2`` takes them all, and ``--only`` with another's name none of them."""
    qcow2 = {one.name for one in WORKLOADS if one.image.format == "qcow2"}
    others = {one.name for one in WORKLOADS} - qcow2
    assert qcow2 == {
        "randread-qcow2-4k-qd16-c1",
        "read-qcow2-1024k-qd16-c1",
        "randwrite-empty-qcow2-4k-qd16-c1",
    }
    assert not [name for name in others if "qcow2" in name or any(name in q for q in qcow2)]
    assert Workload("read", 4, 1, 1, QCOW2).title.startswith(
        "4 KiB sequential read in a full qcow2"
    )


def test_writes_that_allocate_are_spread_over_all_of_the_disk() -> None:
    """256 GiB in clusters of 64 KiB: of those a run meets few twice."""
    command = fio_command("nbd://", Workload("randwrite", 4, 16, 1, EMPTY_QCOW2), 1.0)
    assert f"--size={256 * 2**30}" in command


def test_figures_of_a_report() -> None:
    """Nanoseconds become microseconds, and CPU time is spread over the requests."""
    found = parse(report(), cpu_s=2.4)
    assert (found.requests, found.iops, found.bytes_per_s) == (200_000, 100_000.5, 409_602_048)
    assert (found.p50_us, found.p99_us, found.longest_us) == (118.272, 2056.192, 24534.545)
    assert found.cpu_us == pytest.approx(12.0)


def test_a_run_without_requests_is_no_measurement() -> None:
    """It would otherwise be a rate of 0 or a division by it."""
    with pytest.raises(BenchError, match="after 0 requests"):
        parse(report(total_ios=0), cpu_s=0.0)


SLEEPS_WITH_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1], "w").write(str(child.pid))
child.wait()
"""


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    """They would hold its output open, and go on loading a server that hangs."""
    noted = tmp_path / "pid"
    with pytest.raises(BenchError, match="got no answer for 2 s, and was killed"):
        finished([sys.executable, "-c", SLEEPS_WITH_A_CHILD, str(noted)], 2.0)
    assert not running(int(noted.read_text()))


def test_a_commands_end() -> None:
    """Its status, what it wrote and what it complained of."""
    words = "import sys; print('report'); sys.exit('why')"
    assert finished([sys.executable, "-c", words], 30.0) == (1, "report\n", "why\n")


def running(pid: int) -> bool:
    """Whether a process is there, and not just waiting to be noticed."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat[stat.rindex(")") + 2] not in "ZX"
