"""Writes and flushes at the same time: a flush settles all that was acknowledged before it.

Where a race could be lost, one side is held up there while the other goes on.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blkrun.server.qcow2 import features
from blkrun.server.qcow2.create import NewImage
from blkrun.server.qcow2.header import parse
from blkrun.server.way import FLAG_FUA, FLAG_MAY_TRIM
from tests.server.inprocess import PATIENCE_S, Worker, eventually
from tests.server.qcow2.crash import Loss, left_of
from tests.server.qcow2.disks import LogDisk
from tests.server.qcow2.guest import BACKING, Guest, guest_with
from tests.server.qcow2.images import Variety, create, qemu_img, qemu_io
from tests.server.qcow2.making import check_bytes

CLUSTER = 4096
SIZE = 2**20


class Held:
    """Holds up who comes here first, until ``let_go``."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self._go_on = threading.Event()

    def hold(self) -> None:
        """Once."""
        if not self.came.is_set():
            self.came.set()
            assert self._go_on.wait(PATIENCE_S)

    def let_go(self) -> None:
        """Go on."""
        self._go_on.set()


class Flushed:
    """Another guest's thread: it writes, and flushes; ``left`` is what a crash then leaves."""

    def __init__(self, guest: Guest, data: bytes, offset: int) -> None:
        self._guest, self._data, self._offset = guest, data, offset
        self.left: bytearray | None = None
        self._worker = Worker(self._work)

    def _work(self) -> None:
        self._guest.writer.pwrite(memoryview(self._data), self._offset, 0)
        self._guest.writer.flush()
        self.left = left_now(self._guest.disk)

    def went_or_waits(self) -> None:
        """Either it has done all that, or it waits for the one that is held up."""
        writer = self._guest.writer
        claims = (writer._claims, writer._links._l1_claims)
        eventually(lambda: not self._worker.is_alive() or any(each._waiting for each in claims))

    def check(self) -> None:
        """What was flushed is there."""
        self._worker.finish()
        assert self.left is not None
        after = Guest(LogDisk(content=self.left), self._guest.base, None, self._guest.settings)
        assert after.read(len(self._data), self._offset) == self._data


def left_now(disk: LogDisk) -> bytearray:
    """After a crash in this moment that takes all that may be lost."""
    with disk.lock:
        return left_of(disk, len(disk.log), Loss(lost_percent=100))


def hold_write(guest: Guest, held: Held, is_meant: Callable[[int], bool]) -> None:
    """Hold up the first write to such a place in the file."""

    def before(kind: str, offset: int, count: int) -> None:
        if kind == "write" and is_meant(offset):
            held.hold()

    guest.disk.before = before


def test_nobody_writes_by_a_table_that_l1_does_not_lead_to_yet() -> None:
    """One that is being made is seen by others when it can be found after a crash."""
    guest = guest_with(NewImage(size_bytes=SIZE, cluster_bytes=CLUSTER))
    held = Held()
    hold_write(guest, held, lambda offset: offset == guest.image.header.l1_table_offset)
    first = Worker(lambda: guest.writer.pwrite(memoryview(b"a" * 100), 0, 0))
    assert held.came.wait(PATIENCE_S)
    second = Flushed(guest, b"b" * CLUSTER, 5 * CLUSTER)
    second.went_or_waits()
    held.let_go()
    first.finish()
    second.check()


def test_nobody_writes_where_a_late_entry_leads_before_it_is_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the next flush would pass it by, and what was written there be lost."""
    base = b"o" * SIZE
    new = NewImage(size_bytes=SIZE, cluster_bytes=CLUSTER, backing_file=BACKING, backing_fmt="raw")
    guest = guest_with(new, base=base)
    guest.write(b"t", 99 * CLUSTER)
    guest.writer.flush()
    held = Held()
    links = guest.writer._links
    be_late = links._all_be_late

    def be_late_slowly(*args: Any) -> None:
        held.hold()
        be_late(*args)

    monkeypatch.setattr(links, "_all_be_late", be_late_slowly)
    first = Worker(lambda: guest.writer.pwrite(memoryview(b"a" * 100), 0, 0))
    assert held.came.wait(PATIENCE_S)
    second = Flushed(guest, b"b" * 512, 1024)
    second.went_or_waits()
    held.let_go()
    first.finish()
    second.check()


def test_fua_flushes_what_a_flush_under_way_has_missed() -> None:
    """The entry is written after the flush of somebody else, who has begun later."""
    guest = guest_with(NewImage(size_bytes=SIZE, cluster_bytes=CLUSTER))
    guest.write(b"t", 99 * CLUSTER)
    guest.writer.flush()
    table = guest.image.l1[0] & ~(1 << 63)
    held = Held()
    hold_write(guest, held, lambda offset: table <= offset < table + CLUSTER)
    first = Worker(lambda: guest.writer.pwrite(memoryview(b"a" * CLUSTER), 0, FLAG_FUA))
    assert held.came.wait(PATIENCE_S)
    guest.writer.flush()
    held.let_go()
    first.finish()
    assert Guest(LogDisk(content=left_now(guest.disk))).read(CLUSTER) == b"a" * CLUSTER


def do_while_flushing(guest: Guest, work: Callable[[], None]) -> None:
    """Flush; ``work`` is done while the file is being flushed for that."""

    def before(kind: str, offset: int, count: int) -> None:
        if kind == "flush":
            guest.disk.before = lambda *_: None
            work()

    guest.disk.before = before
    guest.writer.flush()


def test_what_a_copied_table_gives_up_is_kept_until_l1_leads_to_the_copy(tmp_path: Path) -> None:
    """In the file the old table is in use until then, and so is what it leads to."""
    span = CLUSTER * CLUSTER // 8
    variety = Variety({"cluster_size": str(CLUSTER)}, size_bytes=2 * span)
    path = create(tmp_path / "image.qcow2", variety)
    qemu_io(path, "write -P 1 0 64k", f"write -P 1 {span} 64k")
    qemu_img("snapshot", "-c", "first", path)
    guest = Guest(LogDisk(content=bytearray(path.read_bytes())))
    guest.write(b"a" * CLUSTER, span)
    do_while_flushing(guest, lambda: guest.write(b"b" * CLUSTER, 0))
    check_bytes(guest.disk.content, tmp_path)
    guest.writer.close()
    guest.verify_by_qemu(tmp_path)


def test_each_late_entry_keeps_what_it_led_to(tmp_path: Path) -> None:
    """Of two that became late together, one is replaced: the other's cluster is still in use."""
    (tmp_path / "data.raw").write_bytes(bytes(range(1, 256)) * 400)
    path = tmp_path / "image.qcow2"
    options = ("-c", "-O", "qcow2", "-o", f"cluster_size={CLUSTER}")
    qemu_img("convert", *options, tmp_path / "data.raw", path)
    guest = Guest(LogDisk(content=bytearray(path.read_bytes())))
    guest.write(b"a" * 10, 9 * CLUSTER)

    def work() -> None:
        guest.write(b"b" * CLUSTER, CLUSTER // 2)
        guest.zero(CLUSTER, 0, FLAG_MAY_TRIM)

    do_while_flushing(guest, work)
    check_bytes(guest.disk.content, tmp_path)
    guest.writer.close()
    guest.verify_by_qemu(tmp_path)


def test_a_late_entry_that_is_changed_again_is_written_all_the_same() -> None:
    """Else the flush under way would pass by what it is for: another part of the same cluster."""
    new = NewImage(size_bytes=SIZE, cluster_bytes=2**14, extended_l2=True)
    guest = guest_with(new)
    guest.write(b"t", 0)
    guest.writer.flush()
    guest.write(b"a" * 512, 4096)
    do_while_flushing(guest, lambda: guest.write(b"b" * 512, 8192))
    assert Guest(LogDisk(content=left_now(guest.disk))).read(512, 4096) == b"a" * 512


def test_zeroes_over_a_late_entry_do_not_bring_back_what_was_before() -> None:
    """A flush was told to keep what they replace: after a crash it is that, or zeroes."""
    new = NewImage(size_bytes=SIZE, cluster_bytes=CLUSTER, backing_file=BACKING, backing_fmt="raw")
    guest = guest_with(new, base=b"o" * SIZE)
    guest.write(b"a" * 512, 0)
    do_while_flushing(guest, lambda: guest.zero(CLUSTER, 0))
    after = Guest(LogDisk(content=left_now(guest.disk)), guest.base)
    assert after.read(512) in (b"a" * 512, bytes(512))


def test_a_header_that_is_being_changed_is_marked_as_corrupt_after_that() -> None:
    """Both changes are in it: else it would lead back to refcounts that others use by now."""
    guest = guest_with(NewImage(size_bytes=SIZE, cluster_bytes=CLUSTER))
    consistency = guest.writer._consistency
    place = guest.disk.size_bytes
    held = Held()
    hold_write(guest, held, lambda offset: offset == 0)
    first = Worker(lambda: consistency.move_refcount_table(place, 1))
    assert held.came.wait(PATIENCE_S)
    second = Worker(consistency.mark_corrupt)
    second.join(0.1)  # it has written, or waits
    held.let_go()
    first.finish()
    second.finish()
    header = parse(bytes(guest.disk.content))
    assert header.refcount_table_offset == place
    assert header.incompatible & features.CORRUPT
