"""Copying between nodes: what is there afterwards, and what is asked of whom."""

import errno
import random

import pytest

from blkrun.server.transfer import TargetError, transfer
from blkrun.server.way import EXTENT_ZERO
from tests.server.copy_server import CLUSTER, KIB, MIB, CopyServer


@pytest.fixture
def server() -> CopyServer:
    """4 MiB of data, a target of its size full of something else, and somebody over both."""
    server = CopyServer()
    server.disk.poke(random.Random(3).randbytes(4 * MIB), 0)
    server.copy.poke(b"x" * 4 * MIB, 0)
    server.add("copy-before-write", "over", file="disk", target="copy")
    return server


def copy(server: CopyServer, offset: int, end: int) -> list[int]:
    """Up to where it came each time; what is there afterwards is looked at."""
    before = server.copy.content()
    came = list(transfer(server.disk, server.copy, offset, end))
    was, now = server.disk.content(), server.copy.content()
    assert now == before[:offset] + was[offset:end] + before[end:]
    return came


def test_lengths(server: CopyServer) -> None:
    """A cluster, the rest of one at a disk's end, a chunk, more than a chunk and no multiple."""
    spans = [(0, CLUSTER), (CLUSTER, CLUSTER + 512), (MIB, 2 * MIB), (512, 3 * MIB + 7 * KIB)]
    for offset, end in spans:
        assert copy(server, offset, end) == [end]


def test_a_cluster_of_zeroes_takes_no_space(server: CopyServer) -> None:
    """Whether it is a hole in the source or not; and it is not asked about."""
    server.disk.poke(bytes(CLUSTER), CLUSTER)

    def refuse(*_: object) -> None:
        raise AssertionError("one short read answers both questions")

    server.disk.do_extents = refuse  # type: ignore[method-assign,assignment]  # to see who asks
    assert copy(server, CLUSTER, 2 * CLUSTER) == [2 * CLUSTER]
    ((_, _, kind), *_) = server.copy.do_extents(CLUSTER, CLUSTER, 0)
    assert kind & EXTENT_ZERO
    assert copy(server, 2 * CLUSTER, 3 * CLUSTER) == [3 * CLUSTER]
    ((_, _, kind), *_) = server.copy.do_extents(CLUSTER, 2 * CLUSTER, 0)
    assert not kind & EXTENT_ZERO


@pytest.mark.parametrize("end", [CLUSTER, 2 * MIB])
@pytest.mark.parametrize("zeroes", [False, True])
def test_whose_fault_it_was(server: CopyServer, end: int, *, zeroes: bool) -> None:
    """A write that fails is the target's fault, a read the source's; a later copy is whole."""
    if zeroes:
        server.disk.do_zero(end, 0, 0)
    failures = [OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "scratched")]

    def fail(offset: int, count: int) -> None:
        del offset, count
        if failures:
            raise failures.pop()

    server.disk.before_read = server.copy.before_write = fail
    if not zeroes or end == CLUSTER:
        with pytest.raises(OSError, match="scratched") as caught:
            copy(server, 0, end)
        assert not isinstance(caught.value, TargetError)
    del failures[1:]
    server.disk.before_read = lambda *_: None
    with pytest.raises(TargetError, match="full"):
        copy(server, 0, end)
    assert copy(server, 0, end) == [end]
