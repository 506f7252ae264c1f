"""Refcounts of an image: what is reserved, freed, and how the tables grow, as qemu-img counts."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blkrun.server.qcow2.create import NewImage, layout_of, write_image
from blkrun.server.qcow2.header import parse
from blkrun.server.qcow2.image import Image
from blkrun.server.qcow2.refcounts import Refcounts, Run
from blkrun.server.qcow2.reserve import Reserve, Taken
from tests.server.qcow2.disks import LogDisk, Write, apply, image_on
from tests.server.qcow2.making import check_bytes

MIB = 2**20


def move_table(image: Image) -> Callable[[int, int], None]:
    """Have the header refer to another refcount table."""

    def move(offset: int, clusters: int) -> None:
        data = offset.to_bytes(8, "big") + clusters.to_bytes(4, "big")
        image.store.pwrite(memoryview(data), 48)

    return move


def opened(disk: LogDisk) -> tuple[Image, Refcounts]:
    """The image on a disk."""
    image = image_on(disk)
    counts = Refcounts(
        image, cache_bytes=0, move_table=move_table(image), check_free=lambda _: None
    )
    return image, counts


def new_disk(cluster_bytes: int, refcount_bits: int) -> LogDisk:
    """An empty image."""
    disk = LogDisk()
    layout = layout_of(
        NewImage(size_bytes=MIB, cluster_bytes=cluster_bytes, refcount_bits=refcount_bits)
    )
    write_image(disk, layout)
    disk.start_log()
    return disk


@contextmanager
def until_full() -> Iterator[None]:
    """Until it is full."""
    with pytest.raises(OSError, match="no free clusters") as caught:
        yield
    assert caught.value.errno == errno.ENOSPC


def reaching(disk: LogDisk) -> Callable[[Run], bool]:
    """The preparation that the file reaches there: qemu-img counts what is in it."""
    cluster_bytes = parse(bytes(disk.content[:65536])).cluster_bytes

    def prepare(run: Run) -> bool:
        disk.make_room(run[1] * cluster_bytes)
        return False

    return prepare


def clusters_of(runs: list[Run]) -> list[int]:
    """One by one."""
    return [cluster for run in runs for cluster in range(*run)]


@pytest.mark.parametrize("order", range(7))
def test_what_is_reserved_is_leaked_until_it_is_freed(order: int, tmp_path: Path) -> None:
    """qemu-img counts as leaked just what is reserved, with blocks of every width; then nothing."""
    disk = new_disk(512, 1 << order)
    _, counts = opened(disk)
    runs = counts.reserve(0, 5000, reaching(disk))
    reserved = clusters_of(runs)
    assert len(reserved) == len(set(reserved))
    assert check_bytes(disk.content, tmp_path).get("leaks") == len(reserved)
    assert not set(reserved) & set(clusters_of(counts.reserve(0, 3000, reaching(disk))))
    assert clusters_of(counts.free(runs)) == reserved
    _, again = opened(disk)
    assert [again.get(cluster) for cluster in reserved] == [0] * len(reserved)
    found = again.reserve(0, 100, reaching(disk))
    assert clusters_of(found) == reserved[:100]


def test_the_table_grows(tmp_path: Path) -> None:
    """With 64 refcounts a block, and 64 blocks a table, 4096 clusters are what a table covers."""
    disk = new_disk(512, 64)
    _, counts = opened(disk)
    reserved: list[int] = []
    while len(reserved) < 20_000:
        reserved += clusters_of(counts.reserve(0, 999, reaching(disk)))
    assert len(reserved) == len(set(reserved))
    header = parse(bytes(disk.content))
    assert header.refcount_table_clusters > 1
    assert check_bytes(disk.content, tmp_path).get("leaks") == len(reserved)


def test_a_child_that_cannot_grow_is_full_at_its_end(tmp_path: Path) -> None:
    """What is there is given, to the last cluster, and then it is ENOSPC."""
    disk = new_disk(4096, 16)
    disk.content.extend(bytes(30 * 4096))
    size = disk.size_bytes
    disk.can_grow = False
    image, counts = opened(disk)
    reserve = Reserve(counts, image.store, 4096)
    taken: list[Taken] = []
    with until_full():
        taken.extend(reserve.take(7) for _ in range(99))
    assert sum(run.past - run.first for run in taken) == 30
    assert disk.size_bytes == size
    assert check_bytes(disk.content, tmp_path)["leaks"] == 30
    counts.free([(taken[1].first, taken[1].past)])
    reserve.note_free(taken[1].first)
    assert reserve.take(99)[:2] == taken[1][:2]


def test_what_is_freed_while_clusters_are_reserved_is_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Just after they were looked for, and before where the next are: it is no lost space."""
    disk = new_disk(4096, 16)
    disk.content.extend(bytes(30 * 4096))
    disk.can_grow = False
    image, counts = opened(disk)
    used = counts.reserve(0, 5, lambda _: False)
    reserve = Reserve(counts, image.store, 4096)
    original = counts.reserve

    def reserve_and_free(start: int, want: int, *rest: Any) -> list[Run]:
        found = original(start, want, *rest)
        if used:
            counts.free(used)
            reserve.note_free(used.pop()[0])
        return found

    monkeypatch.setattr(counts, "reserve", reserve_and_free)
    taken: list[Taken] = []
    with until_full():
        taken.extend(reserve.take(7) for _ in range(99))
    assert sum(run.past - run.first for run in taken) == 30


@pytest.mark.parametrize("can_zero", [False, True])
def test_blank_clusters_read_as_zeroes(*, can_zero: bool) -> None:
    """Where there was data before as well, if the child can zero at all."""
    disk = new_disk(4096, 16)
    end = disk.size_bytes
    disk.content.extend(b"\xa5" * 100 * 4096)
    disk.can_zero = can_zero
    image, counts = opened(disk)
    reserve = Reserve(counts, image.store, 4096)
    kinds = set()
    for _ in range(40):
        first, past, is_blank = reserve.take(5)
        kinds.add((first * 4096 >= end + 100 * 4096, is_blank))
        if is_blank:
            assert not any(disk.content[first * 4096 : past * 4096])
            assert disk.size_bytes >= past * 4096
    assert kinds == {(True, True), (False, can_zero)}


def test_what_is_not_used_is_given_back(tmp_path: Path) -> None:
    """Closing leaves as much leaked as was taken, and no more."""
    disk = new_disk(65536, 16)
    image, counts = opened(disk)
    reserve = Reserve(counts, image.store, 65536)
    first, past, _ = reserve.take(3)
    reserve.give_back(first, past)
    first, past, _ = reserve.take(3)
    reserve.close()
    assert check_bytes(disk.content, tmp_path).get("leaks") == past - first
    assert disk.size_bytes == past * 65536


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_crash_leaves_leaks_only(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever of the writes since the last flush is lost, and wherever the log is cut."""
    disk = new_disk(512, data.draw(st.sampled_from([1, 16, 64])))
    _, counts = opened(disk)
    kept: list[Run] = []
    for want in data.draw(st.lists(st.integers(1, 3000), min_size=1, max_size=6)):
        kept += counts.reserve(0, want, reaching(disk))
        if data.draw(st.booleans()):
            counts.free([kept.pop(0)])
    cut = data.draw(st.integers(0, len(disk.log)))
    before = disk.log[:cut]
    durable = max((at for at, each in enumerate(before) if each is None), default=-1)
    content = bytearray(disk.base)
    for at, write in enumerate(before):
        if (isinstance(write, Write) and write.durable) or at < durable or data.draw(st.booleans()):
            apply(content, write)
    check_bytes(content, tmp_path_factory.mktemp("crash"))
