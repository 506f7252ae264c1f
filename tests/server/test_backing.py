"""Backing chains: an edge that may lead nowhere, and what moves along it while clients write."""

import errno
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from blkrun.server.connection import Connection
from tests.server import overlay
from tests.server.inprocess import (
    InProcess,
    Worker,
    eventually,
    ignore,
    leave_thread_states_alone,
    workers,
)

GENERIC = "GenericError"
SIZE = 2**20
CLUSTER = overlay.CLUSTER_BYTES


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """A disk ``base`` in use by the export ``vda``, two overlays without a backing, a group."""
    overlay.register(monkeypatch)
    leave_thread_states_alone(monkeypatch)
    server = InProcess()
    server.add("memory", "base", size=SIZE)
    server.add("overlay", "top", size=SIZE)
    server.add("overlay", "mid", size=SIZE)
    server.execute("object-add", {"qom-type": "throttle-group", "id": "g"})
    server.execute(
        "block-export-add", {"type": "nbd", "id": "vda", "node-name": "base", "writable": True}
    )
    yield server
    server.graph.close()


def reopen(name: str, **options: Any) -> dict[str, Any]:
    """The arguments of a blockdev-reopen of one overlay."""
    return {"options": [{"driver": "overlay", "node-name": name, "size": SIZE, **options}]}


def connect(server: InProcess, export: str = "vda") -> Connection:
    """A client."""
    return server.graph.connect(export, ignore)


def read(client: Connection, length: int, offset: int) -> bytes:
    """What a client reads."""
    data = bytearray(length)
    client.pread(memoryview(data), offset, 0)
    return bytes(data)


def fill(server: InProcess, node: str, value: int, offset: int = 0, length: int = CLUSTER) -> None:
    """Write a pattern at a node that no export is over."""
    server.graph.nodes[node].pwrite(memoryview(bytes([value]) * length), offset, 0)


def content(server: InProcess, node: str, length: int = CLUSTER, offset: int = 0) -> bytes:
    """What a node that no export is over reads as."""
    data = bytearray(length)
    server.graph.nodes[node].pread(memoryview(data), offset)
    return bytes(data)


# The edge: given, taken, moved


def test_an_edge_may_lead_nowhere(server: InProcess) -> None:
    """A name, null and nothing are told apart, by blockdev-add and in what is in force."""
    server.add("overlay", "over", size=SIZE, backing="mid")
    server.add("overlay", "alone", size=SIZE, backing=None)
    options = {name: server.node(name)["options"] for name in ("over", "alone", "top")}
    assert options["over"]["backing"] == "mid"
    assert options["alone"]["backing"] is None
    assert "backing" not in options["top"]


def test_reopen_gives_moves_and_takes_the_backing(server: InProcess) -> None:
    """Reads fall through to whatever is there at the moment; null is no backing at all."""
    server.add("memory", "other", size=SIZE)
    fill(server, "other", 7)
    fill(server, "mid", 5)
    server.execute("blockdev-reopen", reopen("top", backing="mid"))
    assert content(server, "top") == bytes([5]) * CLUSTER
    server.execute("blockdev-reopen", reopen("top", backing="other"))
    assert content(server, "top") == bytes([7]) * CLUSTER
    server.execute("blockdev-reopen", reopen("top", backing=None))
    assert content(server, "top") == bytes(CLUSTER)
    assert server.node("top")["options"]["backing"] is None
    assert server.node("top")["children"] == {}


def test_what_is_below_an_edge_is_in_use(server: InProcess) -> None:
    """QEMU's op blocker: a backing image goes only after its overlay."""
    server.execute("blockdev-reopen", reopen("top", backing="mid"))
    refused = server.refused("blockdev-del", {"node-name": "mid"})
    assert refused == (GENERIC, "Node 'mid' is busy: node is used as backing hd of 'top'")
    server.execute("blockdev-reopen", reopen("top", backing=None))
    server.execute("blockdev-del", {"node-name": "mid"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "backing is missing for 'top'"),
        ({"backing": "top"}, "Making 'top' a backing child of 'top' would create a cycle"),
        ({"backing": "over"}, "Making 'over' a backing child of 'top' would create a cycle"),
        ({"backing": "nope"}, "Cannot find device='' nor node-name='nope'"),
    ],
)
def test_reopen_refused(server: InProcess, options: dict[str, Any], message: str) -> None:
    """§4.5, as qemu-storage-daemon 7.2 says it; nothing is changed."""
    server.execute("blockdev-reopen", reopen("top", backing="mid"))
    server.add("overlay", "over", size=SIZE, backing="top")
    before = server.picture()
    assert server.refused("blockdev-reopen", reopen("top", **options)) == (GENERIC, message)
    assert server.picture() == before


def test_reopen_without_a_backing_need_not_say_so(server: InProcess) -> None:
    """Only what there is can be missing."""
    server.execute("blockdev-reopen", reopen("top"))
    assert server.node("top")["children"] == {}


def test_edges_change_in_the_order_of_the_list(server: InProcess) -> None:
    """Of iotest 245: two overlays change places in one reopen."""
    server.execute("blockdev-reopen", reopen("top", backing="mid"))
    both = [*reopen("top", backing=None)["options"], *reopen("mid", backing="top")["options"]]
    server.execute("blockdev-reopen", {"options": both})
    assert server.node("mid")["children"] == {"backing": "top"}
    assert server.node("top")["children"] == {}


def test_set_edge_takes_an_edge_away_and_gives_one(server: InProcess) -> None:
    """Ours: what a plan is made of."""
    set_edge = {"parent": "top", "role": "backing"}
    server.execute("x-blkrun-set-edge", {**set_edge, "child": "mid"})
    assert server.node("top")["options"]["backing"] == "mid"
    server.execute("x-blkrun-set-edge", {**set_edge, "child": None})
    assert server.node("top")["options"]["backing"] is None
    server.execute("x-blkrun-set-edge", {**set_edge, "child": "mid"})
    assert server.node("top")["options"]["backing"] == "mid"


@pytest.mark.parametrize("parent", ["vda", "limit"])
def test_other_edges_cannot_lead_nowhere(server: InProcess, parent: str) -> None:
    """A filter's child and an export's disk are there for ever."""
    server.add("throttle", "limit", file="mid", throttle_group="g")
    role = "root" if parent == "vda" else "file"
    refused = server.refused("x-blkrun-set-edge", {"parent": parent, "role": role, "child": None})
    assert refused == (GENERIC, f"'{parent}' cannot be without a child '{role}'")


def test_queries_know_of_the_backing(server: InProcess) -> None:
    """§9.8: how deep, which file, and statistics of each image; iotest 193 looks at these."""
    server.add("throttle", "limit", file="mid", throttle_group="g")
    server.execute("blockdev-reopen", reopen("top", backing="limit"))
    (top,) = [
        node for node in server.execute("query-named-block-nodes") if node["node-name"] == "top"
    ]
    assert top["backing_file_depth"] == 2
    assert top["image"]["backing-image"]["format"] == "throttle"
    assert top["image"]["backing-filename-format"] == "throttle"
    assert top["backing_file"] == top["image"]["backing-filename"]
    stats = server.execute("query-blockstats", {"query-nodes": True})
    (entry,) = [each for each in stats if each["node-name"] == "top"]
    assert entry["backing"]["node-name"] == "limit"
    assert entry["backing"]["parent"]["node-name"] == "mid"


# Filters between overlay and backing: iotest 193


def test_a_filter_goes_in_below_an_overlay_and_out(server: InProcess) -> None:
    """193, 1: parent → child is the overlay's backing; only what falls through is throttled."""
    server.execute("blockdev-reopen", reopen("top", backing="mid"))
    fill(server, "mid", 5)
    server.add("throttle", "limit", file="mid", throttle_group="g")
    edge = {"parent": "top", "child": "mid", "node": "limit"}
    server.execute("block-insert-node", edge)
    assert server.node("top")["children"] == {"backing": "limit"}
    fill(server, "top", 1, CLUSTER)
    content(server, "top", 2 * CLUSTER)
    assert server.node("limit")["stats"]["rd_bytes"] == CLUSTER
    server.execute("block-remove-node", edge)
    assert server.node("top")["children"] == {"backing": "mid"}
    server.execute("blockdev-del", {"node-name": "limit"})


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        ({"child": "base"}, "'base' not a child of 'limit'"),
        ({"node": "mid"}, "Block format 'overlay' used by node 'mid' does not support insertion"),
        ({"parent": "base"}, "'mid' not a child of 'base'"),
        ({"parent": "limit"}, "Making 'limit' a file child of 'limit' would create a cycle"),
    ],
)
def test_a_filter_that_does_not_fit(server: InProcess, edge: dict[str, str], message: str) -> None:
    """193's untested ones: wrong child, no filter, wrong parent, parent == node."""
    server.execute("blockdev-reopen", reopen("top", backing="mid"))
    server.add("throttle", "limit", file="mid", throttle_group="g")
    before = server.picture()
    arguments = {"parent": "top", "child": "mid", "node": "limit", **edge}
    assert server.refused("block-insert-node", arguments) == (GENERIC, message)
    assert server.picture() == before


# blockdev-snapshot


def test_a_snapshot_puts_the_overlay_under_everybody(server: InProcess) -> None:
    """Exports and nodes over the disk get the overlay, which gets the disk, and clients go on."""
    server.add("throttle", "limit", file="base", throttle_group="g")
    server.execute("block-export-add", {"type": "nbd", "id": "vdb", "node-name": "limit"})
    client = connect(server)
    client.pwrite(memoryview(bytes([1]) * CLUSTER), 0, 0)
    server.execute("blockdev-snapshot", {"node": "base", "overlay": "top"})
    assert server.node("top")["children"] == {"backing": "base"}
    assert server.node("limit")["children"] == {"file": "top"}
    (export, _) = server.execute("query-block-exports")
    assert export["node-name"] == "top"
    client.pwrite(memoryview(bytes([2]) * 512), 512, 0)
    assert read(client, 1536, 0) == bytes([1]) * 512 + bytes([2]) * 512 + bytes([1]) * 512
    assert read(connect(server, "vdb"), 1024, 0) == bytes([1]) * 512 + bytes([2]) * 512
    assert content(server, "base", 1024) == bytes([1]) * 1024


def test_a_snapshot_is_an_action(server: InProcess) -> None:
    """Of two in one transaction, the second is over the first; or none holds."""
    twice = [("base", "mid"), ("mid", "top")]
    actions = [
        {"type": "blockdev-snapshot", "data": {"node": node, "overlay": over}}
        for node, over in twice
    ]
    before = server.picture()
    server.refused("transaction", {"actions": [*actions, {"type": "abort", "data": {}}]})
    assert server.picture() == before
    server.execute("transaction", {"actions": actions})
    (export,) = server.execute("query-block-exports")
    assert export["node-name"] == "top"
    assert server.node("top")["children"] == {"backing": "mid"}
    assert server.node("mid")["children"] == {"backing": "base"}


@pytest.mark.parametrize(
    ("node", "over", "message"),
    [
        ("nope", "top", "Cannot find device='nope' nor node-name='nope'"),
        ("base", "nope", "Cannot find device='nope' nor node-name='nope'"),
        ("base", "base", "The overlay is already in use"),
        ("base", "below", "The overlay is already in use"),
        ("base", "limit", "Filters cannot be used as overlays"),
        ("base", "null", "The overlay does not support backing images"),
        ("base", "has", "The overlay already has a backing image"),
        ("mid", "top", "Node 'mid' is busy: node is used as backing hd of 'has'"),
    ],
)
def test_snapshot_refused(server: InProcess, node: str, over: str, message: str) -> None:
    """Of iotest 085, as qemu-storage-daemon 7.2 says it; nothing is changed."""
    server.add("null", "null", size=SIZE)
    server.add("overlay", "below", size=SIZE)
    server.add("throttle", "limit", file="below", throttle_group="g")
    server.add("overlay", "has", size=SIZE, backing="mid")
    before = server.picture()
    refused = server.refused("blockdev-snapshot", {"node": node, "overlay": over})
    assert refused == (GENERIC, message)
    assert server.picture() == before


def test_a_client_keeps_the_size_it_was_told(server: InProcess) -> None:
    """An overlay of another size comes under an export only while nobody has it open."""
    server.add("overlay", "large", size=2 * SIZE)
    client = connect(server)
    refused = server.refused("blockdev-snapshot", {"node": "base", "overlay": "large"})
    assert "who were told a size of 1048576 bytes; it would become 2097152" in refused[1]
    client.pwrite(memoryview(b"x" * 512), SIZE - 512, 0)
    server.graph.disconnect(client)
    server.execute("blockdev-snapshot", {"node": "base", "overlay": "large"})
    client = connect(server)
    assert read(client, 1024, SIZE - 512) == b"x" * 512 + bytes(512)


def stack(server: InProcess, *, new: bool) -> None:
    """An overlay over base, by blockdev-snapshot, or as a plan does it: a new node and an edge."""
    if not new:
        server.execute("blockdev-snapshot", {"node": "base", "overlay": "top"})
        return
    node = {"driver": "overlay", "node-name": "over", "size": SIZE, "backing": "base"}
    edge = {"parent": "vda", "role": "root", "child": "over"}
    server.transaction(("blockdev-add", node), ("x-blkrun-set-edge", edge))


@pytest.mark.parametrize("new", [False, True])
def test_a_snapshot_waits_for_writes_under_way(
    server: InProcess,
    monkeypatch: pytest.MonkeyPatch,
    new: bool,  # noqa: FBT001 - pytest's
) -> None:
    """One that is half done would be missed by the overlay's copy of its cluster, and hidden."""
    client, entered, go = connect(server), threading.Event(), threading.Event()
    base = server.graph.nodes["base"]
    do_pwrite = base.do_pwrite

    def slow(buf: memoryview, offset: int, flags: int) -> None:
        entered.set()
        assert go.wait(10)
        do_pwrite(buf, offset, flags)

    monkeypatch.setattr(base, "do_pwrite", slow)
    monkeypatch.setattr(base, "form", lambda: ("slow",))
    server.graph.transaction([])
    writer = Worker(lambda: client.pwrite(memoryview(b"w" * 512), 0, 0))
    assert entered.wait(10)
    editor = Worker(lambda: stack(server, new=new))
    eventually(lambda: server.graph.exports["vda"].gate is not None)
    go.set()
    writer.finish()
    editor.finish()
    client.pwrite(memoryview(b"n" * 512), 512, 0)
    assert read(client, 1024, 0) == b"w" * 512 + b"n" * 512


def test_what_clients_were_answered_is_durable_below_a_snapshot(server: InProcess) -> None:
    """Their next flush comes to the overlay only, so the disk is flushed before; QEMU does, too."""
    server.execute("blockdev-snapshot", {"node": "base", "overlay": "mid"})
    mid = server.graph.nodes["mid"]
    assert isinstance(mid, overlay.Overlay)
    before = mid.flushes
    server.execute("blockdev-snapshot", {"node": "mid", "overlay": "top"})
    assert mid.flushes == before + 1


def test_a_disk_that_cannot_be_flushed_stays_where_it_is(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acknowledged write is never left behind where no flush comes."""

    def fail() -> None:
        raise OSError(errno.EIO, "Input/output error")

    base = server.graph.nodes["base"]
    monkeypatch.setattr(base, "do_flush", fail)
    monkeypatch.setattr(base, "form", lambda: ("broken",))
    server.graph.transaction([])
    before = server.picture()
    refused = server.refused("blockdev-snapshot", {"node": "base", "overlay": "top"})
    assert refused[1] == (
        "Export 'vda' could not be flushed: Input/output error; nothing was changed"
    )
    assert server.picture() == before


def test_no_write_is_lost_while_overlays_come_and_filters_with_them(server: InProcess) -> None:
    """Writers of small neighbouring blocks, while the disk sinks ever deeper below them."""
    stop, parts, block = threading.Event(), 4, 512
    latest = [0] * parts

    def write(part: int) -> None:
        client, turn = connect(server), 0
        while not stop.is_set():
            turn += 1
            for at in range(part * block, SIZE, parts * block * 32):
                client.pwrite(memoryview(bytes([turn % 251]) * block), at, 0)
                latest[part] = turn
                assert read(client, block, at) == bytes([turn % 251]) * block
        for at in range(part * block, SIZE, parts * block * 32):
            assert read(client, block, at) == bytes([turn % 251]) * block

    works: list[Callable[[], object]] = [partial(write, part) for part in range(parts)]
    with workers(works):
        top = "base"
        for number in range(12):
            name = f"o{number}"
            server.add("overlay", name, size=SIZE)
            server.execute("blockdev-snapshot", {"node": top, "overlay": name})
            server.add("throttle", f"t{number}", file=top, throttle_group="g")
            edge = {"parent": name, "child": top, "node": f"t{number}"}
            server.execute("block-insert-node", edge)
            if number % 2:
                server.execute("block-remove-node", edge)
            top = name
        stop.set()
    assert all(latest)


# change-backing-file


def test_the_backing_file_is_written_down(server: InProcess) -> None:
    """Name and format, of an overlay in use; the edges stay."""
    server.execute("blockdev-snapshot", {"node": "base", "overlay": "top"})
    top = server.graph.nodes["top"]
    assert isinstance(top, overlay.Overlay)
    name = {"device": "top", "image-node-name": "top", "backing-file": "base.img"}
    server.execute("change-backing-file", name)
    assert top.header == ("base.img", "raw")
    assert server.node("top")["children"] == {"backing": "base"}
    server.execute("change-backing-file", {**name, "backing-file": ""})
    assert list(top.header) == [None, "raw"]


@pytest.mark.parametrize(
    ("device", "image", "message"),
    [
        ("nope", "top", "Cannot find device='nope' nor node-name='nope'"),
        ("top", "nope", "Cannot find device='' nor node-name='nope'"),
        ("mid", "mid", "Need a root block node"),
        ("top", "mid", "not allowing backing file change on an image without a backing file"),
        ("base", "top", "'base' and image file are not in the same chain"),
    ],
)
def test_change_backing_file_refused(
    server: InProcess, device: str, image: str, message: str
) -> None:
    """As qemu-storage-daemon 7.2 says it."""
    server.execute("blockdev-reopen", reopen("top", backing="mid"))
    arguments = {"device": device, "image-node-name": image, "backing-file": "x"}
    assert server.refused("change-backing-file", arguments) == (GENERIC, message)


def test_what_cannot_be_written_down(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is the image's."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.execute("blockdev-reopen", reopen("top", backing="mid"))
    monkeypatch.setattr(server.graph.nodes["top"], "change_backing_file", fail)
    arguments = {"device": "top", "image-node-name": "top", "backing-file": "x"}
    refused = server.refused("change-backing-file", arguments)
    assert refused[1] == "Could not change backing file to 'x': No space left on device"
