"""What the driver reads of images that QEMU made and filled is what QEMU reads."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blkrun.options import MemoryOptions
from blkrun.server.way import EXTENT_DATA, EXTENT_HOLE, EXTENT_ZERO
from tests.conformance.tools import require_module
from tests.server.qcow2.images import VARIETIES, Variety, create, qemu_img, qemu_io
from tests.server.qcow2.opened import opened, read, read_all

FILLED = {name: each for name, each in VARIETIES.items() if name not in ("empty", "large")}
KIB = 2**10


def fill(path: Path, variety: Variety, seed: int = 1) -> None:
    """Writes, zeroes and discards all over, aligned and not; later ones over earlier ones."""
    chance = random.Random(seed)
    size = variety.size_bytes
    commands = []
    for number in range(30):
        length = chance.choice([512, 3 * 512, 4 * KIB, 20 * KIB, 64 * KIB, 300 * KIB])
        offset = chance.randrange(0, (size - length) // 512) * 512
        kind = chance.choice(["write", "write", "write", "write -z", "write -z -u", "discard"])
        pattern = f"-P {number + 1} " if kind == "write" else ""
        commands.append(f"{kind} {pattern}{offset} {length}")
    qemu_io(path, *commands)


def require_zstandard(name: str) -> None:
    """A variety that is refused without that package."""
    if name == "zstd":
        require_module("zstandard")


def as_raw(path: Path) -> bytes:
    """What ``qemu-img convert`` reads."""
    raw = path.with_suffix(".raw")
    qemu_img("convert", "-f", "qcow2", "-O", "raw", path, raw)
    return raw.read_bytes()


@pytest.mark.parametrize("name", FILLED)
def test_reads_are_qemus(tmp_path: Path, name: str) -> None:
    """Of every variety, in large steps, in small ones, and across all boundaries."""
    require_zstandard(name)
    path = create(tmp_path / "a.qcow2", FILLED[name])
    fill(path, FILLED[name])
    with opened(path) as node:
        assert node.size_bytes == FILLED[name].size_bytes
        for step in (2**20, 4096, 10_007):
            assert read_all(node, step) == as_raw(path)


@pytest.mark.parametrize("kind", ["zlib", "zstd"])
@pytest.mark.parametrize("cluster_size", [512, 4096, 65536, 2**21])
def test_compressed_clusters_are_read(tmp_path: Path, kind: str, cluster_size: int) -> None:
    """As ``qemu-img convert -c`` packs them, incompressible ones among them."""
    require_zstandard(kind)
    chance = random.Random(2)
    words = [b"%d" % chance.randrange(1000) for _ in range(100)]
    text = b" ".join(chance.choice(words) for _ in range(400_000))[: 2**20]
    raw = tmp_path / "a.raw"
    raw.write_bytes(text + chance.randbytes(300_000) + bytes(2**20) + text[:5000].ljust(5120, b"."))
    path = tmp_path / "a.qcow2"
    options = f"compression_type={kind},cluster_size={cluster_size}"
    qemu_img("convert", "-c", "-O", "qcow2", "-o", options, "-f", "raw", raw, path)
    with opened(path) as node:
        for step in (2**20, 5000):
            assert read_all(node, step) == raw.read_bytes().ljust(node.size_bytes, b"\0")


def test_all_of_the_ways_to_be_compressed_are_read(tmp_path: Path) -> None:
    """Compressed clusters beside others, in images that have subclusters as well."""
    path = create(tmp_path / "a.qcow2", VARIETIES["extended"])
    writes = ["write -c -P 7 0 64k", "write -P 8 64k 2k", "write -c -P 9 128k 64k"]
    qemu_io(path, *writes, "write -P 10 130k 1k")
    with opened(path) as node:
        assert read_all(node, 777) == as_raw(path)


@pytest.mark.parametrize("name", ["plain", "v2", "cluster-512", "extended", "extended-16k"])
@pytest.mark.parametrize("backing_size", [2**20, 5 * 2**20])
def test_what_is_not_allocated_is_read_from_the_backing(
    tmp_path: Path, name: str, backing_size: int
) -> None:
    """Zeroes where the backing has ended; zero clusters hide it."""
    base = tmp_path / "base.raw"
    base.write_bytes(random.Random(3).randbytes(backing_size))
    path = create(tmp_path / "a.qcow2", FILLED[name], "-b", str(base), "-F", "raw")
    fill(path, FILLED[name])
    below = MemoryOptions(node_name="below", size=backing_size)
    with opened(path, below, backing="below") as node:
        assert node.backing is not None
        node.backing.pwrite(memoryview(base.read_bytes()), 0, 0)
        assert read_all(node, 50_021) == as_raw(path)


@pytest.mark.parametrize("name", FILLED)
def test_extents_are_qemus(tmp_path: Path, name: str) -> None:
    """Data or zeroes, as ``qemu-img map`` says it of the image."""
    require_zstandard(name)
    path = create(tmp_path / "a.qcow2", FILLED[name])
    fill(path, FILLED[name])
    size = FILLED[name].size_bytes
    mapped = json.loads(qemu_img("map", "--output=json", "-f", "qcow2", path))
    expected: list[list[int]] = []
    for each in mapped:
        # what the file below is known to have no data for, a zero cluster or not, reads as zeroes
        kind = EXTENT_DATA if each["data"] else EXTENT_HOLE | EXTENT_ZERO
        if expected and expected[-1][2] == kind:
            expected[-1][1] += each["length"]
        else:
            expected.append([each["start"], each["length"], kind])
    with opened(path) as node:
        assert [list(each) for each in node.extents(size, 0)] == expected
        (first,) = node.extents(size, 0, 4)
        assert list(first) == expected[0]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_range_reads_as_a_part_of_the_whole(
    filled: tuple[Path, bytes], data: st.DataObject
) -> None:
    """Wherever it begins and ends; its extents are what is known of it, without a gap."""
    path, whole = filled
    offset = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(1, min(len(whole) - offset, 600_000)))
    with opened(path) as node:
        assert read(node, length, offset) == whole[offset : offset + length]
        at = offset
        for start, size, kind in node.extents(length, offset):
            assert start == at
            assert size > 0
            assert not kind & EXTENT_ZERO or not any(whole[start : start + size])
            at += size
        assert at == offset + length


@pytest.fixture(params=["plain", "cluster-512", "extended"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, bytes]:
    """An image, and what is in it."""
    path = create(tmp_path / "a.qcow2", FILLED[request.param])
    fill(path, FILLED[request.param], seed=4)
    return path, as_raw(path)


def test_a_large_disk_is_zeroes(tmp_path: Path) -> None:
    """A petabyte, of which nothing was ever written, and a part in the middle that was."""
    path = create(tmp_path / "a.qcow2", VARIETIES["large"])
    middle = 2**49 - 1024
    qemu_io(path, f"write -P 5 {middle} 4k")
    with opened(path) as node:
        assert read(node, 8192, middle - 2048) == bytes(2048) + b"\5" * 4096 + bytes(2048)
        assert node.extents(2**50, 0)[0] == (0, middle // 65536 * 65536, EXTENT_HOLE | EXTENT_ZERO)


def test_an_empty_disk_is_opened(tmp_path: Path) -> None:
    """Of no bytes."""
    with opened(create(tmp_path / "a.qcow2", VARIETIES["empty"])) as node:
        assert node.size_bytes == 0
