"""Every driver: what is written is read, wherever it is, and nothing else changes."""

from pathlib import Path

import pytest

from blkrun.options import DRIVERS as OPTIONS
from blkrun.server.drivers import DRIVERS
from blkrun.server.way import EXTENT_HOLE, EXTENT_ZERO, FLAG_FUA, FLAG_MAY_TRIM, FLAG_REQ_ONE

from .subjects import ROWS, SIZE, WINDOW_OFFSET, Subject, subject_of
from .tools import all_extents, errno_of, pattern, read, write

PAGE = 2**16
END = -1
"""An offset that stands for "the range ends with the disk"."""


def test_every_driver_has_a_row() -> None:
    """A driver without a row here is a driver that nothing holds to the rules.

    One that cannot be written is no disk: ``tests/server/test_point_in_time.py`` has the only one.
    """
    cannot_be_written = {name for name, options in OPTIONS.items() if options.only_reads}
    assert set(DRIVERS) == set(OPTIONS)
    assert set(ROWS) == set(DRIVERS) - cannot_be_written
    assert cannot_be_written == {"snapshot-access"}


def test_size(subject: Subject) -> None:
    """The size is the one the options or the server give."""
    assert subject.size == subject.row.size


@pytest.mark.parametrize("flags", [0, FLAG_FUA], ids=["plain", "fua"])
@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (0, 1),
        (1, 1),
        (511, 2),
        (0, 512),
        (1, 4095),
        (4097, 12345),
        (PAGE - 1, 2),
        (PAGE, PAGE),
        (PAGE - 1, PAGE + 2),
        (123, 3 * PAGE + 456),
        (END, 1),
        (END, 777),
        (END, 778),
        (END, PAGE),
        (END, SIZE),
    ],
)
def test_round_trip(disk: Subject, offset: int, length: int, flags: int) -> None:
    """A range of any alignment comes back as it was written, and its neighbours stay zero."""
    node = disk.node
    offset = disk.size - length if offset == END else offset
    data = pattern(length, 1)
    write(node, data, offset, flags)
    before = min(offset, 600)
    after = min(disk.size - offset - length, 600)
    around = read(node, before + length + after, offset - before)
    assert around == bytes(before) + data + bytes(after)


def test_zero_length(disk: Subject) -> None:
    """Nothing is a range too, anywhere up to the end, and changes nothing."""
    node = disk.node
    write(node, pattern(4096, 1), 0)
    for offset in (0, 1, 4096, disk.size):
        assert read(node, 0, offset) == b""
        write(node, b"", offset)
        assert errno_of(node.zero, 0, offset, FLAG_MAY_TRIM) is None
        assert errno_of(node.trim, 0, offset, 0) is None
    assert read(node, 4096, 0) == pattern(4096, 1)


def test_overwrite(disk: Subject) -> None:
    """The last of several writes that overlap is what is read."""
    node = disk.node
    write(node, pattern(3000, 1), PAGE - 1000)
    write(node, pattern(1000, 2), PAGE - 500)
    expected = pattern(3000, 1)[:500] + pattern(1000, 2) + pattern(3000, 1)[1500:]
    assert read(node, 3000, PAGE - 1000) == expected


@pytest.mark.parametrize("request_kind", ["zero", "trim"])
@pytest.mark.parametrize("length", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE - 1])
def test_zero_ends_where_it_should(disk: Subject, length: int, request_kind: str) -> None:
    """A byte less or more than a page, aligned or not: the bytes before and after stay."""
    node, data = disk.node, pattern(4 * PAGE, 1)
    for offset in (0, 1, PAGE - 1, PAGE, PAGE + 1):
        write(node, data, 0)
        getattr(node, request_kind)(length, offset, FLAG_MAY_TRIM if request_kind == "zero" else 0)
        end = offset + length
        now = read(node, len(data), 0)
        assert now[:offset] + now[end:] == data[:offset] + data[end:]
        if request_kind == "zero" or disk.row.trim_zeroes:
            assert not any(now[offset:end])
        else:  # whole blocks are, the bytes around them stay
            assert all(new in (0, old) for new, old in zip(now, data, strict=True))
            part = disk.row.trim_block - 1
            assert not any(now[offset + part : max(end - part, offset + part)])


def test_who_asks_for_one_extent_gets_one(disk: Subject) -> None:
    """The first of what is told to others, or its beginning; asking on, all of the range."""
    node = disk.node
    for page in range(0, 5, 2):
        write(node, pattern(1000, page), page * PAGE)
    node.flush()
    at = 0
    while at < 5 * PAGE:
        (one,) = node.extents(5 * PAGE - at, at, FLAG_REQ_ONE)
        first = node.extents(5 * PAGE - at, at)[0]
        assert one[::2] == first[::2]
        assert 0 < one[1] <= first[1]
        at += one[1]


def test_fresh_disk_is_zero(subject: Subject) -> None:
    """Whatever the buffer held before, the first and the last bytes read as zeroes."""
    for offset in (0, subject.size - SIZE):
        assert read(subject.node, SIZE, offset) == bytes(SIZE)
        kinds = {kind for _, _, kind in all_extents(subject.node, SIZE, offset)}
        assert kinds <= {EXTENT_HOLE | EXTENT_ZERO, 0}


def test_nothing_is_left_of_a_trimmed_memory_disk(tmp_path: Path) -> None:
    """Also not of its last page, which is no whole one."""
    with subject_of("memory", tmp_path) as memory:
        node, hole = memory.node, EXTENT_HOLE | EXTENT_ZERO
        write(node, pattern(SIZE, 1), 0)
        assert node.extents(SIZE, 0) == [(0, SIZE, 0)]
        node.trim(SIZE - 1, 0, 0)
        assert node.extents(SIZE, 0)[-1][2] == 0
        node.trim(SIZE, 0, 0)
        assert node.extents(SIZE, 0) == [(0, SIZE, hole)]


def test_window_leaves_the_rest_alone(tmp_path: Path) -> None:
    """Requests on a raw node end where its window ends, also when they fill it."""
    with subject_of("raw", tmp_path) as raw:
        below, size = raw.bottom, raw.bottom.size_bytes
        write(below, pattern(size, 1), 0)
        raw.node.zero(SIZE, 0, 0)
        raw.node.trim(SIZE, 0, 0)
        write(raw.node, pattern(SIZE, 2), 0)
        tail = WINDOW_OFFSET + SIZE
        expected = pattern(size, 1)[:WINDOW_OFFSET] + pattern(SIZE, 2) + pattern(size, 1)[tail:]
        assert read(below, size, 0) == expected


def test_null_forgets(tmp_path: Path) -> None:
    """Null takes every request, reads zeroes and is one hole."""
    with subject_of("null", tmp_path) as null:
        node = null.node
        for offset, length in ((0, SIZE), (1, 1), (SIZE - 1, 1), (77, 3 * PAGE)):
            write(node, pattern(length, 1), offset, FLAG_FUA)
            assert read(node, length, offset) == bytes(length)
            assert node.extents(length, offset) == [(offset, length, EXTENT_HOLE | EXTENT_ZERO)]
            node.zero(length, offset, 0)
            node.trim(length, offset, FLAG_FUA)
            node.cache(length, offset)
        node.flush()
