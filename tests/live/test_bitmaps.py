"""Dirty bitmaps of a real server with clients at full speed: counts compared with what they wrote.

A ruler, a node of the same size, makes sets comparable over QMP, which tells no more of a bitmap
than its count: A is in B just when A and B together count as much as B.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from time import monotonic, sleep
from typing import Any

import nbd
import pytest

from tests.live.service import Qmp, Service

MIB = 2**20
CLUSTER = 2**16
CLUSTERS = 4096
CLIENTS = 3

FILE = f"""
[backends.disk]
driver = "file"
path = "disk.img"
size = "{CLUSTERS * CLUSTER // MIB}MiB"
create = true
[backends.ruler]
driver = "null"
size = "{CLUSTERS * CLUSTER // MIB}MiB"
[throttle-groups.g]
iops-total = 100_000
[throttle-groups.h]
iops-total = 90_000
[nodes.limit]
driver = "throttle"
throttle-group = "g"
file = "disk"
[exports.vda]
node = "limit"
[exports.ruler]
node = "ruler"
"""


class Writers:
    """Clients of vda, each with a part of the disk; sequence numbers go into what they write.

    ``log`` has for each write its cluster and when it began and was acknowledged.
    """

    def __init__(self, uri: str) -> None:
        self.log: list[tuple[int, float, float]] = []
        self._uri = uri
        self._stop = threading.Event()
        self.errors: list[BaseException] = []

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """They write until the block ends."""
        threads = [threading.Thread(target=self._work, args=(n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)
        assert self.errors == []

    def _work(self, number: int) -> None:
        try:
            handle = nbd.NBD()
            handle.connect_uri(self._uri)
            sequence = 0
            while not self._stop.is_set():
                sequence += 1
                self._write(handle, number + sequence * CLIENTS, sequence)
            handle.shutdown()
        except BaseException as error:  # noqa: BLE001 - raised in at_work
            self.errors.append(error)

    def _write(self, handle: Any, step: int, sequence: int) -> None:
        cluster = step % CLUSTERS
        begin = monotonic()
        if sequence % 16 == 0:
            handle.zero(512, cluster * CLUSTER + 1024)
        elif sequence % 16 == 8:
            handle.trim(512, cluster * CLUSTER + 2048)
        else:
            handle.pwrite(sequence.to_bytes(512, "little"), cluster * CLUSTER + 512)
        self.log.append((cluster, begin, monotonic()))

    def within(self, begin: float, end: float) -> set[int]:
        """Clusters of which a write was sent and acknowledged in a time."""
        return {at for at, sent, done in self.log if sent >= begin and done <= end}

    def around(self, begin: float, end: float) -> set[int]:
        """Clusters of which a write may have been carried out in a time."""
        return {at for at, sent, done in self.log if done >= begin and sent <= end}


class Ruler:
    """Sets of clusters as bitmaps: made by writing to a disk that forgets what is written."""

    def __init__(self, service: Service, qmp: Qmp) -> None:
        self._qmp = qmp
        self._handle = nbd.NBD()
        self._handle.connect_uri(service.uri("ruler"))

    def draw(self, name: str, clusters: set[int]) -> None:
        """A bitmap of the node ruler with just these."""
        self._qmp.do("block-dirty-bitmap-add", node="ruler", name=name)
        for cluster in clusters:
            self._handle.zero(512, cluster * CLUSTER)
        self._qmp.do("block-dirty-bitmap-disable", node="ruler", name=name)

    def holds(self, larger: dict[str, str], smaller: dict[str, str]) -> bool:
        """Whether all of one bitmap is in another."""
        return self._together(larger, smaller) == self._together(larger)

    def _together(self, *bitmaps: dict[str, str]) -> int:
        scratch = {"node": "ruler", "name": "scratch"}
        self._qmp.do("block-dirty-bitmap-add", **scratch, disabled=True)
        self._qmp.do(
            "block-dirty-bitmap-merge", node="ruler", target="scratch", bitmaps=list(bitmaps)
        )
        count = self._count()
        self._qmp.do("block-dirty-bitmap-remove", **scratch)
        return count

    def _count(self) -> int:
        for node in self._qmp.do("query-named-block-nodes"):
            for bitmap in node.get("dirty-bitmaps", ()):
                if bitmap["name"] == "scratch":
                    return int(bitmap["count"])
        raise AssertionError("no scratch")


def actions(**steps: dict[str, Any]) -> list[dict[str, Any]]:
    """Of a transaction: by verb."""
    return [{"type": f"block-dirty-bitmap-{verb}", "data": data} for verb, data in steps.items()]


@pytest.mark.parametrize("node", ["limit", "disk"])
def test_every_write_since_the_clear_is_dirty(serve: Callable[[str], Service], node: str) -> None:
    """And no other: over clears, merges, disables and edits of the file, all under full load.

    Each round moves what is dirty to a bitmap of its own and clears, in one transaction.  All
    that was acknowledged between two of them is in the one that was made by the second.
    """
    service = serve(FILE)
    here = {"node": node, "name": "b0"}
    with service.qmp() as qmp:
        qmp.do("block-dirty-bitmap-add", **here)
        writers = Writers(service.uri())
        spans = []
        with writers.at_work():
            for number in range(12):
                kept = {"node": node, "name": f"r{number}"}
                merge = {"node": node, "target": kept["name"], "bitmaps": ["b0"]}
                add = {**kept, "disabled": True}
                begin = monotonic()
                qmp.do("transaction", actions=actions(add=add, merge=merge, clear=here))
                spans.append((begin, monotonic()))
                if number % 3 == 1:  # the same bitmap through an edit that reopens its node
                    text = FILE.replace('group = "g"', f'group = "{"gh"[number % 2]}"')
                    assert service.edit_and_wait(text)["event"] == "X_BLKRUN_CONFIG_APPLIED"
                sleep(0.05)
        ruler = Ruler(service, qmp)
        for number, (before, after) in enumerate(pairwise(spans), 1):
            now = {"node": node, "name": f"r{number}"}
            least = writers.within(before[1], after[0])
            most = writers.around(before[0], after[1])
            assert least
            ruler.draw(f"least{number}", least)
            ruler.draw(f"most{number}", most)
            assert ruler.holds(now, {"node": "ruler", "name": f"least{number}"})
            assert ruler.holds({"node": "ruler", "name": f"most{number}"}, now)
