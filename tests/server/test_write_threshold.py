"""Write thresholds (qemu-semantics §5, §10.3): what is told of, when, how often, and leaving."""

import errno
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest

from blkrun.errors import CommandError
from blkrun.server import later as later_module
from blkrun.server.drivers.memory import Memory
from blkrun.server.drivers.write_threshold import WriteThreshold
from blkrun.server.later import Later
from blkrun.server.qmp.commands import COMMANDS
from blkrun.server.route import Key
from blkrun.server.staging import Staging
from tests.server.inprocess import (
    InProcess,
    Worker,
    eventually,
    ignore,
    leave_thread_states_alone,
    workers,
)

KIB, MIB = 2**10, 2**20
SIZE = 16 * MIB
EVENT, SET, LEFT = "BLOCK_WRITE_THRESHOLD", "block-set-write-threshold", "X_BLKRUN_NODE_REMOVED"


@pytest.fixture(autouse=True)
def _plain_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_thread_states_alone(monkeypatch)


@pytest.fixture
def server() -> Iterator[InProcess]:
    """``disk``, 16 MiB of memory."""
    server = InProcess()
    server.add("memory", "disk", size=SIZE)
    yield server
    server.graph.later.stop()


def add(server: InProcess, threshold: int = 4 * MIB, **options: Any) -> WriteThreshold:
    """A filter ``alarm`` over ``disk``, as the export ``vda``."""
    server.add("write-threshold", "alarm", file="disk", write_threshold=threshold, **options)
    export(server, "vda", "alarm")
    return alarm_of(server)


def alarm_of(server: InProcess) -> WriteThreshold:
    """The live node."""
    node = server.graph.nodes["alarm"]
    assert isinstance(node, WriteThreshold)
    return node


def export(server: InProcess, name: str, node: str) -> None:
    """A writable export."""
    data = {"type": "nbd", "id": name, "node-name": node, "writable": True}
    server.execute("block-export-add", data)


def write(server: InProcess, count: int, offset: int, node: str = "alarm") -> None:
    """Zeroes, written."""
    server.graph.nodes[node].pwrite(memoryview(bytes(count)), offset, 0)


def told(server: InProcess, name: str = EVENT) -> list[dict[str, Any]]:
    """The data of all events of that name, in order."""
    return [event["data"] for event in server.events.since(0) if event["event"] == name]


def amounts(server: InProcess) -> list[int]:
    """By how much the threshold was exceeded, each time."""
    return [data["amount-exceeded"] for data in told(server)]


def set_threshold(server: InProcess, threshold: int, node: str = "alarm") -> None:
    """As a client of QMP."""
    server.execute(SET, {"node-name": node, "write-threshold": threshold})


def queried(server: InProcess, node: str = "alarm") -> int:
    """``write_threshold`` of query-named-block-nodes."""
    nodes = server.execute("query-named-block-nodes", {"flat": True})
    return int(next(each["write_threshold"] for each in nodes if each["node-name"] == node))


# What is told of


Request = Callable[[InProcess], None]

MEASURED: list[tuple[str, Request, int | None]] = [
    ("write far below", lambda s: write(s, KIB, KIB), None),
    ("write up to it", lambda s: write(s, KIB, 4 * MIB - KIB), None),
    ("write across it", lambda s: write(s, 2 * KIB, 4 * MIB - KIB), 1024),
    ("write beyond it", lambda s: write(s, 512, 4 * MIB + 4096), 4608),
    ("zero", lambda s: s.graph.nodes["alarm"].zero(64 * KIB, 4 * MIB + 4096, 0), 69632),
    ("trim", lambda s: s.graph.nodes["alarm"].trim(64 * KIB, 4 * MIB + 4096, 0), 69632),
    ("read", lambda s: s.graph.nodes["alarm"].pread(memoryview(bytearray(512)), 5 * MIB), None),
    ("flush", lambda s: s.graph.nodes["alarm"].flush(), None),
]


@pytest.mark.parametrize(("request_of", "amount"), [row[1:] for row in MEASURED],
                         ids=[row[0] for row in MEASURED])  # fmt: skip
def test_measured_values(server: InProcess, request_of: Request, amount: int | None) -> None:
    """§5.2: what qemu-storage-daemon 7.2 tells, to the byte, once; then it reads back 0."""
    add(server)
    for _ in range(2):
        request_of(server)
    event = {"node-name": "alarm", "amount-exceeded": amount, "write-threshold": 4 * MIB}
    assert told(server) == ([] if amount is None else [event])
    assert queried(server) == (4 * MIB if amount is None else 0)


def test_an_unaligned_write_through_raw(server: InProcess) -> None:
    """§5.2: 512 bytes at 1000 with the threshold 1024: 488; offsets are the node's own."""
    add(server, 1024)
    server.add("raw", "window", file="alarm", offset=1000)
    write(server, 512, 0, "window")
    assert amounts(server) == [488]


def test_qemus_unit_test(server: InProcess) -> None:
    """test-write-threshold: none at first; what is set is replaced by what is set next."""
    add(server, 0)
    assert queried(server) == 0
    write(server, KIB, 10 * MIB)
    for threshold in (4 * MIB, 15 * MIB):
        set_threshold(server, threshold)
    assert queried(server) == 15 * MIB
    write(server, 2 * KIB, 4 * MIB - KIB)
    assert amounts(server) == []


def test_a_trim_that_does_not_get_here(server: InProcess) -> None:
    """``discard = "ignore"`` ends it at this node, as in QEMU; a zero goes on and is told of."""
    add(server, discard="ignore")
    server.graph.nodes["alarm"].trim(64 * KIB, 5 * MIB, 0)
    assert amounts(server) == []
    server.graph.nodes["alarm"].zero(64 * KIB, 5 * MIB, 0)
    assert amounts(server) == [MIB + 64 * KIB]


class Backend(Memory):
    """Tells what the event stream had when a write came, and may fail it or hold it."""

    def __init__(self, options: Any, server: InProcess) -> None:
        super().__init__(options)
        self.server = server
        self.seen: list[int] = []
        self.error: int | None = None

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """Note, then write or fail."""
        self.seen.append(len(told(self.server)))
        if self.error is not None:
            raise OSError(self.error, "as told")
        super().do_pwrite(buf, offset, flags)


@pytest.mark.parametrize("error", [None, errno.ENOSPC])
def test_told_before_the_write_goes_down(error: int | None) -> None:
    """The event is out when the backend gets the write; one that fails is told of too."""
    server = InProcess()
    server.add("memory", "model", size=SIZE)
    options = server.graph.nodes["model"].options
    disk = Backend(type(options)(node_name="disk", size=SIZE), server)
    disk.error = error
    server.graph.transaction([lambda staging: staging.add_node(disk, {})])
    add(server)
    with pytest.raises(OSError, match="as told") if error else nullcontext():
        write(server, KIB, 5 * MIB)
    assert disk.seen == [1]


def test_two_in_one_chain(server: InProcess) -> None:
    """§10.3: each tells of its own, independently, the upper one first."""
    server.add("write-threshold", "low", file="disk", write_threshold=2 * MIB)
    server.add("write-threshold", "high", file="low", write_threshold=3 * MIB)
    write(server, MIB, 2 * MIB, "high")
    write(server, MIB, 3 * MIB, "high")
    assert [data["node-name"] for data in told(server)] == ["low", "high"]
    set_threshold(server, MIB, "low")
    set_threshold(server, MIB, "high")
    write(server, MIB, 3 * MIB, "high")
    assert [data["node-name"] for data in told(server)[2:]] == ["high", "low"]


# Arming


def test_armed_again_by_who_hears(server: InProcess) -> None:
    """§10.3: each event is answered with a higher threshold, and each of those is told of once."""
    alarm = add(server, MIB)
    for step in range(1, 8):
        write(server, SIZE // 8, (step - 1) * SIZE // 8)
        write(server, SIZE // 8, step * SIZE // 8)
        assert len(told(server)) == step
        assert queried(server) == 0
        set_threshold(server, (step + 1) * SIZE // 8)
    assert [data["write-threshold"] for data in told(server)] == [
        MIB, *(step * SIZE // 8 for step in range(2, 8))
    ]  # fmt: skip
    assert alarm.describe() == {"state": "armed", "write-threshold": SIZE, "fired": 7}


def test_zero_disarms(server: InProcess) -> None:
    """§5.1: 0 is no threshold; this is not being spent, so it does not make the filter leave."""
    add(server, when_spent="remove")
    set_threshold(server, 0)
    write(server, KIB, 5 * MIB)
    assert told(server) == []
    described = server.node("alarm")["driver-specific"]
    assert described == {"state": "off", "write-threshold": 0, "fired": 0}


@pytest.mark.parametrize(
    ("given", "read_back"), [(-1, 2**64 - 1), (2**64 - 1, 2**64 - 1), (2**63, 2**63)]
)
def test_any_64_bits(server: InProcess, given: int, read_back: int) -> None:
    """§5.1: a uint64; -1 wraps, as QEMU's."""
    add(server)
    set_threshold(server, given)
    assert queried(server) == read_back
    write(server, KIB, 5 * MIB)
    assert told(server) == []


REFUSED = [
    ({"node-name": "zz", "write-threshold": 1}, "Device 'zz' not found"),
    (
        {"node-name": "disk", "write-threshold": 1},
        "Node 'disk' (memory) has no write threshold: set that of a write-threshold filter over it",
    ),
    ({"node-name": "alarm"}, "Parameter 'write-threshold' is missing"),
    (
        {"node-name": "alarm", "write-threshold": "4M"},
        "Invalid parameter type for 'write-threshold', expected: integer",
    ),
]


@pytest.mark.parametrize(("arguments", "text"), REFUSED)
def test_refusals(server: InProcess, arguments: dict[str, Any], text: str) -> None:
    """§5.1: GenericError, and the threshold stays."""
    add(server)
    assert server.refused(SET, arguments) == ("GenericError", text)
    assert queried(server) == 4 * MIB


@pytest.mark.parametrize("given", [2**64, -(2**63) - 1])
def test_more_than_64_bits(server: InProcess, given: int) -> None:
    """Refused, by the command: a client's JSON may have any number."""
    add(server)
    command = COMMANDS[SET]
    refused = command.stage
    assert refused is not None
    parsed = command.parse({"node-name": "alarm", "write-threshold": given})
    with pytest.raises(CommandError, match=f"does not accept value '{given}'"):
        server.graph.transaction([lambda staging: refused(staging, parsed)])
    assert queried(server) == 4 * MIB


def reopen(server: InProcess, **options: Any) -> None:
    """All options of ``alarm``, some of them new."""
    wire = {"driver": "write-threshold", "node-name": "alarm", "file": "disk"}
    wire |= {key.replace("_", "-"): value for key, value in options.items()}
    server.execute("blockdev-reopen", {"options": [wire]})


def test_another_number_arms_and_the_same_does_not(server: InProcess) -> None:
    """A file saved with the same number, or with another option changed, changes nothing here."""
    add(server)
    write(server, KIB, 5 * MIB)
    reopen(server, write_threshold=4 * MIB)
    reopen(server, write_threshold=4 * MIB, discard="ignore")
    assert server.node("alarm")["driver-specific"]["state"] == "spent"
    reopen(server, write_threshold=5 * MIB)
    assert queried(server) == 5 * MIB
    write(server, KIB, 5 * MIB)
    assert amounts(server) == [MIB + KIB, KIB]


def test_the_same_number_keeps_what_qmp_has_set(server: InProcess) -> None:
    """What a client has armed it with stays until the file has another number."""
    add(server)
    set_threshold(server, 9 * MIB)
    reopen(server, write_threshold=4 * MIB, discard="ignore")
    assert queried(server) == 9 * MIB


def test_in_a_transaction(server: InProcess) -> None:
    """Set with other edits, or not at all."""
    add(server)
    action = {"type": SET, "data": {"node-name": "alarm", "write-threshold": MIB}}
    abort: dict[str, Any] = {"type": "abort", "data": {}}
    server.refused("transaction", {"actions": [action, abort]})
    assert queried(server) == 4 * MIB
    server.execute("transaction", {"actions": [action]})
    assert queried(server) == MIB


# Threads and routes


class Turnstile:
    """A lock that counts who has come to it."""

    def __init__(self) -> None:
        self.come = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        """Come, and wait."""
        self.come += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Let the next one in."""
        self._lock.release()


def test_eight_at_once_are_one_event(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them have found that they go beyond it before the first one has told."""
    alarm = add(server)
    turnstile = Turnstile()
    monkeypatch.setattr(alarm, "_firing", turnstile)
    emit = server.events.emit

    def emit_when_all_have_come(name: str, data: dict[str, Any]) -> None:
        eventually(lambda: turnstile.come == 8)
        emit(name, data)

    monkeypatch.setattr(server.events, "emit", emit_when_all_have_come)
    with workers([partial(write, server, KIB, number * KIB + 5 * MIB) for number in range(8)]):
        pass
    assert len(told(server)) == alarm.fired == 1
    assert server.graph.nodes["disk"].stats.writes.done == 8


@pytest.fixture
def _often() -> Iterator[None]:
    """Switch threads as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_often")
def test_many_threads_one_event_an_arming(server: InProcess) -> None:
    """Four clients write beyond it all the time, and it is armed again and again."""
    add(server)
    stop = threading.Event()

    def work() -> None:
        client = server.graph.connect("vda", ignore)
        while not stop.is_set():
            client.pwrite(memoryview(bytes(512)), 5 * MIB, 0)
        server.graph.disconnect(client)

    with workers([work] * 4):
        for number in range(1, 50):
            eventually(partial(has_told, server, number))
            set_threshold(server, 4 * MIB + number)
        eventually(partial(has_told, server, 50))
        stop.set()
    assert [data["write-threshold"] for data in told(server)] == [
        4 * MIB + number for number in range(50)
    ]
    assert server.graph.exports["vda"].stats.in_flight == 0


def has_told(server: InProcess, times: int) -> bool:
    """Whether that many events have come."""
    return len(told(server)) >= times


def test_spent_it_costs_nothing_from_the_next_edit_on(server: InProcess) -> None:
    """Its route is then the child's own functions; armed again it is not."""
    alarm = add(server)
    disk = server.graph.nodes["disk"]
    write(server, KIB, 5 * MIB)
    server.execute("transaction", {"actions": []})
    assert alarm.route is not None
    assert alarm.route.way.pwrite == disk.do_pwrite
    assert alarm.route.way.trim == disk.do_trim
    set_threshold(server, 4 * MIB)
    assert alarm.route is not None
    assert alarm.route.way.pwrite != disk.do_pwrite
    write(server, KIB, 5 * MIB)
    assert len(told(server)) == 2


def test_fired_while_routes_are_made(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that comes between ``form`` and ``lower`` leaves no route that is deaf for ever."""
    alarm = add(server)
    client, form = server.graph.connect("vda", ignore), alarm.form

    def form_then_fire() -> Key:
        key = form()
        write(server, KIB, 5 * MIB)
        return key

    server.add("write-threshold", "low", file="disk", write_threshold=0)
    with monkeypatch.context() as patch:
        patch.setattr(alarm, "form", form_then_fire)
        server.execute("x-blkrun-set-edge", {"parent": "alarm", "role": "file", "child": "low"})
    assert len(told(server)) == 1
    set_threshold(server, 4 * MIB)
    client.pwrite(memoryview(bytes(KIB)), 5 * MIB, 0)
    assert len(told(server)) == 2
    server.graph.disconnect(client)


def throttled(server: InProcess) -> Worker:
    """A write that waits in a throttle above ``alarm``: it is the second, with one a second."""
    limits = {"iops-total": 1}
    server.execute("object-add", {"qom-type": "throttle-group", "id": "slow", "limits": limits})
    server.add("throttle", "limit", file="alarm", throttle_group="slow")
    export(server, "vdb", "limit")
    client = server.graph.connect("vdb", ignore)

    def work() -> None:
        for offset in (0, 5 * MIB):
            client.pwrite(memoryview(bytes(32 * KIB)), offset, 0)
        server.graph.disconnect(client)

    return Worker(work)


def test_below_a_throttle(server: InProcess) -> None:
    """§10.3: told of when the request is released, not when it begins to wait; armed meanwhile."""
    add(server, 6 * MIB)
    writer = throttled(server)
    eventually(lambda: server.node("limit")["driver-specific"]["waiting"])
    assert told(server) == []
    set_threshold(server, 5 * MIB)
    assert server.node("limit")["driver-specific"]["waiting"] == 1
    writer.finish()
    assert amounts(server) == [32 * KIB]


def test_nobody_passes_unseen_once_it_is_set(server: InProcess) -> None:
    """Nobody looks without a threshold; when one has been set, nobody is on that way any more."""
    add(server, 0)
    writer = throttled(server)
    eventually(lambda: server.node("limit")["driver-specific"]["waiting"])
    set_threshold(server, 4 * MIB)
    done = server.node("disk")["stats"]["wr_operations"]
    assert done + len(told(server)) == 2
    writer.finish()


# Leaving


def test_leaves_when_spent(server: InProcess) -> None:
    """Everybody above gets its child; it is remembered, and an event tells."""
    add(server, when_spent="remove")
    server.add("raw", "window", file="alarm")
    write(server, KIB, 5 * MIB)
    eventually(lambda: told(server, LEFT))
    assert told(server, LEFT) == [{"node-name": "alarm", "reason": "spent"}]
    graph = server.execute("x-blkrun-query-graph")
    assert [node["node-name"] for node in graph["nodes"]] == ["disk", "window"]
    assert graph["exports"][0]["node-name"] == "disk"
    assert server.node("window")["children"] == {"file": "disk"}
    assert graph["spent"] == [
        {
            "driver": "write-threshold",
            "node-name": "alarm",
            "file": "disk",
            "write-threshold": 4 * MIB,
            "when-spent": "remove",
        }
    ]
    assert len(told(server)) == 1


def test_the_client_does_not_wait_for_it(server: InProcess) -> None:
    """A write that fires returns while an edit holds the graph; the filter goes afterwards."""
    add(server, when_spent="remove")
    with server.graph.lock:
        Worker(lambda: write(server, KIB, 5 * MIB)).finish()
        assert len(told(server)) == 1
        assert "alarm" in server.graph.nodes
        Worker(lambda: write(server, KIB, 5 * MIB)).finish()
    eventually(lambda: "alarm" not in server.graph.nodes)
    assert len(told(server)) == 1


def test_armed_before_it_could_leave(server: InProcess) -> None:
    """It stays then, until the next time."""
    add(server, when_spent="remove")
    with server.graph.lock:
        write(server, KIB, 5 * MIB)
        set_threshold(server, 5 * MIB)
    done = threading.Event()
    server.graph.later.do(done.set)
    assert done.wait(10)
    assert queried(server) == 5 * MIB
    write(server, KIB, 5 * MIB)
    eventually(lambda: told(server, LEFT))
    assert len(told(server)) == 2


def test_told_to_leave_when_it_is_spent_already(server: InProcess) -> None:
    """``when-spent`` changed to remove: it is spent, so it goes."""
    add(server)
    write(server, KIB, 5 * MIB)
    reopen(server, write_threshold=4 * MIB, when_spent="remove")
    eventually(lambda: told(server, LEFT))
    assert "alarm" not in server.graph.nodes


def test_forgotten(server: InProcess) -> None:
    """By command, or when a node of that name is added; who has not left cannot be forgotten."""
    forget = ("x-blkrun-forget-spent", {"node-name": "alarm"})
    refusal = ("GenericError", "No node 'alarm' has left the graph by itself")
    assert server.refused(*forget) == refusal
    for again in (lambda: server.execute(*forget), lambda: server.add("null", "alarm")):
        server.add("write-threshold", "alarm", file="disk", write_threshold=1, when_spent="remove")
        write(server, KIB, 0)
        eventually(lambda: "alarm" in server.graph.spent)
        again()
        assert server.graph.spent == {}
        assert server.refused(*forget) == refusal


def test_a_failed_transaction_forgets_nothing(server: InProcess) -> None:
    """All or nothing holds for this too."""
    add(server, when_spent="remove")
    write(server, KIB, 5 * MIB)
    eventually(lambda: "alarm" in server.graph.spent)
    forget = {"type": "x-blkrun-forget-spent", "data": {"node-name": "alarm"}}
    null = {"type": "blockdev-add", "data": {"driver": "null", "node-name": "alarm"}}
    abort: dict[str, Any] = {"type": "abort", "data": {}}
    for action in (forget, null):
        server.refused("transaction", {"actions": [action, abort]})
        assert set(server.graph.spent) == {"alarm"}


def test_an_inline_filter_is_not_remembered(server: InProcess) -> None:
    """No file has a table for it."""
    inner = {"driver": "write-threshold", "file": "disk", "write-threshold": 1}
    inner |= {"node-name": "inner", "when-spent": "remove"}
    server.add("raw", "window", file=inner)
    write(server, KIB, 0, "window")
    eventually(lambda: told(server, LEFT))
    assert server.graph.spent == {}
    assert server.node("window")["children"] == {"file": "disk"}


def test_leaving_is_tried_again(
    server: InProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An edit may be refused, for want of rest for example; the log tells, and it leaves later."""
    monkeypatch.setattr(later_module, "RETRY_S", 0.001)
    add(server, when_spent="remove")
    edit, refusals = server.graph.transaction, iter(("no rest", "no rest yet"))

    def refuse_at_first(actions: Iterable[Callable[[Staging], None]]) -> None:
        for refusal in refusals:
            raise CommandError(refusal)
        edit(actions)

    monkeypatch.setattr(server.graph, "transaction", refuse_at_first)
    write(server, KIB, 5 * MIB)
    eventually(lambda: told(server, LEFT))
    assert "alarm" not in server.graph.nodes
    assert capsys.readouterr().err.splitlines() == [
        "trying again: no rest",
        "trying again: no rest yet",
    ]


def test_a_defect_does_not_end_later(capsys: pytest.CaptureFixture[str]) -> None:
    """It is logged whole, and what comes next is done."""
    later, done = Later(), threading.Event()
    later.start()
    later.do(lambda: 1 // 0)  # type: ignore[arg-type]
    later.do(done.set)
    assert done.wait(10)
    later.stop()
    assert "ZeroDivisionError" in capsys.readouterr().err
