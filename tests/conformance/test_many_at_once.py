"""Every driver: threads on ranges of their own do not disturb each other, nor does a drain."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from blkrun.options import ExportOptions, MemoryOptions, ThrottleLimits, ThrottleOptions
from blkrun.server import connection as connection_module
from blkrun.server.actions import export_add
from blkrun.server.node import Node
from blkrun.server.staging import Staging
from blkrun.server.threads import KeptState
from blkrun.server.way import FLAG_FUA, FLAG_MAY_TRIM

from .subjects import Subject, Workshop
from .tools import pattern, read, wait_until, write

THREADS = 4
STRIPE = 1009
"""A prime: stripes share sectors, pages and the memory driver's pages."""


class Worker:
    """One thread's stripes: every THREADS-th STRIPE bytes of the disk's first 200 KiB."""

    def __init__(self, target: Any, number: int) -> None:
        self.target = target
        self.number = number
        self.offsets = range(number * STRIPE, 200 * 1024, THREADS * STRIPE)

    def round(self, seed: int) -> None:
        """Write, read back, zero or trim some, write again, on every stripe."""
        for index, offset in enumerate(self.offsets):
            data = pattern(STRIPE, seed + index + self.number)
            self.target.pwrite(memoryview(data), offset, FLAG_FUA if index % 16 == 0 else 0)
            assert self._read(offset) == data
            if index % 4 == 0:
                self.target.zero(STRIPE, offset, FLAG_MAY_TRIM if index % 8 else 0)
                assert self._read(offset) == bytes(STRIPE)
                self.target.pwrite(memoryview(data), offset, 0)
            elif index % 4 == 1:
                self.target.trim(STRIPE, offset, 0)
                self.target.pwrite(memoryview(data), offset, 0)

    def rounds(self, count: int) -> None:
        """Several rounds with different data."""
        for seed in range(count):
            self.round(seed)

    def check(self, seed: int, node: Node[Any]) -> None:
        """All stripes hold what the last round with this seed wrote."""
        for index, offset in enumerate(self.offsets):
            assert read(node, STRIPE, offset) == pattern(STRIPE, seed + index + self.number)

    def _read(self, offset: int) -> bytes:
        buf = bytearray(STRIPE)
        if isinstance(self.target, Node):
            self.target.pread(memoryview(buf), offset)
        else:
            self.target.pread(memoryview(buf), offset, 0)
        return bytes(buf)


def run_all(calls: list[Callable[[], object]]) -> None:
    """Each in a thread of its own; the first failure is raised here."""
    with ThreadPoolExecutor(len(calls)) as threads:
        for future in [threads.submit(call) for call in calls]:
            future.result(60)


def test_disjoint_ranges(disk: Subject) -> None:
    """Neighbouring bytes written by different threads all arrive."""
    workers = [Worker(disk.node, number) for number in range(THREADS)]
    run_all([partial(worker.rounds, 3) for worker in workers])
    for worker in workers:
        worker.check(2, disk.node)
    assert disk.node.stats.in_flight == 0


def test_one_page_from_many_threads(disk: Subject) -> None:
    """First writes to fresh pages, all at once, each to bytes of its own."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        begin = threading.Barrier(THREADS)

        def writer(number: int) -> None:
            for offset in range(number * 16, 4 * 2**16, 2**16):
                begin.wait()
                write(disk.node, pattern(16, number), offset)

        for _ in range(20):
            disk.node.zero(4 * 2**16, 0, FLAG_MAY_TRIM)
            run_all([partial(writer, number) for number in range(THREADS)])
            for page in range(4):
                expected = b"".join(pattern(16, number) for number in range(THREADS))
                assert read(disk.node, len(expected), page * 2**16) == expected
    finally:
        sys.setswitchinterval(interval)


def test_drain_begin_while_busy(disk: Subject) -> None:
    """A drained section holds nothing back: what is under way and what comes in it finishes."""
    workers = [Worker(disk.node, number) for number in range(THREADS)]
    stop = threading.Event()

    def load(worker: Worker) -> None:
        worker.round(0)  # at least one, however late this thread begins
        while not stop.is_set():
            worker.round(0)

    def drain() -> None:
        try:
            for _ in range(5):
                for node in (disk.node, disk.bottom):
                    node.drain_begin()
                wait_for_writes()
                for node in (disk.node, disk.bottom):
                    node.drain_end()
                wait_for_writes()
        finally:
            stop.set()

    def wait_for_writes() -> None:
        goal = disk.node.stats.writes.done + 100
        wait_until(lambda: disk.node.stats.writes.done > goal)

    run_all([drain, *(partial(load, worker) for worker in workers)])
    for worker in workers:
        worker.check(0, disk.node)
    assert disk.node.stats.in_flight == 0


def test_drain_lets_throttled_requests_go(shop: Workshop) -> None:
    """Writes that would wait for minutes are done at once when the node is drained."""
    shop.add_group("slow", ThrottleLimits(iops_total=1))
    node = shop.add(
        MemoryOptions(node_name="disk", size=2**20),
        ThrottleOptions(node_name="limit", file="disk", throttle_group="slow"),
    )
    # Under no export it would hold nobody back.
    shop.graph.transaction([lambda s: export_add(s, "vda", ExportOptions(node="limit"))])
    below = shop.graph.nodes["disk"]
    with ThreadPoolExecutor(8) as threads:
        pending = [threads.submit(write, node, pattern(512, n), n * 512) for n in range(60)]
        wait_until(lambda: node.stats.in_flight == 8)
        node.drain_begin()
        for future in pending:
            future.result(10)
        node.drain_end()
    assert node.stats.writes.done == below.stats.writes.done == 60
    assert node.stats.in_flight == 0
    found = bytearray(60 * 512)
    below.do_pread(memoryview(found), 0)
    assert found == b"".join(pattern(512, n) for n in range(60))


@pytest.fixture
def plain_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads here are Python's own: nbdkit's need no keeping."""
    monkeypatch.setattr(connection_module, "keep_thread_state", lambda: KeptState(0, 0))
    monkeypatch.setattr(connection_module, "release_thread_states", list)


@pytest.mark.usefixtures("plain_threads")
def test_drained_section_under_load(disk: Subject) -> None:
    """An edit that drains finds nothing in flight, loses nothing, and every request is counted."""
    graph = disk.shop.graph
    graph.transaction([lambda s: export_add(s, "vda", ExportOptions(node="subject"))])
    export = graph.exports["vda"]
    connection = graph.connect("vda", lambda error: None)
    workers = [Worker(connection, number) for number in range(THREADS)]
    seen: list[tuple[int, int, int]] = []
    stop = threading.Event()

    def load(worker: Worker) -> None:
        worker.round(0)  # at least one, however late this thread begins
        while not stop.is_set():
            worker.round(0)

    def disturb(staging: Staging) -> None:
        staging.disturbed.add(disk.node)
        staging.commits.append(
            lambda: seen.append(
                (
                    export.stats.in_flight,
                    disk.node.stats.in_flight,
                    disk.bottom.stats.in_flight,
                )
            )
        )

    def edit() -> None:
        try:
            for _ in range(10):
                before = export.stats.writes.done
                wait_until(lambda: export.stats.writes.done > before)  # noqa: B023 - now
                graph.transaction([disturb])
        finally:
            stop.set()

    run_all([edit, *(partial(load, worker) for worker in workers)])
    assert seen == [(0, 0, 0)] * 10
    for worker in workers:
        worker.check(0, disk.node)
    totals, counted = export.stats, disk.node.stats
    assert totals.in_flight == counted.in_flight == 0
    assert totals.writes.done == counted.writes.done
    assert totals.writes.bytes == counted.writes.bytes == counted.writes.done * STRIPE
    assert totals.trims.bytes == counted.trims.bytes == counted.trims.done * STRIPE
    graph.disconnect(connection)
    assert export.stats.writes.done == counted.writes.done
