"""Damaged images: what is read is right, or an error; in bounded time and memory."""

import errno
import random
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blkrun.errors import CommandError
from blkrun.server.events import Events
from blkrun.server.qcow2 import header
from tests.server.qcow2.images import VARIETIES, Variety, create, qemu_img, qemu_io
from tests.server.qcow2.opened import opened, read

MIB = 2**20
STEP = 2**16
SIZE = 2 * MIB
MOST_SECONDS = 5.0
MOST_MEMORY_BYTES = 100 * MIB

KINDS = {
    "plain": {},
    "extended": {"extended_l2": "on"},
    "small": {"cluster_size": "512"},
    "v2": {"compat": "0.10", "cluster_size": "4096"},
}


@pytest.fixture(scope="module", params=KINDS)
def image(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, bytes, bytes, list[range]]:
    """Path, what is in the file, what is on the disk, and where in the file metadata are."""
    directory = tmp_path_factory.mktemp("damage")
    path = create(directory / "a.qcow2", Variety(KINDS[request.param], SIZE))
    qemu_io(path, "write -P 1 0 300k", "write -P 2 1M 200k", "discard 100k 64k")
    if request.param != "small":
        qemu_io(path, "write -c -P 3 1792k 64k")
    qemu_img("snapshot", "-c", "first", path)
    qemu_io(path, "write -P 4 64k 10k")
    qemu_img("convert", "-O", "raw", path, directory / "a.raw")
    whole = path.read_bytes()
    found = header.parse(whole[: header.first_cluster_bytes(whole[:24])])
    places = [range(200), range(found.l1_table_offset, found.l1_table_offset + found.l1_size * 8)]
    for at in places[1][::8]:
        table = int.from_bytes(whole[at : at + 8], "big") & ((1 << 56) - 512)
        if table:
            places.append(range(table, min(table + 600, table + found.cluster_bytes)))
    places.append(range(found.snapshots_offset, found.snapshots_offset + 80))
    return path, whole, (directory / "a.raw").read_bytes(), places


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_flipped_metadata_never_hang_or_exhaust_the_memory(
    image: tuple[Path, bytes, bytes, list[range]], data: st.DataObject
) -> None:
    """Each read ends, with bytes or with an OSError; opening likewise, with a CommandError."""
    path, whole, _, places = image
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6), "flips")):
        place = data.draw(st.sampled_from(places), "place")
        at = place[data.draw(st.integers(0, len(place) - 1), "byte")]
        if at < len(damaged):
            damaged[at] = data.draw(st.integers(0, 255), "value")
    path.write_bytes(damaged)
    begin = time.monotonic()
    tracemalloc.start()
    try:
        with opened(path) as node:
            for at in range(0, min(node.size_bytes, SIZE), STEP):
                length = min(STEP, node.size_bytes - at)
                try:
                    read(node, length, at)
                    node.extents(length, at)
                except OSError as error:
                    assert error.errno == errno.EIO  # noqa: PT017 - most reads are well
            node.extents(node.size_bytes, 0) if node.size_bytes else None
    except (CommandError, OSError):
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert time.monotonic() - begin < MOST_SECONDS
    assert peak < MOST_MEMORY_BYTES


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_outside_the_damage_every_byte_is_right(
    image: tuple[Path, bytes, bytes, list[range]], data: st.DataObject
) -> None:
    """An L2 entry that is damaged is one cluster's: all others read as before."""
    path, whole, disk, places = image
    found = header.parse(whole[: header.first_cluster_bytes(whole[:24])])
    words = 16 if found.extended_l2 else 8
    table = places[2]
    index = data.draw(st.integers(0, len(table) // words - 1), "entry")
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4), "flips")):
        at = table[index * words + data.draw(st.integers(0, words - 1), "byte")]
        damaged[at] = data.draw(st.integers(0, 255), "value")
    path.write_bytes(damaged)
    cluster = found.cluster_bytes
    with opened(path) as node:
        for at in range(0, SIZE, cluster):
            if at // cluster != index:
                assert read(node, cluster, at) == disk[at : at + cluster]


@pytest.mark.parametrize("cut", [100, 65536, 3 * 65536 + 4, 5 * 65536, 6 * 65536 - 1])
def test_an_image_that_was_cut_off_is_an_error_where_that_is_missing(
    tmp_path: Path, cut: int
) -> None:
    """Tables that are cut off are not taken for zeroes; data that are there are right."""
    path = create(tmp_path / "a.qcow2", Variety(size_bytes=SIZE))
    qemu_io(path, "write -P 1 0 2M")
    path.write_bytes(path.read_bytes()[:cut])
    try:
        with opened(path) as node:
            got = read(node, 65536)
    except (CommandError, OSError):
        assert cut < 6 * 65536
    else:
        assert got.rstrip(b"\0") in (b"\1" * 65536, b"\1" * 65535)


def test_it_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU's BLOCK_IMAGE_CORRUPTED, for the first request that comes upon it."""
    events: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(Events, "emit", lambda self, name, data: events.append((name, data)))
    path = create(tmp_path / "a.qcow2", Variety(size_bytes=SIZE))
    qemu_io(path, "write -P 1 0 64k")
    whole = bytearray(path.read_bytes())
    found = header.parse(bytes(whole[:65536]))
    whole[found.l1_table_offset + 6] |= 2
    path.write_bytes(whole)
    with opened(path) as node:
        for _ in range(3):
            with pytest.raises(OSError, match=r"L2 table offset .* unaligned") as caught:
                read(node, 512)
            assert caught.value.errno == errno.EIO
    told = [data for name, data in events if name == "BLOCK_IMAGE_CORRUPTED"]
    assert told == [
        {
            "device": "",
            "node-name": "top",
            "msg": f"L2 table offset 0x{0x40200:x} unaligned (L1 index: 0x0)",
            "fatal": True,
        }
    ]


def test_compressed_data_that_are_damaged_are_an_error(tmp_path: Path) -> None:
    """Or bytes, where deflate cannot tell; never another cluster's, and never more than one."""
    raw = tmp_path / "a.raw"
    raw.write_bytes(b"".join(b"%d " % number for number in range(60_000)).ljust(6 * 65536, b"."))
    path = tmp_path / "a.qcow2"
    qemu_img("convert", "-c", "-O", "qcow2", raw, path)
    whole = path.read_bytes()
    chance = random.Random(6)
    failed = 0
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(20):
            damaged[chance.randrange(5 * 65536, len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with opened(path) as node:
            for at in range(0, raw.stat().st_size, 65536):
                try:
                    read(node, 65536, at)
                except OSError:
                    failed += 1
    assert failed > 10


@pytest.mark.parametrize("name", ["plain", "extended", "cluster-2097152"])
def test_any_file_is_an_image_or_a_refusal(tmp_path: Path, name: str) -> None:
    """Also one that is all of one byte behind its header."""
    path = create(tmp_path / "a.qcow2", VARIETIES[name])
    whole = path.read_bytes()
    for value in (0, 0x55, 0xFF):
        path.write_bytes(whole[:112] + bytes([value]) * (len(whole) - 112))
        try:
            with opened(path) as node:
                read(node, 4096)
        except (CommandError, OSError):
            continue
        assert value == 0
