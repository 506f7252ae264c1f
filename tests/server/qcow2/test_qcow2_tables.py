"""L2 tables in memory: as many as a bound allows, one for each place, none lost that is held."""

import threading
from array import array

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.options import Qcow2Options
from blkrun.server.qcow2.cache_sizes import cache_sizes
from blkrun.server.qcow2.geometry import Geometry
from blkrun.server.qcow2.reuse import Reuse
from blkrun.server.qcow2.tables import Table, Tables, decode_words, encode_words
from tests.server.inprocess import Worker, workers

TABLE_BYTES = 4096


class Loading:
    """Tables for every index but those that divide by ten; what was loaded how often."""

    def __init__(self) -> None:
        self.loads: list[int] = []

    def __call__(self, index: int) -> Table | None:
        """As an image's."""
        self.loads.append(index)
        return None if not index % 10 else Table(index * TABLE_BYTES, array("Q", [index] * 4))


def make(tables: int) -> tuple[Tables, Loading]:
    """With room for so many."""
    loading = Loading()
    return Tables(TABLE_BYTES, tables * (TABLE_BYTES + 600), loading), loading


@given(
    room=st.integers(2, 6),
    steps=st.lists(st.tuples(st.sampled_from(["get", "hold", "release"]), st.integers(0, 15))),
)
def test_there_are_no_more_than_there_is_room_for(room: int, steps: list[tuple[str, int]]) -> None:
    """But for those that are held, each of which stays the same object."""
    tables, _ = make(room)
    held: dict[int, list[Table]] = {}
    for step, index in steps:
        if step == "get":
            table = tables.get(index)
            assert (table is None) == (not index % 10)
            assert table is None or table.words[0] == index
        elif step == "hold":
            table = tables.get_held(index)
            if table is not None:
                held.setdefault(index, []).append(table)
        elif held.get(index):
            tables.release(held[index].pop())
        for where, objects in held.items():
            assert all(tables.find(where) is each for each in objects)
        assert len(tables) <= max(room, sum(map(bool, held.values())) + 1)


def test_what_is_used_stays() -> None:
    """A table that is looked at between any two loads is not loaded again."""
    tables, loading = make(3)
    for index in range(1, 100):
        tables.get(7)
        tables.get(index)
    assert loading.loads.count(7) == 1


def test_the_least_is_two_tables() -> None:
    """As in QEMU, whatever was asked for."""
    assert make(0)[0].most_tables == 2


def test_a_table_is_loaded_once_for_all_that_want_it() -> None:
    """Those that come while it is loaded wait, and get the same object."""
    begun, go_on = threading.Event(), threading.Event()
    loads: list[int] = []

    def load(index: int) -> Table:
        loads.append(index)
        begun.set()
        assert go_on.wait(10)
        return Table(0, array("Q", [1]))

    tables = Tables(TABLE_BYTES, 2**20, load)
    found: list[Table | None] = []
    first = Worker(lambda: found.append(tables.get(1)))
    assert begun.wait(10)
    with workers([lambda: found.append(tables.get(1)) for _ in range(3)]):
        go_on.set()
    first.finish()
    assert loads == [1]
    assert len({id(each) for each in found}) == 1


def test_a_load_that_fails_is_done_again_by_the_next() -> None:
    """Nobody waits for ever."""
    outcomes: list[OSError | Table] = [OSError(5, "no"), Table(0, array("Q", [1]))]

    def load(index: int) -> Table:
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    tables = Tables(TABLE_BYTES, 2**20, load)
    with pytest.raises(OSError, match="no"):
        tables.get(1)
    assert tables.get(1) is not None


def test_a_new_table_is_found_at_once() -> None:
    """And is held by who made it."""
    tables, loading = make(2)
    table = Table(0, array("Q", [1]))
    tables.insert(10, table)
    for index in range(1, 9):
        tables.get(index)
    assert tables.get(10) is table
    tables.release(table)
    assert 10 not in loading.loads


@given(st.binary(max_size=64).map(lambda data: data[: len(data) // 8 * 8]))
def test_words_are_big_endian(data: bytes) -> None:
    """There and back."""
    words = decode_words(data)
    assert list(words) == [
        int.from_bytes(data[at : at + 8], "big") for at in range(0, len(data), 8)
    ]
    assert encode_words(words) == data


def test_reuse_is_noticed_or_held_off() -> None:
    """``count`` tells of each release; while somebody holds it off there is none."""
    reuse = Reuse()
    given_anew: list[int] = []
    assert reuse.release(lambda: given_anew.append(reuse.count))
    assert given_anew == [1]  # raised before
    with reuse.held_off():
        assert not reuse.release(lambda: given_anew.append(0))
    assert reuse.release(lambda: given_anew.append(reuse.count))
    assert given_anew == [1, 2]


MIB = 2**20
LARGE = Geometry(cluster_bits=16, refcount_order=4, size_bytes=2**45)
SMALL = Geometry(cluster_bits=16, refcount_order=4, size_bytes=2**30)


@pytest.mark.parametrize(
    ("geometry", "asked", "expected"),
    [
        (LARGE, {}, (32 * MIB, 2**18)),
        (SMALL, {}, (2 * 2**16, 2**18)),
        (LARGE, {"cache_size": 8 * MIB}, (8 * MIB - 2**18, 2**18)),
        (SMALL, {"cache_size": 8 * MIB}, (2 * 2**16, 8 * MIB - 2 * 2**16)),
        (LARGE, {"cache_size": 8 * MIB, "l2_cache_size": MIB}, (MIB, 7 * MIB)),
        (LARGE, {"cache_size": 8 * MIB, "refcount_cache_size": MIB}, (7 * MIB, MIB)),
        (LARGE, {"l2_cache_size": MIB, "refcount_cache_size": MIB}, (MIB, MIB)),
    ],
)
def test_memory_is_shared_out_as_in_qemu(
    geometry: Geometry, asked: dict[str, int], expected: tuple[int, int]
) -> None:
    """L2 tables and refcount blocks, whichever of the sizes are given (docs/qcow2-cache.txt)."""
    plain = Qcow2Options(node_name="top", file="file")
    options = msgspec.structs.replace(plain, **asked)
    assert cache_sizes(options, geometry) == expected


@pytest.mark.parametrize("tables", [1, 8, 512])
def test_a_cache_that_covers_the_disk_has_all_its_tables(tables: int) -> None:
    """Set in QEMU's way: as many bytes as the tables have."""
    assert Tables(65536, tables * 65536, lambda _: None).most_tables == max(tables, 2)
