"""``discard``: where trims end, who counts them, and that it can be changed live."""

from collections.abc import Iterator
from typing import Any

import pytest

from blkrun.options import DRIVERS
from blkrun.server.way import FLAG_FUA
from tests.server.inprocess import InProcess, ignore, leave_thread_states_alone

KIB = 1024


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """An export, vda, of a throttle over a RAM disk."""
    leave_thread_states_alone(monkeypatch)
    found = InProcess()
    limits = {"iops-total": 10**6}
    found.execute("object-add", {"qom-type": "throttle-group", "id": "g", "limits": limits})
    found.add("memory", "disk", size=256 * KIB)
    found.add("throttle", "limit", file="disk", throttle_group="g")
    found.execute("block-export-add", EXPORT)
    yield found
    found.graph.close()


EXPORT = {"type": "nbd", "id": "vda", "node-name": "limit", "writable": True}


def reopen(server: InProcess, name: str, discard: str) -> None:
    """Change the option of a node, and nothing else."""
    options: dict[str, dict[str, Any]] = {
        "disk": {"driver": "memory", "size": 256 * KIB},
        "limit": {"driver": "throttle", "file": "disk", "throttle-group": "g"},
    }
    wire = {"node-name": name, "discard": discard, **options[name]}
    server.execute("blockdev-reopen", {"options": [wire]})


@pytest.mark.parametrize("place", ["limit", "disk"])
def test_ignored_and_then_not(server: InProcess, place: str) -> None:
    """A trim ends at the node and changes nothing; after a reopen it does, on one connection."""
    client = server.graph.connect("vda", ignore)
    client.pwrite(memoryview(b"x" * 128 * KIB), 0, 0)
    reopen(server, place, "ignore")
    client.trim(64 * KIB, 0, 0)
    buf = bytearray(64 * KIB)
    client.pread(memoryview(buf), 0, 0)
    assert buf == b"x" * 64 * KIB
    reopen(server, place, "unmap")
    client.trim(64 * KIB, 0, 0)
    client.pread(memoryview(buf), 0, 0)
    assert not any(buf)
    server.graph.disconnect(client)


def test_who_counts_an_ignored_trim(server: InProcess) -> None:
    """Export and node have seen it, what is below has not; with FUA that sees a flush instead."""
    reopen(server, "limit", "ignore")
    client = server.graph.connect("vda", ignore)
    for flags in (0, FLAG_FUA):
        client.trim(64 * KIB, 0, flags)
    client.pwrite(memoryview(b"x" * 512), 0, 0)
    nodes = server.graph.nodes
    for seen in (server.graph.exports["vda"].stats, nodes["limit"].stats):
        assert (seen.trims.done, seen.flushes.done, seen.writes.done) == (2, 0, 1)
    below = nodes["disk"].stats
    assert (below.trims.done, below.flushes.done, below.writes.done) == (0, 1, 1)
    assert below.in_flight == nodes["limit"].stats.in_flight == 0
    server.graph.disconnect(client)


def test_a_throttle_does_not_charge_what_it_ignores(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU's rule: only trims that are passed down count against the limits; zeroes always do."""
    charged: list[int] = []
    group = server.graph.groups["g"]
    real = group.admit

    def admit(member: Any, direction: int, count: int) -> int:
        charged.append(count)
        return real(member, direction, count)

    monkeypatch.setattr(group, "admit", admit)
    client = server.graph.connect("vda", ignore)
    for discard, expected in (("ignore", [2000]), ("unmap", [1000, 2000])):
        reopen(server, "limit", discard)
        charged.clear()
        client.trim(1000, 0, 0)
        client.zero(2000, 0, 0)
        assert charged == expected
    server.graph.disconnect(client)


def test_zeroes_keep_the_space(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """MAY_TRIM is taken off a zero where discards are ignored, as QEMU does; FUA stays."""
    seen: list[int] = []
    disk = server.graph.nodes["disk"]
    monkeypatch.setattr(disk, "do_zero", lambda count, offset, flags: seen.append(flags))
    reopen(server, "limit", "ignore")
    # The route of the disk was made with its own do_zero before.
    reopen(server, "disk", "ignore")
    client = server.graph.connect("vda", ignore)
    client.zero(512, 0, FLAG_FUA | 1)
    reopen(server, "limit", "unmap")
    reopen(server, "disk", "unmap")
    client.zero(512, 0, FLAG_FUA | 1)
    assert seen == [FLAG_FUA, FLAG_FUA | 1]
    server.graph.disconnect(client)


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_can_be_reopened(driver: str) -> None:
    """The option is the layer's, so that no driver has to take care of it."""
    assert "discard" in DRIVERS[driver].reopenable
