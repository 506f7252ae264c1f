"""The file fails, or is full: what the guest is told, and that its image stays whole."""

import errno
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blkrun.server.qcow2.create import NewImage, layout_of, write_image
from tests.server.qcow2.disks import LogDisk
from tests.server.qcow2.guest import BACKING, Guest, guest_with
from tests.server.qcow2.making import check_bytes

CLUSTER = 4096


def do(guest: Guest, work: Callable[[], None], offset: int, length: int) -> bool:
    """Whether it went well; if not, nobody knows what the range reads, so find out."""
    try:
        work()
    except OSError as error:
        assert error.errno == errno.EIO  # noqa: PT017 - most of them go well
        guest.disk.before = lambda *_: None
        guest.model[offset : offset + length] = guest.read(length, offset)
        guest.trimmed[offset : offset + length] = bytes(length)
        return False
    return True


@pytest.mark.parametrize("has_base", [False, True], ids=["alone", "base"])
@pytest.mark.parametrize("kind", ["write", "flush", "zero", "truncate", "trim"])
def test_failing_requests(tmp_path: Path, kind: str, *, has_base: bool) -> None:
    """Any request to the file may fail: what else was written stays, and the image has no fault.

    What a failed write leaves in its own range nobody knows, but it stays so from then on.
    """
    base = bytes(range(1, 252)) * 1000 if has_base else None
    new = NewImage(
        size_bytes=2**18,
        cluster_bytes=CLUSTER,
        backing_file=BACKING if has_base else None,
        backing_fmt="raw",
    )
    guest = guest_with(new, base=base)
    chance = random.Random(kind)
    failed = 0

    def fail(what: str, offset: int, count: int) -> None:
        if what == kind and chance.random() < 0.15:
            raise OSError(errno.EIO, "injected")

    for _ in range(250):
        guest.disk.before = fail
        offset = chance.randrange(2**18)
        length = min(chance.choice([100, CLUSTER, 3 * CLUSTER]), 2**18 - offset)
        data = bytes([chance.randrange(1, 256)]) * length
        choice = chance.randrange(8)
        if choice == 0:
            ended = do(guest, guest.writer.flush, 0, 0)
        elif choice == 1:
            ended = do(guest, lambda: guest.zero(length, offset), offset, length)  # noqa: B023 - called at once
        elif choice == 2:
            ended = do(guest, lambda: guest.trim(length, offset), offset, length)  # noqa: B023
        else:
            ended = do(guest, lambda: guest.write(data, offset), offset, length)  # noqa: B023
        failed += not ended
        guest.disk.before = lambda *_: None
        guest.verify()
    assert failed or kind not in ("write", "flush")  # of the others there may be none
    check_bytes_of(guest, tmp_path)
    guest.reopen()
    guest.verify()
    guest.writer.close()
    check_bytes_of(guest, tmp_path)


def write_each(guest: Guest) -> Iterator[int]:
    """Cluster by cluster; gives those that have been written."""
    for place in range(256):
        guest.write(b"w" * CLUSTER, place * CLUSTER)
        yield place


def check_bytes_of(guest: Guest, directory: Path) -> None:
    """As it is on disk now."""
    (directory / BACKING).write_bytes(b"" if guest.base is None else guest.base.content)
    check_bytes(guest.disk.content, directory)


def test_a_full_file_is_enospc_until_something_is_given_up(tmp_path: Path) -> None:
    """What has been given up is used again, also without a flush by the guest."""
    new = NewImage(size_bytes=2**20, cluster_bytes=CLUSTER)
    disk = LogDisk(content=bytearray(50 * CLUSTER), can_grow=False)
    write_image(disk, layout_of(new))
    guest = Guest(disk)
    written: list[int] = []
    with pytest.raises(OSError, match="no free clusters") as caught:
        written.extend(write_each(guest))
    assert caught.value.errno == errno.ENOSPC
    assert len(written) > 40
    guest.verify()
    guest.write(b"x" * CLUSTER, 0)
    guest.trim(10 * CLUSTER, 0)
    for place in range(100, 110):
        guest.write(b"y" * CLUSTER, place * CLUSTER)
    with pytest.raises(OSError, match="no free clusters"):
        guest.write(b"z" * CLUSTER, 200 * CLUSTER)
    guest.model[200 * CLUSTER : 201 * CLUSTER] = bytes(CLUSTER)
    guest.verify()
    guest.writer.close()
    assert disk.size_bytes == 50 * CLUSTER
    guest.verify_by_qemu(tmp_path)


def test_a_table_that_cannot_be_copied_leaves_no_cluster_behind(tmp_path: Path) -> None:
    """What was taken for the copy is free again, and the next write does better."""
    guest = guest_with(NewImage(size_bytes=2**20, cluster_bytes=CLUSTER))
    guest.write(b"x" * CLUSTER, 0)
    guest.writer.close()
    guest.disk.content[guest.image.header.l1_table_offset] &= 0x7F  # as if somebody else had it
    guest.open()

    def fail(kind: str, offset: int, count: int) -> None:
        if kind == "write" and count == CLUSTER:
            raise OSError(errno.EIO, "injected")

    guest.disk.before = fail
    assert not do(guest, lambda: guest.write(b"y", CLUSTER), CLUSTER, 1)
    guest.write(b"z", CLUSTER)
    guest.verify()
    guest.writer.close()
    guest.verify_by_qemu(tmp_path)
