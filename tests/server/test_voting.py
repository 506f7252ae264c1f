"""Voting among copies, against models that are as plain as can be."""

from collections import Counter
from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import example, given

from blkrun.server.voting import agreed_extents, difference, elect
from blkrun.server.way import EXTENT_DATA, EXTENT_HOLE, EXTENT_ZERO, Extent

ANSWERS = st.lists(st.none() | st.sampled_from("abc"), max_size=7)


@given(ANSWERS)
@example(["a", "b"])
@example(["a", "b", "b", "a"])
def test_the_winner_has_most_votes(answers: list[str | None]) -> None:
    """Of several with as many the one that came up last, as in QEMU; who is silent loses not."""
    verdict = elect(answers)
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        assert verdict is None
        return
    assert verdict is not None
    most = max(votes.values())
    best = [answer for answer in dict.fromkeys(answers) if votes[answer or "-"] == most]
    assert verdict.winner == best[-1]
    assert verdict.votes == most
    assert verdict.losers == [
        place
        for place, answer in enumerate(answers)
        if answer is not None and answer != verdict.winner
    ]


@given(st.binary(max_size=50), st.dictionaries(st.integers(0, 49), st.integers(1, 255)))
def test_difference(data: bytes, changes: dict[int, int]) -> None:
    """From the first byte that differs to past the last."""
    other = bytearray(data)
    for place, change in changes.items():
        if place < len(other):
            other[place] ^= change
    places = [place for place, byte in enumerate(data) if byte != other[place]]
    expected = (places[0], places[-1] + 1) if places else None
    assert difference(data, other) == expected
    assert difference(bytearray(other), data) == expected


KINDS = (EXTENT_DATA, EXTENT_HOLE, EXTENT_ZERO, EXTENT_HOLE | EXTENT_ZERO)


@st.composite
def answers_of(draw: st.DrawFn, offset: int) -> list[Extent]:
    """From ``offset`` on, or before, without gaps."""
    at = offset - draw(st.integers(0, 3))
    found: list[Extent] = []
    for drawn in draw(st.lists(st.integers(1, 6), min_size=1, max_size=6)):
        length = drawn if found else max(drawn, offset + 1 - at)
        found.append((at, length, draw(st.sampled_from(KINDS))))
        at += length
    return found


def told(answer: list[Extent], at: int) -> int | None:
    """The bits of one byte; None: nothing was said of it."""
    return next((kind for start, size, kind in answer if start <= at < start + size), None)


@given(st.lists(answers_of(10), min_size=1, max_size=4), st.integers(1, 30))
def test_extents_are_what_all_say(answers: list[list[Extent]], count: int) -> None:
    """Byte by byte, as far as all have answered; in order, without gaps, neighbours joined."""
    found = agreed_extents(answers, 10, 10 + count)
    at = 10
    for start, length, kind in found:
        assert start == at
        assert length > 0
        for byte in range(start, start + length):
            said = [told(answer, byte) for answer in answers]
            expected = -1
            for bits in said:
                assert bits is not None
                expected &= bits
            assert kind == expected
        at += length
    assert at <= 10 + count
    assert at == 10 + count or any(told(answer, at) is None for answer in answers)
    assert all(one[2] != other[2] for one, other in pairwise(found))
