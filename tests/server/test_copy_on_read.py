"""copy-on-read (qemu-semantics §7): what is read is copied up, and nothing newer is copied over."""

import errno
import operator
import threading
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from blkrun.server.chain import without
from blkrun.server.drivers.copy_on_read import CopyOnRead
from blkrun.server.way import FLAG_WRITE_UNCHANGED
from tests.server import overlay
from tests.server.inprocess import (
    InProcess,
    Worker,
    eventually,
    ignore,
    leave_thread_states_alone,
    workers,
)

MIB = 2**20
SIZE = 5 * MIB
CLUSTER = overlay.CLUSTER_BYTES


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """A chain: top over mid over base, all of them overlays of 5 MiB."""
    overlay.register(monkeypatch)
    leave_thread_states_alone(monkeypatch)
    server = InProcess()
    server.add("overlay", "base", size=SIZE)
    server.add("overlay", "mid", size=SIZE, backing="base")
    server.add("overlay", "top", size=SIZE, backing="mid")
    yield server
    server.graph.close()


def fill(server: InProcess, node: str, value: int, start_mib: int, end_mib: int) -> None:
    """``write -P value``, as qemu-io does it."""
    data = bytes([value]) * MIB
    for at in range(start_mib, end_mib):
        server.graph.nodes[node].pwrite(memoryview(data), at * MIB, 0)


def read(server: InProcess, node: str, length: int, offset: int) -> bytes:
    """At a node."""
    data = bytearray(length)
    server.graph.nodes[node].pread(memoryview(data), offset)
    return bytes(data)


def held(server: InProcess, node: str) -> set[int]:
    """The clusters that an overlay has."""
    found = server.graph.nodes[node]
    assert isinstance(found, overlay.Overlay)
    return set(found.clusters)


def detached(server: InProcess, node: str) -> dict[str, object]:
    """Reopen without a backing."""
    return {"options": [{"driver": "overlay", "node-name": node, "size": SIZE, "backing": None}]}


def test_iotest_310(server: InProcess) -> None:
    """With a bottom, what is below it is read and not copied; its numbers are QEMU's."""
    fill(server, "base", 1, 0, 1)
    fill(server, "base", 1, 3, 4)
    fill(server, "mid", 3, 2, 3)
    fill(server, "mid", 3, 4, 5)
    fill(server, "top", 2, 1, 2)
    server.add("copy-on-read", "cor", file="top", bottom="mid")
    assert [read(server, "cor", MIB, at * MIB)[0] for at in range(5)] == [1, 2, 3, 1, 3]
    server.execute("blockdev-del", {"node-name": "cor"})
    server.execute("blockdev-reopen", detached(server, "top"))
    for at, value in enumerate([0, 2, 3, 0, 3]):
        assert read(server, "top", MIB, at * MIB) == bytes([value]) * MIB


def test_without_a_bottom_the_whole_chain_is_copied(server: InProcess) -> None:
    """And what nobody has is not: it reads as zeroes without."""
    fill(server, "base", 1, 0, 1)
    fill(server, "mid", 3, 2, 3)
    server.add("copy-on-read", "cor", file="top")
    read(server, "cor", SIZE, 0)
    per_mib = MIB // CLUSTER
    assert held(server, "top") == {*range(per_mib), *range(2 * per_mib, 3 * per_mib)}
    assert server.node("cor")["driver-specific"] == {"copied": 2 * MIB}


def test_the_overlay_itself_may_be_the_bottom(server: InProcess) -> None:
    """Then there is nothing to copy."""
    fill(server, "base", 1, 0, 1)
    server.add("copy-on-read", "cor", file="top", bottom="top")
    assert read(server, "cor", 4, 0) == b"\1\1\1\1"
    assert held(server, "top") == set()


def test_a_few_bytes_populate_their_cluster(server: InProcess) -> None:
    """§7: a 10-byte read populates 64 KiB; one over an edge, two; and then nothing is below."""
    fill(server, "base", 1, 0, 1)
    server.add("copy-on-read", "cor", file="top")
    read(server, "cor", 10, 3 * CLUSTER + 100)
    read(server, "cor", 10, 6 * CLUSTER - 5)
    assert held(server, "top") == {3, 5, 6}
    before = server.node("base")["stats"]["rd_bytes"]
    assert read(server, "cor", CLUSTER, 3 * CLUSTER) == bytes([1]) * CLUSTER
    assert server.node("base")["stats"]["rd_bytes"] == before


def test_what_is_copied_is_marked_as_nothing_new(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A format may order it as old data; zeroes are written as zeroes."""
    seen: list[tuple[str, int, int]] = []
    top = server.graph.nodes["top"]
    do_pwrite = top.do_pwrite

    def pwrite(buf: memoryview, offset: int, flags: int) -> None:
        seen.append(("write", offset, flags))
        do_pwrite(buf, offset, flags)

    def zero(count: int, offset: int, flags: int) -> None:
        seen.append(("zero", offset, flags))
        do_pwrite(memoryview(bytes(count)), offset, flags)

    monkeypatch.setattr(top, "do_pwrite", pwrite)
    monkeypatch.setattr(top, "do_zero", zero)
    monkeypatch.setattr(top, "form", lambda: ("seen",))
    fill(server, "base", 1, 0, 1)
    fill(server, "base", 0, 1, 2)
    server.add("copy-on-read", "cor", file="top")
    read(server, "cor", 1, 0)
    read(server, "cor", 1, MIB)
    assert seen == [("write", 0, FLAG_WRITE_UNCHANGED), ("zero", MIB, FLAG_WRITE_UNCHANGED)]


def test_a_point_in_time_below_has_nothing_to_keep(server: InProcess) -> None:
    """§6.1: what is read is the same before and after; a write of something else is kept from."""
    fill(server, "base", 1, 0, 1)
    server.add("memory", "scratch", size=SIZE)
    server.add("copy-before-write", "cbw", file="top", target="scratch")
    server.add("copy-on-read", "cor", file="cbw")
    read(server, "cor", MIB, 0)
    assert held(server, "top") == set(range(MIB // CLUSTER))
    assert server.node("cbw")["driver-specific"]["to-copy"] == SIZE
    server.graph.nodes["cor"].pwrite(memoryview(b"new"), 0, 0)
    assert server.node("cbw")["driver-specific"]["to-copy"] == SIZE - CLUSTER


def test_iotest_216(server: InProcess) -> None:
    """Across nodes: below a filter that reads are throttled by, and below raw, each copies."""
    fill(server, "base", 1, 0, 1)
    server.execute("object-add", {"qom-type": "throttle-group", "id": "g"})
    server.add("throttle", "limit", file="top", throttle_group="g")
    server.add("copy-on-read", "inner", file="limit")
    server.add("raw", "raw", file="inner")
    server.add("copy-on-read", "outer", file="raw")
    assert read(server, "outer", MIB, 0) == bytes([1]) * MIB
    assert held(server, "top") == set(range(MIB // CLUSTER))
    fill(server, "base", 2, 0, 1)
    assert read(server, "outer", MIB, 0) == bytes([1]) * MIB


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bottom": "zz"}, "Bottom node 'zz' not found"),
        ({"bottom": "limit"}, "Bottom node 'limit' is a filter"),
        (
            {"bottom": "aside"},
            "Node 'cor': its bottom 'aside' is not in the backing chain of 'top'",
        ),
        ({"file": "frozen"}, "Block node is read-only: 'cor' would copy into 'frozen'"),
    ],
)
def test_refused(server: InProcess, options: dict[str, str], message: str) -> None:
    """In QEMU's words; where the bottom is in no chain, QEMU 7.2 hangs."""
    server.execute("object-add", {"qom-type": "throttle-group", "id": "g"})
    server.add("throttle", "limit", file="mid", throttle_group="g")
    server.add("overlay", "aside", size=SIZE)
    server.add("overlay", "frozen", size=SIZE, read_only=True)
    before = server.picture()
    wire = {"driver": "copy-on-read", "node-name": "cor", "file": "top", **options}
    assert server.refused("blockdev-add", wire) == ("GenericError", message)
    assert server.picture() == before


def test_the_bottom_stays_in_the_chain(server: InProcess) -> None:
    """An edit that takes it out of it is refused as long as the filter is there."""
    server.add("copy-on-read", "cor", file="top", bottom="base")
    refused = server.refused("blockdev-reopen", detached(server, "mid"))
    assert refused[1] == "Node 'cor': its bottom 'base' is not in the backing chain of 'top'"


def test_nobody_writes_past_it(server: InProcess) -> None:
    """Who did could be copied over; a reader may."""
    server.add("copy-on-read", "cor", file="top")
    add = {"type": "nbd", "writable": True}
    server.execute("block-export-add", {**add, "id": "vda", "node-name": "cor"})
    refused = server.refused("block-export-add", {**add, "id": "vdb", "node-name": "top"})
    assert refused[1] == (
        "Export 'vdb' writes to 'top' past node 'cor', which copies into it what is read; "
        "export it read-only, or lead it through 'cor'"
    )
    reads = {"type": "nbd", "id": "vdb", "node-name": "top"}
    server.execute("block-export-add", reads)


def test_a_copy_that_fails_fails_the_read(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in QEMU, with its errno."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    fill(server, "base", 1, 0, 1)
    server.add("copy-on-read", "cor", file="top")
    top = server.graph.nodes["top"]
    monkeypatch.setattr(top, "do_pwrite", fail)
    monkeypatch.setattr(top, "form", lambda: ("full",))
    server.graph.transaction([])
    with pytest.raises(OSError, match="No space") as raised:
        read(server, "cor", 10, 0)
    assert raised.value.errno == errno.ENOSPC


@pytest.mark.parametrize("first", ["copy", "write"])
def test_a_write_is_never_copied_over(
    server: InProcess, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """While a cluster is copied a write to it waits; while one is written, the copy does."""
    fill(server, "base", 1, 0, 1)
    server.add("copy-on-read", "cor", file="top")
    cor, top = server.graph.nodes["cor"], server.graph.nodes["top"]
    assert isinstance(cor, CopyOnRead)
    held_up, go = threading.Event(), threading.Event()
    do_pwrite = top.do_pwrite

    def slow(buf: memoryview, offset: int, flags: int) -> None:
        if bool(flags & FLAG_WRITE_UNCHANGED) == (first == "copy"):
            held_up.set()
            assert go.wait(10)
        do_pwrite(buf, offset, flags)

    monkeypatch.setattr(top, "do_pwrite", slow)
    monkeypatch.setattr(top, "form", lambda: ("slow",))
    server.graph.transaction([])
    works: dict[str, Callable[[], object]] = {
        "copy": lambda: read(server, "cor", 10, 0),
        "write": lambda: cor.pwrite(memoryview(b"new" * 4), 0, 0),
    }
    leader = Worker(works.pop(first))
    assert held_up.wait(10)
    follower = Worker(*works.values())
    eventually(lambda: len(cor._overlaps._claims) == 2)
    go.set()
    leader.finish()
    follower.finish()
    assert read(server, "cor", 14, 0) == b"new" * 4 + b"\1\1"


def test_it_comes_only_when_no_write_is_under_way(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is half past it would be copied over."""
    server.add("copy-on-read", "cor", file="top")
    export = {"type": "nbd", "id": "vda", "node-name": "top", "writable": True}
    server.execute("block-export-add", export)
    top, held_up, go = server.graph.nodes["top"], threading.Event(), threading.Event()
    do_pwrite = top.do_pwrite

    def slow(buf: memoryview, offset: int, flags: int) -> None:
        held_up.set()
        assert go.wait(10)
        do_pwrite(buf, offset, flags)

    monkeypatch.setattr(top, "do_pwrite", slow)
    monkeypatch.setattr(top, "form", lambda: ("slow",))
    server.graph.transaction([])
    client = server.graph.connect("vda", ignore)
    writer = Worker(lambda: client.pwrite(memoryview(b"new"), 0, 0))
    assert held_up.wait(10)
    edge = {"parent": "vda", "child": "top", "node": "cor"}
    editor = Worker(lambda: server.execute("block-insert-node", edge))
    eventually(lambda: server.graph.exports["vda"].gate is not None)
    go.set()
    for worker in (writer, editor):
        worker.finish()
    assert server.graph.exports["vda"].root.name == "cor"


def test_it_leaves_only_when_nothing_is_being_copied(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken out in the middle of a copy, it would copy over what is written past it then."""
    fill(server, "base", 1, 0, 1)
    server.add("copy-on-read", "cor", file="top")
    export = {"type": "nbd", "id": "vda", "node-name": "cor", "writable": True}
    server.execute("block-export-add", export)
    top, held_up, go = server.graph.nodes["top"], threading.Event(), threading.Event()
    do_pwrite = top.do_pwrite

    def slow(buf: memoryview, offset: int, flags: int) -> None:
        if flags & FLAG_WRITE_UNCHANGED:
            held_up.set()
            assert go.wait(10)
        do_pwrite(buf, offset, flags)

    monkeypatch.setattr(top, "do_pwrite", slow)
    monkeypatch.setattr(top, "form", lambda: ("slow",))
    server.graph.transaction([])
    client = server.graph.connect("vda", ignore)
    reader = Worker(lambda: client.pread(memoryview(bytearray(10)), 0, 0))
    assert held_up.wait(10)
    edge = {"parent": "vda", "child": "top", "node": "cor"}
    editor = Worker(lambda: server.execute("block-remove-node", edge))
    eventually(lambda: server.graph.exports["vda"].gate is not None)
    writer = Worker(lambda: client.pwrite(memoryview(b"new"), 0, 0))
    go.set()
    for worker in (reader, editor, writer):
        worker.finish()
    assert read(server, "top", 4, 0) == b"new\1"


def test_writers_and_readers_under_edits(server: InProcess) -> None:
    """Each reads what it wrote, or the base, while the filter and others come and go."""
    fill(server, "base", 1, 0, 5)
    export = {"type": "nbd", "id": "vda", "node-name": "top", "writable": True}
    server.execute("block-export-add", export)
    server.execute("object-add", {"qom-type": "throttle-group", "id": "g"})
    server.add("copy-on-read", "cor", file="top")
    server.add("throttle", "limit", file="top", throttle_group="g")
    stop, writers, block = threading.Event(), 4, 512
    done = [0] * writers

    def work(number: int) -> None:
        client, mine, chance = server.graph.connect("vda", ignore), {}, Random(number)
        data = bytearray(block)
        while not stop.is_set():
            at = (chance.randrange(SIZE // block // writers) * writers + number) * block
            if at < SIZE - CLUSTER and chance.random() < 0.3:  # the last one is there to be copied
                mine[at] = chance.randrange(256)
                client.pwrite(memoryview(bytes([mine[at]]) * block), at, 0)
            client.pread(memoryview(data), at, 0)
            assert data == bytes([mine.get(at, 1)]) * block
            done[number] += 1
        for at, value in mine.items():
            client.pread(memoryview(data), at, 0)
            assert data == bytes([value]) * block

    works: list[Callable[[], object]] = [partial(work, number) for number in range(writers)]
    edge = {"parent": "vda", "child": "top"}
    server.execute("block-insert-node", {**edge, "node": "cor"})  # before writes take all clusters
    with workers(works):
        try:
            for turn in range(15):
                if turn:
                    server.execute("block-insert-node", {**edge, "node": "cor"})
                until = [count + 3 for count in done]
                eventually(lambda: all(map(operator.ge, done, until)))  # noqa: B023 - at once
                lower = {"parent": "cor", "child": "top", "node": "limit"}
                server.execute("block-insert-node", lower)
                server.execute("block-remove-node", lower)
                server.execute("block-remove-node", {**edge, "node": "cor"})
        finally:
            stop.set()
    assert server.node("cor")["driver-specific"]["copied"] > 0


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.booleans(), max_size=40), st.lists(st.booleans(), max_size=40))
def test_ranges_without_others(ones: list[bool], others: list[bool]) -> None:
    """Arithmetic: against sets."""

    def ranges(bits: list[bool]) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for at, bit in enumerate(bits):
            if bit and found and found[-1][1] == at and at % 7:
                found[-1] = (found[-1][0], at + 1)
            elif bit:
                found.append((at, at + 1))
        return found

    left = {at for start, end in without(ranges(ones), ranges(others)) for at in range(start, end)}
    mine = {at for at, bit in enumerate(ones) if bit}
    assert left == mine - {at for at, bit in enumerate(others) if bit}
