"""Clients write at full speed through a write-threshold filter that fires, is armed, and leaves."""

from collections.abc import Callable, Iterator

import pytest

from tests.live.hammering import Hammer
from tests.live.nbd_client import connect
from tests.live.service import Qmp, Service, wait_for

MIB = 2**20
WINDOW_BYTES = 8 * MIB
EVENT, LEFT = "BLOCK_WRITE_THRESHOLD", "X_BLKRUN_NODE_REMOVED"

Serve = Callable[[str], Service]


def graph(threshold: int, when_spent: str = "keep", *, below: str = "disk", more: str = "") -> str:
    """Two exports, each a window, over one filter over one image."""
    windows = "".join(
        f'[nodes.window{number}]\ndriver = "raw"\nfile = "alarm"\n'
        f'offset = "{8 * number}MiB"\nsize = "8MiB"\n'
        f'[exports.vd{number}]\nnode = "window{number}"\n'
        for number in range(2)
    )
    return (
        '[backends.disk]\ndriver = "file"\npath = "disk.img"\nsize = "16MiB"\ncreate = true\n'
        f'[nodes.alarm]\ndriver = "write-threshold"\nfile = "{below}"\n'
        f'write-threshold = {threshold}\nwhen-spent = "{when_spent}"\n{more}{windows}'
    )


FREE = '[throttle-groups.free]\n[nodes.limit]\ndriver = "throttle"\nthrottle-group = "free"\n'
LIMIT = f'{FREE}file = "disk"\n'


@pytest.fixture
def numbers() -> Iterator[int]:
    """Thresholds, each another one; both clients write beyond all of them."""
    return iter(range(MIB, 2 * MIB))


def applied(service: Service, text: str) -> list[str]:
    """Save, and see that it is applied: what was done."""
    report = service.edit_and_wait(text)
    assert report["event"] == "X_BLKRUN_CONFIG_APPLIED", report
    return [str(operation) for operation in report["data"]["operations"]]


def arm(qmp: Qmp, threshold: int) -> None:
    """By command."""
    arguments = {"node-name": "alarm", "write-threshold": threshold}
    qmp.do("block-set-write-threshold", **arguments)


def thresholds_told_of(service: Service) -> list[int]:
    """Of all events since the server began."""
    with service.qmp() as qmp:
        events = qmp.do("x-blkrun-query-events")
    return [each["data"]["write-threshold"] for each in events if each["event"] == EVENT]


def assert_image_is_what_clients_read(service: Service) -> None:
    """Byte for byte, over both exports."""
    stored = (service.file.parent / "disk.img").read_bytes()
    for number in range(2):
        handle = connect(service.uri(f"vd{number}"))
        seen = bytes(handle.pread(WINDOW_BYTES, 0))
        handle.shutdown()
        assert seen == stored[number * WINDOW_BYTES :][:WINDOW_BYTES]


def assert_settled(service: Service) -> None:
    """The file is as it was, so there is nothing to do."""
    plan = service.blkrun("plan", "--exit-code")
    assert plan.returncode == 0, plan.stdout
    assert service.blkrun("apply").returncode == 0
    assert "alarm" not in service.live().nodes


def test_fires_once_an_arming(
    serve: Serve, hammer: Callable[..., Hammer], numbers: Iterator[int]
) -> None:
    """Armed by command and by edits, kept and leaving, edited around: one event each, no byte lost.

    Every threshold is another number, so that the list of events tells of each arming apart.
    """
    armed = [next(numbers)]
    service = serve(graph(armed[0]))
    with service.qmp() as qmp:
        clients = [hammer(service.uri(f"vd{number}"), 3600.0) for number in range(2)]
        assert qmp.wait_event(EVENT)["data"]["write-threshold"] == armed[0]
        for _ in range(30):
            armed.append(next(numbers))
            arm(qmp, armed[-1])
            assert qmp.wait_event(EVENT)["data"]["write-threshold"] == armed[-1]
        for _ in range(5):
            armed.append(next(numbers))
            applied(service, graph(armed[-1]))
            assert qmp.wait_event(EVENT)["data"]["write-threshold"] == armed[-1]
            assert applied(service, f"# the same number\n{graph(armed[-1])}") == []
        for _ in range(5):
            armed.append(next(numbers))
            applied(service, graph(armed[-1], "remove"))
            assert qmp.wait_event(LEFT)["data"] == {"node-name": "alarm", "reason": "spent"}
            assert_settled(service)
            applied(service, graph(armed[-1], "remove", below="limit", more=LIMIT))
            assert set(service.live().nodes) == {"disk", "limit", "window0", "window1"}
            applied(service, graph(armed[-1], "remove"))
        for _ in range(10):  # it may leave before, while or after the second edit is planned
            armed.append(next(numbers))
            applied(service, graph(armed[-1], "remove"))
            applied(service, graph(armed[-1], "remove", below="limit", more=LIMIT))
            qmp.wait_event(LEFT)
            assert_settled(service)
            applied(service, graph(armed[-1], "remove"))
    for client in clients:
        client.assert_unharmed()
    assert thresholds_told_of(service) == armed
    assert_image_is_what_clients_read(service)


def test_a_new_runner_does_not_put_it_back(serve: Serve) -> None:
    """The server remembers what has left, and ``status`` says so; the table's return arms anew."""
    service = serve(graph(4 * MIB, "remove"))
    handle = connect(service.uri("vd0"))
    handle.pwrite(bytes(512), 5 * MIB)
    wait_for(lambda: "alarm" not in service.live().nodes, "the filter to leave")
    assert_settled(service)

    service.kill_runner()
    service.start()
    assert_settled(service)
    assert "alarm (write-threshold) is spent and has left the graph" in (
        service.blkrun("status").stdout
    )

    off = graph(4 * MIB, "remove").replace("[nodes.alarm]", "[nodes.alarm]\nenabled = false")
    assert applied(service, off) == ["- node alarm (write-threshold), which had left by itself"]
    applied(service, graph(4 * MIB, "remove"))
    assert "alarm" in service.live().nodes
    handle.pwrite(bytes(512), 5 * MIB)
    wait_for(lambda: "alarm" not in service.live().nodes, "the filter to leave again")
    handle.shutdown()
    assert thresholds_told_of(service) == [4 * MIB, 4 * MIB]


def test_events_in_the_log(serve: Serve) -> None:
    """What a person reads."""
    service = serve(graph(4 * MIB, "remove"))
    handle = connect(service.uri("vd1"))
    handle.zero(1024, 0)
    handle.shutdown()
    wait_for(lambda: "left the graph" in service.said(), "the log")
    said = service.said()
    assert "WARN  alarm: a write goes 4097KiB beyond the threshold of 4MiB" in said
    assert "info  alarm left the graph by itself (spent)" in said
