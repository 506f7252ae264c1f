"""The point in time: whatever is written, in whatever order and at once, it stays as it was."""

import errno
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from blkrun.errors import CommandError
from blkrun.options import (
    BitmapPlace,
    CopyBeforeWriteOptions,
    ExportOptions,
    MemoryOptions,
    SnapshotAccessOptions,
)
from blkrun.server import bitmap_actions
from blkrun.server import graph as graph_module
from blkrun.server.actions import blockdev_add, blockdev_del, export_add, insert_node, set_edge
from blkrun.server.bitmap import Bitmap
from blkrun.server.bitmap_actions import Place
from blkrun.server.drivers.copy_before_write import CLUSTER_BYTES, CopyBeforeWrite
from blkrun.server.drivers.memory import Memory
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.node import Node
from blkrun.server.point_in_time import PointInTime

CLUSTERS = 6
SIZE = CLUSTERS * CLUSTER_BYTES - 1000
ALL = (0, CLUSTERS)


class Faulty(Memory):
    """A target that fails, or is slow, when told to."""

    def __init__(self, options: MemoryOptions) -> None:
        super().__init__(options)
        self.before_write: Callable[[], None] = lambda: None

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """First what it was told."""
        self.before_write()
        super().do_pwrite(buf, offset, flags)

    def do_zero(self, count: int, offset: int, flags: int) -> None:
        """First what it was told."""
        self.before_write()
        super().do_zero(count, offset, flags)


class Setup:
    """disk, full of a pattern; cbw over it; snapshot over that."""

    def __init__(self, **options: Any) -> None:
        self.graph = Graph(Events())
        self.seen: list[tuple[str, dict[str, Any] | None]] = []
        self.graph.events.emit = self._see  # type: ignore[method-assign] # it is looked at
        self.was = random.Random(7).randbytes(SIZE)
        target = Faulty(MemoryOptions(node_name="scratch", size=SIZE))
        cbw = CopyBeforeWriteOptions(node_name="cbw", file="disk", target="scratch", **options)
        self.do(
            partial(blockdev_add, options=MemoryOptions(node_name="disk", size=SIZE)),
            lambda staging: staging.add_node(target, {}),
        )
        self.disk, self.target = self.graph.nodes["disk"], target
        write(self.disk, self.was, 0)
        self.do(
            partial(blockdev_add, options=cbw),
            partial(blockdev_add, options=SnapshotAccessOptions(node_name="snapshot", file="cbw")),
        )
        cbw_node = self.graph.nodes["cbw"]
        assert isinstance(cbw_node, CopyBeforeWrite)
        self.cbw, self.snapshot = cbw_node, self.graph.nodes["snapshot"]

    def _see(self, name: str, data: dict[str, Any] | None = None) -> None:
        if name != "X_BLKRUN_GRAPH_CHANGED":
            self.seen.append((name, data))

    def do(self, *actions: Callable[[Any], None]) -> None:
        """A transaction."""
        self.graph.transaction(actions)


def write(node: Node[Any], data: bytes, offset: int) -> None:
    """All of it."""
    node.pwrite(memoryview(bytearray(data)), offset, 0)


def read(node: Node[Any], count: int = SIZE, offset: int = 0) -> bytes:
    """A range."""
    buf = bytearray(count)
    node.pread(memoryview(buf), offset)
    return bytes(buf)


@contextmanager
def in_thread(work: Callable[[], None]) -> Iterator[threading.Thread]:
    """A thread, joined at the end."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(20)
        assert not thread.is_alive()


ranges = st.tuples(st.integers(0, SIZE - 1), st.integers(1, 3 * CLUSTER_BYTES)).map(
    lambda pair: (pair[0], min(pair[1], SIZE - pair[0]))
)
steps = st.tuples(st.sampled_from(["write", "zero", "trim", "read", "extents"]), ranges)


@settings(deadline=None, max_examples=60)
@given(st.lists(steps, max_size=12))
def test_any_sequence_of_requests(sequence: list[tuple[str, tuple[int, int]]]) -> None:
    """The snapshot reads as the disk was, in one request too that spans copied and not copied."""
    setup = Setup()
    now = bytearray(setup.was)
    for number, (what, (offset, count)) in enumerate(sequence):
        if what == "write":
            now[offset : offset + count] = bytes([number + 1]) * count
            write(setup.cbw, bytes([number + 1]) * count, offset)
        elif what in ("zero", "trim"):
            now[offset : offset + count] = bytes(count)
            getattr(setup.cbw, what)(count, offset, 0)
        elif what == "read":
            assert read(setup.snapshot, count, offset) == setup.was[offset : offset + count]
        else:
            found = setup.snapshot.extents(count, offset)
            assert found[0][0] == offset
            assert sum(length for _, length, _ in found) == count
    assert read(setup.snapshot) == setup.was
    assert read(setup.cbw) == read(setup.disk) == bytes(now)


@pytest.mark.parametrize("seed", range(4))
def test_writers_and_readers_at_once(seed: int) -> None:
    """With eight threads writing the same clusters, every read of the snapshot is the disk as was.

    And each cluster went to the target once.
    """
    setup = Setup()
    errors: list[str] = []
    written = 0
    lock = threading.Lock()

    def count() -> None:
        nonlocal written
        with lock:
            written += 1

    setup.target.before_write = count

    def work(number: int) -> None:
        rnd = random.Random(seed * 100 + number)
        for _ in range(60):
            offset = rnd.randrange(SIZE - 1)
            length = min(rnd.randrange(1, 2 * CLUSTER_BYTES), SIZE - offset)
            if number % 2:
                write(setup.cbw, rnd.randbytes(length), offset)
            elif read(setup.snapshot, length, offset) != setup.was[offset : offset + length]:
                errors.append(f"{offset}+{length}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert read(setup.snapshot) == setup.was
    assert written <= CLUSTERS


def test_a_write_waits_for_who_reads_the_point_in_time() -> None:
    """While the snapshot is read from the disk itself, a write there is not done, only its copy."""
    setup = Setup()
    writer = threading.Thread(target=lambda: write(setup.cbw, b"new", 0))
    with setup.cbw.moment.reading(0, 10) as (length, is_copied):
        assert (length, is_copied) == (10, False)
        writer.start()
        while setup.cbw.moment.to_copy.get(0):
            pass
        writer.join(0.02)
        assert read(setup.disk, 3) == setup.was[:3]
    writer.join(20)
    assert read(setup.disk, 3) == b"new"


def test_two_writes_to_one_cluster_copy_once() -> None:
    """The second waits for the first's copy, and then has none to make."""
    setup = Setup()
    begun, go_on = threading.Event(), threading.Event()
    copies = []

    def slow() -> None:
        copies.append(1)
        begun.set()
        assert go_on.wait(20)

    setup.target.before_write = slow
    with in_thread(lambda: write(setup.cbw, b"one", 0)):
        assert begun.wait(20)
        with in_thread(lambda: write(setup.cbw, b"two", 100)) as second:
            second.join(0.02)
            assert read(setup.disk, 200) == setup.was[:200]
            go_on.set()
    assert copies == [1]
    assert read(setup.snapshot) == setup.was


def fail() -> None:
    """What a target does that is full."""
    raise OSError(errno.ENOSPC, "full")


def test_break_guest_write() -> None:
    """QEMU: the write fails with the target's errno, nothing is written, the snapshot stays."""
    setup = Setup()
    setup.target.before_write = fail
    with pytest.raises(OSError, match="full") as raised:
        write(setup.cbw, b"new", 0)
    assert raised.value.errno == errno.ENOSPC
    assert read(setup.disk) == setup.was
    setup.target.before_write = lambda: None
    write(setup.cbw, b"new", 0)
    assert read(setup.disk, 3) == b"new"
    assert read(setup.snapshot) == setup.was
    assert setup.seen == []


def test_break_snapshot() -> None:
    """QEMU: the write is done, and the snapshot reads EACCES from then on, and says so once."""
    setup = Setup(on_cbw_error="break-snapshot")
    setup.target.before_write = fail
    write(setup.cbw, b"new", 0)
    write(setup.cbw, b"new", CLUSTER_BYTES)
    assert read(setup.disk, 3) == b"new"
    with pytest.raises(OSError, match="could not be kept") as raised:
        read(setup.snapshot, 1, SIZE - 1)
    assert raised.value.errno == errno.EACCES
    data = {"node-name": "cbw", "error": "full"}
    assert setup.seen == [("X_BLKRUN_SNAPSHOT_BROKEN", data)]
    assert setup.cbw.describe()["snapshot"] == "broken"


@pytest.mark.parametrize("policy", ["break-guest-write", "break-snapshot"])
def test_timeout(policy: str) -> None:
    """A target that hangs: ETIMEDOUT for the write, or the end of the snapshot (iotest cbw)."""
    setup = Setup(on_cbw_error=policy, cbw_timeout=1)
    go_on = threading.Event()
    setup.target.before_write = lambda: None if go_on.wait(20) else fail()
    try:
        if policy == "break-guest-write":
            with pytest.raises(OSError, match="timed out") as raised:
                write(setup.cbw, b"new", 0)
            assert raised.value.errno == errno.ETIMEDOUT
            assert read(setup.disk) == setup.was
        else:
            write(setup.cbw, b"new", 0)
            assert read(setup.disk, 3) == b"new"
    finally:
        go_on.set()
    setup.cbw.moment.await_copies()
    if policy == "break-guest-write":
        write(setup.cbw, b"new", 0)
        assert read(setup.snapshot) == setup.was
    else:
        with pytest.raises(OSError, match="could not be kept"):
            read(setup.snapshot)


def test_a_copy_that_hangs_stops_no_edit() -> None:
    """Taken out while a copy that its write gave up goes on: it is closed later, by itself."""
    setup = Setup(cbw_timeout=1)
    setup.do(partial(blockdev_del, name="snapshot"))
    go_on = threading.Event()
    setup.target.before_write = lambda: None if go_on.wait(20) else fail()
    with pytest.raises(OSError, match="timed out"):
        write(setup.cbw, b"new", 0)
    with in_thread(lambda: setup.do(partial(blockdev_del, name="cbw"))) as edit:
        edit.join(5)
        hangs = edit.is_alive()
        go_on.set()
    assert not hangs


def test_a_copy_that_hangs_stops_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends all the same; and does not wait for an edit that waits for what hangs."""
    monkeypatch.setattr(graph_module, "_END_TIMEOUT_S", 0.05)
    setup = Setup(cbw_timeout=1)
    go_on = threading.Event()
    setup.target.before_write = lambda: None if go_on.wait(20) else fail()
    with pytest.raises(OSError, match="timed out"):
        write(setup.cbw, b"new", 0)
    with setup.graph.lock, in_thread(setup.graph.let_all_go) as end:
        end.join(10)
        assert not end.is_alive()
    setup.graph.close()
    assert setup.cbw.is_busy()
    go_on.set()


def test_a_reader_hears_of_a_break_while_it_reads() -> None:
    """Who reads from the disk while a write passes that could not be kept gets no new data."""
    setup = Setup(on_cbw_error="break-snapshot")
    setup.target.before_write = fail
    with (
        pytest.raises(OSError, match="could not be kept"),
        setup.cbw.moment.reading(0, 10),
    ):
        write(setup.cbw, b"new", 0)


def test_what_is_not_part_of_it_cannot_be_read() -> None:
    """With a bitmap: the whole request fails if any byte of it is not accessible (EACCES)."""
    access = Bitmap(SIZE, CLUSTER_BYTES)
    access.set_clusters(1, 3)
    moment = PointInTime(access)
    with moment.reading(CLUSTER_BYTES, 2 * CLUSTER_BYTES) as (length, is_copied):
        assert (length, is_copied) == (2 * CLUSTER_BYTES, False)
    with pytest.raises(OSError, match="not part") as raised, moment.reading(0, 2 * CLUSTER_BYTES):
        pass
    assert raised.value.errno == errno.EACCES
    assert moment.passes(0, CLUSTER_BYTES)


def test_what_is_being_copied_is_not_left_out() -> None:
    """A write would pass the copy, which would then read what is new."""
    access = Bitmap(SIZE, CLUSTER_BYTES)
    access.set_clusters(*ALL)
    moment = PointInTime(access)
    assert moment.claim(2, 3) == (2, 3)
    moment.leave_out(0, SIZE)
    assert not moment.passes(2 * CLUSTER_BYTES, 1)
    assert moment.remaining_bytes() == CLUSTER_BYTES
    moment.copied((2, 3), 3)
    assert moment.passes(0, SIZE)


def test_bitmap() -> None:
    """QEMU's ``bitmap``: only what is dirty in it is kept, and can be read; marks later do not."""
    setup = Setup()
    place = BitmapPlace(node="disk", name="b")
    setup.do(partial(bitmap_actions.add, place=Place("disk", "b")))
    write(setup.disk, b"x", 2 * CLUSTER_BYTES)
    was = read(setup.disk)
    options = CopyBeforeWriteOptions(node_name="part", file="disk", target="other", bitmap=place)
    setup.do(
        partial(blockdev_add, options=MemoryOptions(node_name="other", size=SIZE)),
        partial(blockdev_add, options=options),
        partial(blockdev_add, options=SnapshotAccessOptions(node_name="old", file="part")),
    )
    part, old = setup.graph.nodes["part"], setup.graph.nodes["old"]
    write(part, b"y" * 3 * CLUSTER_BYTES, CLUSTER_BYTES)
    assert read(old, CLUSTER_BYTES, 2 * CLUSTER_BYTES) == was[2 * CLUSTER_BYTES :][:CLUSTER_BYTES]
    for cluster in (0, 1, 3):
        with pytest.raises(OSError, match="not part") as caught:
            read(old, 1, cluster * CLUSTER_BYTES)
        assert caught.value.errno == errno.EACCES
    assert read(setup.graph.nodes["other"], CLUSTER_BYTES, CLUSTER_BYTES) == bytes(CLUSTER_BYTES)


def test_bitmap_refused() -> None:
    """QEMU's words where there is no such bitmap; its disk must be of one size with this."""
    setup = Setup()
    setup.do(
        partial(blockdev_add, options=MemoryOptions(node_name="small", size=512)),
        partial(bitmap_actions.add, place=Place("small", "b")),
    )
    for node, name, text in (
        ("disk", "nope", "Dirty bitmap 'nope' not found"),
        ("nope", "b", "Node 'nope' not found"),
        ("small", "b", "must be of one size"),
    ):
        options = CopyBeforeWriteOptions(
            node_name="c",
            file="disk",
            target="scratch",
            bitmap=BitmapPlace(node=node, name=name),
        )
        with pytest.raises(CommandError, match=text):
            setup.do(partial(blockdev_add, options=options))


def test_snapshot_access_needs_a_keeper() -> None:
    """QEMU: opening over something else succeeds, reading gives ENOTSUP."""
    setup = Setup()
    options = SnapshotAccessOptions(node_name="other", file="disk")
    setup.do(partial(blockdev_add, options=options))
    with pytest.raises(OSError, match="not a copy-before-write") as raised:
        read(setup.graph.nodes["other"], 1)
    assert raised.value.errno == errno.EOPNOTSUPP


def test_a_snapshot_cannot_be_written() -> None:
    """Not by a writable export, and not from inside."""
    setup = Setup()
    with pytest.raises(CommandError, match="Cannot export read-only node"):
        setup.do(lambda s: export_add(s, "old", ExportOptions(node="snapshot")))
    with pytest.raises(OSError, match="cannot be written"):
        write(setup.snapshot, b"x", 0)


def test_nobody_writes_past_it() -> None:
    """A writable export of the disk beside it is refused, one over it or read-only is not."""
    setup = Setup()
    with pytest.raises(CommandError, match="past node 'cbw'"):
        setup.do(lambda s: export_add(s, "vda", ExportOptions(node="disk")))
    setup.do(lambda s: export_add(s, "vda", ExportOptions(node="cbw")))
    setup.do(lambda s: export_add(s, "ro", ExportOptions(node="disk", read_only=True)))
    with pytest.raises(CommandError, match="past node 'cbw'"):
        setup.do(lambda s: set_edge(s, "vda", "root", "disk"))
    setup.do(lambda s: export_add(s, "old", ExportOptions(node="snapshot", read_only=True)))


def test_another_disk_cannot_come_below() -> None:
    """The point in time is one disk's; filters may come and go between them."""
    setup = Setup()
    other = MemoryOptions(node_name="other", size=SIZE)
    setup.do(partial(blockdev_add, options=other))
    with pytest.raises(CommandError, match="over another disk"):
        setup.do(lambda s: set_edge(s, "cbw", "file", "other"))


def test_sizes_must_match() -> None:
    """QEMU: file and target are of one size."""
    setup = Setup()
    setup.do(partial(blockdev_add, options=MemoryOptions(node_name="small", size=SIZE - 1)))
    options = CopyBeforeWriteOptions(node_name="c", file="disk", target="small")
    with pytest.raises(CommandError, match="must be of one size"):
        setup.do(partial(blockdev_add, options=options))


def test_taken_out_it_is_over() -> None:
    """Once it has been in the way and is not any more, it does not pretend to know."""
    setup = Setup()
    setup.do(partial(blockdev_del, name="snapshot"))
    setup.do(lambda s: export_add(s, "vda", ExportOptions(node="disk")))
    assert setup.cbw.describe()["snapshot"] == "intact"
    setup.do(partial(insert_node, parent="vda", child="disk", name="cbw"))
    assert setup.cbw.describe()["snapshot"] == "intact"
    setup.do(lambda s: set_edge(s, "vda", "root", "disk"))
    assert setup.cbw.describe()["snapshot"] == "broken"


def test_one_that_nobody_uses_stops_nobody() -> None:
    """Adding it, and editing elsewhere while it is there, waits for no request of the disk."""
    setup = Setup()
    setup.do(partial(blockdev_del, name="snapshot"))
    setup.do(partial(blockdev_del, name="cbw"))
    setup.do(lambda s: export_add(s, "vda", ExportOptions(node="disk")))
    route = setup.graph.exports["vda"].route
    route.in_flight += 1  # a request that does not end
    try:
        cbw = CopyBeforeWriteOptions(node_name="cbw", file="disk", target="scratch")
        setup.do(partial(blockdev_add, options=cbw))
        setup.do(partial(blockdev_add, options=MemoryOptions(node_name="other", size=SIZE)))
    finally:
        route.in_flight -= 1
    setup.do(partial(insert_node, parent="vda", child="disk", name="cbw"))


def test_a_wider_claim() -> None:
    """What is to be copied around a run, in its window, and by nobody else; never past the end."""
    everything = Bitmap(SIZE, CLUSTER_BYTES)
    everything.set_clusters(0, CLUSTERS)
    moment = PointInTime(everything)
    assert moment.claim(1, 2, 4) == (0, 4)
    assert moment.claim(5, 6, 4) == (4, 6)
    moment.copied((0, 4), 1)
    moment.copied((4, 6), 6)
    assert moment.claim(2, 3) == (2, 3)
    assert moment.claim(1, 2, 4) == (1, 2)
    assert moment.claim(3, 4, 4) == (3, 4)
    assert moment.remaining_bytes() == 3 * CLUSTER_BYTES


def test_a_neighbour_that_cannot_be_copied_fails_nobody() -> None:
    """A write has more copied than it needs to; where that fails, what it needs is enough."""
    setup = Setup()
    setup.cbw.reach = 4
    failed: list[int] = []

    def refuse() -> None:
        if setup.cbw.moment._copying[-1] != (1, 2):
            failed.append(1)
            raise OSError(errno.EIO, "a bad sector")

    setup.target.before_write = refuse
    write(setup.cbw, b"new", CLUSTER_BYTES)
    assert failed
    setup.target.before_write = lambda: None
    assert read(setup.snapshot) == setup.was
    setup.target.before_write = fail
    with pytest.raises(OSError, match="full"):
        write(setup.cbw, b"new", 3 * CLUSTER_BYTES)
