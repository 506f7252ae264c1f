"""New images: qemu-img finds nothing wrong with them, and in them what was wanted."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blkrun.options import MemoryOptions
from blkrun.server.drivers.memory import Memory
from blkrun.server.qcow2.create import NewImage, layout_of, write_image
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.header import parse
from tests.server.qcow2.images import info, qemu_img
from tests.server.qcow2.making import check, make

MIB = 2**20


def made(path: Path, **wanted: Any) -> dict[str, Any]:
    """A new image without a fault or a leak; what qemu-img says of it."""
    make(path, NewImage(**wanted))
    found = check(path)
    assert not found.get("leaks"), found
    said = info(path)
    assert said["format"] == "qcow2"
    assert said["virtual-size"] == wanted["size_bytes"]
    assert isinstance(said, dict)
    return said


@pytest.mark.parametrize("cluster_bits", range(9, 22))
@pytest.mark.parametrize("version", [2, 3])
def test_clusters_of_every_size(tmp_path: Path, version: int, cluster_bits: int) -> None:
    """Each size that QEMU knows, in both versions."""
    said = made(
        tmp_path / "new.qcow2",
        size_bytes=5 * MIB + 512,
        version=version,
        cluster_bytes=1 << cluster_bits,
    )
    assert said["cluster-size"] == 1 << cluster_bits
    assert said["format-specific"]["data"]["compat"] == ("0.10" if version == 2 else "1.1")


@pytest.mark.parametrize("cluster_bytes", [512, 2**16])
@pytest.mark.parametrize("order", range(7))
def test_refcounts_of_every_width(tmp_path: Path, order: int, cluster_bytes: int) -> None:
    """1 to 64 bits; with the smallest clusters they take several blocks at once."""
    said = made(
        tmp_path / "new.qcow2",
        size_bytes=2**30,
        cluster_bytes=cluster_bytes,
        refcount_bits=1 << order,
    )
    assert said["format-specific"]["data"]["refcount-bits"] == 1 << order


def test_an_l1_table_larger_than_a_block_covers(tmp_path: Path) -> None:
    """The largest disk that clusters of 512 bytes allow: an L1 table of 32 MiB."""
    made(
        tmp_path / "new.qcow2",
        size_bytes=128 * 2**30,
        cluster_bytes=512,
        refcount_bits=64,
    )
    with pytest.raises(ImageError, match="too large"):
        layout_of(NewImage(size_bytes=128 * 2**30 + 512, cluster_bytes=512))


@pytest.mark.parametrize("size_bytes", [0, 512, 2**50])
def test_disks_from_nothing_to_a_pebibyte(tmp_path: Path, size_bytes: int) -> None:
    """An empty disk is one too."""
    made(tmp_path / "new.qcow2", size_bytes=size_bytes, cluster_bytes=2 * MIB)


def test_features(tmp_path: Path) -> None:
    """Those that are asked for are there."""
    said = made(
        tmp_path / "new.qcow2",
        size_bytes=64 * MIB,
        lazy_refcounts=True,
        extended_l2=True,
        compression_type="zstd",
    )
    data = said["format-specific"]["data"]
    assert data["lazy-refcounts"] is True
    assert data["extended-l2"] is True
    assert data["compression-type"] == "zstd"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("cluster_bytes", [512, 2**16])
def test_a_backing_file(tmp_path: Path, cluster_bytes: int, version: int) -> None:
    """Its name and format are found; in the smallest cluster the names of features give way."""
    qemu_img("create", "-f", "qcow2", str(tmp_path / "base.qcow2"), "8M")
    said = made(
        tmp_path / "new.qcow2",
        size_bytes=8 * MIB,
        version=version,
        cluster_bytes=cluster_bytes,
        backing_file="base.qcow2",
        backing_fmt="qcow2",
    )
    assert said["backing-filename"] == "base.qcow2"
    assert said["backing-filename-format"] == "qcow2"
    assert said["full-backing-filename"] == str(tmp_path / "base.qcow2")


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("extended_l2", [False, True])
def test_an_external_data_file(tmp_path: Path, *, extended_l2: bool, raw: bool) -> None:
    """A raw one is all there from the beginning: what is written into it is what a guest reads."""
    size = 1024 * MIB + 512
    data = tmp_path / "data.raw"
    with data.open("wb") as file:
        file.truncate(size)
        file.seek(700 * MIB + 99)
        file.write(b"found")
    said = made(
        tmp_path / "new.qcow2",
        size_bytes=size,
        external_data=True,
        data_file=str(data),
        data_file_raw=raw,
        extended_l2=extended_l2,
    )
    assert said["format-specific"]["data"]["data-file"] == str(data)
    assert said["format-specific"]["data"]["data-file-raw"] is raw
    if raw:
        qemu_img("compare", "-f", "raw", "-F", "qcow2", data, tmp_path / "new.qcow2")


def test_it_writes_over_what_was_there(tmp_path: Path) -> None:
    """A place full of other data gets an image as good: nothing is taken to be zero."""
    layout = layout_of(NewImage(size_bytes=2**30, cluster_bytes=512))
    memory = Memory(MemoryOptions(node_name="m", size=4 * MIB))
    memory.do_pwrite(memoryview(b"\xa5" * 4 * MIB), 0, 0)

    class Place:
        """Straight to the driver."""

        @staticmethod
        def make_room(end: int) -> None:
            """It is large enough."""

        pwrite = staticmethod(memory.do_pwrite)
        zero = staticmethod(memory.do_zero)
        flush = staticmethod(memory.do_flush)

    write_image(Place(), layout)
    content = bytearray(layout.length_bytes)
    memory.do_pread(memoryview(content), 0)
    path = tmp_path / "new.qcow2"
    path.write_bytes(content)
    assert not check(path).get("leaks")


REFUSED: dict[str, dict[str, Any]] = {
    "Image size must be a multiple of 512 bytes": {"size_bytes": 1000},
    "Cluster size must be a power of two between 512 and 2048k": {"cluster_bytes": 1536},
    "Refcount width must be a power of two": {"refcount_bits": 3},
    "may not exceed 64 bits": {"refcount_bits": 128},
    "Unsupported qcow2 version 4": {"version": 4},
    "Different refcount widths": {"version": 2, "refcount_bits": 8},
    "Lazy refcounts only": {"version": 2, "lazy_refcounts": True},
    "Extended L2 entries are only supported with compat": {"version": 2, "extended_l2": True},
    "cluster sizes of at least 16384": {"extended_l2": True, "cluster_bytes": 8192},
    "Non-zlib": {"version": 2, "compression_type": "zstd"},
    "Unknown compression type 'lzma'": {"compression_type": "lzma"},
    "External data files": {"version": 2, "external_data": True},
    "data-file-raw requires data-file": {"data_file_raw": True},
    "cannot be used at the same time": {
        "external_data": True,
        "data_file_raw": True,
        "backing_file": "base",
    },
    "at most 1023 bytes": {"backing_file": "x" * 1024},
    "use larger clusters": {"backing_file": "x" * 500, "cluster_bytes": 512},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be(message: str) -> None:
    """It is refused in QEMU's words."""
    wanted: dict[str, Any] = {"size_bytes": MIB, **REFUSED[message]}
    with pytest.raises(ImageError, match=message):
        layout_of(NewImage(**wanted))


@settings(max_examples=200)
@given(
    st.integers(9, 21),
    st.integers(0, 6),
    st.integers(0, 2**40),
    st.integers(0, 1),
    st.one_of(st.none(), st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=80)),
)
def test_headers_are_read_as_written(
    cluster_bits: int, order: int, sectors: int, flags: int, backing_file: str | None
) -> None:
    """The header of any new image says what its layout does."""
    new = NewImage(
        size_bytes=sectors * 512,
        cluster_bytes=1 << cluster_bits,
        refcount_bits=1 << order,
        extended_l2=bool(flags),
        backing_file=backing_file,
        backing_fmt="raw",
    )
    try:
        layout = layout_of(new)
    except ImageError:
        return
    assert parse(layout.header.to_bytes()) == layout.header
