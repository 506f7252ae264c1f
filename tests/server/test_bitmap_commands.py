"""Dirty bitmaps over QMP: QEMU's messages, all or nothing, and one instant for writers.

References are to qemu-semantics.
"""

import random
import sys
import threading
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import Any

import pytest

from blkrun.errors import CommandError
from blkrun.options import MemoryOptions
from blkrun.server import bitmap_actions
from blkrun.server.bitmap import Bitmap
from blkrun.server.bitmap_actions import Place
from blkrun.server.connection import Connection
from blkrun.server.dirty import DirtyBitmap
from blkrun.server.drivers.memory import Memory
from blkrun.server.qmp.commands import COMMANDS
from blkrun.server.staging import Staging
from tests.server.inprocess import (
    InProcess,
    Worker,
    eventually,
    ignore,
    leave_thread_states_alone,
    workers,
)

GENERIC = "GenericError"
CLUSTER = 65536
SIZE = 64 * CLUSTER
SECTOR = 512
NOT_PERSISTENT = (
    "Bitmap 'b1' cannot be persistent: blkrun keeps bitmaps in memory only; leave out 'persistent'"
)
OTHER_SIZE = (
    f"Bitmaps are of different sizes (destination size is {SIZE}, source size is 512) "
    "and can't be merged"
)

Action = tuple[str, dict[str, Any]]

COMMAND = {
    "remove": "block-dirty-bitmap-remove",
    "clear": "block-dirty-bitmap-clear",
    "enable": "block-dirty-bitmap-enable",
    "disable": "block-dirty-bitmap-disable",
}


@pytest.fixture(autouse=True)
def _plain_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_thread_states_alone(monkeypatch)


@pytest.fixture
def _often() -> Iterator[None]:
    """Switch threads as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


class Server(InProcess):
    """Export vda over ``top`` (a throttle without limits) over ``disk``; ``other`` is as large."""

    def __init__(self) -> None:
        super().__init__()
        self.execute("object-add", {"qom-type": "throttle-group", "id": "g"})
        self.add("memory", "disk", size=SIZE)
        self.add("memory", "other", size=SIZE)
        self.add("throttle", "top", file="disk", throttle_group="g")
        self.execute(
            "block-export-add", {"type": "nbd", "id": "vda", "node-name": "top", "writable": True}
        )

    def connect(self) -> Connection:
        """A client of vda."""
        return self.graph.connect("vda", ignore)

    def bitmap(self, name: str = "b0", node: str = "disk") -> DirtyBitmap:
        """The thing itself."""
        return self.graph.nodes[node].bitmaps[name]

    def dirty(self, name: str = "b0", node: str = "disk") -> list[int]:
        """Its dirty clusters."""
        return ones(self.bitmap(name, node).copy())

    def listed(self, node: str = "disk") -> Any:
        """What query-named-block-nodes says of a node's bitmaps; None if it says nothing."""
        for each in self.execute("query-named-block-nodes"):
            if each["node-name"] == node:
                return each.get("dirty-bitmaps")
        raise AssertionError(node)

    def freeze(self, name: str = "b0") -> Bitmap:
        """As a job that starts."""
        self.graph.transaction([lambda staging: _freeze(staging, name)])
        frozen = self.bitmap(name).frozen
        assert frozen is not None
        return frozen


def _freeze(staging: Staging, name: str) -> None:
    bitmap_actions.freeze(staging, Place("disk", name))


@pytest.fixture
def server() -> Server:
    """Without bitmaps."""
    return Server()


def ones(bitmap: Bitmap) -> list[int]:
    """Set clusters."""
    return [cluster for cluster in range(bitmap.clusters) if bitmap.get(cluster)]


def write(client: Connection, *clusters: int) -> None:
    """A few bytes in each."""
    for cluster in clusters:
        client.pwrite(memoryview(b"new"), cluster * CLUSTER + 7, 0)


def add(name: str = "b0", node: str = "disk", **more: Any) -> Action:
    """As an action."""
    return "block-dirty-bitmap-add", {"node": node, "name": name, **more}


def to(verb: str, name: str = "b0", node: str = "disk") -> Action:
    """What takes a name only."""
    return COMMAND[verb], {"node": node, "name": name}


def merge(target: str, *bitmaps: Any, node: str = "disk") -> Action:
    """As an action."""
    arguments = {"node": node, "target": target, "bitmaps": list(bitmaps)}
    return "block-dirty-bitmap-merge", arguments


# Refusals: §6.3


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (add(""), "Bitmap name cannot be empty"),
        (add("", node="nope"), "Bitmap name cannot be empty"),
        (add(node="nope"), "Cannot find device='nope' nor node-name='nope'"),
        (add("b1", granularity=0), "Granularity must be power of 2 and at least 512"),
        (add("b1", granularity=-512), "Granularity must be power of 2 and at least 512"),
        (add("b1", granularity=256), "Granularity must be power of 2 and at least 512"),
        (add("b1", granularity=64000), "Granularity must be power of 2 and at least 512"),
        (
            add("b1", granularity=2**32),
            "Granularity 4294967296 is too large: the limit is 2147483648 (2 GiB)",
        ),
        (
            add("b1", granularity="64k"),
            "Invalid parameter type for 'granularity', expected: integer",
        ),
        (add(), "Bitmap already exists: b0"),
        (add("n" * 1024), "Bitmap name too long: " + "n" * 1024),
        (
            add("b1", persistent=True),
            NOT_PERSISTENT,
        ),
        (("block-dirty-bitmap-add", {"node": "disk"}), "Parameter 'name' is missing"),
        *((to(verb, "nope"), "Dirty bitmap 'nope' not found") for verb in ("remove", "clear")),
        *((to(verb, "nope"), "Dirty bitmap 'nope' not found") for verb in ("enable", "disable")),
        (to("clear", node="nope"), "Node 'nope' not found"),
        (to("clear", "b0", "top"), "Dirty bitmap 'b0' not found"),
        (merge("nope", "b0"), "Dirty bitmap 'nope' not found"),
        (merge("b0", "nope"), "Dirty bitmap 'nope' not found"),
        (merge("b0", {"node": "top", "name": "b0"}), "Dirty bitmap 'b0' not found"),
        (merge("b0", {"node": "nope", "name": "b0"}), "Node 'nope' not found"),
        (
            merge("b0", {"node": "small", "name": "s"}),
            OTHER_SIZE,
        ),
    ],
)
def test_refusals(server: Server, action: Action, message: str) -> None:
    """In QEMU's words; alone, and in a transaction of which then nothing is done."""
    server.add("memory", "small", size=512)
    server.transaction(add(), add("s", node="small"))
    write(server.connect(), 5)
    before = server.picture(), server.listed()
    assert server.refused(*action) == (GENERIC, message)
    steps = [{"type": kind, "data": data} for kind, data in (add("b9"), to("clear"), action)]
    kind, text = server.refused("transaction", {"actions": steps})
    assert (kind, text.endswith(message)) == (GENERIC, True), text
    assert (server.picture(), server.listed()) == before


@pytest.mark.parametrize(
    "action",
    [
        *(to(verb) for verb in ("remove", "clear", "enable", "disable")),
        merge("b0", "free"),
        merge("free", "b0"),
        merge("away", {"node": "disk", "name": "b0"}, node="other"),
    ],
)
def test_a_busy_bitmap_is_left_alone(server: Server, action: Action) -> None:
    """While a job has it; also in the transaction in which the job starts."""
    server.transaction(add(), add("free"), add("away", node="other"))
    message = "Bitmap 'b0' is currently in use by another operation and cannot be used"
    actions = [lambda staging: _freeze(staging, "b0"), _refused_as(server, action, message)]
    server.graph.transaction(actions)
    assert server.refused(*action) == (GENERIC, message)
    server.bitmap().thaw(None)
    server.execute(*action)


def _refused_as(server: Server, action: Action, message: str) -> Callable[[Staging], None]:
    command = COMMANDS[action[0]]

    def stage(staging: Staging) -> None:
        assert command.stage is not None
        with pytest.raises(CommandError, match=message):
            command.stage(staging, command.parse(action[1]))

    return stage


# What commands do


def test_a_bitmap_from_add_to_remove(server: Server) -> None:
    """Listed in QEMU's shape (§9.8); without bitmaps there is no such key."""
    assert server.listed() is None
    server.execute(*add())
    entry = {
        "name": "b0",
        "recording": True,
        "busy": False,
        "persistent": False,
        "granularity": CLUSTER,
        "count": 0,
    }
    assert server.listed() == [entry]
    assert server.listed("top") is None
    client = server.connect()
    client.pwrite(memoryview(bytes(CLUSTER)), CLUSTER // 2, 0)
    client.zero(CLUSTER, 4 * CLUSTER, 0)
    client.trim(1, 6 * CLUSTER, 0)
    client.pread(memoryview(bytearray(CLUSTER)), 9 * CLUSTER, 0)
    client.flush(0)
    assert server.dirty() == [0, 1, 4, 6]
    assert server.listed() == [entry | {"count": 4 * CLUSTER}]
    server.execute(*to("disable"))
    write(client, 20)
    assert server.listed() == [entry | {"count": 4 * CLUSTER, "recording": False}]
    server.execute(*to("enable"))
    write(client, 21)
    assert server.dirty() == [0, 1, 4, 6, 21]
    server.execute(*to("clear"))
    assert server.listed() == [entry]
    server.execute(*to("remove"))
    assert server.listed() is None
    write(client, 1)


def test_several_bitmaps(server: Server) -> None:
    """Each with its own granularity, all of a chain's nodes; the newest is listed first."""
    server.transaction(
        add(), add("fine", granularity=512), add("off", disabled=True), add("above", node="top")
    )
    write(server.connect(), 3)
    infos = [(each["name"], each["granularity"], each["count"]) for each in server.listed()]
    assert infos == [("off", CLUSTER, 0), ("fine", 512, 512), ("b0", CLUSTER, CLUSTER)]
    assert server.dirty("above", "top") == [3]


def test_nodes_see_what_passes_them(server: Server) -> None:
    """What ends above is not marked below: discard = ignore; what comes in below is not above."""
    server.transaction(add(), add("above", node="top"))
    top = {"driver": "throttle", "node-name": "top", "file": "disk", "throttle-group": "g"}
    server.execute("blockdev-reopen", {"options": [{**top, "discard": "ignore"}]})
    client = server.connect()
    client.trim(CLUSTER, CLUSTER, 0)
    assert (server.dirty("above", "top"), server.dirty()) == ([], [])
    client.zero(CLUSTER, 2 * CLUSTER, 0)
    server.execute("block-export-del", {"id": "vda", "mode": "hard"})
    server.execute(
        "block-export-add", {"type": "nbd", "id": "low", "node-name": "disk", "writable": True}
    )
    write(server.graph.connect("low", ignore), 3)
    assert (server.dirty("above", "top"), server.dirty()) == ([2], [2, 3])


def test_marks_below_a_limit(server: Server) -> None:
    """A request that had to wait marks as others do, and its times are counted."""
    server.transaction(add(), add("above", node="top"))
    limits = {"iops-total": 100}
    server.execute("qom-set", {"path": "g", "property": "limits", "value": limits})
    client = server.connect()
    write(client, *range(20))
    assert server.dirty() == server.dirty("above", "top") == list(range(20))
    assert server.node("disk")["stats"]["wr_operations"] == 20


def test_the_offsets_are_the_nodes_own(server: Server) -> None:
    """Of a window, and of what it is a window of."""
    window = {"driver": "raw", "node-name": "w", "file": "other", "offset": 8 * CLUSTER}
    server.execute("blockdev-add", window)
    server.execute(
        "block-export-add", {"type": "nbd", "id": "w", "node-name": "w", "writable": True}
    )
    server.transaction(add(node="w"), add(node="other"))
    write(server.graph.connect("w", ignore), 1)
    assert server.dirty(node="w") == [1]
    assert server.dirty(node="other") == [9]


def test_merge(server: Server) -> None:
    """From the same node and another, of any granularity; what is dirty in the target stays."""
    server.transaction(add(), add("b1", granularity=4 * CLUSTER), add("b2", node="other"))
    client = server.connect()
    write(client, 9)
    server.transaction(to("clear"), to("disable", "b1"))
    write(client, 1)
    server.bitmap("b2", "other").mark(30 * CLUSTER, 1)
    server.execute(*merge("b0", "b1", {"node": "other", "name": "b2"}, "b0"))
    assert server.dirty() == [1, 8, 9, 10, 11, 30]
    assert server.dirty("b1") == [2]


def test_actions_build_on_each_other(server: Server) -> None:
    """Added, merged into, enabled, its source cleared: one step, in order."""
    server.execute(*add())
    client = server.connect()
    write(client, 1, 2)
    server.transaction(
        add("b1", disabled=True),
        merge("b1", "b0"),
        to("clear"),
        to("remove"),
        add("b0"),
        add("b2"),
        merge("b2", "b1"),
        to("enable", "b1"),
        to("clear", "b2"),
    )
    write(client, 3)
    assert (server.dirty(), server.dirty("b1"), server.dirty("b2")) == ([3], [1, 2, 3], [3])


def test_a_bitmap_of_a_node_that_is_added_with_it(server: Server) -> None:
    """In one transaction; it has the node's size, also when that is changed by a later action."""
    throttle = {"driver": "throttle", "node-name": "t", "file": "disk", "throttle-group": "g"}
    server.add("memory", "small", size=CLUSTER)
    server.transaction(
        ("blockdev-add", throttle),
        add(node="t"),
        ("x-blkrun-set-edge", {"parent": "t", "role": "file", "child": "small"}),
    )
    assert server.bitmap(node="t").bits.size_bytes == CLUSTER
    assert server.dirty(node="t") == []


# A bitmap's life


def test_a_bitmap_goes_with_its_node(server: Server) -> None:
    """One of the same name that takes its place has none."""
    server.transaction(add(node="other"), add())
    server.execute("blockdev-del", {"node-name": "other"})
    server.add("memory", "other", size=SIZE)
    assert server.listed("other") is None
    server.execute("x-blkrun-replace-node", {"driver": "null", "node-name": "disk", "size": SIZE})
    assert server.listed() is None
    write(server.connect(), 1)


def test_a_bitmap_stays_through_edits_of_its_node(server: Server) -> None:
    """Reopened, moved, out of use and back: what was dirty stays, what is written is added."""
    server.execute(*add(node="top"))
    client = server.connect()
    write(client, 1)
    top = {"driver": "throttle", "node-name": "top", "file": "disk", "throttle-group": "g"}
    server.execute("blockdev-reopen", {"options": [{**top, "discard": "ignore"}]})
    write(client, 2)
    edge = {"parent": "vda", "child": "disk", "node": "top"}
    server.execute("block-remove-node", edge)
    write(client, 3)
    server.execute("block-insert-node", edge)
    write(client, 4)
    assert server.dirty(node="top") == [1, 2, 4]


@pytest.mark.parametrize("recording", [True, False])
def test_a_node_grows(server: Server, recording: bool) -> None:  # noqa: FBT001 - a parameter
    """Its new part is dirty if the bitmap records, as QEMU marks what a truncate adds."""
    server.add("memory", "large", size=SIZE + 2 * CLUSTER)
    server.execute(*add(node="top", disabled=not recording))
    grow = {"parent": "top", "role": "file", "child": "large"}
    server.execute("x-blkrun-set-edge", grow)
    assert server.dirty(node="top") == ([64, 65] if recording else [])
    write(server.connect(), 63, 65)
    assert server.dirty(node="top") == ([63, 64, 65] if recording else [])
    server.execute("block-export-del", {"id": "vda", "mode": "hard"})
    server.execute("x-blkrun-set-edge", {**grow, "child": "disk"})
    assert server.dirty(node="top") == ([63] if recording else [])


def test_a_job_freezes_and_thaws(server: Server) -> None:
    """The two entries while it runs (the hidden one has no name), and what it leaves."""
    server.execute(*add())
    client = server.connect()
    write(client, 1, 2)
    frozen = server.freeze()
    write(client, 2, 3, 4)
    hidden, named = server.listed()
    assert "name" not in hidden
    assert (hidden["busy"], hidden["count"]) == (False, 3 * CLUSTER)
    assert (named["name"], named["busy"], named["count"]) == ("b0", True, 2 * CLUSTER)
    server.bitmap().thaw(frozen)
    assert server.dirty() == [1, 2, 3, 4]


# Writers under way


class Held(Memory):
    """A RAM disk that can hold writes when their data is in place."""

    def __init__(self) -> None:
        super().__init__(MemoryOptions(node_name="held", size=SIZE))
        self.go = threading.Event()
        self.go.set()
        self.inside = 0

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Write, then wait."""
        super().do_pwrite(buf, offset, flags)
        self.inside += 1
        self.go.wait(20)
        self.inside -= 1


@pytest.fixture
def held(server: Server) -> Held:
    """A Held backend under the export ``held``."""
    node = Held()
    server.graph.transaction([lambda staging: staging.add_node(node, {})])
    server.execute(
        "block-export-add", {"type": "nbd", "id": "held", "node-name": "held", "writable": True}
    )
    return node


@pytest.mark.parametrize("verb", ["add", "clear", "enable", "disable", "merge", "remove"])
def test_a_command_waits_for_writes_under_way(server: Server, held: Held, verb: str) -> None:
    """None is half before it: the instant is one at which no write is under way."""
    server.transaction(add("a", "held", disabled=verb == "enable"), add("b", "held"))
    client = server.graph.connect("held", ignore)
    held.go.clear()
    writer = Worker(lambda: write(client, 1))
    eventually(lambda: held.inside)
    action = {"add": add("c", "held"), "merge": merge("a", "b", node="held")}.get(verb)
    command = Worker(lambda: server.execute(*(action or to(verb, "a", "held"))))
    command.join(0.05)
    assert command.is_alive()
    assert held.inside == 1
    held.go.set()
    writer.finish()
    command.finish()
    assert server.dirty("b", "held") == [1]
    if verb != "remove":
        expected = [] if verb in ("clear", "enable") else [1]
        assert server.dirty("a", "held") == expected
    if verb == "add":
        assert server.dirty("c", "held") == []
    write(client, 2)
    assert server.dirty("b", "held") == [1, 2]


def test_a_command_that_cannot_drain_changes_nothing(
    server: Server, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that does not end is not missed: the command fails."""
    monkeypatch.setattr("blkrun.server.graph.DRAIN_TIMEOUT_S", 0.05)
    server.execute(*add("a", "held"))
    client = server.graph.connect("held", ignore)
    write(client, 5)
    held.go.clear()
    writer = Worker(lambda: write(client, 1))
    eventually(lambda: held.inside)
    _, text = server.refused(*to("clear", "a", "held"))
    assert "did not come to rest" in text
    held.go.set()
    writer.finish()
    assert server.dirty("a", "held") == [1, 5]


class Writers:
    """Threads that write to random sectors of vda at full speed; ``log`` is when each did."""

    def __init__(self, server: Server, count: int) -> None:
        self.server = server
        self.log: list[tuple[int, int, int]] = []
        self.stop = threading.Event()
        self.works = [lambda number=number: self._write(number) for number in range(count)]

    def _write(self, number: int) -> None:
        client, chance = self.server.connect(), random.Random(number)
        while not self.stop.is_set():
            sector = chance.randrange(SIZE // SECTOR)
            begin_ns = perf_counter_ns()
            client.pwrite(memoryview(b"new"), sector * SECTOR + 7, 0)
            self.log.append((sector, begin_ns, perf_counter_ns()))

    def await_some(self) -> None:
        """Let a few go on from here."""
        seen = len(self.log) + 25
        eventually(lambda: len(self.log) >= seen)

    def between(self, begin_ns: int, end_ns: int) -> set[int]:
        """Sectors of which a write began and ended in a time."""
        return {at for at, begin, end in self.log if begin >= begin_ns and end <= end_ns}

    def around(self, begin_ns: int, end_ns: int) -> set[int]:
        """Sectors of which a write may have been acknowledged in a time."""
        return {at for at, begin, end in self.log if end >= begin_ns and begin <= end_ns}


Span = tuple[int, int]


def timed(work: Callable[[], object]) -> Span:
    """When it was."""
    begin_ns = perf_counter_ns()
    work()
    return begin_ns, perf_counter_ns()


@pytest.mark.usefixtures("_often")
@pytest.mark.parametrize("start", ["add", "clear", "enable", "merge"])
def test_every_write_since_is_dirty_and_no_other(server: Server, start: str) -> None:
    """Writers at full speed, a bitmap begun anew again and again, and looked at in between.

    What began after the command's return and ended before the look is dirty; what is dirty may
    have been acknowledged after the command began.
    """
    fine = add(granularity=SECTOR)
    server.transaction(fine, add("empty", disabled=True))
    begins: dict[str, tuple[Action, ...]] = {
        "add": (to("remove"), fine),
        "clear": (to("clear"),),
        "enable": (to("disable"), to("clear"), to("enable")),
        "merge": (to("clear"), merge("b0", "empty")),
    }
    writers = Writers(server, 3)
    rounds: list[tuple[Span, Span, list[int]]] = []

    def edit() -> None:
        try:
            for _ in range(40):
                since = timed(lambda: server.transaction(*begins[start]))
                writers.await_some()
                begin_ns = perf_counter_ns()
                now = server.dirty()
                rounds.append((since, (begin_ns, perf_counter_ns()), now))
        finally:
            writers.stop.set()

    with workers([edit, *writers.works]):
        pass
    for (before_ns, after_ns), (look_ns, looked_ns), now in rounds:
        assert writers.between(after_ns, look_ns) <= set(now)
        assert set(now) <= writers.around(before_ns, looked_ns)
    assert any(now for _, _, now in rounds)


@pytest.mark.usefixtures("_often")
def test_nothing_is_lost_on_the_way_to_another_bitmap(server: Server) -> None:
    """Merged and cleared in one transaction, or disabled while another is enabled: all are kept.

    Each cluster is written once, so that a write that is missed once is missed for good.
    """
    clusters = iter(random.Random(1).sample(range(4096), 4096))
    server.execute("blockdev-add", {"driver": "null", "node-name": "n", "size": 4096 * 512})
    server.execute(
        "block-export-add", {"type": "nbd", "id": "n", "node-name": "n", "writable": True}
    )
    small: dict[str, Any] = {"node": "n", "granularity": 512}
    server.transaction(
        add(**small), add("b1", disabled=True, **small), add("sum", disabled=True, **small)
    )
    done = threading.Event()

    def write_all() -> None:
        client = server.graph.connect("n", ignore)
        for cluster in clusters:
            client.pwrite(memoryview(b"x"), cluster * 512, 0)
        done.set()

    def edit() -> None:
        current, spare = "b0", "b1"
        while not done.is_set():
            server.transaction(merge("sum", current, node="n"), to("clear", current, "n"))
            server.transaction(to("disable", current, "n"), to("enable", spare, "n"))
            current, spare = spare, current

    with workers([edit, write_all, write_all]):
        pass
    eventually(done.is_set)
    server.execute(*merge("sum", "b0", "b1", node="n"))
    assert server.bitmap("sum", "n").bits.count_bytes() == 4096 * 512


@pytest.mark.usefixtures("_often")
def test_two_disks_are_cleared_at_one_instant(server: Server) -> None:
    """A client writes to one, then to the other: never is only the second one dirty."""
    server.execute(
        "block-export-add", {"type": "nbd", "id": "vdb", "node-name": "other", "writable": True}
    )
    server.transaction(add(), add(node="other"), add("a", disabled=True))
    server.execute(*add("b", node="other", disabled=True))
    stop = threading.Event()

    def write_both() -> None:
        first, second = server.connect(), server.graph.connect("vdb", ignore)
        while not stop.is_set():
            for cluster in range(64):
                write(first, cluster)
                write(second, cluster)

    def edit() -> None:
        try:
            for _ in range(200):
                server.transaction(
                    to("clear", "a"),
                    to("clear", "b", "other"),
                    merge("a", "b0"),
                    merge("b", "b0", node="other"),
                    to("clear"),
                    to("clear", node="other"),
                )
                first, second = server.dirty("a"), server.dirty("b", "other")
                # Of what was written in between, the first disk may be one cluster ahead; the
                # second one may have that of the round before.
                assert abs(len(first) - len(second)) <= 1, (first, second)
        finally:
            stop.set()

    with workers([edit, write_both]):
        pass


def test_of_a_file(server: InProcess) -> None:
    """Ours: it is all dirty at first, since nothing is known, and is listed as a file's."""
    arguments = {"node": "disk", "name": "f", "x-blkrun-of-file": True}
    server.execute("block-dirty-bitmap-add", arguments)
    assert server.node("disk")["bitmaps"] == [
        {"name": "f", "granularity": 65536, "recording": True, "busy": False, "of-file": True}
    ]
    (node,) = [
        each for each in server.execute("query-named-block-nodes") if each["node-name"] == "disk"
    ]
    assert node["dirty-bitmaps"][0]["count"] == server.node("disk")["size"]
    server.execute("block-dirty-bitmap-clear", {"node": "disk", "name": "f"})
    assert server.graph.nodes["disk"].bitmaps["f"].bits.count_bytes() == 0
