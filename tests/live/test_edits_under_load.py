"""Clients write and verify while the file is edited: no error, no wrong byte, every graph right."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from blkrun.server.events import KEPT_EVENTS
from tests.live.hammering import Hammer
from tests.live.service import Service, wait_for


def backend(directory: Path) -> str:
    """A disk on a file, as in the quickstart."""
    path = directory / "disk.img"
    return f'[backends.disk]\ndriver = "file"\npath = "{path}"\nsize = "64MiB"\ncreate = true\n'


def chain(directory: Path, filters: list[tuple[str, bool]], limit: int) -> str:
    """A file: the disk, two groups, filters from the bottom up, some switched off, an export."""
    text = backend(directory)
    text += f"[throttle-groups.one]\niops-total = {limit}\n[throttle-groups.two]\n"
    below = "disk"
    for number, (name, enabled) in enumerate(filters):
        group = "one" if number % 2 else "two"
        text += f'[nodes.{name}]\ndriver = "throttle"\nthrottle-group = "{group}"\n'
        text += f'file = "{below}"\nenabled = {str(enabled).lower()}\n'
        below = name
    return text + f'[exports.vda]\nnode = "{below}"\n'


def another_file(directory: Path, chance: random.Random, last: str) -> str:
    """One that says something else: the same text saved again is no edit."""
    while (text := random_file(directory, chance)) == last:
        pass
    return text


def random_file(directory: Path, chance: random.Random) -> str:
    """Any order of any of four filters, any switched off, any limit that lets a client work."""
    names = chance.sample(["a", "b", "c", "d"], chance.randrange(5))
    filters = [(name, chance.random() < 0.8) for name in names]
    return chain(directory, filters, chance.choice([0, 5_000, 20_000, 100_000]))


BAD = (
    "[exports.vda]\nnode = 'nobody'\n",
    "this is no TOML",
    "[nodes.a]\ndriver = 'throttel'\nfile = 'disk'\n",
    "# nothing but a comment\n",
)


def test_two_hundred_edits(serve: Callable[[str], Service], hammer: Callable[..., Hammer]) -> None:
    """Queue depth 16 with patterns through 200 edits: nobody is hurt, memory stays level."""
    edit_under_load(serve, hammer, edits=200, seed=20)


def test_discard_is_changed_under_load(
    serve: Callable[[str], Service], hammer: Callable[..., Hammer]
) -> None:
    """Of a throttle and of its disk, again and again, in one reopen each, with clients at work."""
    service = serve("[backends.x]\ndriver='null'\n[exports.x]\nnode='x'\n")
    text = chain(service.file.parent, [("a", True), ("b", True)], 50_000)
    service.edit_and_wait(text)
    client = hammer(service.uri(), 3600.0)
    next(client.said())
    for turn in range(20):
        where = ("[nodes.a]", "[backends.disk]")[turn % 4 // 2]
        now = text.replace(where, f'{where}\ndiscard = "ignore"') if turn % 2 == 0 else text
        assert service.edit_and_wait(now)["event"] == "X_BLKRUN_CONFIG_APPLIED"
        assert service.live() == service.desired()
    client.assert_unharmed()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_edits(
    serve: Callable[[str], Service], hammer: Callable[..., Hammer], seed: int
) -> None:
    """The same for as long as somebody cares to wait, each time with other edits."""
    edit_under_load(serve, hammer, edits=3_000, seed=seed)


def edit_under_load(
    serve: Callable[[str], Service], hammer: Callable[..., Hammer], *, edits: int, seed: int
) -> None:
    """A client writes and verifies; every fifth edit is a bad one; every graph is as the file."""
    chance = random.Random(seed)
    service = serve("[backends.x]\ndriver='null'\n[exports.x]\nnode='x'\n")
    directory = service.file.parent
    service.edit_and_wait(chain(directory, [], 0))
    client = hammer(service.uri(), 3600.0)
    next(client.said())
    good = service.file.read_text()
    resident = 0
    with service.qmp() as qmp:
        for number in range(edits):
            if number % 5 == 4:
                service.edit(chance.choice(BAD))
                expected = "X_BLKRUN_CONFIG_REJECTED"
            else:
                good = another_file(directory, chance, good)
                service.edit(good)
                expected = "X_BLKRUN_CONFIG_APPLIED"
            report = service.next_report(qmp)
            assert report["event"] == expected, report
            if number % 5 == 3:
                assert service.live() == service.desired(), good
            if number == edits // 4:
                resident = service.resident_kib()
    # Each edit leaves two events, with its operations, until a thousand are kept.
    growth_kib = 2048 if edits // 4 > KEPT_EVENTS // 2 else 4096
    assert service.resident_kib() - resident < growth_kib
    client.assert_unharmed()
    stats = service.graph()["exports"][0]
    assert stats["in-flight"] == 0
    assert stats["stats"]["failed_rd_operations"] == 0
    assert stats["stats"]["failed_wr_operations"] == 0


def test_limits_take_effect_live(
    serve: Callable[[str], Service], hammer: Callable[..., Hammer]
) -> None:
    """A throttle added, raised and removed by edits governs a client that is connected."""
    service = serve("[backends.x]\ndriver='null'\n[exports.x]\nnode='x'\n")
    directory = service.file.parent
    service.edit_and_wait(chain(directory, [], 0))
    client = hammer(service.uri())
    service.edit_and_wait(chain(directory, [("b", True), ("a", True)], 500))
    limited = client.rate(1.5)
    service.edit_and_wait(chain(directory, [("b", True), ("a", True)], 2_000))
    raised = client.rate(1.5)
    service.edit_and_wait(chain(directory, [], 2_000))
    freed = client.rate(0.5)

    # Limits are upper bounds; how far above them a free client gets is the machine's affair.
    assert limited < 600
    assert 600 < raised < 2_300
    assert raised < freed
    client.assert_unharmed()


def test_a_killed_runner_is_not_noticed(
    serve: Callable[[str], Service], hammer: Callable[..., Hammer]
) -> None:
    """SIGKILL of the runner in the middle of I/O; a new one adopts the server and goes on."""
    service = serve("[backends.x]\ndriver='null'\n[exports.x]\nnode='x'\n")
    directory = service.file.parent
    service.edit_and_wait(chain(directory, [("a", True)], 0))
    client = hammer(service.uri())
    next(client.said())
    pid = service.server_pid()

    service.kill_runner()
    service.edit(chain(directory, [("b", True)], 5_000))
    time.sleep(0.2)
    assert set(service.live().nodes) == {"disk", "a"}
    service.start()

    wait_for(lambda: service.live() == service.desired(), "the edit made meanwhile to be applied")
    assert service.server_pid() == pid
    assert "found the running server" in service.said()
    client.assert_unharmed()


def test_a_killed_server_comes_back(serve: Callable[[str], Service]) -> None:
    """SIGKILL of nbdkit: the last good graph is served again, and an event says so."""
    service = serve("[backends.x]\ndriver='null'\n[exports.x]\nnode='x'\n")
    directory = service.file.parent
    service.edit_and_wait(chain(directory, [("a", True)], 700))
    good = service.desired()
    service.edit_and_wait(BAD[1])
    pid = service.server_pid()

    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "was restarted" in service.said(), "the runner to restart the server")

    assert service.server_pid() != pid
    assert service.live() == good
    with service.qmp() as qmp:
        events = [event["event"] for event in qmp.do("x-blkrun-query-events")]
    assert "X_BLKRUN_SERVER_RESTARTED" in events


def test_a_client_waiting_in_a_removed_throttle_goes_on(serve: Callable[[str], Service]) -> None:
    """Requests held at one a second are let go when the filter is taken out."""
    import nbd  # noqa: PLC0415 - the distribution's, see conftest

    service = serve("[backends.x]\ndriver='null'\n[exports.x]\nnode='x'\n")
    directory = service.file.parent
    service.edit_and_wait(chain(directory, [("b", True), ("a", True)], 1))
    handle = nbd.NBD()
    handle.connect_uri(service.uri())
    cookies = [handle.aio_pread(nbd.Buffer(512), 512 * number) for number in range(4)]
    wait_for(
        lambda: sum(m["waiting"] for g in service.graph()["throttle-groups"] for m in g["members"]),
        "requests to wait",
    )

    begin = time.monotonic()
    service.edit_and_wait(chain(directory, [], 1))
    while cookies := [c for c in cookies if not handle.aio_command_completed(c)]:
        handle.poll(10)
        assert time.monotonic() - begin < 2.5, "still throttled: four requests took three seconds"
    handle.shutdown()


def test_connections_leave_nothing_behind(serve: Callable[[str], Service]) -> None:
    """Kept thread states are given back: 300 connections of 8 threads do not grow the server."""
    import nbd  # noqa: PLC0415 - the distribution's, see conftest

    disk = '[backends.disk]\ndriver = "null"\n[exports.vda]\nnode = "disk"\n'
    service = serve(f"[server]\nthreads = 8\n{disk}")

    def connect(times: int) -> None:
        for _ in range(times):
            handle = nbd.NBD()
            handle.connect_uri(service.uri())
            cookies = [handle.aio_pread(nbd.Buffer(512), 0) for _ in range(32)]
            while cookies:
                handle.poll(100)
                cookies = [c for c in cookies if not handle.aio_command_completed(c)]
            handle.shutdown()

    connect(50)
    before = service.resident_kib()
    connect(300)
    # Without giving back, 300 connections of 8 threads cost about 10 MB (see server/threads.py).
    assert service.resident_kib() - before < 3000
