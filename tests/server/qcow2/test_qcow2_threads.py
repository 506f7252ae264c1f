"""Several threads write to an image at once."""

import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blkrun.server.qcow2.allocation import Claims
from blkrun.server.qcow2.create import NewImage
from blkrun.server.way import FLAG_MAY_TRIM
from tests.server.inprocess import Worker, eventually, workers
from tests.server.qcow2.guest import BACKING, Guest, guest_with

CLUSTER = 4096
THREADS = 4


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_who_claims_the_same_waits() -> None:
    """Claims that overlap come one after the other; others go by."""
    claims = Claims()
    first = claims.claim(5, 8)
    claims.release(claims.claim(8, 9))
    order: list[str] = []

    def second() -> None:
        run = claims.claim(7, 10)
        order.append("second")
        claims.release(run)

    other = Worker(second)
    eventually(lambda: claims._waiting)
    order.append("first")
    claims.release(first)
    other.finish()
    assert order == ["first", "second"]


def test_one_cluster_is_allocated_once(tmp_path: Path) -> None:
    """Two writes into one cluster at the same time: the second waits, and finds it allocated.

    The first is held up while it writes its data; no lock keeps others from their clusters.
    """
    guest = guest_with(NewImage(size_bytes=2**20, cluster_bytes=CLUSTER))
    guest.write(b"t", 99 * CLUSTER)  # the table is there
    entered, go_on = threading.Event(), threading.Event()
    held: list[int] = []

    def before(kind: str, offset: int, count: int) -> None:
        if kind == "write" and count == 100 and not held:
            held.append(offset)
            entered.set()
            assert go_on.wait(10)

    guest.disk.before = before
    first = Worker(lambda: guest.writer.pwrite(memoryview(b"a" * 100), 0, 0))
    assert entered.wait(10)
    second = Worker(lambda: guest.writer.pwrite(memoryview(b"b" * 200), 1000, 0))
    eventually(lambda: guest.writer._claims._waiting)
    guest.writer.pwrite(memoryview(b"c" * 300), 5 * CLUSTER, 0)
    guest.writer.pwrite(memoryview(b"d" * 300), 99 * CLUSTER + 10, 0)
    assert second.is_alive()
    go_on.set()
    first.finish()
    second.finish()
    model = guest.model
    for data, offset in ((b"a" * 100, 0), (b"b" * 200, 1000), (b"c" * 300, 5 * CLUSTER)):
        model[offset : offset + len(data)] = data
    model[99 * CLUSTER + 10 : 99 * CLUSTER + 310] = b"d" * 300
    guest.verify()
    guest.writer.close()
    guest.verify_by_qemu(tmp_path)


VARIETIES: dict[str, dict[str, Any]] = {
    "alone": {},
    "base": {"backing_file": BACKING, "backing_fmt": "raw"},
    "extended": {"extended_l2": True, "cluster_bytes": 2**14},
    "small": {"cluster_bytes": 512},
}


@pytest.mark.parametrize("variety", VARIETIES)
def test_threads_share_clusters(tmp_path: Path, variety: str) -> None:
    """Each reads what it wrote, while others write beside it, give clusters up, and flush."""
    wanted: dict[str, Any] = {"size_bytes": 2**19, "cluster_bytes": CLUSTER} | VARIETIES[variety]
    base = bytes(range(1, 252)) * 2000 if variety == "base" else None
    guest = guest_with(NewImage(**wanted), base=base, l2_cache_bytes=0, refcount_cache_bytes=0)
    cluster = wanted["cluster_bytes"]
    half = wanted["size_bytes"] // 2
    works = [Sharer(guest, seed, cluster, half) for seed in range(THREADS)]
    works += [Owner(guest, seed, cluster, half) for seed in range(2)]
    stopped = threading.Event()

    def flush() -> None:
        while not stopped.is_set():
            guest.writer.flush()

    flusher = Worker(flush)
    with workers([work.run for work in works]):
        pass
    stopped.set()
    flusher.finish()
    for work in works:
        work.check_all()
    guest.writer.close()
    guest.model = bytearray(guest.read(len(guest.model)))
    guest.verify_by_qemu(tmp_path)


class Sharer:
    """In the first half: every cluster has a slice for each thread."""

    def __init__(self, guest: Guest, number: int, cluster: int, half: int) -> None:
        self.guest = guest
        self.cluster = cluster
        self.chance = random.Random(number)
        self.width = cluster // THREADS
        self.at = number * self.width
        self.known: dict[int, bytes] = {}
        self.clusters = half // cluster

    def run(self) -> None:
        """Write into some, read what it knows."""
        for _ in range(300):
            place = self.chance.randrange(self.clusters) * self.cluster + self.at
            if self.chance.random() < 0.6:
                data = bytes([self.chance.randrange(1, 256)]) * self.width
                self.guest.writer.pwrite(memoryview(data), place, 0)
                self.known[place] = data
            elif place in self.known:
                assert self.guest.read(self.width, place) == self.known[place]

    def check_all(self) -> None:
        """At the end."""
        for place, data in self.known.items():
            assert self.guest.read(len(data), place) == data


class Owner(Sharer):
    """In the second half: clusters of its own, which it writes, zeroes and gives up."""

    def __init__(self, guest: Guest, number: int, cluster: int, half: int) -> None:
        super().__init__(guest, number + 100, cluster, half)
        self.places = range(half + number * cluster, 2 * half, 2 * cluster)

    def run(self) -> None:
        """What was given up reads as zeroes: the image is of version 3."""
        writer = self.guest.writer
        for _ in range(300):
            place = self.chance.choice(self.places)
            kind = self.chance.randrange(5)
            data = bytes([self.chance.randrange(1, 256)]) * self.cluster
            if kind < 2:
                writer.pwrite(memoryview(data), place, 0)
            elif kind == 2:
                data = bytes(self.cluster)
                writer.trim(self.cluster, place, 0)
            elif kind == 3:
                data = bytes(self.cluster)
                writer.zero(self.cluster, place, FLAG_MAY_TRIM * self.chance.randrange(2))
            elif place in self.known:
                assert self.guest.read(self.cluster, place) == self.known[place]
                continue
            else:
                continue
            if kind == 2 and place not in self.known and self.guest.base is not None:
                data = self.guest.read(self.cluster, place)
            self.known[place] = data
