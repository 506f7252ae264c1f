"""Ranges in flight: what conflicts comes one after the other, as it came; nothing else waits."""

import random
import threading
from functools import partial

from blkrun.server.ranges import Ranges
from tests.server.inprocess import Worker, eventually, workers


class Held:
    """A request in a thread of its own, inside until it is told to go."""

    def __init__(self, ranges: Ranges, kind: str, offset: int, count: int) -> None:
        self.inside = threading.Event()
        self.go = threading.Event()
        self._ranges, self._enter = ranges, getattr(ranges, kind)
        self._range = offset, count
        before = len(ranges._spans)
        self._worker = Worker(self._work)
        eventually(lambda: len(ranges._spans) > before)

    def _work(self) -> None:
        span = self._enter(*self._range)
        self.inside.set()
        assert self.go.wait(10)
        self._ranges.leave(span)

    def finish(self) -> None:
        """It ends."""
        self.go.set()
        self._worker.finish()


def test_reads_go_together() -> None:
    """Also of the same bytes; a write of others does not wait for them."""
    ranges = Ranges()
    held = [
        Held(ranges, "read", 0, 10),
        Held(ranges, "read", 5, 10),
        Held(ranges, "write", 15, 5),
        Held(ranges, "write", 20, 1),
    ]
    for each in held:
        assert each.inside.wait(10)
    for each in held:
        each.finish()


def test_a_write_is_alone_in_its_bytes() -> None:
    """It waits for a read, and a read for it; a single byte in common is enough."""
    ranges = Ranges()
    read = Held(ranges, "read", 0, 10)
    write = Held(ranges, "write", 9, 10)
    other = Held(ranges, "read", 18, 10)
    assert read.inside.wait(10)
    assert not write.inside.is_set()
    assert not other.inside.is_set()
    read.finish()
    assert write.inside.wait(10)
    assert not other.inside.is_set()
    write.finish()
    assert other.inside.wait(10)
    other.finish()


def test_nobody_is_passed_over() -> None:
    """A read that comes after a waiting write waits too, though another read is inside."""
    ranges = Ranges()
    first = Held(ranges, "read", 0, 10)
    write = Held(ranges, "write", 0, 10)
    second = Held(ranges, "read", 0, 10)
    beside = Held(ranges, "read", 10, 10)
    assert beside.inside.wait(10)
    assert not second.inside.is_set()
    first.finish()
    assert write.inside.wait(10)
    write.finish()
    assert second.inside.wait(10)
    second.finish()
    beside.finish()


def test_many_threads() -> None:
    """Each writer finds its bytes as it left them, whatever others do beside and over it."""
    ranges, data = Ranges(), bytearray(64)

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(300):
            offset, count = rng.randrange(48), rng.randint(1, 16)
            if rng.random() < 0.5:
                span = ranges.write(offset, count)
                for at in range(offset, offset + count):
                    data[at] = seed
                assert data[offset : offset + count] == bytes([seed]) * count
            else:
                span = ranges.read(offset, count)
                seen = bytes(data[offset : offset + count])
                assert bytes(data[offset : offset + count]) == seen
            ranges.leave(span)

    with workers([partial(work, seed) for seed in range(1, 7)]):
        pass
    assert ranges._spans == []
