"""quorum: requests at once, children that come and go, what is refused.  See qemu-semantics §7."""

import errno
import random
import threading
from functools import partial
from typing import Any

import pytest

from tests.server.copies import BAD, FAILURE, SIZE, Copies, slowly, with_children
from tests.server.inprocess import PATIENCE_S, Worker, eventually, workers

pytestmark = pytest.mark.usefixtures("plain_threads")

SIZES = (
    f"Node 'q': its child 'children.0' has {SIZE} bytes and '{{}}' 512; they must be of one size"
)


# At once


@pytest.mark.parametrize("slow", [False, True])
def test_overlapping_writes_leave_children_equal(
    *, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At all children, asked in turn or at once; and no read finds them different in between."""
    if slow:
        monkeypatch.setattr("blkrun.server.crew.SLOW_NS", -1)
    server = with_children(3, 3)
    for disk in server.disks.values():
        disk.before_read = disk.before_write = slowly

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(60):
            offset, count = rng.randrange(0, 8192, 512), rng.choice([512, 1024, 4096])
            match rng.randrange(4):
                case 0:
                    server.client.zero(count, offset, 0)
                case 1:
                    server.read(count, offset)
                case 2:
                    server.client.trim(count, offset, 0)
                case _:
                    server.write(bytes([seed]) * count, offset)

    with workers([partial(work, seed) for seed in range(1, 7)]):
        pass
    assert len({disk.content() for disk in server.disks.values()}) == 1
    assert server.specific() == {"failures": 0, "bad": 0, "rewritten": 0}
    assert server.graph.nodes["top"].stats.in_flight == 0


@pytest.mark.parametrize("slow", [False, True])
def test_children_come_and_go_under_load(*, slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers read back what they wrote; those that were there all along have it, byte for byte."""
    if slow:
        monkeypatch.setattr("blkrun.server.crew.SLOW_NS", -1)
    server = Copies("abcd")
    server.over("quorum", children=["a", "b", "c"], vote_threshold=2, rewrite_corrupted=True)
    over = threading.Event()
    expected = bytearray(SIZE)
    part = SIZE // 4

    def write(number: int) -> None:
        rng = random.Random(number)
        done = 0
        while not over.is_set() or done < 50:
            offset = number * part + rng.randrange(part - 4096)
            data = rng.randbytes(rng.randint(1, 4096))
            server.write(data, offset)
            expected[offset : offset + len(data)] = data
            assert server.read(len(data), offset) == data
            done += 1

    with workers([partial(write, number) for number in range(4)]):
        try:
            for _ in range(25):
                roles = {child: role for role, child in server.node("top")["children"].items()}
                gone = "c" if "c" in roles else "d"
                server.execute("x-blockdev-change", {"parent": "top", "child": roles[gone]})
                server.execute("x-blockdev-change", {"parent": "top", "node": gone})
                swap = {"c": "d", "d": "c"}[gone]
                role = {child: role for role, child in server.node("top")["children"].items()}
                edge = {"parent": "top", "role": role[gone], "child": swap}
                server.execute("x-blkrun-set-edge", edge)
        finally:
            over.set()
    assert server.read(SIZE) == bytes(expected)
    assert server.disks["a"].content() == server.disks["b"].content() == bytes(expected)
    last = [*server.node("top")["children"].values()][-1]
    assert server.disks[last].content() == bytes(expected)  # all has just been read
    assert server.specific()["failures"] == 0
    top, first = server.node("top")["stats"], server.node("a")["stats"]
    for kind in ("rd_operations", "rd_bytes", "wr_operations", "wr_bytes"):
        assert first[kind] == top[kind]  # over all routes there have been


def test_a_child_that_hangs_can_be_taken_out() -> None:
    """The edit does not wait for it; new requests go on; the one that hangs is not lost."""
    server = with_children(3, 2)
    go_on, inside = threading.Event(), threading.Event()

    def hang(*_: int) -> None:
        inside.set()
        assert go_on.wait(PATIENCE_S)

    server.disks["c"].before_write = hang
    stuck = Worker(lambda: server.write(b"x" * 512, 0))
    assert inside.wait(PATIENCE_S)
    overlapping = Worker(lambda: server.write(b"y" * 512, 256))
    server.execute("x-blockdev-change", {"parent": "top", "child": "children.2"})
    server.execute("blockdev-del", {"node-name": "c"})
    server.write(b"z" * 512, 4096)
    assert server.read(512, 4096) == b"z" * 512
    assert stuck.is_alive()
    assert overlapping.is_alive()
    go_on.set()
    stuck.finish()
    overlapping.finish()
    assert server.read(768) == b"x" * 256 + b"y" * 512
    assert server.disks["a"].content() == server.disks["b"].content()
    eventually(server.graph.at_rest)


def test_a_child_that_hangs_can_be_replaced() -> None:
    """Another disk gets its name and its place, as an edit of its table does; nothing waits."""
    server = with_children(3, 2)
    go_on, inside = threading.Event(), threading.Event()

    def hang(*_: int) -> None:
        inside.set()
        assert go_on.wait(PATIENCE_S)

    old = server.disks["c"]
    old.before_write = hang
    stuck = Worker(lambda: server.write(b"x" * 512, 0))
    assert inside.wait(PATIENCE_S)
    server.execute("x-blkrun-replace-node", {"driver": "memory", "node-name": "c", "size": SIZE})
    server.write(b"z" * 512, 4096)
    assert stuck.is_alive()
    go_on.set()
    stuck.finish()
    assert server.read(512, 4096) == b"z" * 512
    assert server.specific()["bad"] == 0
    assert server.read(512) == b"x" * 512
    assert server.told(BAD)[0]["node-name"] == "c"  # what was written before is not on the new one
    assert server.graph.nodes["c"] is not old


def test_a_throttled_child_is_let_go_with_the_edit() -> None:
    """Whoever waits there is not held up any longer once it is out."""
    server = Copies("ab")
    limits = {"iops-total": 1, "iops-total-max": 1}
    server.execute("object-add", {"qom-type": "throttle-group", "id": "g", "limits": limits})
    server.add("throttle", "slow", file="b", throttle_group="g")
    server.over("quorum", children=["a", "slow"], vote_threshold=1)
    held = [Worker(partial(server.write, b"x" * 512, 512 * place)) for place in range(4)]
    eventually(lambda: server.node("slow")["driver-specific"]["waiting"])
    server.execute("x-blockdev-change", {"parent": "top", "child": "children.1"})
    for each in held:
        each.finish()
    assert server.read(2048) == b"x" * 2048
    assert server.disks["b"].content()[:2048] == b"x" * 2048


def test_a_copy_moves_to_another_disk() -> None:
    """A mirror of a child pivots: the quorum gets its target, filled, and nobody is outvoted."""
    server = Copies("abcd")
    server.over("quorum", children=["a", "b", "c"], vote_threshold=3)
    server.write(random.Random(1).randbytes(SIZE))
    mirror = {"job-id": "move", "device": "c", "target": "d", "sync": "full"}
    server.execute("blockdev-mirror", mirror)
    job = server.context.jobs.find("move")
    eventually(lambda: job.is_ready)
    server.write(b"x" * 4096, 512)
    server.execute("job-complete", {"id": "move"})
    eventually(lambda: not job.in_run)
    assert [*server.node("top")["children"].values()] == ["a", "b", "d"]
    server.write(b"y" * 4096, 8192)
    server.read(SIZE)
    assert server.specific() == {"failures": 0, "bad": 0, "rewritten": 0}
    assert server.disks["d"].content() == server.disks["a"].content()


def test_a_child_that_a_job_copies_is_taken_out() -> None:
    """The job goes on with the disk as it is then, and ends well."""
    server = Copies("abcd")
    server.over("quorum", children=["a", "b", "c"], vote_threshold=2)
    server.write(b"x" * 4096)
    mirror = {"job-id": "move", "device": "c", "target": "d", "sync": "full"}
    server.execute("blockdev-mirror", mirror)
    job = server.context.jobs.find("move")
    eventually(lambda: job.is_ready)
    server.execute("x-blockdev-change", {"parent": "top", "child": "children.2"})
    server.write(b"y" * 4096)
    server.execute("job-complete", {"id": "move"})
    eventually(lambda: not job.in_run)
    assert server.disks["d"].content()[:4096] == b"x" * 4096
    assert [*server.node("top")["children"].values()] == ["a", "b"]


def test_what_every_node_has() -> None:
    """Bitmaps record what is written to the quorum; with discard = "ignore" trims end there."""
    server = with_children(2, 2)
    bitmap = {"node": "top", "name": "map", "granularity": 65536}
    server.execute("block-dirty-bitmap-add", bitmap)
    server.write(b"x" * 512, 70000)
    server.client.zero(512, 0, 0)
    (found,) = server.graph.nodes["top"].bitmaps.values()
    assert found.bits.count_bytes() == 2 * 65536
    options = {"driver": "quorum", "node-name": "top", "children": ["a", "b"], "vote-threshold": 2}
    server.execute("blockdev-reopen", {"options": [{**options, "discard": "ignore"}]})
    server.client.trim(512, 70000, 0)
    assert server.read(512, 70000) == b"x" * 512


# Children and options over QMP (§7)


def test_roles_have_gaps() -> None:
    """The middle one goes, and the next one comes after the last; order is as it was added."""
    server = Copies("abcd")
    server.over("quorum", children=["a", "b", "c"], vote_threshold=2)
    server.execute("x-blockdev-change", {"parent": "top", "child": "children.1"})
    assert server.node("top")["children"] == {"children.0": "a", "children.2": "c"}
    server.execute("x-blockdev-change", {"parent": "top", "node": "d"})
    found = server.node("top")
    assert found["children"] == {"children.0": "a", "children.2": "c", "children.3": "d"}
    assert found["options"]["children"] == ["a", "c", "d"]
    edges = server.execute("x-debug-query-block-graph")["edges"]
    assert {"children.0", "children.2", "children.3"} <= {edge["name"] for edge in edges}
    server.write(b"x" * 512)
    assert server.disks["b"].content()[:512] == bytes(512)
    assert server.disks["d"].content()[:512] == b"x" * 512


def test_blockdev_reopen_takes_the_whole_list() -> None:
    """QEMU cannot; places keep their roles, and what is left over goes."""
    server = Copies("abcd")
    server.over("quorum", children=["a", "b", "c"], vote_threshold=2)
    server.execute("x-blockdev-change", {"parent": "top", "child": "children.0"})
    options = {"driver": "quorum", "node-name": "top", "vote-threshold": 3}
    server.execute("blockdev-reopen", {"options": [{**options, "children": ["d", "b", "a"]}]})
    found = server.node("top")
    assert found["children"] == {"children.1": "d", "children.2": "b", "children.3": "a"}
    assert found["options"]["vote-threshold"] == 3
    server.execute(
        "blockdev-reopen", {"options": [{**options, "vote-threshold": 1, "children": ["c"]}]}
    )
    assert server.node("top")["children"] == {"children.1": "c"}
    server.write(b"x")
    assert server.disks["c"].content()[:1] == b"x"


def test_inline_children() -> None:
    """By name or as options, as in QEMU; one without a name goes with the edge that led there."""
    server = Copies("a")
    inline = {"driver": "memory", "size": SIZE}
    server.over("quorum", children=["a", inline, {**inline, "node-name": "c"}], vote_threshold=1)
    _, made, named = server.node("top")["children"].values()
    assert made.startswith("#block")
    assert named == "c"
    for role in ("children.1", "children.2"):
        server.execute("x-blockdev-change", {"parent": "top", "child": role})
    assert [*server.graph.nodes] == ["a", "top"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"children": []}, "Number of provided children must be 1 or more"),
        ({"vote-threshold": 0}, "Parameter 'vote-threshold' expects a value >= 1"),
        ({"vote-threshold": 3}, "threshold may not exceed children count"),
        (
            {"blkverify": True, "vote-threshold": 1},
            "blkverify=on can only be set if there are exactly two files and vote-threshold is 2",
        ),
        (
            {"blkverify": True, "rewrite-corrupted": True},
            "rewrite-corrupted=on cannot be used with blkverify=on",
        ),
        ({"children": ["a", "nope"]}, "Cannot find device='nope' nor node-name='nope'"),
        ({"children": ["a", 1]}, "Invalid parameter type for 'children[1]', expected: string"),
        ({"children": "a"}, "Invalid parameter type for 'children', expected: array"),
        ({"children": ["a", "a"]}, "Node 'q' has 'a' for a child twice"),
        ({"read-pattern": "lifo"}, "Parameter 'read-pattern' does not accept value 'lifo'"),
        (
            {"children": ["a", {"driver": "memory", "size": 512}]},
            SIZES.format("children.1"),
        ),
        (
            {"children": ["a", {"driver": "nope"}]},
            "Parameter 'children[1].driver' does not accept value 'nope'",
        ),
    ],
)
def test_blockdev_add_refused(options: dict[str, Any], message: str) -> None:
    """In QEMU's words where it has some; nothing is left of it."""
    server = Copies("ab")
    wanted = {"driver": "quorum", "node-name": "q", "children": ["a", "b"], "vote-threshold": 2}
    assert server.refused("blockdev-add", wanted | options) == ("GenericError", message)
    assert [*server.graph.nodes] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parent": "q", "child": "children.9"}, "Node 'q' does not have child 'children.9'"),
        (
            {"parent": "q", "child": "children.1"},
            "The number of children cannot be lower than the vote threshold 2",
        ),
        ({"parent": "q", "node": "zz"}, "Node 'zz' not found"),
        ({"parent": "q", "node": "a"}, "The node a already has a parent"),
        ({"parent": "q"}, "Either child or node must be specified"),
        (
            {"parent": "q", "node": "c", "child": "children.0"},
            "The parameters child and node are in conflict",
        ),
        ({"parent": "v", "node": "c"}, "Cannot add a child to a quorum in blkverify mode"),
        ({"parent": "a", "node": "c"}, "The node a does not support adding a child"),
        ({"parent": "over", "child": "file"}, "The node over does not support removing a child"),
        ({"parent": "zz", "node": "c"}, "Cannot find device='zz' nor node-name='zz'"),
        (
            {"parent": "q", "node": "small"},
            SIZES.format("children.2"),
        ),
        ({"parent": "q", "node": "over"}, "Making 'q' a file child of 'over' would create a cycle"),
    ],
)
def test_blockdev_change_refused(change: dict[str, Any], message: str) -> None:
    """In QEMU's words; nothing is changed."""
    server = Copies("abcde")
    server.add("memory", "small", size=512)
    server.add("quorum", "q", children=["a", "b"], vote_threshold=2)
    server.add("quorum", "v", children=["d", "e"], vote_threshold=2, blkverify=True)
    server.add("raw", "over", file="q")
    before = server.picture()
    assert server.refused("x-blockdev-change", change) == ("GenericError", message)
    assert server.picture() == before


def test_blkverify_mode() -> None:
    """Two that differ are an event with the place, and EIO, where QEMU ends the process."""
    server = with_children(2, 2, blkverify=True)
    server.disks["b"].poke(b"xyz", 1005)
    with pytest.raises(OSError, match="do not agree") as raised:
        server.read(512, 1000)
    assert raised.value.errno == errno.EIO
    assert server.told("X_BLKRUN_BLKVERIFY_MISMATCH") == [
        {"node-name": "top", "operation": "read", "offset": 1005, "length": 3}
    ]
    assert len(server.told(FAILURE)) == 1


def test_a_read_only_child_makes_it_read_only() -> None:
    """A writable export over it is refused."""
    server = Copies("a")
    server.add("memory", "ro", size=SIZE, read_only=True)
    server.add("quorum", "q", children=["a", "ro"], vote_threshold=1)
    arguments = {"type": "nbd", "id": "vda", "node-name": "q", "writable": True}
    _, text = server.refused("block-export-add", arguments)
    assert text == "Cannot export read-only node as writable: 'q'"


@pytest.mark.parametrize("past", ["a", "limit", "other"])
def test_nobody_writes_past_it(past: str) -> None:
    """To a child, straight or through other nodes, while it is in use; reading is everybody's."""
    server = Copies("abc")
    server.execute("object-add", {"qom-type": "throttle-group", "id": "g"})
    server.add("throttle", "limit", file="a", throttle_group="g")
    server.add("quorum", "other", children=["c", "limit"], vote_threshold=1)
    export = {"type": "nbd", "id": "vdb", "node-name": past}
    server.execute("block-export-add", {**export, "writable": True})
    server.add("quorum", "top", children=["a", "b"], vote_threshold=1)
    vda = {"type": "nbd", "id": "vda", "node-name": "top", "writable": True}
    _, text = server.refused("block-export-add", vda)
    refused = "Export 'vdb' writes to 'a' past node 'top', whose children have to stay equal"
    assert text.startswith(refused)
    server.execute("block-export-del", {"id": "vdb"})
    server.execute("block-export-add", export)
    server.execute("block-export-add", vda)
    server.execute("block-export-del", {"id": "vdb"})
    _, text = server.refused("block-export-add", {**export, "writable": True})
    assert "writes to" in text


def test_no_job_writes_past_it() -> None:
    """A mirror whose target is a child would spoil it."""
    server = Copies("abc")
    server.over("quorum", children=["a", "b"], vote_threshold=1)
    mirror = {"job-id": "copy", "device": "c", "target": "b", "sync": "full"}
    _, text = server.refused("blockdev-mirror", mirror)
    assert text.startswith("Job 'copy' writes to 'b' past node 'top'")
