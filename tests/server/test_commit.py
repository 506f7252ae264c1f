"""block-commit (qemu-semantics §8.5): images go down into one below them, unnoticed."""

import errno
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

import pytest

from blkrun.server.jobs.job import Job
from blkrun.server.node import Node
from blkrun.server.way import Allocated
from tests.server import overlay
from tests.server.chain_server import CLUSTER, MIB, SIZE, ChainServer, arguments
from tests.server.inprocess import eventually, ignore, leave_thread_states_alone, workers
from tests.server.job_server import ended

GENERIC = "GenericError"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChainServer]:
    """The chain, in use."""
    overlay.register(monkeypatch)
    leave_thread_states_alone(monkeypatch)
    server = ChainServer()
    yield server
    server.graph.close()


def commit(server: ChainServer, name: str = "j", **options: Any) -> Job:
    """block-commit of top, which must not be refused."""
    server.execute("block-commit", arguments(name, **options))
    return server.context.jobs.find(name)


def root(server: ChainServer) -> str:
    """The node that clients have."""
    (export,) = server.execute("query-block-exports")
    return str(export["node-name"])


# In the middle of the chain


def test_down_to_the_last(server: ChainServer) -> None:
    """What is under the top goes down; the overlay leads to the base and says so; no READY."""
    before = server.disk()
    ended(commit(server, top_node="mid"))
    assert server.told() == [
        "created",
        "running",
        "waiting",
        "pending",
        "BLOCK_JOB_COMPLETED",
        "concluded",
        "null",
    ]
    (data,) = server.data("BLOCK_JOB_COMPLETED")
    assert data == {"device": "j", "type": "commit", "len": SIZE, "offset": SIZE, "speed": 0}
    assert server.node("top")["children"] == {"backing": "base"}
    assert server.disk() == before
    assert set(server.overlay("base").clusters) == set(range(3 * MIB // CLUSTER))
    assert server.overlay("base").flushes > 0
    for name in ("mid", "low"):
        server.execute("blockdev-del", {"node-name": name})
    assert server.disk() == before


def test_one_image_into_the_next(server: ChainServer) -> None:
    """base-node and top-node say which; the base keeps what is its own."""
    before = server.disk()
    ended(commit(server, top_node="mid", base_node="low", backing_file="low.img"))
    assert server.node("top")["children"] == {"backing": "low"}
    assert server.overlay("top").header == ("low.img", "raw")
    assert set(server.overlay("low").clusters) == set(range(MIB // CLUSTER, 3 * MIB // CLUSTER))
    assert server.disk() == before


def test_the_filter_is_visible_meanwhile(server: ChainServer) -> None:
    """QEMU's commit_top, over the top; the chain below it is frozen."""
    job = commit(server, top_node="mid", speed=1, filter_node_name="filter")
    assert server.node("filter")["options"]["driver"] == "commit_top"
    assert server.node("top")["children"] == {"backing": "filter"}
    options = {"driver": "overlay", "node-name": "mid", "size": SIZE, "backing": "base"}
    refused = server.refused("blockdev-reopen", {"options": [options]})
    assert refused == (GENERIC, "Cannot change 'backing' link from 'mid' to 'low'")
    server.execute("block-job-cancel", {"device": "j"})
    ended(job)
    assert server.node("top")["children"] == {"backing": "mid"}


# The device itself


def test_the_active_layer(server: ChainServer) -> None:
    """It gets ready, goes on, and on job-complete everybody has the base."""
    before = server.disk()
    job = commit(server, base_node="base", filter_node_name="filter")
    eventually(lambda: job.is_ready)
    assert server.node("filter")["options"]["driver"] == "mirror_top"
    server.client.pwrite(memoryview(b"new" * 1000), 2 * MIB, 0)
    server.execute("job-complete", {"id": "j"})
    ended(job)
    assert server.told()[2:5] == ["ready", "BLOCK_JOB_READY", "waiting"]
    assert server.data("BLOCK_JOB_COMPLETED")[0]["type"] == "commit"
    assert root(server) == "base"
    expected = bytearray(before)
    expected[2 * MIB : 2 * MIB + 3000] = b"new" * 1000
    assert server.disk() == bytes(expected)
    for name in ("top", "mid", "low"):
        server.execute("blockdev-del", {"node-name": name})
    assert server.disk() == bytes(expected)


def test_the_active_layer_is_kept_if_cancelled(server: ChainServer) -> None:
    """As a mirror: once ready, an unforced cancel is a success without a pivot."""
    before = server.disk()
    job = commit(server)
    eventually(lambda: job.is_ready)
    server.execute("block-job-cancel", {"device": "j"})
    ended(job)
    assert "error" not in server.data("BLOCK_JOB_COMPLETED")[0]
    assert root(server) == "top"
    assert server.disk() == before


@pytest.mark.parametrize("on_error", ["ignore", "stop"])
def test_the_active_layer_asks_again_what_images_have(
    server: ChainServer, monkeypatch: pytest.MonkeyPatch, on_error: str
) -> None:
    """What could not be said at first is asked for until it is: else it were not committed."""
    low = server.overlay("low")
    told: list[int] = []
    original = low.do_allocated

    def fail_once(count: int, offset: int) -> list[Allocated]:
        if offset >= MIB and not told:
            told.append(offset)
            raise OSError(errno.EIO, "Input/output error")
        return original(count, offset)

    monkeypatch.setattr(low, "do_allocated", fail_once)
    before = server.disk()
    job = commit(server, on_error=on_error)
    if on_error == "stop":
        eventually(lambda: server.listed()["io-status"] == "failed")
        server.execute("block-job-resume", {"device": "j"})
    eventually(lambda: job.is_ready)
    server.execute("job-complete", {"id": "j"})
    ended(job)
    assert told
    assert root(server) == "base"
    assert server.disk() == before


def test_when_ready_it_pivots_by_itself_if_told(server: ChainServer) -> None:
    """Ours, as of a mirror; also while it runs."""
    job = commit(server)
    eventually(lambda: job.is_ready)
    server.execute("x-blkrun-job-change", {"id": "j", "when-ready": "pivot"})
    ended(job)
    assert root(server) == "base"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_node": "nope"}, "Cannot find device='' nor node-name='nope'"),
        ({"base_node": "top"}, "cannot commit an image into itself"),
        ({"base_node": "aside"}, "'aside' is not in this backing file chain"),
        ({"top_node": "aside"}, "'aside' is not in this backing file chain"),
        ({"top_node": "mid", "base_node": "mid"}, "cannot commit an image into itself"),
        ({"top_node": "low", "base_node": "mid"}, "'mid' is not in this backing file chain"),
        ({"top_node": "base"}, "cannot commit an image into itself"),
        ({"device": "mid"}, "Need a root block node"),
        ({"device": "aside"}, "cannot commit an image into itself"),
        ({"backing_file": "x"}, "'backing-file' specified, but 'top' is the active layer"),
        (
            {"top_node": "mid", "when_ready": "pivot"},
            "'when-ready' specified, but 'top' is not the active layer",
        ),
    ],
)
def test_refused(server: ChainServer, options: dict[str, Any], message: str) -> None:
    """As qemu-storage-daemon 7.2 says it, and nothing is left behind."""
    server.add("overlay", "aside", size=SIZE)
    before = server.picture()
    assert server.refused("block-commit", arguments(**options)) == (GENERIC, message)
    assert server.picture() == before


def test_an_unknown_device(server: ChainServer) -> None:
    """It has a class of its own."""
    refused = server.refused("block-commit", arguments(device="nope"))
    assert refused == ("DeviceNotFound", "Device 'nope' not found")


def test_nobody_else_may_look_at_the_base(server: ChainServer) -> None:
    """They would see what was committed; through the top they do not."""
    export = {"type": "nbd", "id": "vdb", "node-name": "low"}
    server.execute("block-export-add", export)
    refused = server.refused("block-commit", arguments(top_node="mid", base_node="low"))
    assert refused[1] == (
        "Node 'low' is busy: export 'vdb' shows it past 'mid', and would see what is committed"
    )
    server.execute("block-export-del", {"id": "vdb"})
    ended(commit(server, top_node="mid", base_node="low"))


def test_a_base_that_cannot_be_written(server: ChainServer) -> None:
    """QEMU would open it anew; here that is for the file to say."""
    server.add("null", "fixed", size=SIZE, read_only=True)
    server.add("overlay", "over2", size=SIZE, backing="fixed")
    refused = server.refused("block-commit", arguments(device="over2"))
    assert refused[1] == "Block node is read-only: 'fixed' is to be committed to"


@pytest.mark.parametrize("side", ["read", "write"])
def test_errors_stop_it_until_resumed(
    server: ChainServer, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """040: on-error is about either side, and says which."""
    broken = [True]
    name, method = ("low", "do_pread") if side == "read" else ("base", "do_pwrite")
    node = server.graph.nodes[name]
    original = getattr(node, method)

    def fail(buf: memoryview, offset: int, *flags: int) -> None:
        if broken[0] and offset >= MIB:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(buf, offset, *flags)

    monkeypatch.setattr(node, method, fail)
    monkeypatch.setattr(node, "form", lambda: ("broken",))
    server.graph.transaction([])
    job = commit(server, top_node="mid", on_error="enospc")
    eventually(lambda: server.listed()["io-status"] == "nospace")
    errors = server.data("BLOCK_JOB_ERROR")
    assert errors == [{"device": "j", "operation": side, "action": "stop"}]
    broken[0] = False
    before = server.disk()
    server.execute("block-job-resume", {"device": "j"})
    ended(job)
    assert server.node("top")["children"] == {"backing": "base"}
    assert server.disk() == before


def test_writers_and_readers_meanwhile(server: ChainServer) -> None:
    """A commit in the middle, a new overlay, and one of the active layer with its pivot, twice."""
    was = server.disk()
    stop, count, block = [False], 4, 512
    done = [0] * count

    def work(number: int) -> None:
        client, mine, chance = server.graph.connect("vda", ignore), {}, Random(number)
        data = bytearray(block)
        while not stop[0]:
            at = (chance.randrange(SIZE // block // count) * count + number) * block
            if chance.random() < 0.5:
                mine[at] = bytes([chance.randrange(256)]) * block
                client.pwrite(memoryview(mine[at]), at, 0)
            client.pread(memoryview(data), at, 0)
            assert data == mine.get(at, was[at : at + block])
            done[number] += 1
        for at, value in mine.items():
            client.pread(memoryview(data), at, 0)
            assert data == value

    def everybody_goes_on() -> None:
        before = list(done)
        eventually(lambda: all(now > then for now, then in zip(done, before, strict=True)))

    works: list[Callable[[], object]] = [partial(work, number) for number in range(count)]
    with workers(works):
        try:
            everybody_goes_on()
            ended(commit(server, "middle", top_node="mid"))
            for turn in range(2):
                device = root(server)
                ended(commit(server, f"j{turn}", device=device, when_ready="pivot"))
                everybody_goes_on()
                assert root(server) == "base"
                drop_unused(server)
                server.add("overlay", f"o{turn}", size=SIZE)
                server.execute("blockdev-snapshot", {"node": "base", "overlay": f"o{turn}"})
                everybody_goes_on()
        finally:
            stop[0] = True
    assert [data.get("error") for data in server.data("BLOCK_JOB_COMPLETED")] == [None] * 3


def drop_unused(server: ChainServer) -> None:
    """Overlays that nobody reads any more, from the top down."""
    (export,) = server.execute("query-block-exports")
    for name in ("top", "mid", "low", "o0", "o1"):
        if name in server.graph.nodes and name != export["node-name"]:
            server.execute("blockdev-del", {"node-name": name})


@pytest.mark.parametrize("is_active", [False, True], ids=["middle", "active"])
def test_what_a_short_image_hides_is_committed_as_zeroes(
    server: ChainServer, *, is_active: bool
) -> None:
    """Beyond its end an image reads as zeroes, whatever is below it (QEMU's rule, §7)."""
    server.add("overlay", "first", size=SIZE)
    server.fill("first", 7, 0, SIZE)
    server.add("overlay", "short", size=MIB, backing="first")
    server.add("overlay", "second", size=SIZE, backing="short")
    server.add("overlay", "third", size=SIZE, backing="second")
    top = "third" if is_active else "second"
    options = arguments(device="third", top_node=top, base_node="first", when_ready="wait")
    before = read_all(server.graph.nodes["third"])
    assert before == b"\7" * MIB + bytes(SIZE - MIB)
    server.execute("block-commit", options)
    job = server.context.jobs.find("j")
    if is_active:
        eventually(lambda: job.is_ready)
        server.execute("job-complete", {"id": "j"})
    ended(job)
    assert read_all(server.graph.nodes["first"]) == before


def read_all(node: Node[Any]) -> bytes:
    """Past everything above."""
    data = bytearray(SIZE)
    node.pread(memoryview(data), 0)
    return bytes(data)
