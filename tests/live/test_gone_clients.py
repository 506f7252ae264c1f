"""Clients that go away while their requests wait in a throttle."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blkrun.server.throttle.group import LOOK_AFTER_S
from tests.live.service import Service, wait_for

Serve = Callable[[str], Service]
Queue = Callable[..., "subprocess.Popen[str]"]

QUEUEING = Path(__file__).with_name("queueing.py")
THREADS = 4
QUEUED = 16
BYTES = 5_000

SLOW = f"""
[server]
threads = {THREADS}

[throttle-groups.tenant]
bps-total = 250

[backends.disk-a]
driver = "memory"
size   = "1MiB"

[backends.disk-b]
driver = "memory"
size   = "1MiB"

[nodes.limit-a]
driver         = "throttle"
throttle-group = "tenant"
file           = "disk-a"

[nodes.limit-b]
driver         = "throttle"
throttle-group = "tenant"
file           = "disk-b"

[exports.a]
node = "limit-a"

[exports.b]
node = "limit-b"
"""
"""A write of BYTES goes at once, and is paid for in twenty seconds: no test takes so long."""


@pytest.fixture
def queue() -> Iterator[Queue]:
    """``queue(uri, writes, length, *words)``: a client process that has sent its requests."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: object) -> "subprocess.Popen[str]":
        command = [sys.executable, str(QUEUEING), *map(str, words)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stdout = started[-1].stdout
        assert stdout is not None
        assert stdout.readline() == "sent\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def group(service: Service) -> tuple[float, dict[str, int]]:
    """The level of bps-total, and how many wait in each node."""
    (found,) = service.graph()["throttle-groups"]
    waiting = {member["node-name"]: member["waiting"] for member in found["members"]}
    return found["levels"]["bps-total"], waiting


def export(service: Service, name: str) -> dict[str, Any]:
    """Clients and counts of an export."""
    exports = service.graph()["exports"]
    return next(each for each in exports if each["id"] == name)


def test_a_killed_client_does_not_hold_its_place(serve: Serve, queue: Queue) -> None:
    """What it has waiting is dropped and not charged, and the other client is served alone."""
    service = serve(SLOW)
    killed = queue(service.uri("a"), QUEUED, BYTES)
    wait_for(lambda: group(service)[1]["limit-a"] == THREADS, "its requests to wait")
    stays = queue(service.uri("b"), 2, 500)
    wait_for(lambda: group(service)[1]["limit-b"] == 2, "the other's to wait behind them")

    killed.kill()
    wait_for(lambda: not export(service, "a")["clients"], "its connection to end")
    level, waiting = group(service)
    assert waiting == {"limit-a": 0, "limit-b": 2}
    assert level <= BYTES
    stats = export(service, "a")["stats"]
    assert (stats["wr_operations"], stats["failed_wr_operations"]) == (1, THREADS)

    service.edit(SLOW.replace("250", "0"))
    assert stays.stdout is not None
    wait_for(lambda: export(service, "b")["stats"]["wr_operations"] == 2, "the other's writes")


def test_who_says_goodbye_is_served_to_the_end(serve: Serve, queue: Queue) -> None:
    """NBD_CMD_DISC behind requests that wait: the server handles them, and they are answered."""
    service = serve(SLOW)
    leaves = queue(service.uri("a"), THREADS, BYTES, "goodbye")
    wait_for(lambda: group(service)[1]["limit-a"] == THREADS - 1, "its requests to wait")
    time.sleep(3 * LOOK_AFTER_S)
    assert group(service)[1]["limit-a"] == THREADS - 1
    service.edit(SLOW.replace("250", "0"))
    assert leaves.stdout is not None
    assert leaves.stdout.readline() == f"{THREADS}\n"
    wait_for(lambda: not export(service, "a")["clients"], "its connection to end")
    stats = export(service, "a")["stats"]
    assert (stats["wr_operations"], stats["failed_wr_operations"]) == (THREADS, 0)
