"""A read never sees a cluster that was freed and given to another guest offset meanwhile."""

from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from blkrun.server.drivers.qcow2 import Qcow2
from blkrun.server.qcow2.entries import COPIED, OFFSET_MASK
from blkrun.server.qcow2.reading import _follow
from tests.server.qcow2.images import Variety, create, qemu_io
from tests.server.qcow2.opened import opened, read

CLUSTER = 65536
KINDS = {"plain": {}, "extended": {"extended_l2": "on"}}


def make(path: Path, kind: str) -> Path:
    """Two clusters, of 1 and of 2, at the disk's beginning."""
    create(path, Variety(KINDS[kind], 2**20))
    qemu_io(path, "write -P 1 0 64k", "write -P 2 64k 64k")
    return path


def swap_first_two(node: Qcow2) -> bool:
    """What two discards and two writes may come to: each gets the cluster that the other had."""
    table = node.image.tables.get(0)
    assert table is not None
    width = node.image.geometry.entry_words

    def give() -> None:
        words = table.words
        first, second = words[0] & OFFSET_MASK, words[width] & OFFSET_MASK
        words[0], words[width] = second | COPIED, first | COPIED
        a, b = (bytearray(CLUSTER) for _ in range(2))
        store = node.image.data
        do_pread = type(store.node).do_pread
        do_pread(store.node, memoryview(a), first)
        do_pread(store.node, memoryview(b), second)
        # each guest cluster keeps its contents, in the other's place
        store.node.do_pwrite(memoryview(b), first, 0)
        store.node.do_pwrite(memoryview(a), second, 0)

    return node.image.reuse.release(give)


def between(
    monkeypatch: pytest.MonkeyPatch, node: Qcow2, times: int, happen: Callable[[Qcow2], bool]
) -> list[bool]:
    """Have something happen after a look-up and before the data are read, so many times."""
    child = node.children["file"]
    pread = child.pread
    outcomes: list[bool] = []

    def hooked(buf: memoryview, offset: int) -> None:
        if len(outcomes) < times:
            outcomes.append(happen(node))
        pread(buf, offset)

    monkeypatch.setattr(child, "pread", hooked)
    return outcomes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [512, CLUSTER])
def test_a_read_is_done_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, length: int
) -> None:
    """When clusters were given anew between its look-up and its end."""
    with opened(make(tmp_path / "a.qcow2", kind), read_only=False) as node:
        read(node, 512)
        outcomes = between(monkeypatch, node, 3, swap_first_two)
        assert read(node, length) == b"\1" * length
        assert outcomes == [True, True, True]


def test_a_read_that_has_bad_luck_holds_it_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the end nothing is given anew before it has read."""
    with opened(make(tmp_path / "a.qcow2", "plain"), read_only=False) as node:
        read(node, 512)
        outcomes = between(monkeypatch, node, 100, swap_first_two)
        assert read(node, 512) == b"\1" * 512
        assert outcomes[-1] is False
        assert outcomes.count(False) == 1


def test_an_error_that_reuse_has_made_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read from a place that had become something else may fail in any way."""

    def fail(node: Qcow2) -> bool:
        node.image.reuse.release(lambda: None)
        raise OSError(5, "not there any more")

    with opened(make(tmp_path / "a.qcow2", "plain"), read_only=False) as node:
        read(node, 512)
        child = node.children["file"]
        pread = child.pread
        failures = [fail]

        def hooked(buf: memoryview, offset: int) -> None:
            if failures:
                failures.pop()(node)
            pread(buf, offset)

        monkeypatch.setattr(child, "pread", hooked)
        assert read(node, 512) == b"\1" * 512


def test_a_row_of_clusters_is_one_request(tmp_path: Path) -> None:
    """Those that follow each other in the file are read at once."""
    path = create(tmp_path / "a.qcow2", Variety(size_bytes=4 * 2**20))
    qemu_io(path, "write -P 1 0 2M")
    with opened(path) as node:
        read(node, 512)
        before = node.children["file"].stats.reads.done
        read(node, 2**20, 4096)
        assert node.children["file"].stats.reads.done == before + 1


def test_rows_are_told_from_clusters_that_are_apart() -> None:
    """Words that go up by a cluster each, and nothing else."""
    row = array("Q", [COPIED | number * CLUSTER for number in range(1, 5)])
    assert _follow(row, 0, 4 * CLUSTER, 16)
    assert _follow(row, 1, 3 * CLUSTER - 1, 16)
    assert not _follow(row, 1, 3 * CLUSTER + 1, 16)
    row[2] ^= COPIED
    assert not _follow(row, 0, 4 * CLUSTER, 16)
