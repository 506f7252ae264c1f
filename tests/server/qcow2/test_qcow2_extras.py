"""Internal snapshots and persistent bitmaps, as qemu-img makes them and as damage leaves them."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from blkrun.errors import CommandError
from blkrun.options import FileOptions
from blkrun.server import actions
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.node import Node
from blkrun.server.qcow2 import bitmaps
from blkrun.server.qcow2.bitmaps import StoredBitmap, clusters_of, in_use_writes, read_directory
from blkrun.server.qcow2.image import read_header
from blkrun.server.qcow2.snapshots import read_snapshots, table_bytes
from blkrun.server.qcow2.store import Store
from tests.server.qcow2.images import VARIETIES, create, info, qemu_img, qemu_io
from tests.server.qcow2.opened import opened, read_all


class Above(Node[FileOptions]):
    """Who asks the file for something."""


@contextmanager
def store_of(path: Path, *, read_only: bool = True) -> Iterator[Store]:
    """An image's file."""
    graph = Graph(Events())
    options = FileOptions(node_name="file", path=str(path), read_only=read_only)
    try:
        graph.transaction([lambda staging: actions.blockdev_add(staging, options)])
        above = Above(options)
        above.attach("file", graph.nodes["file"])
        yield Store(above, "file", graph.nodes["file"].length())
    finally:
        graph.close()


@pytest.mark.parametrize("name", ["plain", "v2", "cluster-512", "extended"])
def test_snapshots_are_found_and_the_disk_is_read(tmp_path: Path, name: str) -> None:
    """Names, ids and sizes as they were given; what is read is the disk of now."""
    path = create(tmp_path / "a.qcow2", VARIETIES[name])
    qemu_io(path, "write -P 1 0 1M")
    qemu_img("snapshot", "-c", "first", path)
    qemu_io(path, "write -P 2 512k 1M")
    qemu_img("snapshot", "-c", "zweiter Stand", path)
    qemu_io(path, "write -P 3 600k 64k")
    with store_of(path) as store:
        header = read_header(store)
        found = read_snapshots(header, store)
        assert [(each.id, each.name) for each in found] == [("1", "first"), ("2", "zweiter Stand")]
        assert {each.disk_bytes for each in found} == {VARIETIES[name].size_bytes}
        assert not table_bytes(header, store) % 8
    qemu_img("convert", "-O", "raw", path, tmp_path / "a.raw")
    with opened(path) as node:
        assert read_all(node) == (tmp_path / "a.raw").read_bytes()


def with_bitmaps(path: Path) -> Path:
    """One that follows, one that is disabled."""
    create(path, VARIETIES["plain"])
    qemu_img("bitmap", "--add", path, "follows")
    qemu_img("bitmap", "--add", "--disable", "-g", "512", path, "stands")
    qemu_io(path, "write -P 1 0 1M")
    return path


def test_bitmaps_are_found(tmp_path: Path) -> None:
    """By name, with what they take in the file."""
    path = with_bitmaps(tmp_path / "a.qcow2")
    with store_of(path) as store:
        header = read_header(store)
        directory = read_directory(header, store)
        assert directory is not None
        follows, stands = directory.bitmaps
        assert (follows.name, follows.flags, follows.granularity_bits) == ("follows", 2, 16)
        assert (stands.name, stands.flags, stands.granularity_bits) == ("stands", 0, 9)
        taken = list(clusters_of(directory, header, store))
        # the directory, two tables, and the data of the one that has followed a write
        assert len(taken) == 4


def test_what_does_not_follow_is_marked(tmp_path: Path) -> None:
    """QEMU then calls it in use, which is inconsistent; the other stays, and check is content."""
    path = with_bitmaps(tmp_path / "a.qcow2")
    with store_of(path, read_only=False) as store:
        directory = read_directory(read_header(store), store)
        assert directory is not None
        for offset, data in in_use_writes(directory):
            store.pwrite(memoryview(data), offset)
    found = {each["name"]: each["flags"] for each in bitmaps_of(path)}
    assert found == {"follows": ["in-use", "auto"], "stands": []}
    qemu_img("check", path)
    with store_of(path) as store:
        directory = read_directory(read_header(store), store)
        assert directory is not None
        assert not list(in_use_writes(directory))


def bitmaps_of(path: Path) -> list[dict[str, Any]]:
    """What qemu-img says of them."""
    found = info(path)["format-specific"]["data"]["bitmaps"]
    assert isinstance(found, list), json.dumps(found)
    return found


def test_bitmaps_that_are_not_vouched_for_do_not_count(tmp_path: Path) -> None:
    """Without the autoclear bit they are inconsistent, says the specification."""
    path = with_bitmaps(tmp_path / "a.qcow2")
    image = bytearray(path.read_bytes())
    image[95] &= 0xFE
    path.write_bytes(image)
    with store_of(path) as store:
        assert read_directory(read_header(store), store) is None


def test_damaged_tables_are_refused_by_name(tmp_path: Path) -> None:
    """Whatever bytes the two tables have, an image is opened or refused, with a sentence."""
    path = with_bitmaps(tmp_path / "a.qcow2")
    qemu_img("snapshot", "-c", "first", path)
    whole = path.read_bytes()
    with store_of(path) as store:
        header = read_header(store)
        directory = read_directory(header, store)
        assert directory is not None
    chance = random.Random(5)
    refused = 0
    for _ in range(150):
        image = bytearray(whole)
        at = chance.choice([header.snapshots_offset, directory.offset]) + chance.randrange(64)
        image[at] = chance.randrange(256)
        path.write_bytes(image)
        try:
            with opened(path):
                pass
        except CommandError:
            refused += 1
    assert refused > 20


def test_a_bitmap_in_use_need_not_follow() -> None:
    """It is inconsistent already."""
    flags = {bitmaps.AUTO: True, 0: False, bitmaps.AUTO | bitmaps.IN_USE: False}
    for value, follows in flags.items():
        assert StoredBitmap(0, 0, 0, value, 16, "a").has_to_follow is follows
