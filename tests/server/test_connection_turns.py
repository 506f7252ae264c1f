"""How long a connection's thread goes on before it lets others go first."""

import os

import pytest

from tests.server.inprocess import InProcess, ignore, workers

pytestmark = pytest.mark.usefixtures("plain_threads")

REQUESTS = 40


@pytest.mark.parametrize(("connections", "expected"), [(1, 0), (2, 2), (3, 2)])
@pytest.mark.parametrize("kind", ["reads", "writes"])
def test_a_turn_is_sixteen_requests(
    kind: str, connections: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With others connected it yields after each 16 of its own, alone never."""
    server = InProcess()
    server.add("memory", "disk", size=4096)
    export = {"type": "nbd", "id": "vda", "node-name": "disk", "writable": True}
    server.execute("block-export-add", export)
    first, *_ = [server.graph.connect("vda", ignore) for _ in range(connections)]
    request = first.pread if kind == "reads" else first.pwrite
    done: list[int] = []
    yields: list[int] = []
    monkeypatch.setattr(os, "sched_yield", lambda: yields.append(len(done)))

    def turn() -> None:
        for number in range(REQUESTS):
            done.append(number)
            request(memoryview(bytearray(512)), 0, 0)

    with workers([turn]):  # a thread that has had no request yet
        pass
    assert yields == [16, 32][:expected]
