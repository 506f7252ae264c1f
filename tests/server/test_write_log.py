"""blklogwrites: what is in the log, in which order, and when it cannot be."""

import errno
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.errors import CommandError
from blkrun.options import (
    BlkLogWritesOptions,
    BlockdevOptions,
    ExportOptions,
    FileOptions,
    MemoryOptions,
)
from blkrun.server.actions import (
    blockdev_add,
    blockdev_del,
    blockdev_reopen,
    export_add,
    export_del,
    insert_node,
    replace_node,
    set_edge,
)
from blkrun.server.drivers.blklogwrites import BlkLogWrites
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.staging import Staging
from blkrun.server.way import FLAG_FUA, FLAG_MAY_TRIM
from blkrun.server.write_log import DISCARD, FLUSH, FUA, Entry, Super
from tests.server.faulty import Faulty
from tests.server.inprocess import Worker, eventually
from tests.server.write_logs import entries_in, replayed, replays

SIZE = 2**16


class Setup:
    """``logged`` over ``disk``, with its log on ``log``; both can be made to fail."""

    def __init__(self, log_bytes: int = 2**20, **options: Any) -> None:
        self.graph = Graph(Events())
        self.disk = Faulty(MemoryOptions(node_name="disk", size=SIZE))
        self.log = Faulty(MemoryOptions(node_name="log", size=log_bytes))
        over = BlkLogWritesOptions(node_name="logged", file="disk", log="log", **options)
        self.do(
            lambda s: s.add_node(self.disk, {}),
            lambda s: s.add_node(self.log, {}),
            partial(blockdev_add, options=over),
        )

    @property
    def node(self) -> BlkLogWrites:
        """The driver's."""
        node = self.graph.nodes["logged"]
        assert isinstance(node, BlkLogWrites)
        return node

    def do(self, *actions: Callable[[Staging], None]) -> None:
        """One edit."""
        self.graph.transaction(actions)

    def write(self, data: bytes, offset: int, flags: int = 0) -> None:
        """To the driver's node."""
        self.node.pwrite(memoryview(data), offset, flags)

    def entries(self) -> list[Entry]:
        """What the super block tells of."""
        return [entry for entry, _ in entries_in(self.log.content())]


def read(setup: Setup) -> bytes:
    """The disk, as a client sees it."""
    buf = bytearray(SIZE)
    setup.node.pread(memoryview(buf), 0)
    return bytes(buf)


def test_the_entries_of_each_request() -> None:
    """QEMU's example (§7), and what has a flag of its own."""
    setup = Setup()
    setup.write(b"1" * 1024, 4096)
    setup.node.flush()
    setup.node.zero(4096, 0, 0)
    setup.node.trim(1024, 512, 0)
    setup.node.flush()
    setup.node.flush()  # nothing has been written since
    setup.write(b"2" * 512, 0, FLAG_FUA)
    assert setup.entries() == [
        Entry(8, 2, 0),
        Entry(0, 0, FLUSH),
        Entry(0, 8, 0),
        Entry(1, 2, DISCARD),
        Entry(0, 0, FLUSH),
        Entry(0, 1, FUA),
    ]
    assert setup.node.describe() == {"entries": 6, "log-bytes": 18 * 512, "log-sector-size": 512}


def test_the_log_byte_for_byte() -> None:
    """The super block, and a write of one sector."""
    setup = Setup()
    setup.write(b"x" * 512, 1024)
    setup.node.flush()
    sector = (2).to_bytes(8, "little") + (1).to_bytes(8, "little") + bytes(16)
    begin = bytes.fromhex("7268737766736a00 0100000000000000 0200000000000000 00020000")
    flush = bytes(16) + (1).to_bytes(8, "little") + bytes(8)
    parts = (begin, sector, b"x" * 512, flush)
    expected = b"".join(part.ljust(512, b"\0") for part in parts)
    assert setup.log.content() == expected.ljust(2**20, b"\0")


requests = st.tuples(
    st.sampled_from(["pwrite", "zero", "trim", "flush"]),
    st.integers(0, 20000),
    st.integers(1, 20000),
    st.sampled_from([0, FLAG_FUA]),
    st.binary(min_size=1, max_size=1),
)


@given(requests=st.lists(requests, max_size=12), sector=st.sampled_from([32, 512, 4096]))
def test_replaying_gives_the_disk_at_every_request(
    requests: list[tuple[str, int, int, int, bytes]], sector: int
) -> None:
    """Of any alignment: after each the log, as far as it goes then, makes the disk."""
    setup = Setup(log_bytes=2**22, log_sector_size=sector, log_super_update_interval=1)
    content = random.Random(0).randbytes(SIZE)
    setup.disk.poke(content, 0)
    states = []
    setup.node.zero(1, 0, 0)
    for kind, offset, count, flags, byte in requests:
        if kind == "flush":
            setup.node.flush()
        elif kind == "pwrite":
            setup.write(byte * count, offset, flags)
        else:
            getattr(setup.node, kind)(count, offset, flags)
        states.append((setup.node.describe()["entries"], setup.disk.content()))
    setup.node.flush()
    logged = entries_in(setup.log.content())
    seen = [content, *replays(content, logged, sector)]
    assert all(seen[entries] == state for entries, state in states)


def test_many_writers_and_the_order_in_which_they_were_true() -> None:
    """Writes that overlap are in the log as the disk has them; others run at the same time."""
    setup = Setup(log_bytes=2**22)

    def work(seed: int) -> None:
        rnd = random.Random(seed)
        for number in range(60):
            length, offset = rnd.randrange(1, 3000), rnd.randrange(0, 4000)
            if number % 10 == 9:
                setup.node.flush()
            else:
                setup.write(rnd.randbytes(length), offset)

    for worker in [Worker(partial(work, seed)) for seed in range(4)]:
        worker.finish()
    setup.node.flush()
    last = replayed(bytes(SIZE), entries_in(setup.log.content()))
    assert last == setup.disk.content()


def test_overlapping_requests_take_turns_and_others_do_not_wait() -> None:
    """The first is held at the disk: one beside it goes on, one over it comes after."""
    setup = Setup()
    with held(setup.disk, at=0) as (arrived, go_on):
        first = Worker(lambda: setup.write(b"1" * 512, 0))
        assert arrived.wait(10)
        setup.write(b"2" * 512, 1024)  # beside
        second = Worker(lambda: setup.write(b"3" * 10, 500))  # in the sector that the first is at
        eventually(lambda: setup.node.stats.in_flight == 2)
        go_on.set()
    first.finish()
    second.finish()
    setup.node.flush()
    assert [entry.sector for entry in setup.entries()] == [2, 0, 0, 0]
    assert setup.disk.content()[:512] == b"1" * 500 + b"3" * 10 + b"1" * 2


def test_a_write_that_ends_during_a_flush_is_logged_after_it() -> None:
    """It need not be durable then: so what is before a flush is."""
    setup = Setup()
    setup.write(b"1" * 512, 0)
    arrived, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        assert go_on.wait(10)

    setup.disk.before_flush = hold
    flush = Worker(setup.node.flush)
    assert arrived.wait(10)
    write = Worker(lambda: setup.write(b"2" * 512, 1024))
    eventually(lambda: setup.disk.content()[1024:1536] == b"2" * 512)
    go_on.set()
    flush.finish()
    write.finish()
    setup.disk.before_flush = lambda: None
    setup.node.flush()
    assert setup.entries() == [
        Entry(0, 1, 0),
        Entry(0, 0, FLUSH),
        Entry(2, 1, 0),
        Entry(0, 0, FLUSH),
    ]


@contextmanager
def held(disk: Faulty, at: int) -> Iterator[tuple[threading.Event, threading.Event]]:
    """The first write at an offset waits until it is told to go on."""
    arrived, go_on = threading.Event(), threading.Event()

    def wait(offset: int, count: int) -> None:
        del count
        if offset == at and not arrived.is_set():
            arrived.set()
            assert go_on.wait(10)

    disk.before_write = wait
    yield arrived, go_on


def fail(code: int) -> Callable[..., None]:
    """A hook of Faulty's."""

    def raises(*_: int) -> None:
        raise OSError(code, "as the test says")

    return raises


def test_a_full_log_fails_writes_and_keeps_what_it_has() -> None:
    """As in QEMU the client is told; what was logged before can be read, and a flush works."""
    setup = Setup(log_bytes=4096)
    setup.write(b"1" * 512, 0)
    for _ in range(2):
        with pytest.raises(OSError, match="4096 bytes") as raised:
            setup.write(b"2" * 4096, 0)
        assert raised.value.errno == errno.ENOSPC
    setup.write(b"3" * 512, 512)  # this one fits
    setup.node.flush()
    assert setup.entries() == [Entry(0, 1, 0), Entry(1, 1, 0), Entry(0, 0, FLUSH)]


def test_an_entry_that_could_not_be_written_leaves_no_gap() -> None:
    """The client gets the log's errno; the next entry takes the place."""
    setup = Setup()
    setup.write(b"1" * 512, 0)
    setup.log.before_write = fail(errno.EIO)
    with pytest.raises(OSError, match="as the test says"):
        setup.write(b"2" * 512, 512)
    setup.log.before_write = lambda offset, count: None
    setup.write(b"3" * 512, 1024)
    setup.node.flush()
    assert [entry.sector for entry in setup.entries()] == [0, 2, 0]


def test_a_super_block_that_could_not_be_written_is_written_later() -> None:
    """A flush that fails for that is no flush to the client; the next one makes it good."""
    setup = Setup()
    setup.write(b"1" * 512, 0)
    setup.log.before_flush = fail(errno.EIO)
    with pytest.raises(OSError, match="as the test says"):
        setup.node.flush()
    setup.log.before_flush = lambda: None
    setup.node.flush()
    assert setup.entries() == [Entry(0, 1, 0), Entry(0, 0, FLUSH)]


def test_what_a_failed_write_has_left_is_logged() -> None:
    """Nothing, or the half of it: the log has the disk; the client has the disk's errno."""
    setup = Setup()

    def half(offset: int, count: int) -> None:
        setup.disk.poke(b"2" * (count // 2), offset)
        raise OSError(errno.EIO, "as the test says")

    setup.write(b"1" * 1024, 0)
    setup.disk.before_write = half
    with pytest.raises(OSError, match="as the test says"):
        setup.write(b"2" * 1024, 0)
    setup.disk.before_write = lambda offset, count: None
    setup.node.flush()
    last = replayed(bytes(SIZE), entries_in(setup.log.content()))
    assert last == setup.disk.content()
    assert last[:1024] == b"2" * 512 + b"1" * 512


def test_a_disk_that_can_neither_be_written_nor_read() -> None:
    """The write's errno, not that of reading back."""
    setup = Setup()
    setup.disk.before_write, setup.disk.before_read = fail(errno.ENOSPC), fail(errno.EIO)
    with pytest.raises(OSError, match="as the test says") as raised:
        setup.write(b"2" * 1024, 0)
    assert raised.value.errno == errno.ENOSPC


def test_a_flush_that_failed_is_not_logged() -> None:
    """What is before it is not durable."""
    setup = Setup()
    setup.write(b"1" * 512, 0)
    setup.disk.before_flush = fail(errno.EIO)
    with pytest.raises(OSError, match="as the test says"):
        setup.node.flush()
    setup.disk.before_flush = lambda: None
    setup.write(b"1" * 512, 0)
    setup.node.flush()
    assert setup.entries() == [Entry(0, 1, 0), Entry(0, 1, 0), Entry(0, 0, FLUSH)]


def test_the_super_block_in_between() -> None:
    """After so many entries, without a flush; the number can be changed live."""
    setup = Setup(log_super_update_interval=2)
    for number in range(3):
        setup.write(b"1" * 512, 512 * number)
    assert len(setup.entries()) == 2
    setup.do(
        partial(
            blockdev_reopen,
            options=BlkLogWritesOptions(
                node_name="logged", file="disk", log="log", log_super_update_interval=1
            ),
        )
    )
    setup.write(b"1" * 512, 0)
    assert len(setup.entries()) == 4


def test_the_last_entry_is_a_flush() -> None:
    """When the node goes, as in QEMU; one that nobody used leaves the log alone."""
    setup = Setup()
    setup.write(b"1" * 512, 0)
    setup.do(partial(blockdev_del, name="logged"))
    assert setup.entries() == [Entry(0, 1, 0), Entry(0, 0, FLUSH)]
    before = setup.log.content()
    unused = BlkLogWritesOptions(node_name="logged", file="disk", log="log", log_append=True)
    setup.do(partial(blockdev_add, options=unused))
    setup.do(partial(blockdev_del, name="logged"))
    assert setup.log.content() == before


def test_going_on_with_a_log() -> None:
    """log-append: after the last entry, in the sectors that the log has; otherwise anew."""
    setup = Setup(log_sector_size=4096)
    setup.write(b"1" * 4096, 4096)
    setup.node.trim(4096, 8192, 0)
    setup.do(partial(blockdev_del, name="logged"))
    again = BlkLogWritesOptions(node_name="logged", file="disk", log="log", log_append=True)
    setup.do(partial(blockdev_add, options=again))
    setup.write(b"1" * 4096, 0)
    setup.node.flush()
    before = [Entry(1, 1, 0), Entry(2, 1, DISCARD), Entry(0, 0, FLUSH)]
    assert setup.entries() == [*before, Entry(0, 1, 0), Entry(0, 0, FLUSH)]
    setup.do(partial(blockdev_del, name="logged"))
    anew = BlkLogWritesOptions(node_name="logged", file="disk", log="log")
    setup.do(partial(blockdev_add, options=anew))
    setup.write(b"1" * 512, 512)
    setup.node.flush()
    assert setup.entries() == [Entry(1, 1, 0), Entry(0, 0, FLUSH)]


def test_an_empty_file_is_an_empty_log(tmp_path: Path) -> None:
    """With log-append too; and a file grows with what is logged."""
    setup = Setup()
    options: tuple[BlockdevOptions, ...] = (
        FileOptions(node_name="file", path=str(tmp_path / "log"), create=True),
        BlkLogWritesOptions(node_name="second", file="disk", log="file", log_append=True),
    )
    setup.do(*(partial(blockdev_add, options=each) for each in options))
    setup.graph.nodes["second"].pwrite(memoryview(b"1" * 512), 0, 0)
    setup.graph.nodes["second"].flush()
    found = [entry for entry, _ in entries_in((tmp_path / "log").read_bytes())]
    assert found == [Entry(0, 1, 0), Entry(0, 0, FLUSH)]
    setup.graph.close()


@pytest.mark.parametrize("options", [{"log_append": True}, {}], ids=["append", "anew"])
def test_a_node_that_takes_anothers_place_has_the_log_after_it(options: dict[str, Any]) -> None:
    """The one that goes ends its log first; so nothing of the new one's is written over."""
    setup = Setup(**({} if "log_append" in options else {"log_sector_size": 1024}))
    setup.do(lambda s: export_add(s, "vda", ExportOptions(node="logged")))
    setup.write(b"1" * 1024, 0)
    new = BlkLogWritesOptions(node_name="logged", file="disk", log="log", **options)
    setup.graph.transaction([partial(replace_node, options=new)], departing=["logged"])
    setup.write(b"2" * 512, 512)
    setup.node.flush()
    old = [Entry(0, 2, 0), Entry(0, 0, FLUSH)] if options else []
    assert setup.entries() == [*old, Entry(1, 1, 0), Entry(0, 0, FLUSH)]


def superblock(entries: int = 0, sector_bytes: int = 512, version: int = 1) -> bytes:
    """One, perhaps broken."""
    packed = bytearray(Super(entries, 512).pack())
    packed[8] = version
    packed[24:28] = sector_bytes.to_bytes(4, "little")
    return bytes(packed)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (bytes(512), "Invalid log superblock magic"),
        (b"short", "Could not read log superblock: "),
        (superblock(version=2), "Unsupported log version 2"),
        (superblock(sector_bytes=0), "Invalid log sector size 0"),
        (superblock(sector_bytes=1000), "Invalid log sector size 1000"),
        (superblock(1) + Entry(0, 0, 16).pack(512), "Invalid flags 0x10 in log entry 0"),
        (superblock(1), "Failed to read log entry 0: "),
        (superblock(2) + Entry(0, 2**50, 0).pack(512), "Failed to read log entry 1: "),
        (superblock(2**60) + bytes(10 * 512), "Failed to read log entry 10: "),
    ],
)
def test_a_log_to_go_on_with_that_is_none(tmp_path: Path, log: bytes, message: str) -> None:
    """QEMU's words; nothing is written to it."""
    setup = Setup()
    (tmp_path / "log").write_bytes(log)
    file = FileOptions(node_name="file", path=str(tmp_path / "log"))
    over = BlkLogWritesOptions(node_name="second", file="disk", log="file", log_append=True)
    with pytest.raises(CommandError, match=message):
        setup.do(partial(blockdev_add, options=file), partial(blockdev_add, options=over))
    assert (tmp_path / "log").read_bytes() == log


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"log_sector_size": 16}, "Invalid log sector size 16"),
        ({"log_sector_size": 1000}, "Invalid log sector size 1000"),
        ({"log_sector_size": 2**24}, "Invalid log sector size 16777216"),
        (
            {"log_sector_size": 512, "log_append": True},
            "log-append and log-sector-size are mutually exclusive",
        ),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    """QEMU's words."""
    with pytest.raises(CommandError, match=message):
        Setup(**options)


def test_who_else_may_not_write_to_the_log() -> None:
    """A second log, a client, or what is read-only; who only reads it may."""
    setup = Setup()
    second = BlkLogWritesOptions(node_name="second", file="disk", log="log")
    with pytest.raises(
        CommandError, match=r"'log', which '(second|logged)' may write to as its log"
    ):
        setup.do(partial(blockdev_add, options=second))
    with pytest.raises(CommandError, match="which 'raw' may write to as its root"):
        setup.do(lambda s: export_add(s, "raw", ExportOptions(node="log")))
    setup.do(lambda s: export_add(s, "raw", ExportOptions(node="log", read_only=True)))
    locked = MemoryOptions(node_name="locked", read_only=True)
    third = BlkLogWritesOptions(node_name="third", file="disk", log="locked")
    with pytest.raises(CommandError, match="the log 'locked' is read-only"):
        setup.do(partial(blockdev_add, options=locked), partial(blockdev_add, options=third))


def test_it_can_be_put_in_and_taken_out_of_the_way() -> None:
    """What is written meanwhile is in the log, and nothing else."""
    setup = Setup()
    setup.do(lambda s: export_add(s, "vda", ExportOptions(node="disk")))
    setup.do(partial(insert_node, parent="vda", child="disk", name="logged"))
    root = setup.graph.exports["vda"].root
    root.pwrite(memoryview(b"1" * 512), 0, 0)
    setup.do(lambda s: set_edge(s, "vda", "root", "disk"))
    setup.do(partial(blockdev_del, name="logged"))
    assert setup.entries() == [Entry(0, 1, 0), Entry(0, 0, FLUSH)]


def test_taken_out_of_the_way_the_log_is_whole() -> None:
    """Though the node stays, for another time: then it goes on."""
    setup = Setup()
    setup.do(lambda s: export_add(s, "vda", ExportOptions(node="logged")))
    setup.write(b"1" * 512, 0)
    setup.do(lambda s: set_edge(s, "vda", "root", "disk"))
    assert setup.entries() == [Entry(0, 1, 0), Entry(0, 0, FLUSH)]
    setup.do(lambda s: set_edge(s, "vda", "root", "logged"))
    setup.write(b"1" * 512, 512)
    setup.do(partial(export_del, name="vda", hard=True))
    assert setup.entries()[2:] == [Entry(1, 1, 0), Entry(0, 0, FLUSH)]


def test_a_log_that_fails_can_be_taken_away(capsys: pytest.CaptureFixture[str]) -> None:
    """The edit is not refused: the server's log has it."""
    setup = Setup()
    setup.do(lambda s: export_add(s, "vda", ExportOptions(node="logged")))
    setup.write(b"1" * 512, 0)
    setup.log.before_write = fail(errno.EIO)
    setup.do(lambda s: set_edge(s, "vda", "root", "disk"), partial(blockdev_del, name="logged"))
    assert capsys.readouterr().err == "logged: the end of its log: as the test says\n"


def test_zeroes_keep_their_space_below() -> None:
    """A zero's flags go down as they came."""
    setup = Setup()
    setup.write(b"1" * SIZE, 0)
    setup.node.zero(SIZE, 0, FLAG_MAY_TRIM)
    assert read(setup) == bytes(SIZE)
