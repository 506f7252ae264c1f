"""The file driver's own promises: how an image is opened and made, and what reaches the kernel."""

import ctypes
import errno
import fcntl
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blkrun.errors import CommandError
from blkrun.options import FileOptions, MemoryOptions
from blkrun.server.actions import blockdev_add, blockdev_del, blockdev_reopen
from blkrun.server.drivers import _block_device, _fallocate
from blkrun.server.drivers import file as file_module
from blkrun.server.node import Node, fit_block
from blkrun.server.way import (
    EXTENT_DATA,
    EXTENT_HOLE,
    EXTENT_ZERO,
    FLAG_FAST_ZERO,
    FLAG_FUA,
    FLAG_MAY_TRIM,
    FLAG_REQ_ONE,
    Extent,
)

from .subjects import Workshop
from .tools import (
    all_extents,
    errno_of,
    loop_device,
    memory_directory,
    pattern,
    read,
    require_tool,
    unavailable,
    write,
)

MIB = 2**20
BLOCK = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the image is."""
    return tmp_path / "disk.img"


def allocated(path: Path) -> int:
    """Bytes of disk space a file takes."""
    return path.stat().st_blocks * 512


def open_image(shop: Workshop, path: Path, **options: Any) -> Node[Any]:
    """A file node named "disk"."""
    return shop.add(FileOptions(node_name="disk", path=str(path), **options))


def refusal(shop: Workshop, path: Path, **options: Any) -> str:
    """Why an image cannot be opened; the graph stays as it was."""
    with pytest.raises(CommandError) as raised:
        open_image(shop, path, **options)
    assert "disk" not in shop.graph.nodes
    return str(raised.value)


def open_descriptors() -> set[str]:
    """What this process has open."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except FileNotFoundError:
            continue  # the directory's own
    return found


# Opening


def test_missing_file(shop: Workshop, path: Path) -> None:
    """QEMU's words for a file that is not there."""
    assert refusal(shop, path) == f"Could not open '{path}': No such file or directory"
    assert refusal(shop, path, size=MIB) == f"Could not open '{path}': No such file or directory"
    assert not path.exists()


def test_missing_file_is_not_made_read_only(shop: Workshop, path: Path) -> None:
    """A disk that could never be written is a mistake, not a wish for zeroes."""
    message = f"Could not open '{path}': No such file or directory"
    assert refusal(shop, path, size=MIB, create=True, read_only=True) == message
    assert not path.exists()


def test_create_needs_a_size(shop: Workshop, path: Path) -> None:
    """Without a size there is nothing to make."""
    message = f"Could not create '{path}': Node 'disk' has no size"
    assert refusal(shop, path, create=True) == message
    assert not path.exists()


def test_create_makes_a_sparse_private_file(shop: Workshop, path: Path) -> None:
    """A gibibyte that takes no space, readable by its owner only."""
    node = open_image(shop, path, create=True, size=2**30)
    assert node.size_bytes == path.stat().st_size == 2**30
    assert allocated(path) == 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_create_takes_an_existing_file(shop: Workshop, path: Path) -> None:
    """``create`` says what to do when the file is missing, nothing else."""
    path.write_bytes(b"x" * MIB)
    node = open_image(shop, path, create=True, size=MIB)
    assert read(node, 4, 0) == b"xxxx"


def test_file_too_large_to_make(shop: Workshop, path: Path) -> None:
    """A size the filesystem has not leaves no file behind."""
    message = f"Could not open '{path}': File too large"
    assert refusal(shop, path, create=True, size=2**63 - 1) == message
    assert not path.exists()


def test_file_made_for_a_refused_transaction_is_gone(shop: Workshop, path: Path) -> None:
    """All actions hold or none does: a later action's failure takes the new image away again."""
    new = FileOptions(node_name="disk", path=str(path), size=MIB, create=True)
    with pytest.raises(CommandError):
        shop.graph.transaction([lambda s: blockdev_add(s, new), lambda s: blockdev_del(s, "none")])
    assert not path.exists()
    shop.add(new)
    shop.graph.transaction([lambda s: blockdev_del(s, "disk")])
    assert path.exists()


def test_found_file_stays_after_a_refused_transaction(shop: Workshop, path: Path) -> None:
    """Only what the transaction made is taken away."""
    path.write_bytes(b"x" * MIB)
    old = FileOptions(node_name="disk", path=str(path), size=MIB, create=True)
    with pytest.raises(CommandError):
        shop.graph.transaction([lambda s: blockdev_add(s, old), lambda s: blockdev_del(s, "none")])
    assert path.read_bytes() == b"x" * MIB


def test_wrong_size(shop: Workshop, path: Path) -> None:
    """The message has both sizes and the remedy; the file is left alone."""
    path.write_bytes(b"x" * 1000)
    assert refusal(shop, path, size=MIB, create=True) == (
        f"Node 'disk': '{path}' has 1000 bytes, not the 1048576 that 'size' asks for; "
        "leave 'size' out to take the image as it is"
    )
    assert path.read_bytes() == b"x" * 1000


def test_size_as_it_is(shop: Workshop, path: Path) -> None:
    """Without ``size`` the image's own length counts, odd or none."""
    for length in (0, 1, 12345):
        path.write_bytes(bytes(length))
        assert open_image(shop, path).size_bytes == length
        shop.graph.transaction([lambda s: blockdev_del(s, "disk")])


def test_directory(shop: Workshop, tmp_path: Path) -> None:
    """A directory is no image, however it is opened."""
    assert refusal(shop, tmp_path) == f"Could not open '{tmp_path}': Is a directory"
    message = f"Could not open '{tmp_path}': neither a regular file nor a block device"
    assert refusal(shop, tmp_path, read_only=True) == message


@pytest.mark.parametrize("read_only", [False, True])
def test_fifo(shop: Workshop, path: Path, read_only: bool) -> None:  # noqa: FBT001 - a parameter
    """A pipe without a writer is refused, and not waited for with the graph's lock held."""
    os.mkfifo(path)
    found: list[str] = []
    opener = threading.Thread(
        target=lambda: found.append(refusal(shop, path, read_only=read_only)), daemon=True
    )
    opener.start()
    opener.join(5)
    hung = opener.is_alive()
    if hung:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # a writer: lets the thread go
        opener.join(5)
    assert not hung, "open waits for a writer"
    assert found == [f"Could not open '{path}': neither a regular file nor a block device"]


def test_no_permission(shop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's reason is what the user reads."""
    path.write_bytes(bytes(512))

    def refuse(*arguments: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    assert refusal(shop, path) == f"Could not open '{path}': Permission denied"


def test_read_only(shop: Workshop, path: Path) -> None:
    """A read-only node reads, and its descriptor could not write."""
    path.write_bytes(pattern(MIB, 1))
    node = open_image(shop, path, read_only=True)
    assert read(node, 5000, 100) == pattern(MIB, 1)[100:5100]
    assert errno_of(write, node, b"x", 0) == "EBADF"
    assert path.read_bytes() == pattern(MIB, 1)


def test_nothing_is_left_open(shop: Workshop, path: Path, tmp_path: Path) -> None:
    """Refused or deleted, a node leaves no descriptor."""
    before = open_descriptors()
    path.write_bytes(bytes(1000))
    refusal(shop, path, size=MIB)
    refusal(shop, tmp_path, read_only=True)
    refusal(shop, tmp_path / "new", create=True, size=2**63 - 1)
    open_image(shop, path)
    shop.graph.transaction([lambda s: blockdev_del(s, "disk")])
    assert open_descriptors() == before


def test_reopen_checks_the_size(shop: Workshop, path: Path) -> None:
    """``create`` may change while the image is open; a size it has not is refused."""
    open_image(shop, path, create=True, size=MIB)
    same = FileOptions(node_name="disk", path=str(path), size=MIB)
    shop.graph.transaction([lambda s: blockdev_reopen(s, same)])
    other = FileOptions(node_name="disk", path=str(path), size=2 * MIB)
    with pytest.raises(CommandError, match=re.escape("Cannot change the option 'size'")):
        shop.graph.transaction([lambda s: blockdev_reopen(s, other)])


@pytest.mark.parametrize(
    ("optimal", "physical", "preferred"),
    [(0, 512, 512), (0, 4096, 4096), (65536, 512, 65536), (196608, 512, 262144), (0, 0, 4096)],
)
def test_preferred_block_of_a_device(
    monkeypatch: pytest.MonkeyPatch, optimal: int, physical: int, preferred: int
) -> None:
    """The optimal request if the device has one, else its sector; rounded as nbdkit needs it."""

    def ioctl(fd: int, request: int, room: bytes) -> bytes:
        return {0x1279: optimal, 0x127B: physical}[request].to_bytes(4, sys.byteorder)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    assert _block_device.preferred_bytes(0) == preferred


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [(1, 512), (512, 512), (513, 1024), (4096, 4096), (2**25, 2**25), (2**25 + 1, 2**25)],
)
def test_block_that_nbdkit_takes(wanted: int, fits: int) -> None:
    """A power of two from 512 bytes to 32 MiB: with any other a client could not connect."""
    assert fit_block(wanted) == fits


# Reading and writing


def test_short_reads_go_on(shop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that the kernel cuts is continued where it stopped, in place."""
    path.write_bytes(pattern(10_000, 1))
    node = open_image(shop, path)
    real = os.preadv
    calls: list[tuple[int, int]] = []

    def short(fd: int, buffers: list[memoryview], offset: int) -> int:
        calls.append((offset, len(buffers[0])))
        return real(fd, [buffers[0][:3000]], offset)

    monkeypatch.setattr(os, "preadv", short)
    assert read(node, 7000, 500) == pattern(10_000, 1)[500:7500]
    assert calls == [(500, 7000), (3500, 4000), (6500, 1000)]
    assert node.stats.reads.done == 1


def test_short_writes_go_on(shop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that the kernel cuts is continued, and every part of it is FUA."""
    path.write_bytes(bytes(10_000))
    node = open_image(shop, path)
    real = os.pwritev
    calls: list[tuple[int, int, int]] = []

    def short(fd: int, buffers: list[memoryview], offset: int, flags: int) -> int:
        calls.append((offset, len(buffers[0]), flags))
        return real(fd, [buffers[0][:3000]], offset, flags)

    monkeypatch.setattr(os, "pwritev", short)
    write(node, pattern(7000, 2), 500, FLAG_FUA)
    sync = os.RWF_DSYNC
    assert calls == [(500, 7000, sync), (3500, 4000, sync), (6500, 1000, sync)]
    assert path.read_bytes() == bytes(500) + pattern(7000, 2) + bytes(2500)


def test_image_that_shrank(shop: Workshop, path: Path) -> None:
    """Reading past the end of a file cut behind our back is EIO, not an endless loop."""
    path.write_bytes(bytes(10_000))
    node = open_image(shop, path)
    os.truncate(path, 5_000)
    assert errno_of(read, node, 1000, 4_500) == "EIO"
    assert errno_of(read, node, 1000, 9_000) == "EIO"
    assert read(node, 500, 4_500) == bytes(500)
    assert node.stats.reads.failed == 2


def test_fua_and_flush(shop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FUA is RWF_DSYNC on a write and fdatasync after a zero or trim; a plain write has neither."""
    node = open_image(shop, path, create=True, size=MIB)
    done: list[str] = []
    real_write, real_sync = os.pwritev, os.fdatasync

    def pwritev(fd: int, buffers: list[memoryview], offset: int, flags: int) -> int:
        done.append("write, dsync" if flags == os.RWF_DSYNC else f"write, {flags}")
        return real_write(fd, buffers, offset, flags)

    def fdatasync(fd: int) -> None:
        done.append("sync")
        real_sync(fd)

    monkeypatch.setattr(os, "pwritev", pwritev)
    monkeypatch.setattr(os, "fdatasync", fdatasync)

    def done_by(call: Callable[..., object], *arguments: object) -> list[str]:
        done.clear()
        call(*arguments)
        return list(done)

    assert done_by(write, node, b"x", 0, 0) == ["write, 0"]
    assert done_by(write, node, b"x", 0, FLAG_FUA) == ["write, dsync"]
    assert done_by(node.flush) == ["sync"]
    for call in (node.zero, node.trim):
        assert done_by(call, BLOCK, 0, 0) == []
        assert done_by(call, BLOCK, 0, FLAG_FUA) == ["sync"]
    assert done_by(node.zero, BLOCK, 0, FLAG_FUA | FLAG_MAY_TRIM) == ["sync"]


# Zero and trim


def test_zero_keeps_the_space(shop: Workshop, path: Path) -> None:
    """Without MAY_TRIM what was allocated stays allocated, and what was not becomes so."""
    path.write_bytes(pattern(MIB, 1))
    node = open_image(shop, path)
    node.flush()
    full = allocated(path)
    assert full >= MIB
    node.zero(MIB // 2, 0, 0)
    node.flush()
    assert allocated(path) == full
    assert read(node, MIB, 0) == bytes(MIB // 2) + pattern(MIB, 1)[MIB // 2 :]
    os.truncate(path, 0)
    os.truncate(path, MIB)
    node.zero(MIB, 0, 0)
    assert allocated(path) >= MIB


@pytest.mark.parametrize("request_kind", ["zero", "trim"])
def test_hole_frees_the_space(shop: Workshop, path: Path, request_kind: str) -> None:
    """Zero with MAY_TRIM, and trim, give blocks back; parts of blocks are zeroed."""
    path.write_bytes(pattern(MIB, 1))
    node = open_image(shop, path)
    node.flush()
    full = allocated(path)
    flags = FLAG_MAY_TRIM if request_kind == "zero" else 0
    getattr(node, request_kind)(MIB // 2 + 200, 100, flags)
    node.flush()
    assert full - allocated(path) >= MIB // 2 - 2 * BLOCK
    end = MIB // 2 + 300
    assert read(node, MIB, 0) == pattern(MIB, 1)[:100] + bytes(end - 100) + pattern(MIB, 1)[end:]
    assert path.stat().st_size == MIB


@pytest.fixture(params=["EOPNOTSUPP", "ENOSYS", "ENODEV", "EINVAL"])
def without_fallocate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that has no fallocate, in the words filesystems and kernels have for that."""

    def refuse(*arguments: object) -> int:
        ctypes.set_errno(getattr(errno, request.param))
        return -1

    monkeypatch.setattr(_fallocate, "_fallocate", refuse)


@pytest.mark.usefixtures("without_fallocate")
def test_without_fallocate(shop: Workshop, path: Path) -> None:
    """Zeroes are written, fast ones refused before anything changes, trim does nothing."""
    data = pattern(3 * MIB, 1)
    path.write_bytes(data)
    node = open_image(shop, path)
    for flags in (FLAG_FAST_ZERO, FLAG_FAST_ZERO | FLAG_MAY_TRIM):
        assert errno_of(node.zero, MIB, 0, flags) == "EOPNOTSUPP"
    node.trim(MIB, 0, FLAG_FUA)
    assert path.read_bytes() == data
    node.zero(2 * MIB + 1, 77, FLAG_MAY_TRIM | FLAG_FUA)
    node.zero(5, 3, 0)
    end = 2 * MIB + 78
    assert path.read_bytes() == data[:3] + bytes(5) + data[8:77] + bytes(end - 77) + data[end:]
    assert node.stats.zeroes.done == node.stats.zeroes.failed == 2
    assert node.stats.trims.done == 1


def test_real_errors_of_fallocate(
    shop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full or broken says so; nothing is tried in its place."""
    node = open_image(shop, path, create=True, size=MIB)
    for name in ("ENOSPC", "EIO"):

        def refuse(*arguments: object, code: int = getattr(errno, name)) -> int:
            ctypes.set_errno(code)
            return -1

        monkeypatch.setattr(_fallocate, "_fallocate", refuse)
        assert errno_of(node.zero, BLOCK, 0, 0) == name
        assert errno_of(node.zero, BLOCK, 0, FLAG_MAY_TRIM) == name
        assert errno_of(node.trim, BLOCK, 0, 0) == name


def test_zeroes_where_only_holes_cannot_be(
    shop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filesystem that makes no holes may still zero ranges: that is tried before writing."""
    path.write_bytes(pattern(MIB, 1))
    node = open_image(shop, path)
    modes: list[int] = []
    real = _fallocate._fallocate

    def without_holes(fd: int, mode: int, offset: int, length: int) -> int:
        modes.append(mode)
        if mode & _fallocate._FALLOC_FL_PUNCH_HOLE:
            ctypes.set_errno(errno.EOPNOTSUPP)
            return -1
        return int(real(fd, mode, offset, length))

    monkeypatch.setattr(_fallocate, "_fallocate", without_holes)
    node.zero(MIB // 2, 100, FLAG_MAY_TRIM | FLAG_FAST_ZERO)
    assert len(modes) == 2
    end = MIB // 2 + 100
    assert path.read_bytes() == pattern(100, 1) + bytes(MIB // 2) + pattern(MIB, 1)[end:]


def test_full_filesystem(shop: Workshop, tmp_path: Path) -> None:
    """ENOSPC is the client's to know, on a write and on a zero that has to take space."""
    mount = require_tool("mount")
    directory = tmp_path / "small"
    directory.mkdir()
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "none", str(directory)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        unavailable("no filesystem can be mounted here")
    try:
        node = open_image(shop, directory / "disk.img", create=True, size=4 * MIB)
        assert errno_of(write, node, pattern(2 * MIB, 1), MIB) == "ENOSPC"
        assert errno_of(node.zero, 2 * MIB, 0, 0) == "ENOSPC"
        node.trim(4 * MIB, 0, 0)
        write(node, pattern(BLOCK, 1), 3 * MIB)
        assert read(node, BLOCK, 3 * MIB) == pattern(BLOCK, 1)
        shop.graph.transaction([lambda s: blockdev_del(s, "disk")])
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


# Extents


def kernel_extents(path: Path) -> list[Extent]:
    """What SEEK_DATA and SEEK_HOLE say of a whole file."""
    found: list[Extent] = []
    with path.open("rb", buffering=0) as file:
        at, end = 0, path.stat().st_size
        while at < end:
            try:
                data = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # ENXIO: no data until the end
                data = end
            if data > at:
                found.append((at, data - at, EXTENT_HOLE | EXTENT_ZERO))
            if data < end:
                hole = os.lseek(file.fileno(), data, os.SEEK_HOLE)
                found.append((data, hole - data, EXTENT_DATA))
                data = hole
            at = data
    return found


def test_extents_are_the_kernels(shop: Workshop, path: Path) -> None:
    """Holes and data of a sparse file, as a whole and cut to any range."""
    node = open_image(shop, path, create=True, size=16 * MIB + 1234)
    for offset in (MIB, 5 * MIB + 100, 9 * MIB):
        write(node, pattern(MIB // 2, 1), offset)
    node.trim(MIB // 4, 9 * MIB, 0)
    truth = kernel_extents(path)
    assert len(truth) == 7
    assert node.extents(node.size_bytes, 0) == truth
    for offset, length in ((0, 1), (MIB - 1, 2), (5 * MIB, MIB), (16 * MIB, 1234), (3, 12 * MIB)):
        cut = [
            (max(start, offset), min(start + count, offset + length) - max(start, offset), kind)
            for start, count, kind in truth
            if start < offset + length and start + count > offset
        ]
        assert node.extents(length, offset) == cut


@pytest.mark.parametrize("filled", [False, True])
def test_extents_of_one_kind(shop: Workshop, path: Path, filled: bool) -> None:  # noqa: FBT001
    """All data is one extent, nothing at all is one hole."""
    path.write_bytes(pattern(MIB, 1) if filled else b"")
    os.truncate(path, MIB)
    node = open_image(shop, path)
    kind = EXTENT_DATA if filled else EXTENT_HOLE | EXTENT_ZERO
    assert node.extents(MIB, 0) == [(0, MIB, kind)]
    assert node.extents(100, MIB - 100) == [(MIB - 100, 100, kind)]


def test_extents_after_a_cut(shop: Workshop, path: Path) -> None:
    """What a cut file has lost is data, which fails to be read, and never a hole to be skipped."""
    for length in (5 * BLOCK, 5 * BLOCK + 100, 0):
        path.write_bytes(b"x" * 3 * BLOCK + bytes(7 * BLOCK))
        node = open_image(shop, path)
        os.truncate(path, 3 * BLOCK)
        os.truncate(path, length)
        data = 3 * BLOCK if length else 0
        for begin in (0, 100, 4 * BLOCK, 9 * BLOCK):
            for start, count, kind in all_extents(node, 10 * BLOCK - begin, begin):
                lost = start + count > max(length, data)
                assert kind == (0 if lost or start < data else EXTENT_HOLE | EXTENT_ZERO)
        shop.graph.transaction([lambda s: blockdev_del(s, "disk")])


def test_a_hole_that_comes_while_asking(
    shop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No extent is empty and each answer gets on, also if the data found is punched at once."""
    path.write_bytes(b"x" * 4 * BLOCK)
    node = open_image(shop, path)
    real = os.lseek

    def lseek(fd: int, at: int, whence: int) -> int:
        return at if whence == os.SEEK_HOLE and at == 0 else real(fd, at, whence)

    monkeypatch.setattr(os, "lseek", lseek)
    found = all_extents(node, 4 * BLOCK, 0)
    assert found == [(0, 1, EXTENT_DATA), (1, 4 * BLOCK - 1, EXTENT_DATA)]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_extents_not_understood(
    shop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A filesystem that does not know its holes has data only."""
    node = open_image(shop, path, create=True, size=MIB)

    def refuse(*arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "lseek", refuse)
    assert node.extents(MIB - 7, 7) == [(7, MIB - 7, EXTENT_DATA)]


def test_one_extent_is_one_question(
    shop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who uses only the first is not made to pay for those of all the disk (QEMU, REQ_ONE)."""
    path.write_bytes(pattern(BLOCK, 1) + bytes(BLOCK))
    node = open_image(shop, path)
    node.trim(BLOCK, BLOCK, 0)
    asked: list[tuple[int, int]] = []
    real = os.lseek

    def lseek(fd: int, at: int, whence: int) -> int:
        asked.append((at, whence))
        return real(fd, at, whence)

    monkeypatch.setattr(os, "lseek", lseek)
    assert node.extents(2 * BLOCK, 0, FLAG_REQ_ONE) == [(0, BLOCK, EXTENT_DATA)]
    assert asked == [(0, os.SEEK_DATA), (0, os.SEEK_HOLE)]
    asked.clear()
    hole = EXTENT_HOLE | EXTENT_ZERO
    assert node.extents(BLOCK, BLOCK, FLAG_REQ_ONE) == [(BLOCK, BLOCK, hole)]
    assert asked == [(BLOCK, os.SEEK_DATA)]


def test_many_extents_come_in_parts(
    shop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer has a bounded number of extents, however fragmented the image is."""
    monkeypatch.setattr(file_module, "_MAX_EXTENTS", 5)
    with path.open("wb") as file:
        for block in range(0, 40, 2):
            file.seek(block * BLOCK)
            file.write(b"x" * BLOCK)
    node = open_image(shop, path)
    assert 5 <= len(node.extents(39 * BLOCK, 0)) <= 6
    assert all_extents(node, 39 * BLOCK, 0) == kernel_extents(path)


@pytest.mark.usefixtures("without_fallocate")
def test_written_zeroes_are_flushed_once(
    shop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FUA of zeroes that have to be written is one flush after the last, or the write's own."""
    path.write_bytes(pattern(5 * MIB, 1))
    node = open_image(shop, path)
    done: list[int | str] = []
    real = os.pwritev

    def pwritev(fd: int, buffers: list[memoryview], offset: int, flags: int) -> int:
        done.append(flags)
        return real(fd, buffers, offset, flags)

    monkeypatch.setattr(os, "pwritev", pwritev)
    monkeypatch.setattr(os, "fdatasync", lambda fd: done.append("sync"))
    node.zero(4 * MIB + 1, 100, FLAG_FUA)
    assert done == [0] * 5 + ["sync"]
    done.clear()
    node.zero(MIB, 100, FLAG_FUA)
    assert done == [os.RWF_DSYNC]


@pytest.mark.parametrize("flags", [0, FLAG_MAY_TRIM, FLAG_FAST_ZERO])
def test_four_gibibytes_less_one(shop: Workshop, path: Path, flags: int) -> None:
    """The longest request that NBD has is one call to the kernel."""
    node = open_image(shop, path, create=True, size=5 * 2**30)
    write(node, b"a", 0)
    write(node, b"zz", 2**32 - 1)
    calls: list[int] = []
    real = _fallocate._fallocate

    def counted(fd: int, mode: int, offset: int, length: int) -> int:
        calls.append(length)
        return int(real(fd, 3, offset, length))  # punched: a zero would take 4 GiB of the disk

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_fallocate, "_fallocate", counted)
        node.zero(2**32 - 1, 0, flags)
    assert calls == [2**32 - 1]
    assert read(node, 2, 2**32 - 2) == b"\0z"
    node.trim(2**32 - 1, 1, 0)
    assert read(node, 2, 2**32 - 1) == b"\0z"


def test_other_filesystem(shop: Workshop) -> None:
    """The same holds on tmpfs."""
    directory = memory_directory()
    path = directory / f"blkrun-test-{os.getpid()}.img"
    try:
        node = open_image(shop, path, create=True, size=MIB)
        write(node, pattern(MIB, 1), 0, FLAG_FUA)
        node.zero(BLOCK, 100, 0)
        node.zero(BLOCK, 10_000, FLAG_MAY_TRIM)
        node.trim(4 * BLOCK, 16 * BLOCK, 0)
        expected = bytearray(pattern(MIB, 1))
        for offset, length in ((100, BLOCK), (10_000, BLOCK), (16 * BLOCK, 4 * BLOCK)):
            expected[offset : offset + length] = bytes(length)
        assert read(node, MIB, 0) == expected
        assert node.extents(MIB, 0) == kernel_extents(path)
    finally:
        path.unlink(missing_ok=True)


# Block devices


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Path]:
    """A loop device over an image of 4 MiB, detached at the end."""
    image = tmp_path / "loop.img"
    image.write_bytes(pattern(4 * MIB, 1))
    with loop_device(image) as device:
        yield device


def test_block_device(shop: Workshop, loop: Path) -> None:
    """A block device has its size, all data, and takes every request, however it is aligned."""
    node = open_image(shop, loop, size=4 * MIB)
    expected = bytearray(pattern(4 * MIB, 1))
    assert node.size_bytes == 4 * MIB
    assert node.extents(MIB, 5) == [(5, MIB, EXTENT_DATA)]
    write(node, pattern(1001, 2), 511, FLAG_FUA)
    expected[511 : 511 + 1001] = pattern(1001, 2)
    for offset, length, flags in (
        (MIB, MIB // 2, FLAG_MAY_TRIM),
        (2 * MIB, MIB // 2, 0),
        (3 * MIB + 1, 1000, FLAG_MAY_TRIM | FLAG_FUA),
        (3 * MIB + 5001, 70_000, 0),
    ):
        node.zero(length, offset, flags)
        expected[offset : offset + length] = bytes(length)
    assert read(node, 4 * MIB, 0) == expected
    node.trim(100, 7, 0)  # advice that a device with sectors cannot take
    node.trim(MIB, 0, FLAG_FUA)
    node.flush()
    assert read(node, 3 * MIB, MIB) == expected[MIB:]
    assert all_extents(node, 4 * MIB, 0)
    shop.graph.transaction([lambda s: blockdev_del(s, "disk")])


@pytest.fixture(params=[512, 4096])
def sectors(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Path, int]]:
    """A loop device, the image under it, and the size of its sectors."""
    image, size = tmp_path / "loop.img", int(request.param)
    image.write_bytes(pattern(4 * MIB, 1))
    with loop_device(image, size) as device:
        yield device, image, size


def test_device_with_sectors(shop: Workshop, sectors: tuple[Path, Path, int]) -> None:
    """Zeroes and discards of any alignment reach the device in whole sectors, the rest is kept."""
    device, image, sector = sectors
    node, data = open_image(shop, device), bytearray(pattern(4 * MIB, 1))
    full = allocated(image)
    for offset, length in ((sector + 1, sector - 2), (3 * sector - 1, 2), (MIB - 5, MIB + 9)):
        node.zero(length, offset, FLAG_MAY_TRIM)
        data[offset : offset + length] = bytes(length)
        assert read(node, 4 * MIB, 0) == data
    node.flush()
    assert allocated(image) <= full - MIB + 2 * BLOCK
    node.trim(MIB + 2, 3 * MIB - 1 - sector, FLAG_FUA)
    start, end = 3 * MIB - 1 - sector, 4 * MIB + 1 - sector
    found = read(node, 4 * MIB, 0)
    assert found[:start] == data[:start]
    assert found[start : 3 * MIB - sector] == data[start : 3 * MIB - sector]
    assert found[end - 1 :] == data[end - 1 :]
    assert allocated(image) <= full - 2 * MIB + 3 * BLOCK
    shop.graph.transaction([lambda s: blockdev_del(s, "disk")])


def test_fast_zeroes_of_a_device(shop: Workshop, loop: Path) -> None:
    """The kernel writes zeroes where a device cannot, without a word: only holes are fast."""
    node = open_image(shop, loop)
    assert errno_of(node.zero, MIB, 0, FLAG_FAST_ZERO) == "EOPNOTSUPP"
    assert errno_of(node.zero, 10, 3, FLAG_FAST_ZERO) == "EOPNOTSUPP"
    assert read(node, MIB, 0) == pattern(4 * MIB, 1)[:MIB]
    node.zero(MIB + 5, 3, FLAG_FAST_ZERO | FLAG_MAY_TRIM)
    assert (
        read(node, MIB + 10, 0)
        == pattern(3, 1) + bytes(MIB + 5) + pattern(2 * MIB, 1)[MIB + 8 : MIB + 10]
    )


@pytest.mark.parametrize("name", ["EOPNOTSUPP", "ENOTTY", "EINVAL"])
def test_device_that_cannot_discard(
    shop: Workshop, loop: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trim is advice: it succeeds, does nothing, and with FUA flushes all the same."""
    node = open_image(shop, loop)
    synced: list[int] = []

    def refuse(*arguments: object) -> bytes:
        raise OSError(getattr(errno, name), "no")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    monkeypatch.setattr(os, "fdatasync", synced.append)
    node.trim(MIB, 0, 0)
    assert not synced
    node.trim(MIB, 0, FLAG_FUA)
    assert len(synced) == 1
    assert read(node, MIB, 0) == pattern(4 * MIB, 1)[:MIB]


def test_device_that_breaks_while_discarding(
    shop: Workshop, loop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real error is not taken for a refusal of the advice."""
    node = open_image(shop, loop)

    def fail(*arguments: object) -> bytes:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "ioctl", fail)
    assert errno_of(node.trim, MIB, 0, 0) == "EIO"


def test_block_device_of_another_size(shop: Workshop, loop: Path) -> None:
    """``size`` holds a block device to its size as it does a file."""
    assert "has 4194304 bytes, not the 1048576" in refusal(shop, loop, size=MIB)


def test_names_are_free_again(shop: Workshop, path: Path) -> None:
    """After a refusal the name can be used for something else."""
    refusal(shop, path)
    assert shop.add(MemoryOptions(node_name="disk", size=512)).size_bytes == 512
