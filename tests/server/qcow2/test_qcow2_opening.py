"""What is opened with an image, and what is refused."""

import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blkrun.errors import CommandError
from blkrun.options import FileOptions, Qcow2Options
from blkrun.server.actions import blockdev_add, blockdev_del, blockdev_reopen, replace_node
from blkrun.server.drivers import qcow2
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.qcow2 import compressed, header
from blkrun.server.qcow2.errors import ImageError
from tests.server.qcow2.images import Variety, create, qemu_img, qemu_io
from tests.server.qcow2.opened import opened, read, read_all

MIB = 2**20
SMALL = Variety(size_bytes=2 * MIB)


def overlay(path: Path, backing: str, kind: str | None = None, size: int = 2 * MIB) -> Path:
    """An image that names a backing file, as it is told to."""
    words = ["-F", kind] if kind else []
    qemu_img("create", "-q", "-f", "qcow2", "-u", "-b", backing, *words, path, str(size))
    return path


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Three images, each over the one before, with names relative to the directory of each."""
    (tmp_path / "below").mkdir()
    base = tmp_path / "below" / "base.raw"
    base.write_bytes(random.Random(1).randbytes(3 * MIB // 2))
    overlay(tmp_path / "below" / "middle.qcow2", "base.raw", "raw")
    qemu_io(tmp_path / "below" / "middle.qcow2", "write -P 1 100k 200k", "write -z 1M 64k")
    overlay(tmp_path / "top.qcow2", "below/middle.qcow2", "qcow2")
    qemu_io(tmp_path / "top.qcow2", "write -P 2 200k 300k")
    return tmp_path / "top.qcow2"


def test_backing_files_are_found_as_qemu_finds_them(chain: Path) -> None:
    """Relative to the image that names them; what is read is what qemu-img reads."""
    qemu_img("convert", "-O", "raw", chain, chain.with_suffix(".raw"))
    with opened(chain) as node:
        assert read_all(node, 70_001) == chain.with_suffix(".raw").read_bytes()
        middle = node.backing
        assert middle is not None
        assert not middle.monitor_owned
        assert middle.name.startswith("#block")
        assert middle.options.read_only
        assert middle.children["backing"].driver == "file"


def test_none_is_none(chain: Path) -> None:
    """``backing`` null: what is not allocated reads as zeroes."""
    with opened(chain, backing=None) as node:
        assert node.backing is None
        assert not any(read(node, 100 * 2**10))


def test_a_name_is_that_node(chain: Path) -> None:
    """Whatever the image says."""
    other = chain.parent / "other.raw"
    other.write_bytes(b"\7" * MIB)
    with opened(
        chain, FileOptions(node_name="other", path=str(other), read_only=True), backing="other"
    ) as node:
        assert read(node, 4096) == b"\7" * 4096


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_format_that_is_not_said_is_looked_for(tmp_path: Path, kind: str) -> None:
    """As QEMU does, in the first bytes."""
    base = tmp_path / "base.img"
    qemu_img("create", "-q", "-f", kind, base, "2M")
    qemu_io(base, "write -P 9 0 64k", options=["-f", kind])
    image = overlay(tmp_path / "top.qcow2", "base.img", "raw")
    # qemu-img does not make images any more that do not say it
    data = bytearray(image.read_bytes())
    at = data.index(header.BACKING_FORMAT.to_bytes(4, "big"))
    data[at : at + 4] = (0x12345678).to_bytes(4, "big")
    image.write_bytes(data)
    with opened(image) as node:
        assert node.backing is not None
        assert node.backing.driver == {"raw": "file", "qcow2": "qcow2"}[kind]
        assert read(node, 64 * 2**10) == b"\t" * 2**16


def test_inline_nodes_go_with_the_image(chain: Path) -> None:
    """And stay, when other options of it change; a new node brings its own."""
    graph = Graph(Events())

    def edit(*actions: Callable[..., None]) -> None:
        graph.transaction([partial(action) for action in actions])

    def top(**options: Any) -> Qcow2Options:
        values = {"driver": "qcow2", "node-name": "top", "file": "file", "read-only": True}
        return msgspec.convert(values | options, Qcow2Options)

    file = FileOptions(node_name="file", path=str(chain), read_only=True)
    edit(partial(blockdev_add, options=file), partial(blockdev_add, options=top()))
    names = set(graph.nodes)
    assert len(names) == 5
    edit(partial(blockdev_reopen, options=top(discard="ignore")))
    assert set(graph.nodes) == names
    edit(partial(replace_node, options=top(**{"l2-cache-size": MIB})))
    assert len(graph.nodes) == 5
    assert read(graph.nodes["top"], 4096, 210 * 2**10) == b"\2" * 4096
    edit(partial(blockdev_del, name="top"))
    assert set(graph.nodes) == {"file"}
    graph.close()


@pytest.mark.parametrize(
    ("backing", "kind", "message"),
    [
        ("nowhere.img", "raw", "Could not open backing file: Could not open .*No such file"),
        ("https://host/a", "raw", "Unknown protocol 'https'"),
        ("a.vmdk", "vmdk", "Unknown driver 'vmdk'"),
        ("top.qcow2", "qcow2", "is a backing file of itself"),
        ("plain.txt", "qcow2", "Image is not in qcow2 format"),
        ("vmdk.img", None, "is a vmdk image"),
        ("fifo", "raw", "neither a regular file nor a block device"),
    ],
)
def test_a_backing_file_that_cannot_be_is_refused(
    tmp_path: Path, backing: str, kind: str | None, message: str
) -> None:
    """By the name it has in the image, and nothing is left open."""
    (tmp_path / "plain.txt").write_bytes(b"text" * 1000)
    (tmp_path / "vmdk.img").write_bytes(b"KDMV" * 1000)
    os.mkfifo(tmp_path / "fifo")
    image = overlay(tmp_path / "top.qcow2", backing, kind or "raw")
    if kind is None:
        data = image.read_bytes()
        image.write_bytes(data.replace(header.BACKING_FORMAT.to_bytes(4, "big"), b"abcd", 1))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(CommandError, match=message), opened(image):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_chain_is_as_long_as_requests_can_go(tmp_path: Path) -> None:
    """Through a hundred images a read gets to the base; one more is refused by number."""
    (tmp_path / "0.raw").write_bytes(b"\5" * 2**16)
    last = "0.raw"
    for number in range(1, qcow2.MOST_IMAGES + 2):
        kind = "raw" if number == 1 else "qcow2"
        image = overlay(tmp_path / f"{number}.qcow2", last, kind, 2**16)
        last = image.name
    with opened(tmp_path / f"{qcow2.MOST_IMAGES - 1}.qcow2") as node:
        assert read(node, 4096) == b"\5" * 4096
    with pytest.raises(CommandError, match="the limit is 100"), opened(tmp_path / last):
        pass


@pytest.mark.parametrize("raw", ["on", "off"])
def test_external_data_files_are_read(tmp_path: Path, raw: str) -> None:
    """By the name in the image, or as a node of one's own."""
    data = tmp_path / "data"
    image = tmp_path / "a.qcow2"
    options = f"data_file={data},data_file_raw={raw}"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, image, "2M")
    qemu_io(image, "write -P 1 0 100k", "write -P 2 1M 64k", "write -z 1100k 8k")
    qemu_io(image, "discard 0 64k")
    qemu_img("convert", "-O", "raw", image, tmp_path / "a.raw")
    expected = (tmp_path / "a.raw").read_bytes()
    with opened(image) as node:
        assert node.data_file.driver == "file"
        assert read_all(node, 10_001) == expected
    own = FileOptions(node_name="own", path=str(data), read_only=True)
    with opened(image, own, data_file="own") as node:
        assert read_all(node) == expected
    data.unlink()
    with pytest.raises(CommandError, match="Could not open data file"), opened(image):
        pass


def test_a_data_file_where_there_is_none_is_refused(tmp_path: Path) -> None:
    """In QEMU's words."""
    image = create(tmp_path / "a.qcow2", SMALL)
    own = FileOptions(node_name="own", path=str(image), read_only=True)
    with (
        pytest.raises(
            CommandError, match="'data-file' can only be set for images with an external"
        ),
        opened(image, own, data_file="own"),
    ):
        pass


@pytest.mark.parametrize(("kind", "name"), [("aes", "AES"), ("luks", "LUKS")])
def test_encryption_is_refused_by_name(tmp_path: Path, kind: str, name: str) -> None:
    """With what can be done."""
    image = tmp_path / "a.qcow2"
    words = ["--object", "secret,id=s,data=geheim", "-f", "qcow2"]
    options = f"encrypt.format={kind},encrypt.key-secret=s"
    if kind == "luks":
        options += ",encrypt.iter-time=10"
    qemu_img("create", "-q", *words, "-o", options, image, "1M")
    with (
        pytest.raises(CommandError, match=rf"Encryption \({name}\) is not supported"),
        opened(image),
    ):
        pass


def test_zstd_without_the_package_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not at the first compressed cluster, but before."""

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(compressed, "import_module", missing)
    with pytest.raises(ImageError, match=r"pip install 'blkrun\[zstd\]'"):
        compressed.decompressor(header.ZSTD)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache-size": 1, "l2-cache-size": 1, "refcount-cache-size": 1}, "at the same time"),
        ({"cache-size": 1, "l2-cache-size": 2}, "l2-cache-size may not exceed cache-size"),
        ({"cache-size": 1, "refcount-cache-size": 2}, "refcount-cache-size may not exceed"),
    ],
)
def test_caches_that_contradict_are_refused(
    tmp_path: Path, options: dict[str, int], message: str
) -> None:
    """In QEMU's words."""
    image = create(tmp_path / "a.qcow2", SMALL)
    with pytest.raises(CommandError, match=message), opened(image, **options):
        pass
