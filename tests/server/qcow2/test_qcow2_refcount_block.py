"""Refcount blocks of every width against a list of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.server.qcow2.refcount_block import MAX_ORDER, RefcountBlock, blank, decode

ORDERS = range(MAX_ORDER + 1)
CLUSTER = 512


@st.composite
def blocks(draw: st.DrawFn) -> tuple[int, list[int]]:
    """A width, and the refcounts of a whole block: mostly used, with gaps."""
    order = draw(st.sampled_from(ORDERS))
    maximum = (1 << (1 << order)) - 1
    entries = CLUSTER * 8 >> order
    counts = [draw(st.integers(1, maximum))] * entries
    for at, length, value in draw(
        st.lists(
            st.tuples(
                st.integers(0, entries - 1),
                st.integers(1, 40),
                st.sampled_from([0, 0, 0, 1, maximum, maximum // 2 + 1]),
            ),
            max_size=8,
        )
    ):
        counts[at : at + length] = [value] * len(counts[at : at + length])
    return order, counts


def encoded(counts: list[int], order: int) -> bytes:
    """The specification, word for word: one big number of little-endian entries in each byte."""
    bits = 1 << order
    if bits >= 8:
        return b"".join(count.to_bytes(bits // 8, "big") for count in counts)
    per_byte = 8 // bits
    return bytes(
        sum(counts[at + place] << place * bits for place in range(per_byte))
        for at in range(0, len(counts), per_byte)
    )


def loaded(order: int, counts: list[int]) -> RefcountBlock:
    """The block, from its bytes."""
    return decode(encoded(counts, order), order)


@given(blocks())
def test_block_is_what_its_bytes_say(case: tuple[int, list[int]]) -> None:
    """Entries are where the specification has them, and go back to the same bytes."""
    order, counts = case
    block = loaded(order, counts)
    assert block.entries == len(counts)
    assert [block.get(index) for index in range(block.entries)] == counts
    assert block.to_bytes() == encoded(counts, order)


@given(blocks(), st.data())
def test_changes_change_what_they_name(case: tuple[int, list[int]], data: st.DataObject) -> None:
    """One entry or a run is changed; its neighbours, in the same byte too, stay."""
    order, counts = case
    block = loaded(order, counts)
    value = data.draw(st.sampled_from([0, 1, block.maximum]))
    first = data.draw(st.integers(0, block.entries - 1))
    past = data.draw(st.integers(first, min(first + 70, block.entries)))
    block.fill(first, past, value)
    counts[first:past] = [value] * (past - first)
    index = data.draw(st.integers(0, block.entries - 1))
    block.set(index, block.maximum)
    counts[index] = block.maximum
    assert block.to_bytes() == encoded(counts, order)


@given(blocks(), st.data())
def test_free_entries_are_found(case: tuple[int, list[int]], data: st.DataObject) -> None:
    """The first 0 from any place on, and how many of them there are in a row."""
    order, counts = case
    block = loaded(order, counts)
    start = data.draw(st.integers(0, block.entries - 1))
    most = data.draw(st.integers(1, 100))
    found = block.find_free(start)
    assert found == next((at for at in range(start, len(counts)) if not counts[at]), len(counts))
    run = block.free_run(start, most)
    zeroes = next((at for at in range(start, len(counts)) if counts[at]), len(counts)) - start
    assert run == min(most, zeroes)


@given(blocks(), st.data())
def test_a_part_is_the_bytes_around_a_run(case: tuple[int, list[int]], data: st.DataObject) -> None:
    """Writing the part of a run into the old block's bytes gives the new block's."""
    order, counts = case
    before = bytearray(encoded(counts, order))
    block = loaded(order, counts)
    first = data.draw(st.integers(0, block.entries - 1))
    past = data.draw(st.integers(first + 1, min(first + 70, block.entries)))
    block.fill(first, past, 1)
    offset, part = block.part(first, past)
    before[offset : offset + len(part)] = part
    assert bytes(before) == block.to_bytes()
    assert len(part) <= (past - first) * (1 << order) // 8 + 2


@pytest.mark.parametrize("order", ORDERS)
def test_a_width_holds_so_much(order: int) -> None:
    """What is too large for the width is refused, and nothing is changed."""
    block = blank(CLUSTER, order)
    for refused in (block.maximum + 1, -1):
        with pytest.raises(OverflowError):
            block.set(3, refused)
        with pytest.raises(OverflowError):
            block.fill(0, 9, refused)
    assert block.to_bytes() == bytes(CLUSTER)
