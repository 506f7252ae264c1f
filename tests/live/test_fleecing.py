"""A point in time of a disk that clients write to: put in by an edit, read, and taken out again."""

import time
from collections.abc import Callable

from tests.live.cut import BLOCK_BYTES, BLOCKS_EACH, Writers, parts, read_all
from tests.live.nbd_client import connect, errno_of
from tests.live.service import Service, wait_for

WRITERS = 4
SIZE = WRITERS * BLOCKS_EACH * BLOCK_BYTES
PLAIN = f"""
[runner]
apply = "all"
[backends.disk]
driver = "file"
path = "disk.img"
size = {SIZE}
create = true
[exports.vda]
node = "{{top}}"
"""
KEPT = f"""
[backends.scratch]
driver = "memory"
size = {SIZE}
[nodes.keep]
driver = "copy-before-write"
file = "disk"
target = "scratch"
[nodes.old]
driver = "snapshot-access"
file = "keep"
[exports.old]
node = "old"
read-only = true
"""


def test_a_point_in_time_under_load(serve: Callable[[str], Service]) -> None:
    """Five times: it is one instant between two requests, stays it, and nobody is hurt."""
    service = serve(PLAIN.format(top="disk"))
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work():
        for _ in range(5):
            wait_for(lambda: all(writers.answered), "the writers")
            before = list(writers.answered)
            assert service.edit_and_wait(PLAIN.format(top="keep") + KEPT)["event"] == (
                "X_BLKRUN_CONFIG_APPLIED"
            )
            after = list(writers.answered)
            first = read_all(service.uri("old"), SIZE)
            time.sleep(0.2)
            second = read_all(service.uri("old"), SIZE)
            assert first == second
            turns = writers.check(parts(first, WRITERS))
            bounds = zip(before, turns, after, strict=True)
            # One more each: written by then, and answered, but not yet counted here.
            assert all(low <= turn <= high + 1 for low, turn, high in bounds)
            service.edit_and_wait(PLAIN.format(top="disk"))
    assert not writers.errors
    now = writers.check(parts(read_all(service.uri(), SIZE), WRITERS))
    assert now == writers.answered


def test_filters_come_and_go_around_it(serve: Callable[[str], Service]) -> None:
    """A throttle above, below, and below the snapshot: the point in time stays what it was."""
    throttles = "[throttle-groups.g]\n"
    for name, below in (("above", "keep"), ("below", "disk"), ("over", "old")):
        throttles += f'[nodes.{name}]\ndriver="throttle"\nthrottle-group="g"\nfile="{below}"\n'
    around = KEPT.replace('file = "disk"', 'file = "below"')
    around = around.replace('node = "old"', 'node = "over"')
    service = serve(PLAIN.format(top="keep") + KEPT)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work():
        wait_for(lambda: all(writers.answered), "the writers")
        first = read_all(service.uri("old"), SIZE)
        assert first == bytes(SIZE)
        for _ in range(5):
            service.edit_and_wait(PLAIN.format(top="above") + around + throttles)
            assert read_all(service.uri("old"), SIZE) == first
            service.edit_and_wait(PLAIN.format(top="keep") + KEPT)
            assert read_all(service.uri("old"), SIZE) == first
    assert not writers.errors


def test_image_fleecing(serve: Callable[[str], Service]) -> None:
    """Iotest image-fleecing: patterns and zero areas read back before and after overwrites."""
    size = 64 * 2**20
    text = (
        (PLAIN.format(top="disk") + KEPT).replace(str(SIZE), str(size)).replace('"all"', '"safe"')
    )
    service = serve(text.split("[backends.scratch]")[0])
    disk = connect(service.uri())
    kib = 1024
    base = [(0x5D, 0), (0xD5, 2**20), (0xDC, 32 * 2**20), (0xCD, size - 64 * kib)]
    over = [(0xAB, 0), (0xAD, 2**20 - 32 * kib), (0x1D, 2**25 + 32 * kib), (0xEA, size - 128 * kib)]
    zeroes = [
        (32 * kib, 2**20 - 32 * kib),
        (32 * kib, 2**25 + 64 * kib),
        (64 * kib, size - 128 * kib),
    ]
    for byte, offset in base:
        disk.pwrite(bytes([byte]) * 64 * kib, offset)
    edited = service.edit_and_wait(text.replace('node = "disk"', 'node = "keep"'))
    assert edited["event"] == "X_BLKRUN_CONFIG_APPLIED", "vda has the same disk as before"
    old = connect(service.uri("old"))

    def check() -> None:
        for byte, offset in base:
            assert bytes(old.pread(64 * kib, offset)) == bytes([byte]) * 64 * kib
        for count, offset in zeroes:
            assert bytes(old.pread(count, offset)) == bytes(count)

    check()
    for byte, offset in over:
        disk.pwrite(bytes([byte]) * 64 * kib, offset)
    check()
    for byte, offset in over:
        assert bytes(disk.pread(64 * kib, offset)) == bytes([byte]) * 64 * kib
    remainders = [(0xD5, 2**20 + 32 * kib, 32), (0xDC, 2**25, 32), (0xCD, size - 64 * kib, 64)]
    for byte, offset, count in remainders:
        assert bytes(disk.pread(count * kib, offset)) == bytes([byte]) * count * kib
    assert errno_of(old.pwrite, b"x" * 512, 0) == "EPERM"
    old.shutdown()
    disk.shutdown()
