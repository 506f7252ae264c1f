"""Every driver: zeroes and trims end where they should, and their flags mean what NBD says."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blkrun.server.drivers.file import File
from blkrun.server.node import Node
from blkrun.server.way import (
    EXTENT_DATA,
    EXTENT_HOLE,
    EXTENT_ZERO,
    FLAG_FAST_ZERO,
    FLAG_FUA,
    FLAG_MAY_TRIM,
)

from .subjects import Subject, subject_of
from .tools import all_extents, errno_of, pattern, read, write

PAGE = 2**16
ZERO_FLAGS = [
    fua | trim | fast
    for fua in (0, FLAG_FUA)
    for trim in (0, FLAG_MAY_TRIM)
    for fast in (0, FLAG_FAST_ZERO)
]


def ranges(size: int) -> list[tuple[int, int]]:
    """(offset, length): a byte, around a page, aligned or not, at both ends of the disk."""
    begins = [(at, n) for at in (0, 1, PAGE - 1, PAGE + 1) for n in (1, PAGE - 1, 2 * PAGE + 1)]
    return [*begins, (PAGE, PAGE), (size - 1, 1), (size - PAGE - 7, PAGE + 7), (size - 777, 777)]


def surroundings(size: int, offset: int, length: int) -> tuple[int, int]:
    """Where a range and what is near it begins and ends."""
    return max(0, offset - PAGE - 9), min(size, offset + length + PAGE + 9)


@pytest.mark.parametrize("flags", ZERO_FLAGS)
def test_zero(disk: Subject, flags: int) -> None:
    """The range is zero and its neighbours stay; a fast zero may be refused, and then all stays."""
    node = disk.node
    for offset, length in ranges(disk.size):
        first, last = surroundings(disk.size, offset, length)
        data = pattern(last - first, offset % 97)
        write(node, data, first)
        refused = errno_of(node.zero, length, offset, flags)
        if refused is None:
            at = offset - first
            data = data[:at] + bytes(length) + data[at + length :]
        else:
            assert (refused, flags & FLAG_FAST_ZERO) == ("EOPNOTSUPP", FLAG_FAST_ZERO)
        assert read(node, last - first, first) == data


@pytest.mark.parametrize("flags", [0, FLAG_FUA], ids=["plain", "fua"])
def test_trim(disk: Subject, flags: int) -> None:
    """Neighbours stay; the range is zero where the driver says so, else each byte may also stay."""
    node = disk.node
    for offset, length in ranges(disk.size):
        first, last = surroundings(disk.size, offset, length)
        data = pattern(last - first, offset % 97)
        write(node, data, first)
        node.trim(length, offset, flags)
        found, at = read(node, last - first, first), offset - first
        assert found[:at] == data[:at]
        assert found[at + length :] == data[at + length :]
        trimmed = found[at : at + length]
        if disk.row.trim_zeroes:
            assert not any(trimmed)
        else:
            old = data[at : at + length]
            assert all(now in (0, was) for now, was in zip(trimmed, old, strict=True))


@pytest.mark.parametrize("request_kind", ["zero", "trim"])
def test_what_was_trimmed_is_a_hole(disk: Subject, request_kind: str) -> None:
    """Zeroes that may trim, and trims, show in the extents: a page in the middle is no data."""
    node = disk.node
    write(node, pattern(5 * PAGE, 1), 0)
    node.flush()
    assert {kind for _, _, kind in all_extents(node, 5 * PAGE, 0)} == {0}
    getattr(node, request_kind)(3 * PAGE, PAGE, FLAG_MAY_TRIM if request_kind == "zero" else 0)
    found = {kind for _, _, kind in all_extents(node, PAGE, 2 * PAGE)}
    tells = not isinstance(disk.bottom, File) or image_of(disk)  # a block device does not
    assert found == {EXTENT_HOLE | EXTENT_ZERO if tells else EXTENT_DATA}


@pytest.mark.parametrize("row", ["file", "tmpfs", "chain"])
def test_zero_without_may_trim_keeps_the_space(row: str, tmp_path: Path) -> None:
    """Allocated before or not, it is allocated after (NBD's NO_HOLE)."""
    with subject_of(row, tmp_path) as disk:
        path = image_of(disk)
        assert path is not None
        keeps_the_space(disk.node, path)


def keeps_the_space(node: Node[Any], path: Path) -> None:
    """The same, with the node and its image."""
    node.zero(4 * PAGE, PAGE // 2, 0)
    node.flush()
    full = allocated(path)
    assert full >= 4 * PAGE
    write(node, pattern(4 * PAGE, 1), PAGE // 2)
    node.zero(4 * PAGE - 3, PAGE // 2 + 1, FLAG_FUA)
    assert allocated(path) == full
    node.zero(4 * PAGE, PAGE // 2, FLAG_MAY_TRIM)
    node.flush()
    assert allocated(path) <= full - 3 * PAGE


def image_of(disk: Subject) -> Path | None:
    """The file that the data ends in, if that is what it does."""
    path = Path(disk.bottom.options.path) if isinstance(disk.bottom, File) else None
    return path if path is not None and path.is_file() else None


def allocated(path: Path) -> int:
    """Bytes of disk space a file takes."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path.stat().st_blocks * 512


def test_every_request_at_the_very_end(disk: Subject) -> None:
    """The last byte takes every request, and the disk does not grow."""
    node, last = disk.node, disk.size - 1
    write(node, b"x", last, FLAG_FUA)
    assert read(node, 1, last) == b"x"
    assert all_extents(node, 1, last) == [(last, 1, 0)]
    node.cache(1, last)
    node.zero(1, last, FLAG_MAY_TRIM | FLAG_FUA)
    assert read(node, 1, last) == b"\0"
    node.trim(1, last, FLAG_FUA)
    node.flush()
    if path := image_of(disk):
        assert path.stat().st_size == disk.bottom.size_bytes


def test_cache_and_extents_change_nothing(disk: Subject) -> None:
    """They only look."""
    node, data = disk.node, pattern(3 * PAGE, 1)
    write(node, data, 77)
    looks: list[Callable[[int, int], object]] = [node.cache, node.extents]
    for look in looks:
        for offset, length in ranges(disk.size):
            look(length, offset)
    assert read(node, len(data), 77) == data


def test_extents_of_any_range(disk: Subject) -> None:
    """Asked about any part, the answer begins there, ends in it, and says the same of each byte."""
    node = disk.node
    for page in (0, 2, 4):
        write(node, pattern(1000, page), page * PAGE + 100)
    node.flush()
    whole = kinds(node, 5 * PAGE, 0)
    for offset in (0, 1, 100, PAGE - 1, PAGE, 2 * PAGE + 50):
        for length in (1, 2, 511, 4096, PAGE + 1, 2 * PAGE):
            assert kinds(node, length, offset) == whole[offset : offset + length]


def kinds(node: Node[Any], count: int, offset: int) -> bytes:
    """What is told about each byte."""
    found = all_extents(node, count, offset)
    return b"".join(bytes([kind]) * length for _, length, kind in found)
