"""Images that were not closed, have snapshots, or are damaged: how one writes to them."""

import errno
import random
from dataclasses import replace
from pathlib import Path

import pytest

from blkrun.server.qcow2 import features
from blkrun.server.qcow2.create import NewImage
from blkrun.server.qcow2.header import parse
from blkrun.server.qcow2.reading import Reader
from blkrun.server.qcow2.writing import Writer
from blkrun.server.way import FLAG_MAY_TRIM
from tests.server.qcow2.crash import Loss, left_of
from tests.server.qcow2.disks import LogDisk, image_on
from tests.server.qcow2.guest import Guest, guest_with
from tests.server.qcow2.images import Variety, create, qemu_img, qemu_io
from tests.server.qcow2.making import check_bytes

MIB = 2**20


def loaded(path: Path, **settings: object) -> Guest:
    """A guest on an image that qemu-img made."""
    return Guest(LogDisk(content=bytearray(path.read_bytes())), settings=settings)


def write_at_random(guest: Guest, seed: int, count: int = 60) -> None:
    """Writes, zeroes and trims all over the disk."""
    chance = random.Random(seed)
    size = len(guest.model)
    for _ in range(count):
        offset = chance.randrange(size)
        length = min(chance.choice([1, 512, 5000, 70_000]), size - offset)
        kind = chance.randrange(6)
        if kind == 0:
            guest.zero(length, offset)
        elif kind == 1:
            guest.trim(length, offset)
        else:
            guest.write(bytes([chance.randrange(1, 256)]) * length, offset)


@pytest.mark.parametrize("bits", [16, 1, 64])
def test_lazy_refcounts_are_counted_anew(tmp_path: Path, bits: int) -> None:
    """The dirty bit says so after a crash; wrong as they may be, they are right again."""
    guest = guest_with(
        NewImage(size_bytes=MIB, cluster_bytes=4096, lazy_refcounts=True, refcount_bits=bits),
        lazy_refcounts=True,
    )
    write_at_random(guest, 1)
    guest.writer.flush()
    assert parse(bytes(guest.disk.content)).incompatible & features.DIRTY
    content = left_of(guest.disk, len(guest.disk.log), Loss())
    header = parse(bytes(content))
    blocks = header.refcount_table_offset + 4096
    content[blocks : blocks + 4096] = b"\x01" * 4096  # as wrong as can be
    after = Guest(LogDisk(content=content), settings={"lazy_refcounts": False})
    assert after.model == guest.model
    assert not check_bytes(after.disk.content, tmp_path).get("leaks")
    assert not parse(bytes(after.disk.content)).incompatible & features.DIRTY
    write_at_random(after, 2)
    after.verify()
    after.writer.close()
    after.verify_by_qemu(tmp_path)


@pytest.mark.parametrize("options", [{}, {"extended_l2": "on"}, {"compat": "0.10"}])
def test_snapshots_stay_as_they_are(tmp_path: Path, options: dict[str, str]) -> None:
    """What the disk has in common with a snapshot is copied before it is changed."""
    path = create(tmp_path / "image.qcow2", Variety(options, size_bytes=3 * MIB))
    qemu_io(path, "write -P 1 0 2M")
    qemu_img("snapshot", "-c", "first", path)
    qemu_io(path, "write -P 2 1M 1M")
    qemu_img("snapshot", "-c", "second", path)
    guest = loaded(path)
    write_at_random(guest, 3)
    guest.verify()
    guest.reopen()
    write_at_random(guest, 4)
    guest.writer.close()
    guest.verify()
    guest.verify_by_qemu(tmp_path)
    path.write_bytes(guest.disk.content)
    qemu_img("snapshot", "-a", "first", path)
    qemu_io(path, "read -P 1 0 2M", "read -P 0 2M 1M")
    qemu_img("snapshot", "-a", "second", path)
    qemu_io(path, "read -P 1 0 1M", "read -P 2 1M 1M", "read -P 0 2M 1M")


@pytest.mark.parametrize("cluster_size", [4096, 65536])
def test_compressed_clusters_are_written_anew(tmp_path: Path, cluster_size: int) -> None:
    """Their clusters hold several each, and are free when the last of them has gone."""
    source = tmp_path / "source.raw"
    source.write_bytes(b"".join(bytes([at % 251]) * 1000 for at in range(1500)) + bytes(36 * 512))
    path = tmp_path / "image.qcow2"
    qemu_img(
        "convert",
        "-c",
        "-O",
        "qcow2",
        "-o",
        f"cluster_size={cluster_size}",
        "-f",
        "raw",
        source,
        path,
    )
    guest = loaded(path)
    write_at_random(guest, 5)
    guest.verify()
    guest.reopen()
    guest.verify()
    guest.write(bytes(len(guest.model)), 0)
    guest.writer.close()
    guest.verify_by_qemu(tmp_path)


def test_preallocated_clusters_are_used(tmp_path: Path) -> None:
    """An image whose metadata is all there does not grow."""
    path = create(
        tmp_path / "image.qcow2", Variety({"preallocation": "metadata"}, size_bytes=3 * MIB)
    )
    guest = loaded(path)
    size = guest.disk.size_bytes
    write_at_random(guest, 6)
    guest.verify()
    guest.writer.close()
    assert guest.disk.size_bytes <= size
    guest.verify_by_qemu(tmp_path)


def test_nothing_is_written_over_metadata(tmp_path: Path) -> None:
    """An entry that leads to the L1 table: EIO, no further damage, and the image says so."""
    guest = guest_with(NewImage(size_bytes=MIB, cluster_bytes=4096))
    guest.write(b"x" * 4096, 0)
    guest.writer.close()
    header = parse(bytes(guest.disk.content))
    l2 = int.from_bytes(guest.disk.content[header.l1_table_offset :][1:8], "big")
    told: list[str] = []
    bad = (1 << 63 | header.l1_table_offset).to_bytes(8, "big")
    guest.disk.content[l2 : l2 + 8] = bad
    before = bytes(guest.disk.content)
    guest.settings = {"tell_corruption": lambda message, *_: told.append(message)}
    guest.open()
    for length in (1, 8192):
        with pytest.raises(OSError, match="Preventing invalid write") as caught:
            guest.writer.pwrite(memoryview(b"y" * length), 0, 0)
        assert caught.value.errno == errno.EIO
    assert told
    assert parse(bytes(guest.disk.content)).incompatible & features.CORRUPT
    assert guest.disk.content[l2:] == before[l2:]
    with pytest.raises(OSError, match="image is corrupt"):
        guest.open()


def test_clusters_that_only_seem_free_are_not_used(tmp_path: Path) -> None:
    """A refcount of 0 for the L1 table: allocation is refused, and the table is whole."""
    guest = guest_with(NewImage(size_bytes=MIB, cluster_bytes=4096))
    header = parse(bytes(guest.disk.content))
    block = header.refcount_table_offset + 4096
    guest.disk.content[block : block + 4096] = bytes(4096)
    before = bytes(guest.disk.content[4096:])
    guest.settings = {"tell_corruption": lambda *_: None}
    guest.open()
    with pytest.raises(OSError, match="Preventing invalid write"):
        guest.writer.pwrite(memoryview(b"y"), 0, 0)
    assert bytes(guest.disk.content[4096 : 4096 + len(before)]) == before


@pytest.mark.parametrize("flags", [0, FLAG_MAY_TRIM], ids=["keep", "unmap"])
@pytest.mark.parametrize(
    ("offset", "count"),
    [(4096, 2048), (60_000, 10_000), (65_536 - 2048, 2048), (65_536, 2048), (2048, 3 * 65_536)],
)
def test_a_part_of_a_compressed_cluster_is_zeroed(
    tmp_path: Path, offset: int, count: int, flags: int
) -> None:
    """The rest of it stays: with extended entries too, it has no subclusters."""
    (tmp_path / "data.raw").write_bytes(bytes(range(1, 256)) * 2000)
    path = tmp_path / "image.qcow2"
    options = ("-c", "-O", "qcow2", "-o", "extended_l2=on")
    qemu_img("convert", *options, tmp_path / "data.raw", path)
    guest = loaded(path)
    guest.zero(count, offset, flags)
    guest.verify()
    guest.writer.close()
    guest.verify_by_qemu(tmp_path)


@pytest.mark.parametrize("seed", range(8))
def test_with_lazy_refcounts_used_clusters_are_blank_for_good(seed: int) -> None:
    """What others had there is zeroed when they are given out, and stays so after a crash.

    What is written into a part of one, and the entry that leads there, may last in a crash that
    takes the zeroes around it: no refcount asks for a flush before.
    """
    new = NewImage(size_bytes=MIB, cluster_bytes=4096, lazy_refcounts=True)
    guest = guest_with(new, lazy_refcounts=True, pass_discards=False)
    guest.write(b"o" * 2**19, 0)
    guest.zero(2**19, 0, FLAG_MAY_TRIM)
    guest.reopen()
    guest.write(b"n" * 100, 5 * 4096 + 1000)
    content = left_of(guest.disk, len(guest.disk.log), Loss(seed, lost_percent=50))
    after = Guest(LogDisk(content=content))
    written = after.read(100, 5 * 4096 + 1000)
    assert written in (b"n" * 100, bytes(100))
    assert after.model.replace(written, bytes(100)) == bytes(MIB)


def test_a_repair_is_seen_by_who_has_read_before(tmp_path: Path) -> None:
    """What a snapshot has as well is not written in place, though an entry said that one may."""
    path = create(tmp_path / "image.qcow2", Variety({"lazy_refcounts": "on"}, size_bytes=MIB))
    qemu_io(path, "write -P 1 0 128k")
    qemu_img("snapshot", "-c", "first", path)
    qemu_io(path, "write -P 2 64k 64k")  # the table is the disk's own now, but not its first entry
    content = bytearray(path.read_bytes())
    header = parse(bytes(content))
    table = int.from_bytes(content[header.l1_table_offset :][1:8], "big")
    assert not content[table] & 0x80
    content[table] |= 0x80
    dirty = replace(header, incompatible=header.incompatible | features.DIRTY).fields_bytes()
    content[: len(dirty)] = dirty
    disk = LogDisk(content=content)
    image = image_on(disk)
    reader = Reader(image)
    reader.pread(memoryview(bytearray(512)), 0)
    writer = Writer(image, reader)
    writer.pwrite(memoryview(b"x" * 512), 0, 0)
    writer.close()
    check_bytes(disk.content, tmp_path)
    path.write_bytes(disk.content)
    qemu_img("snapshot", "-a", "first", path)
    qemu_io(path, "read -P 1 0 128k")


def test_what_a_copied_table_leaves_is_used_again(tmp_path: Path) -> None:
    """Its cluster is no metadata any more: here nobody else has it, though L1 does not say so."""
    guest = guest_with(NewImage(size_bytes=MIB, cluster_bytes=4096))
    guest.write(b"x" * 4096, 0)
    guest.writer.close()
    l1 = guest.image.header.l1_table_offset
    guest.disk.content[l1] &= 0x7F
    guest.open()
    guest.write(b"y" * 4096, 4096)
    guest.writer.flush()
    guest.write(b"z" * (MIB - 8192), 8192)
    guest.writer.flush()
    guest.write(bytes(range(256)) * 4096, 0)
    guest.verify()
    guest.writer.close()
    guest.verify_by_qemu(tmp_path)
