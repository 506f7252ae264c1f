"""block-stream (qemu-semantics §8.4): the overlay does without its backing images, unnoticed."""

import errno
import threading
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

import pytest

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


def test_the_whole_chain(server: ChainServer) -> None:
    """The overlay stands by itself, says so, and reads as before; the others are as they were."""
    before = server.disk()
    job = server.stream()
    ended(job)
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
    assert data == {"device": "j", "type": "stream", "len": SIZE, "offset": SIZE, "speed": 0}
    assert server.disk() == before
    assert server.node("top")["children"] == {}
    assert server.overlay("top").header == (None, None)
    assert set(server.overlay("top").clusters) == set(range(3 * MIB // CLUSTER))
    assert server.node("mid")["children"] == {"backing": "low"}
    assert server.overlay("top").flushes > 0


@pytest.mark.parametrize("options", [{"base_node": "low"}, {"bottom": "mid"}])
def test_down_to_a_base(server: ChainServer, options: dict[str, str]) -> None:
    """What is between goes up; the base stays below, untouched, and so does all it has."""
    before = server.disk()
    ended(server.stream(**options))
    assert server.disk() == before
    assert server.node("top")["children"] == {"backing": "low"}
    assert set(server.overlay("top").clusters) == set(range(2 * MIB // CLUSTER, 3 * MIB // CLUSTER))
    server.execute("blockdev-del", {"node-name": "mid"})


def test_nothing_to_do(server: ChainServer) -> None:
    """§8.4: with the base right below it completes at once, with len 0."""
    ended(server.stream(base_node="mid"))
    (data,) = server.data("BLOCK_JOB_COMPLETED")
    assert (data["len"], data["offset"]) == (0, 0)
    assert server.node("top")["children"] == {"backing": "mid"}


def test_the_filter_is_visible_meanwhile(server: ChainServer) -> None:
    """A copy-on-read node under the name asked for, between the overlay and who uses it."""
    job = server.stream(speed=1, filter_node_name="stream-filter")
    node = server.node("stream-filter")
    assert (node["options"]["driver"], node["job"]) == ("copy-on-read", "j")
    (export,) = server.execute("query-block-exports")
    assert export["node-name"] == "stream-filter"
    server.execute("block-job-cancel", {"device": "j"})
    ended(job)
    (export,) = server.execute("query-block-exports")
    assert export["node-name"] == "top"


def test_cancelled_after_one_chunk(server: ChainServer) -> None:
    """Iotests 141 and 185: at speed 1 the offset is 524288, and the chain is as before."""
    before = server.disk()
    job = server.stream(speed=1)
    eventually(lambda: job.offset_bytes)
    server.execute("block-job-cancel", {"device": "j"})
    ended(job)
    (data,) = server.data("BLOCK_JOB_CANCELLED")
    assert (data["len"], data["offset"]) == (SIZE, 524288)
    assert server.node("top")["children"] == {"backing": "mid"}
    assert server.disk() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "nope"}, "Cannot find device='nope' nor node-name='nope'"),
        ({"base_node": "nope"}, "Cannot find device='' nor node-name='nope'"),
        ({"base_node": "top"}, "Node 'top' is not a backing image of 'top'"),
        ({"device": "mid", "base_node": "top"}, "Node 'top' is not a backing image of 'mid'"),
        ({"bottom": "aside"}, "Node 'aside' is not in a chain starting from 'top'"),
        ({"bottom": "limit"}, "Node 'limit' is a filter, use a non-filter node as 'bottom'"),
        (
            {"bottom": "mid", "base_node": "mid"},
            "'bottom' and 'base-node' cannot be specified at the same time",
        ),
        ({"backing_file": "x"}, "backing file specified, but streaming the entire chain"),
        ({"speed": -1}, "Parameter 'speed' expects a non-negative value"),
    ],
)
def test_refused(server: ChainServer, options: dict[str, Any], message: str) -> None:
    """In QEMU's words, and nothing is left behind."""
    server.execute("object-add", {"qom-type": "throttle-group", "id": "g"})
    server.add("throttle", "limit", file="mid", throttle_group="g")
    server.add("overlay", "aside", size=SIZE)
    before = server.picture()
    assert server.refused("block-stream", arguments(**options)) == (GENERIC, message)
    assert server.picture() == before


def test_the_chain_is_frozen_meanwhile(server: ChainServer) -> None:
    """Iotest 245: its links stay; filters come and go between, and the base keeps those above."""
    job = server.stream(base_node="low", speed=1)
    options = {"driver": "overlay", "node-name": "mid", "size": SIZE, "backing": "base"}
    refused = server.refused("blockdev-reopen", {"options": [options]})
    assert refused == (GENERIC, "Cannot change 'backing' link from 'mid' to 'low'")
    refused = server.refused("blockdev-del", {"node-name": "mid"})
    assert refused[1] == "Node 'mid' is busy: node is used as backing hd of 'top'"
    refused = server.refused("block-stream", arguments("k"))
    assert refused[1].startswith("Node 'top' is busy: block device is in use by block job: stream")
    server.execute("object-add", {"qom-type": "throttle-group", "id": "g"})
    server.add("throttle", "limit", file="low", throttle_group="g")
    server.execute("block-insert-node", {"parent": "mid", "child": "low", "node": "limit"})
    server.execute("block-job-set-speed", {"device": "j", "speed": 0})
    ended(job)
    assert server.node("top")["children"] == {"backing": "limit"}


@pytest.mark.parametrize(
    ("on_error", "told"),
    [("report", "report"), ("ignore", "ignore"), ("stop", "stop")],
)
def test_errors(
    server: ChainServer, monkeypatch: pytest.MonkeyPatch, on_error: str, told: str
) -> None:
    """030: report ends it, ignore goes on and fails in the end, stop waits to be resumed."""
    mid, broken = server.graph.nodes["mid"], threading.Event()
    broken.set()
    do_pread = mid.do_pread

    def pread(buf: memoryview, offset: int) -> None:
        if broken.is_set() and offset == 2 * MIB:
            raise OSError(errno.EIO, "Input/output error")
        do_pread(buf, offset)

    monkeypatch.setattr(mid, "do_pread", pread)
    monkeypatch.setattr(mid, "form", lambda: ("broken",))
    server.graph.transaction([])
    job = server.stream(on_error=on_error)
    if on_error == "stop":
        eventually(lambda: server.listed()["io-status"] == "failed")
        broken.clear()
        server.execute("block-job-resume", {"device": "j"})
    ended(job)
    errors = server.data("BLOCK_JOB_ERROR")
    assert errors[0] == {"device": "j", "operation": "read", "action": told}
    (data,) = server.data("BLOCK_JOB_COMPLETED")
    if on_error == "stop":
        assert "error" not in data
        assert server.node("top")["children"] == {}
    else:
        assert data["error"] == "Input/output error"
        assert server.node("top")["children"] == {"backing": "mid"}
        assert (data["offset"] == SIZE) == (on_error == "ignore")


def test_what_cannot_be_written_down_leaves_the_chain(
    server: ChainServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image would lead back to images that may be gone: it fails, and all is as before."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(server.graph.nodes["top"], "change_backing_file", fail)
    ended(server.stream())
    (data,) = server.data("BLOCK_JOB_COMPLETED")
    assert data["error"] == "Could not change backing file to '': Input/output error"
    assert server.node("top")["children"] == {"backing": "mid"}


def test_a_middle_image_is_streamed_into(server: ChainServer) -> None:
    """Device may be any overlay of the chain; those above read through it all the time."""
    before = server.disk()
    ended(server.stream(device="mid", base_node="base"))
    assert server.node("mid")["children"] == {"backing": "base"}
    assert server.node("top")["children"] == {"backing": "mid"}
    assert server.disk() == before


def test_writers_and_readers_meanwhile(server: ChainServer) -> None:
    """Guest writes win: each reads what it wrote, or what was below, during and after."""
    was = server.disk()
    stop, count, block = threading.Event(), 4, 512
    done = [0] * count

    def work(number: int) -> None:
        client, mine, chance = server.graph.connect("vda", ignore), {}, Random(number)
        data = bytearray(block)
        while not stop.is_set():
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

    works: list[Callable[[], object]] = [partial(work, number) for number in range(count)]
    with workers(works):
        try:
            for turn, base in enumerate(("low", "base", None)):
                eventually(lambda: all(done))
                options = {} if base is None else {"base_node": base}
                ended(server.stream(f"j{turn}", **options))
                done[:] = [0] * count
                eventually(lambda: all(done))
        finally:
            stop.set()
    assert [data.get("error") for data in server.data("BLOCK_JOB_COMPLETED")] == [None] * 3
    assert server.node("top")["children"] == {}


def test_what_a_short_image_hides_is_copied_as_zeroes(server: ChainServer) -> None:
    """Beyond its end an image reads as zeroes, whatever is below it (QEMU's rule, §7)."""
    server.add("overlay", "first", size=SIZE)
    server.fill("first", 7, 0, SIZE)
    server.add("overlay", "short", size=MIB, backing="first")
    server.add("overlay", "second", size=SIZE, backing="short")
    ended(server.stream(device="second", base_node="first"))
    assert server.node("second")["children"] == {"backing": "first"}
    data = bytearray(SIZE)
    server.graph.nodes["second"].pread(memoryview(data), 0)
    assert data == b"\7" * MIB + bytes(SIZE - MIB)
