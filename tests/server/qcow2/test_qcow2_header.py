"""The header: as qemu-img writes it, as Hypothesis can think of it, and damaged."""

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.server.qcow2 import features, header
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.header import Extension, Header, parse
from tests.server.qcow2.images import VARIETIES, create, info, qemu_img

PLAIN = Header(
    cluster_bits=16,
    size_bytes=2**30,
    l1_size=2,
    l1_table_offset=0x30000,
    refcount_table_offset=0x10000,
    refcount_table_clusters=1,
)

extensions = st.lists(
    st.builds(
        Extension,
        kind=st.integers(1, 2**32 - 1).filter(lambda kind: kind != header.FEATURE_NAMES),
        data=st.binary(max_size=40),
    ),
    max_size=4,
).map(tuple)
names = st.none() | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=50
)


def read_header(path: Path) -> Header:
    """Of an image that is well."""
    data = path.read_bytes()
    return parse(data[: header.first_cluster_bytes(data[:24])])


@pytest.mark.parametrize("variety", VARIETIES)
def test_what_qemu_img_writes_is_understood_as_it_says(tmp_path: Path, variety: str) -> None:
    """Size, cluster size and the format's own facts agree with ``qemu-img info``."""
    path = create(tmp_path / "a.qcow2", VARIETIES[variety])
    found, said = read_header(path), info(path)
    facts = said["format-specific"]["data"]
    assert found.size_bytes == said["virtual-size"]
    assert found.cluster_bytes == said["cluster-size"]
    assert found.version == {"0.10": 2, "1.1": 3}[facts["compat"]]
    assert 1 << found.refcount_order == facts["refcount-bits"]
    assert found.extended_l2 == facts.get("extended-l2", False)
    assert bool(found.compatible & features.LAZY_REFCOUNTS) == facts.get("lazy-refcounts", False)
    assert found.compression_type == ["zlib", "zstd"].index(facts["compression-type"])
    assert not found.snapshot_count
    assert found.backing_file is None


@pytest.mark.parametrize("variety", VARIETIES)
def test_what_qemu_img_writes_is_written_the_same(tmp_path: Path, variety: str) -> None:
    """Byte for byte, extensions and padding included."""
    path = create(tmp_path / "a.qcow2", VARIETIES[variety])
    written = read_header(path).to_bytes()
    assert path.read_bytes()[: len(written)] == written


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_a_backing_file_is_found_with_its_format(tmp_path: Path, compat: str) -> None:
    """Name and format as they were given, and written the same again."""
    (tmp_path / "bäse.img").write_bytes(bytes(2**20))
    words = ["create", "-q", "-f", "qcow2", "-o", f"compat={compat}", "-F", "raw"]
    path = tmp_path / "top.qcow2"
    qemu_img(*words, "-b", "bäse.img", path)
    found = read_header(path)
    assert found.backing_file == "bäse.img"
    assert found.text(header.BACKING_FORMAT) == "raw"
    written = found.to_bytes()
    assert path.read_bytes()[: len(written)] == written


def test_an_external_data_file_is_found(tmp_path: Path) -> None:
    """Its name, and whether it is raw."""
    options = f"data_file={tmp_path / 'data'},data_file_raw=on"
    path = tmp_path / "a.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, path, "1M")
    found = read_header(path)
    assert found.external_data
    assert found.autoclear & features.RAW_EXTERNAL_DATA
    assert found.text(header.DATA_FILE) == str(tmp_path / "data")


@given(
    version=st.sampled_from([2, 3]),
    extensions=extensions,
    backing_file=names,
    gap=st.integers(0, 100),
    rest=st.binary(max_size=20),
)
def test_parse_takes_back_what_to_bytes_gives(
    version: int,
    extensions: tuple[Extension, ...],
    backing_file: str | None,
    gap: int,
    rest: bytes,
) -> None:
    """Every field, unknown extensions and unknown fields, wherever the backing file's name is."""
    fixed = 72 if version == 2 else 105 + len(rest)
    area = fixed + sum(8 + len(each.data) + -len(each.data) % 8 for each in extensions)
    made = Header(
        version=version,
        cluster_bits=16,
        size_bytes=2**30,
        l1_size=2,
        l1_table_offset=0x30000,
        refcount_table_offset=0x10000,
        refcount_table_clusters=1,
        header_length=fixed,
        rest=b"" if version == 2 else rest,
        extensions=extensions,
        backing_file=backing_file,
        backing_file_offset=0 if backing_file is None else area + gap,
        backing_file_size=0 if backing_file is None else len(backing_file.encode()),
    )
    assert parse(made.to_bytes()) == made


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.integers(0, 25))
def test_any_bytes_are_a_header_or_an_image_error(rest: bytes, version: int, bits: int) -> None:
    """Nothing else comes of them."""
    for data in (
        rest,
        struct.pack(">4sIQII", header.MAGIC, version, 0, 0, bits) + rest,
        struct.pack(">4sIQII", header.MAGIC, 3, 0, 0, 16) + rest,
    ):
        try:
            found = parse(data)
        except ImageError:
            continue
        assert found.version in (2, 3)


@given(st.data())
def test_flipped_bytes_are_a_header_or_an_image_error(data: st.DataObject) -> None:
    """Starting from one that is well."""
    image = bytearray(PLAIN.to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse(bytes(image))
    except ImageError:
        return
    assert 9 <= found.cluster_bits <= 21


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"QFI?", "Image is not in qcow2 format"),
        (4, b"\0\0\0\x04", "Unsupported qcow2 version 4"),
        (20, b"\0\0\0\x08", r"Unsupported cluster size: 2\^8"),
        (20, b"\0\0\0\x16", r"Unsupported cluster size: 2\^22"),
        (32, b"\0\0\0\x03", "Unsupported encryption method: 3"),
        (36, b"\x40\0\0\0", "Active L1 table too large"),
        (46, b"\x12", "Active L1 table offset invalid"),
        (54, b"\x12", "Reference count table offset invalid"),
        (56, b"\0\0\0\0", "Image does not contain a reference count table"),
        (56, b"\xff\0\0\0", "Reference count table too large"),
        (60, b"\x01\0\0\0", "Snapshot table too large"),
        (72, b"\x80", "Unsupported qcow2 feature.* incompatible feature bit 63"),
        (79, b"\x08", "Compression type and its incompatible feature bit do not agree"),
        (99, b"\x07", "Reference count entry width too large"),
        (103, b"\x60", "qcow2 header too short"),
        (104, b"\x01", "Compression type and its incompatible feature bit do not agree"),
        (8, b"\0\0\0\0\0\0\0\x08", "Invalid backing file offset"),
        (16, b"\0\0\x10\0", None),
    ],
)
def test_what_cannot_be_is_refused_by_name(at: int, value: bytes, message: str | None) -> None:
    """With QEMU's words where it has some; a name's length means nothing where there is none."""
    image = bytearray(PLAIN.to_bytes().ljust(2**16, b"\0"))
    image[at : at + len(value)] = value
    if message is None:
        assert parse(bytes(image)).backing_file is None
        return
    with pytest.raises(ImageError, match=message):
        parse(bytes(image))


def test_an_unknown_feature_is_called_what_the_image_calls_it() -> None:
    """By the feature name table, as the specification asks for."""
    table = struct.pack("BB46s", 0, 17, b"time travel")
    image = bytearray(PLAIN.to_bytes().ljust(2**16, b"\0"))
    image[77] = 0x02
    image[112:120] = struct.pack(">II", header.FEATURE_NAMES, len(table))
    image[120 : 120 + len(table)] = table
    with pytest.raises(ImageError, match=r"Unsupported qcow2 feature\(s\): time travel"):
        parse(bytes(image))


def test_the_feature_name_table_is_qemus(tmp_path: Path) -> None:
    """What is written into new images is what qemu-img writes; qemu-img may know more."""
    path = create(tmp_path / "a.qcow2", VARIETIES["plain"])
    table = read_header(path).extension(header.FEATURE_NAMES)
    assert table is not None
    assert features.decode_names(table) == features.NAMES, json.dumps(str(table))
    assert features.decode_names(features.encode_names()) == features.NAMES
