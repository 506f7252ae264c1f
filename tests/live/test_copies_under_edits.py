"""Copies of a disk under a client, with real servers: edits of the list, a spoilt one, a trial."""

import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import structs

from tests.live.hammering import Hammer
from tests.live.nbd_client import connect
from tests.live.service import Service, wait_for

START = "[backends.x]\ndriver='null'\n[exports.x]\nnode='x'\n"
NAMES = ("one", "two", "three", "four")


def disks(directory: Path) -> str:
    """Four files of one size, and a group without limits."""
    text = "[throttle-groups.g]\n"
    for name in NAMES:
        path = directory / f"{name}.img"
        text += f'[backends.{name}]\ndriver = "file"\npath = "{path}"\nsize = "16MiB"\n'
        text += "create = true\n"
    return text


def quorum(children: list[str], threshold: int, *options: str) -> str:
    """The node, its export, and filters over those children that are called so."""
    text = ""
    for child in children:
        if child.endswith("-limit"):
            file = child.removesuffix("-limit")
            text += f'[nodes.{child}]\ndriver = "throttle"\nthrottle-group = "g"\nfile = "{file}"\n'
    text += f'[nodes.votes]\ndriver = "quorum"\nchildren = {children}\n'.replace("'", '"')
    text += f"vote-threshold = {threshold}\n" + "".join(f"{line}\n" for line in options)
    return text + '[exports.vda]\nnode = "votes"\n'


@pytest.fixture
def far(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another server, with 16 MiB, on ``far.sock`` in the test's directory."""
    command = ["nbdkit", "-f", "-U", str(tmp_path / "far.sock"), "memory", "16M"]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    wait_for((tmp_path / "far.sock").exists, "the other server")
    yield server
    server.kill()  # also one that is stopped
    server.wait()


def with_far(directory: Path, *, member: bool) -> str:
    """Two files and that server, which is a child or just there."""
    children = ["one", "two", *(["far"] if member else [])]
    uri = f"nbd+unix:///?socket={directory / 'far.sock'}"
    text = disks(directory) + f'[backends.far]\ndriver = "nbd"\nuri = "{uri}"\n'
    return text + quorum(children, 2)


def specific(service: Service, name: str) -> dict[str, int]:
    """A node's own numbers."""
    (found,) = [each for each in service.graph()["nodes"] if each["node-name"] == name]
    return dict(found["driver-specific"])


def test_children_come_and_go_under_a_client(
    serve: Callable[[str], Service], hammer: Callable[..., Hammer]
) -> None:
    """Forty edits of the list: no error, no wrong byte; two that were always there are equal."""
    service, chance = serve(START), random.Random(7)
    base = disks(service.file.parent)
    service.edit_and_wait(base + quorum(["one", "two"], 2))
    client = hammer(service.uri(), 3600.0)
    next(client.said())
    before = ""
    for _ in range(40):
        kept = [chance.choice([name, f"{name}-limit"]) for name in ("one", "two")]
        extra = chance.sample(["three", "four"], chance.randrange(2))
        children = chance.sample(kept + extra, len(kept + extra))
        if children[0] in extra:  # with "fifo" it would be the disk
            children.reverse()
        options = chance.sample(["rewrite-corrupted = true", 'read-pattern = "quorum"'], 1)
        text = base + quorum(children, 2, *options)
        if text != before:
            assert service.edit_and_wait(text)["event"] == "X_BLKRUN_CONFIG_APPLIED"
        assert structs.replace(service.live(), gaps={}) == service.desired()
        before = text
    client.assert_unharmed()
    assert specific(service, "votes")["failures"] == 0
    service.edit_and_wait(base + quorum(["one", "two"], 2))
    one, two = (service.file.parent / f"{name}.img" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_spoilt_copy_is_told_of_and_repaired(
    serve: Callable[[str], Service], hammer: Callable[..., Hammer]
) -> None:
    """Spoilt behind our back: events over QMP and in the log, and a client that reads as before."""
    service = serve(START)
    base = disks(service.file.parent)
    text = base + quorum(["one", "two", "three"], 2, "rewrite-corrupted = true")
    service.edit_and_wait(text)
    client = hammer(service.uri(), 3600.0)
    next(client.said())
    path = service.file.parent / "three.img"
    with service.qmp() as qmp, path.open("r+b") as image:
        image.write(random.Random(1).randbytes(4 * 2**20))
        data = qmp.wait_event("QUORUM_REPORT_BAD")["data"]
    assert data["node-name"] == "three"
    assert data["type"] == "read"
    client.assert_unharmed()
    wait_for(lambda: "three, of a quorum: outvoted" in service.said(), "a line in the log")
    assert specific(service, "votes")["rewritten"] > 0
    assert specific(service, "votes")["failures"] == 0


def test_a_server_that_dies_is_outvoted(
    serve: Callable[[str], Service],
    hammer: Callable[..., Hammer],
    far: subprocess.Popen[bytes],
    tmp_path: Path,
) -> None:
    """Nothing comes to harm; it is told of with its error, and taken out of the list."""
    service = serve(START)
    service.edit_and_wait(with_far(tmp_path, member=True))
    client = hammer(service.uri(), 3600.0)
    next(client.said())
    with service.qmp() as qmp:
        far.kill()
        data = qmp.wait_event("QUORUM_REPORT_BAD")["data"]
    assert data["node-name"] == "far"
    assert data["error"]
    report = service.edit_and_wait(with_far(tmp_path, member=False))
    assert report["event"] == "X_BLKRUN_CONFIG_APPLIED"
    client.assert_unharmed()
    one, two = (tmp_path / f"{name}.img" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_server_that_falls_silent_is_taken_out(
    serve: Callable[[str], Service],
    hammer: Callable[..., Hammer],
    far: subprocess.Popen[bytes],
    tmp_path: Path,
) -> None:
    """Requests wait for it; the edit does not, and new ones go on; in the end none is lost."""
    service = serve(START)
    service.edit_and_wait(with_far(tmp_path, member=True))
    client = hammer(service.uri(), 3600.0)
    next(client.said())
    far.send_signal(signal.SIGSTOP)
    wait_for(lambda: service.graph()["exports"][0]["in-flight"] >= 4, "requests that hang")
    report = service.edit_and_wait(with_far(tmp_path, member=False))
    assert report["event"] == "X_BLKRUN_CONFIG_APPLIED"
    assert report["data"]["milliseconds"] < 2000
    other = connect(service.uri())
    data, place = random.Random(3).randbytes(65536), 12 * 2**20  # where the first does not write
    other.pwrite(data, place)
    other.flush()
    assert other.pread(len(data), place) == data
    far.send_signal(signal.SIGCONT)
    before = next(client.said())["done"]
    wait_for(lambda: next(client.said())["done"] > before + 100, "it to go on")
    client.assert_unharmed()
    one, two = (tmp_path / f"{name}.img" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_an_edit_in_which_new_copies_could_win_waits_for_a_yes(
    serve: Callable[[str], Service], hammer: Callable[..., Hammer]
) -> None:
    """The plan says that a new child is not filled; two new ones to one old are another disk."""
    service = serve(START)
    base = disks(service.file.parent)
    service.edit_and_wait(base + quorum(["one"], 1))
    client = hammer(service.uri(), 3600.0)
    next(client.said())
    report = service.edit_and_wait(base + quorum(["one", "two", "three"], 1))
    assert report["event"] == "X_BLKRUN_CONFIG_PENDING"
    assert any(
        "what it has differs until it is written" in each for each in report["data"]["operations"]
    )
    service.edit_and_wait(base + quorum(["one"], 1))
    client.assert_unharmed()


def test_a_server_on_trial_that_agrees(
    serve: Callable[[str], Service], hammer: Callable[..., Hammer]
) -> None:
    """Another server held against a file: not once do they differ, whatever the client does."""
    service = serve(START)
    text = disks(service.file.parent)
    text += '[backends.tried]\ndriver = "nbd"\ncommand = ["nbdkit", "memory", "16M"]\n'
    text += '[nodes.held]\ndriver = "blkverify"\ntest = "tried"\nraw = "one"\n'
    text += '[exports.vda]\nnode = "held"\n'
    service.edit_and_wait(text)
    client = hammer(service.uri(), 3600.0)
    lines = client.said()
    while next(lines)["done"] < 2000:
        pass
    client.assert_unharmed()
    assert specific(service, "held") == {"mismatches": 0}
