"""quorum: votes, events, children that come and go.  References are to qemu-semantics."""

import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from blkrun.options import MemoryOptions
from blkrun.server.drivers.memory import Memory
from blkrun.server.way import FLAG_FAST_ZERO, FLAG_FUA
from tests.server.copies import BAD, ERRORS, FAILURE, SIZE, Copies, fails, with_children

pytestmark = pytest.mark.usefixtures("plain_threads")


def most(numbers: Sequence[Any]) -> tuple[Any, int]:
    """What comes up most, of several the one whose first is last; and how often."""
    votes = Counter(numbers)
    best = [each for each in dict.fromkeys(numbers) if votes[each] == max(votes.values())]
    return best[-1], votes[best[-1]]


@st.composite
def states(draw: st.DrawFn) -> tuple[list[int], list[int | None], int]:
    """Of some children: what is on each, what each fails with, and a threshold."""
    count = draw(st.integers(1, 5))
    data = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    errors = draw(st.lists(ERRORS, min_size=count, max_size=count))
    return data, errors, draw(st.integers(1, count))


# Reading


@settings(deadline=None)
@given(states(), st.booleans())
def test_reads_against_a_model(
    state: tuple[list[int], list[int | None], int],
    rewrite: bool,  # noqa: FBT001 - drawn
) -> None:
    """Any data and errors, any threshold: what the client gets, who is told of, who is repaired."""
    data, errors, threshold = state
    server = with_children(len(data), threshold, rewrite_corrupted=rewrite)
    for disk, byte, number in zip(server.disks.values(), data, errors, strict=True):
        disk.poke(bytes([byte]) * 1000, 1000)
        disk.before_read = partial(fails, number)
    failed = [number for number in errors if number is not None]
    valid = [byte for byte, number in zip(data, errors, strict=True) if number is None]
    bad = {name: number for name, number in zip(server.disks, errors, strict=True) if number}
    winner, votes = most(valid) if valid else (0, 0)
    if len(valid) < threshold or votes < threshold:
        with pytest.raises(OSError, match=r".") as raised:
            server.read(1000, 1000)
        assert raised.value.errno == (most(failed)[0] if len(valid) < threshold else errno.EIO)
        place = {"sector-num": 1, "sectors-count": 3}
        assert server.told(FAILURE) == [{"reference": "top", **place}]
    else:
        assert server.read(1000, 1000) == bytes([winner]) * 1000
        assert server.told(FAILURE) == []
        for name, byte, number in zip(server.disks, data, errors, strict=True):
            if number is None and byte != winner:
                bad[name] = 0
    assert {event["node-name"]: event.get("error") for event in server.told(BAD)} == {
        name: os.strerror(number) if number else None for name, number in bad.items()
    }
    repaired = [name for name, number in bad.items() if number == 0 and rewrite]
    for name, disk, byte in zip(server.disks, server.disks.values(), data, strict=True):
        expected = winner if name in repaired else byte
        assert disk.content()[1000:2000] == bytes([expected]) * 1000
    assert server.specific()["bad"] == len(bad)
    assert server.specific()["rewritten"] == len(repaired)


@settings(deadline=None)
@given(states())
def test_fifo_against_a_model(state: tuple[list[int], list[int | None], int]) -> None:
    """The first that can be read; whoever could not is told of; else the last one's error."""
    data, errors, threshold = state
    server = with_children(len(data), threshold, read_pattern="fifo")
    asked: list[str] = []

    def ask(name: str, number: int | None, *_: int) -> None:
        asked.append(name)
        fails(number)

    for (name, disk), byte, number in zip(server.disks.items(), data, errors, strict=True):
        disk.poke(bytes([byte]) * 1000, 0)
        disk.before_read = partial(ask, name, number)
    first = next((place for place, number in enumerate(errors) if number is None), None)
    if first is None:
        with pytest.raises(OSError, match=r".") as raised:
            server.read(1000)
        assert raised.value.errno == errors[-1]
    else:
        assert server.read(1000) == bytes([data[first]]) * 1000
    assert asked == [*server.disks][: None if first is None else first + 1]
    assert [event["node-name"] for event in server.told(BAD)] == asked[:first]
    assert server.told(FAILURE) == []


# Writing


@settings(deadline=None)
@given(states(), st.sampled_from(["pwrite", "zero", "trim"]))
def test_changes_against_a_model(state: tuple[list[int], list[int | None], int], kind: str) -> None:
    """Whoever can has it; too few are an error, the one that most have; each is told of."""
    data, errors, threshold = state
    server = with_children(len(data), threshold)
    for disk, byte, number in zip(server.disks.values(), data, errors, strict=True):
        disk.poke(bytes([byte]) * 4096, 0)
        disk.before_write = partial(fails, number)
    failed = [number for number in errors if number is not None]
    request: dict[str, Callable[[], None]] = {
        "pwrite": lambda: server.write(b"\0" * 1000, 512, FLAG_FUA),
        "zero": lambda: server.client.zero(1000, 512, FLAG_FUA),
        "trim": lambda: server.client.trim(1000, 512, 0),
    }
    if len(data) - len(failed) < threshold:
        with pytest.raises(OSError, match=r".") as raised:
            request[kind]()
        assert raised.value.errno == most(failed)[0]
        place = {"sector-num": 1, "sectors-count": 2}
        assert server.told(FAILURE) == [{"reference": "top", **place}]
    else:
        request[kind]()
        assert server.told(FAILURE) == []
    for disk, byte, number in zip(server.disks.values(), data, errors, strict=True):
        expected = 0 if number is None else byte
        assert disk.content()[512:1512] == bytes([expected]) * 1000
        assert disk.content()[:512] == bytes([byte]) * 512
    told = {event["node-name"]: event["error"] for event in server.told(BAD)}
    pairs = zip(server.disks, errors, strict=True)
    assert told == {name: os.strerror(number) for name, number in pairs if number}
    assert {event["type"] for event in server.told(BAD)} <= {"write"}


@settings(deadline=None)
@given(states())
def test_flushes_against_a_model(state: tuple[list[int], list[int | None], int]) -> None:
    """All are asked; QEMU sends no QUORUM_FAILURE for them."""
    data, errors, threshold = state
    server = with_children(len(data), threshold)
    flushed: list[str] = []

    def flush(name: str, number: int | None) -> None:
        flushed.append(name)
        fails(number)

    for (name, disk), number in zip(server.disks.items(), errors, strict=True):
        disk.before_flush = partial(flush, name, number)
    failed = [number for number in errors if number is not None]
    if len(data) - len(failed) < threshold:
        with pytest.raises(OSError, match=r".") as raised:
            server.client.flush(0)
        assert raised.value.errno == most(failed)[0]
    else:
        server.client.flush(0)
    assert flushed == [*server.disks]
    assert [
        (event["type"], event["sector-num"], event["sectors-count"]) for event in server.told(BAD)
    ] == [("flush", 0, 0)] * len(failed)
    assert server.told(FAILURE) == []


def refuse(*_: object) -> NoReturn:
    """No fast zeroes here."""
    raise OSError(errno.EOPNOTSUPP, "as told")


def test_fast_zeroes_that_the_first_child_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client hears it and no child has been changed; a trim is done without effect."""
    server = with_children(2, 2)
    server.write(b"x" * 4096)
    monkeypatch.setattr(server.disks["a"], "do_zero", refuse)
    with pytest.raises(OSError, match="as told") as raised:
        server.client.zero(4096, 0, FLAG_FAST_ZERO)
    assert raised.value.errno == errno.EOPNOTSUPP
    server.client.trim(4096, 0, FLAG_FUA)
    assert server.read(4096) == b"x" * 4096
    assert server.told(BAD, FAILURE) == []


def test_fast_zeroes_that_another_child_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given slow ones, as the first has fast ones already: all are equal."""
    server = with_children(2, 2)
    server.write(b"x" * 8192)
    monkeypatch.setattr(server.disks["b"], "do_zero", refuse)
    server.client.zero(4096, 0, FLAG_FAST_ZERO)
    server.client.trim(2048, 4096, 0)
    assert server.read(8192) == bytes(6144) + b"x" * 2048
    assert server.told(BAD, FAILURE) == []


def test_extents_are_what_all_say() -> None:
    """A hole at one child that has data at another is data; of a failure too, and it is told."""
    server = with_children(2, 1)
    server.write(b"x" * 2**16)
    server.disks["b"].poke(b"y", 2**17)
    assert server.client.extents(SIZE, 0, 0) == [
        (0, 2**16, 0),
        (2**16, 2**16, 3),
        (2**17, 2**16, 0),
        (3 * 2**16, SIZE - 3 * 2**16, 3),
    ]


class Advised(Memory):
    """Writes down what it is to prefetch; one called "a" cannot."""

    def __init__(self, name: str, asked: list[tuple[str, int, int]]) -> None:
        super().__init__(MemoryOptions(node_name=name, size=SIZE))
        self._asked = asked

    def do_cache(self, count: int, offset: int) -> None:
        """Nothing is gained."""
        self._asked.append((self.name, count, offset))
        if self.name == "a":
            refuse()


def test_advice_is_for_all() -> None:
    """A child that cannot prefetch keeps no other from it, and nobody is told."""
    server, asked = Copies(""), list[tuple[str, int, int]]()
    for name in "abc":
        server.put(Advised(name, asked))
    server.over("quorum", children=["a", "b", "c"], vote_threshold=3)
    server.client.cache(4096, 512, 0)
    assert asked == [(name, 4096, 512) for name in "abc"]
    assert server.told(BAD, FAILURE) == []


def test_children_are_in_use() -> None:
    """Iotest 139: none can be deleted while it is one, and afterwards it can."""
    server = with_children(2, 1)
    deletion = {"node-name": "b"}
    assert server.refused("blockdev-del", deletion)[1] == "Block device b is in use"
    server.execute("x-blockdev-change", {"parent": "top", "child": "children.1"})
    server.execute("blockdev-del", deletion)
    assert [*server.graph.nodes] == ["a", "top"]


# QEMU's iotest 081 (§10.5)


def test_iotest_081(tmp_path: Path) -> None:
    """Three files of 10 MiB, spoilt behind our back: found, repaired, and too many of them."""
    server = Copies("")
    size, names = 10 * 2**20, ["drive0", "drive1", "drive2"]
    paths = {name: tmp_path / name for name in names}
    for name, path in paths.items():
        server.add("file", name, path=str(path), size=size, create=True)
    server.over("quorum", children=names, vote_threshold=2)
    server.write(b"\x32" * size)
    assert [path.read_bytes() for path in paths.values()] == [b"\x32" * size] * 3
    paths["drive2"].write_bytes(b"\x42" * size)
    assert server.read(size) == b"\x32" * size
    report = {"node-name": "drive2", "sector-num": 0, "sectors-count": 20480, "type": "read"}
    assert server.told(BAD) == [report]
    assert paths["drive2"].read_bytes() == b"\x42" * size
    options = {"driver": "quorum", "node-name": "top", "children": names, "vote-threshold": 2}
    server.execute("blockdev-reopen", {"options": [{**options, "rewrite-corrupted": True}]})
    assert server.read(size) == b"\x32" * size
    assert paths["drive2"].read_bytes() == b"\x32" * size
    for name, byte in (("drive1", b"\x42"), ("drive2", b"\x43")):
        paths[name].write_bytes(byte * size)
    with pytest.raises(OSError, match="do not agree") as raised:
        server.read(size)
    assert raised.value.errno == errno.EIO
    assert server.told(FAILURE) == [{"reference": "top", "sector-num": 0, "sectors-count": 20480}]
    assert paths["drive1"].read_bytes() == b"\x42" * size
