"""blkverify: two disks that have to agree.  References are to qemu-semantics §7, §10.5."""

import errno
import os
import random
import threading
from functools import partial
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from blkrun.server.way import FLAG_FUA
from tests.server.copies import ERRORS, SIZE, Copies, fails, slowly
from tests.server.inprocess import workers

pytestmark = pytest.mark.usefixtures("plain_threads")

MISMATCH = "X_BLKRUN_BLKVERIFY_MISMATCH"
ON_MISMATCH = st.sampled_from(["error", "report"])


def held(on_mismatch: str = "error") -> Copies:
    """Test a against raw b."""
    server = Copies("ab")
    server.over("blkverify", test="a", raw="b", on_mismatch=on_mismatch)
    return server


@settings(deadline=None)
@given(st.sampled_from(["pread", "pwrite", "zero", "trim", "flush"]), ERRORS, ERRORS, ON_MISMATCH)
def test_errors_against_a_model(
    kind: str, test: int | None, raw: int | None, on_mismatch: str
) -> None:
    """Alike at both they are the client's; else they are told of, and test's is the client's."""
    server = held(on_mismatch)
    for name, number in (("a", test), ("b", raw)):
        disk = server.disks[name]
        disk.before_read = disk.before_write = partial(fails, number)
        disk.before_flush = partial(fails, number)
    request: dict[str, Any] = {
        "pread": lambda: server.read(512, 1000),
        "pwrite": lambda: server.write(bytes(512), 1000, FLAG_FUA),
        "zero": lambda: server.client.zero(512, 1000, 0),
        "trim": lambda: server.client.trim(512, 1000, 0),
        "flush": lambda: server.client.flush(0),
    }
    expected = test
    if test is None and raw is not None and on_mismatch == "error":
        expected = errno.EIO
    if expected is None:
        request[kind]()
    else:
        with pytest.raises(OSError, match=r".") as raised:
            request[kind]()
        assert raised.value.errno == expected
    words = {"pread": "read", "pwrite": "write", "zero": "write-zeroes", "trim": "discard"}
    place = {"offset": 0, "length": 0} if kind == "flush" else {"offset": 1000, "length": 512}
    errors = {"test": test, "raw": raw}
    said = {who: os.strerror(number) for who, number in errors.items() if number is not None}
    event = {"node-name": "top", "operation": words.get(kind, kind), **place, "errors": said}
    assert server.told(MISMATCH) == ([] if test == raw else [event])
    assert server.specific() == {"mismatches": int(test != raw)}


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(0, 299), st.integers(1, 255), max_size=4),
    st.integers(0, 200),
    st.integers(1, 100),
    ON_MISMATCH,
)
def test_reads_against_a_model(
    changes: dict[int, int], offset: int, count: int, on_mismatch: str
) -> None:
    """From the first byte that differs to past the last, of those that were read."""
    server = held(on_mismatch)
    data = bytes(range(1, 151)) * 2
    server.write(data)
    spoilt = bytearray(data)
    for place, change in changes.items():
        spoilt[place] ^= change
    server.disks["a"].poke(bytes(spoilt), 0)
    places = [place for place in sorted(changes) if offset <= place < offset + count]
    if places and on_mismatch == "error":
        with pytest.raises(OSError, match="differ") as raised:
            server.read(count, offset)
        assert raised.value.errno == errno.EIO
    else:
        assert server.read(count, offset) == spoilt[offset : offset + count]
    expected = {"node-name": "top", "operation": "read"}
    found = server.told(MISMATCH)
    if places:
        first, past = places[0], places[-1] + 1
        assert found == [{**expected, "offset": first, "length": past - first}]
    else:
        assert found == []


def test_both_have_what_is_written() -> None:
    """Writes, zeroes and trims, which QEMU has not; also a flush, which it does for test only."""
    server = held()
    flushed: list[str] = []
    for name, disk in server.disks.items():
        disk.before_flush = partial(flushed.append, name)
    server.write(b"x" * 3000, 1)
    server.client.zero(1000, 500, 0)
    server.client.trim(1000, 1700, 0)
    server.client.flush(0)
    expected = b"x" * 499 + bytes(1000) + b"x" * 200 + bytes(1000) + b"x" * 301
    assert [disk.content()[1:3001] for disk in server.disks.values()] == [expected] * 2
    assert server.read(3000, 1) == expected
    assert flushed == ["a", "b"]
    assert server.told(MISMATCH) == []


@pytest.mark.parametrize("slow", [False, True])
def test_no_false_alarm(*, slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads beside writes of the same bytes, and writes beside each other, always agree."""
    if slow:
        monkeypatch.setattr("blkrun.server.crew.SLOW_NS", -1)
    server = held()
    for disk in server.disks.values():
        disk.before_read = disk.before_write = slowly

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(80):
            offset, count = rng.randrange(0, 4096, 256), rng.choice([256, 512, 2048])
            if rng.random() < 0.5:
                server.read(count, offset)
            else:
                server.write(bytes([seed]) * count, offset)

    with workers([partial(work, seed) for seed in range(1, 7)]):
        pass
    assert server.disks["a"].content() == server.disks["b"].content()
    assert server.specific() == {"mismatches": 0}


def test_raw_is_changed_under_load() -> None:
    """No request sees half an edit: a filter goes in over raw and out again, and all agree."""
    server = held()
    server.execute("object-add", {"qom-type": "throttle-group", "id": "g"})
    server.add("throttle", "limit", file="b", throttle_group="g")
    over = threading.Event()

    def work(seed: int) -> None:
        rng = random.Random(seed)
        while not over.is_set():
            offset = rng.randrange(SIZE - 512)
            server.write(rng.randbytes(512), offset)
            server.read(512, offset)

    with workers([partial(work, seed) for seed in range(3)]):
        try:
            edge = {"parent": "top", "child": "b", "node": "limit"}
            for _ in range(25):
                server.execute("block-insert-node", edge)
                server.execute("block-remove-node", edge)
        finally:
            over.set()
    assert server.disks["a"].content() == server.disks["b"].content()
    assert server.specific() == {"mismatches": 0}


def test_on_mismatch_is_changed_live() -> None:
    """From an error to a report, for the next request."""
    server = held()
    server.disks["b"].poke(b"x", 0)
    with pytest.raises(OSError, match="differ"):
        server.read(1)
    options = {"driver": "blkverify", "node-name": "top", "test": "a", "raw": "b"}
    server.execute("blockdev-reopen", {"options": [{**options, "on-mismatch": "report"}]})
    assert server.read(1) == b"\0"
    assert server.specific() == {"mismatches": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"raw": {"driver": "memory", "size": 512}},
            f"Node 'v': its child 'test' has {SIZE} bytes and 'raw' 512; they must be of one size",
        ),
        ({"raw": "a"}, "Node 'v' has 'a' for a child twice"),
        ({"on-mismatch": "exit"}, "Parameter 'on-mismatch' does not accept value 'exit'"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    """QEMU takes two sizes, and has the length of test."""
    server = Copies("ab")
    wanted = {"driver": "blkverify", "node-name": "v", "test": "a", "raw": "b"}
    assert server.refused("blockdev-add", wanted | options) == ("GenericError", message)
    assert [*server.graph.nodes] == ["a", "b"]
