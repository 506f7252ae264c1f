"""How exact a limit is, and how equal shares are, in real time: long, and only in make soak."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.live.service import Qmp, Service

pytestmark = [pytest.mark.live, pytest.mark.soak]

BURST_S = 2.0
WINDOW_S = 5.0
MEMBERS = 8
NAMES = [f"vd{number}" for number in range(MEMBERS)]
FILE = """
[throttle-groups.g]
[backends.disk]
driver = "null"
size = "1GiB"
""" + "".join(
    f'[nodes.{name}-t]\ndriver = "throttle"\nthrottle-group = "g"\nfile = "disk"\n'
    f'[exports.{name}]\nnode = "{name}-t"\n'
    for name in NAMES
)


@contextmanager
def clients(service: Service, rw: str, block: str, depths: Sequence[int]) -> Iterator[None]:
    """A fio at each of the first exports, with that queue depth, until the block ends."""
    processes = [
        subprocess.Popen(
            [
                "fio", "--name=client", "--ioengine=nbd", f"--uri={service.uri(name)}",
                f"--rw={rw}", f"--bs={block}", "--size=1g", f"--iodepth={depth}",
                "--time_based", "--runtime=60", "--norandommap", "--randrepeat=0",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, depth in zip(NAMES, depths, strict=False)
    ]  # fmt: skip
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def set_limits(qmp: Qmp, **limits: int) -> None:
    """These, and no others."""
    value = {"iops-total": 0, "bps-total": 0}
    value |= {name.replace("_", "-"): limit for name, limit in limits.items()}
    qmp.do("qom-set", path="g", property="limits", value=value)


def measured(qmp: Qmp, unit: str) -> list[float]:
    """What each export did in a second, by the server's own exact count."""
    time.sleep(BURST_S)
    begin_ns, before = done(qmp, unit)
    time.sleep(WINDOW_S)
    end_ns, after = done(qmp, unit)
    seconds = (end_ns - begin_ns) / 1e9
    return [(new - old) / seconds for old, new in zip(before, after, strict=True)]


def done(qmp: Qmp, unit: str) -> tuple[int, list[int]]:
    """The time, and reads and writes up to then, ``done`` or ``bytes``."""
    reply = qmp.do("x-blkrun-stats")
    columns = [reply["columns"].index(f"{kind}-{unit}") for kind in ("reads", "writes")]
    numbers = [reply["exports"][name]["numbers"] for name in NAMES]
    return reply["now-ns"], [sum(row[column] for column in columns) for row in numbers]


@pytest.mark.parametrize(
    ("block", "limit", "value"),
    [
        *(("4k", "iops_total", iops) for iops in (50, 500, 5_000, 20_000, 50_000)),
        ("4k", "bps_total", 10**6),
        ("64k", "bps_total", 10**7),
        ("64k", "bps_total", 10**8),
        ("1m", "bps_total", 10**9),
    ],
)
def test_the_rate_is_the_limit(
    serve: Callable[[str], Service], block: str, limit: str, value: int
) -> None:
    """Over 5 s after the burst within 1 %, where the machine could do more at all."""
    service = serve(FILE)
    unit = "done" if limit == "iops_total" else "bytes"
    with service.qmp() as qmp, clients(service, "randread", block, [16]):
        free = sum(measured(qmp, unit))
        if free < 1.1 * value:
            pytest.skip(f"this machine does {free:.0f} without a limit")
        set_limits(qmp, **{limit: value})
        assert sum(measured(qmp, unit)) == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize(
    ("rw", "iops", "depths"),
    [
        ("randread", 1_000, (1, 64)),
        ("randread", 4_000, (4, 8, 16, 64)),
        ("randrw", 4_000, (16,) * MEMBERS),
        ("randrw", 4_000, (2, 4, 8, 64) * 2),
    ],
)
def test_members_have_equal_shares(
    serve: Callable[[str], Service], rw: str, iops: int, depths: tuple[int, ...]
) -> None:
    """Each within 2 % of the mean, and Jain's index 0.999, whatever their queue depths."""
    service = serve(FILE)
    with service.qmp() as qmp, clients(service, rw, "4k", depths):
        set_limits(qmp, iops_total=iops)
        rates = measured(qmp, "done")[: len(depths)]
    assert sum(rates) == pytest.approx(iops, rel=0.01)
    assert rates == pytest.approx([sum(rates) / len(rates)] * len(rates), rel=0.02)
    assert sum(rates) ** 2 / (len(rates) * sum(rate**2 for rate in rates)) >= 0.999
