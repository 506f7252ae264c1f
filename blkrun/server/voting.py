"""Voting among copies: which answer most children give, and where two answers differ.  Pure.

QEMU's rules (block/quorum.c).  Answers that are equal are a version; the one with the most votes
wins, and of several with as many the one that came up last.
"""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from blkrun.server.way import EXTENT_DATA, Extent

A = TypeVar("A")


class Verdict(NamedTuple, Generic[A]):
    """The answer that wins, how many gave it, and the places of those who gave another."""

    winner: A
    votes: int
    losers: list[int]


def elect(answers: Sequence[A | None]) -> Verdict[A] | None:
    """Over the answers that there are: None is somebody who gave none, and loses nothing by it.

    None if nobody gave one.
    """
    versions: list[tuple[A, list[int]]] = []
    for place, answer in enumerate(answers):
        if answer is None:
            continue
        for version, places in versions:
            if version == answer:
                places.append(place)
                break
        else:
            versions.append((answer, [place]))
    if not versions:
        return None
    # max() gives the first of equals, and the last version is to win
    winner, voters = max(reversed(versions), key=lambda version: len(version[1]))
    losers = [place for _, places in versions if places is not voters for place in places]
    return Verdict(winner, len(voters), sorted(losers))


def difference(one: bytes | bytearray, other: bytes | bytearray) -> tuple[int, int] | None:
    """From the first byte that differs to past the last, of two answers of one length; or None."""
    if one == other:
        return None
    first = _common(one, other, 0)
    last = len(one) - _common(one[::-1], other[::-1], 0)
    return first, last


def _common(one: bytes | bytearray, other: bytes | bytearray, start: int) -> int:
    """How many bytes are equal before the first that differs, by halving: one does differ."""
    end = len(one)
    while end - start > 1:
        middle = (start + end) // 2
        if one[start:middle] == other[start:middle]:
            start = middle
        else:
            end = middle
    return start


def agreed_extents(answers: Sequence[Sequence[Extent]], offset: int, end: int) -> list[Extent]:
    """What all children say of [``offset``, ``end``): a hole, or zeroes, only where all say so.

    As far as all have answered; each begins at ``offset`` at the latest, and has no gaps.
    """
    found: list[Extent] = []
    rest = [list(reversed(answer)) for answer in answers]
    while offset < end and all(rest):
        kind = -1
        past = end
        for stack in rest:
            start, length, own = stack[-1]
            kind &= own
            past = min(past, start + length)
        if past > offset:
            _append(found, offset, past, kind)
            offset = past
        for stack in rest:
            while stack and stack[-1][0] + stack[-1][1] <= offset:
                stack.pop()
    return found or [(offset, end - offset, EXTENT_DATA)]


def _append(found: list[Extent], start: int, end: int, kind: int) -> None:
    if found and found[-1][2] == kind:
        first, length, _ = found[-1]
        found[-1] = (first, length + end - start, kind)
    else:
        found.append((start, end - start, kind))
