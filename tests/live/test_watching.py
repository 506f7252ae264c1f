"""Files are saved in every way there is, at any pace, while clients write and verify."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.hammering import Hammer
from tests.live.service import DISK, Service, wait_for

Serve = Callable[[str], Service]
Hammering = Callable[..., Hammer]

GROUP = "[throttle-groups.one]\niops-total = {}\n"
LIMIT = '[nodes.limit]\ndriver = "throttle"\nthrottle-group = "one"\nfile = "disk"\n'
HEAD = '[backends.disk]\ndriver = "memory"\nsize = "64MiB"\n' + GROUP.format(90_000) + LIMIT
TAIL = '[exports.vda]\nnode = "limit"\n[exports.vdb]\nnode = "disk"\n# {}\n'

SAVER = """
import os, sys, time
path, seconds, rename = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "rename"
head, tail = sys.argv[4:]
end, number = time.monotonic() + seconds, 0
while time.monotonic() < end:
    number += 1
    begin = time.monotonic()
    with open(path + ".new" if rename else path, "w") as file:
        file.write(head)
        file.flush()
        time.sleep(number % 3 * 0.01)
        file.write(tail.format(number))
    if rename:
        os.rename(path + ".new", path)
    time.sleep(max(0, 0.05 - (time.monotonic() - begin)))
print(number)
"""


@pytest.fixture
def saver() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """A process that saves every 50 ms; each half of what it writes is a file by itself."""
    started: list[subprocess.Popen[str]] = []

    def start(path: Path, seconds: float, how: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", SAVER, str(path), str(seconds), how, HEAD, TAIL]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


def save_without_rest(
    serve: Serve,
    hammer: Hammering,
    saver: Callable[..., "subprocess.Popen[str]"],
    how: str,
    seconds: float,
) -> None:
    """Some version is applied about once a second, no half ever, and the last one at the end."""
    service = serve(HEAD + TAIL.format(0))
    client = hammer(service.uri(), seconds + 60)
    with service.qmp() as qmp:
        process = saver(service.file, seconds, how)
        while process.poll() is None:
            qmp.do("query-version")
            time.sleep(0.2)
            assert qmp.do("x-blkrun-query-graph")["exports"][1]["id"] == "vdb"
        time.sleep(1.5)
        qmp.do("query-version")
        events = [event for event in qmp.events if event["event"].startswith("X_BLKRUN_CONFIG_")]
    assert {event["event"] for event in events} == {"X_BLKRUN_CONFIG_APPLIED"}
    assert all(event["data"]["operations"] == [] for event in events)
    assert len(events) >= seconds / 2
    texts = service.blkrun("history", str(events[-1]["data"]["number"]))
    assert service.file.read_text().splitlines()[-1] in texts.stdout
    client.assert_unharmed()
    service.edit_and_wait(HEAD + TAIL.format("done"))


@pytest.mark.parametrize("how", ["in place", "rename"])
def test_saves_without_rest(
    serve: Serve, hammer: Hammering, saver: Callable[..., "subprocess.Popen[str]"], how: str
) -> None:
    """Every 50 ms for ten seconds."""
    save_without_rest(serve, hammer, saver, how, 10)


@pytest.mark.soak
@pytest.mark.parametrize("how", ["in place", "rename"])
def test_saves_without_rest_for_a_minute(
    serve: Serve, hammer: Hammering, saver: Callable[..., "subprocess.Popen[str]"], how: str
) -> None:
    """Every 50 ms for a minute."""
    save_without_rest(serve, hammer, saver, how, 60)


def test_a_burst_is_one_edit(serve: Serve) -> None:
    """Ten saves within 0.2 s."""
    service = serve(DISK)
    with service.qmp() as qmp:
        for number in range(10):
            service.edit(DISK + f"# {number}\n")
            time.sleep(0.02)
        time.sleep(0.5)
        qmp.do("query-version")
        events = [event for event in qmp.events if event["event"].startswith("X_BLKRUN_CONFIG_")]
    assert len(events) == 1


def test_saved_as_it_was(serve: Serve) -> None:
    """That is no edit, unless somebody asks to read it again."""
    service = serve(DISK)
    with service.qmp() as qmp:
        service.edit(DISK)
        time.sleep(0.5)
        qmp.do("query-version")
        assert qmp.events == []
        qmp.do("x-blkrun-ask-runner", kind="reload")
        qmp.wait_event("X_BLKRUN_CONFIG_APPLIED")


def tenant(name: str) -> str:
    """A file of one disk."""
    return f'[backends.{name}]\ndriver = "memory"\nsize = "1MiB"\n[exports.{name}]\nnode="{name}"\n'


def has(service: Service, *names: str) -> Callable[[], bool]:
    """Whether just these are exported."""
    return lambda: service.live().exports.keys() == {"vda", *names}


def test_included_files(serve: Serve, hammer: Hammering) -> None:
    """Added, edited, wrong for a while, renamed over and deleted, under a client of the first."""
    service = serve('include = ["tenants/*.toml"]\n' + DISK)
    client = hammer(service.uri())
    tenants = service.file.parent / "tenants"
    tenants.mkdir()
    (tenants / "a.toml").write_text(tenant("a"))
    wait_for(has(service, "a"), "a file that was added")
    (tenants / "b.toml").write_text(tenant("b"))
    wait_for(has(service, "a", "b"), "another one")
    with service.qmp() as qmp:
        (tenants / "b.toml").write_text("wrong = \n")
        message = qmp.wait_event("X_BLKRUN_CONFIG_REJECTED")["data"]["message"]
        assert "tenants/b.toml:1" in message
        assert has(service, "a", "b")()
        (tenants / "new").write_text(tenant("c"))
        (tenants / "new").rename(tenants / "b.toml")
        wait_for(has(service, "a", "c"), "the mended file")
    (tenants / "a.toml").rename(tenants / "a.old")
    time.sleep(0.3)
    (tenants / "a.old").rename(tenants / "a.toml")
    assert has(service, "a", "c")()
    (tenants / "a.toml").unlink()
    wait_for(has(service, "c"), "the end of a file")
    client.assert_unharmed()


def test_a_config_map(serve: Serve, hammer: Hammering) -> None:
    """All files are links into a directory that is swapped: one edit, when it has settled."""
    service = serve(DISK)
    directory = service.file.parent
    main = 'include = ["tenants/*.toml"]\n' + DISK
    for version, names in (("..1", "ab"), ("..2", "bc")):
        (directory / version / "tenants").mkdir(parents=True)
        (directory / version / "vm.toml").write_text(main)
        for name in names:
            (directory / version / "tenants" / f"{name}.toml").write_text(tenant(name))
    (directory / "..data").symlink_to("..1")
    (directory / "tenants").symlink_to("..data/tenants")
    service.file.unlink()
    service.file.symlink_to("..data/vm.toml")
    wait_for(has(service, "a", "b"), "the first version")
    client = hammer(service.uri())
    (directory / "..next").symlink_to("..2")
    (directory / "..next").rename(directory / "..data")
    wait_for(has(service, "b", "c"), "the next version")
    wait_for(lambda: service.said().count("applied vm.toml") == 3, "what was said of it")
    assert "+2 -2" in service.said()
    client.assert_unharmed()


def test_a_deleted_file(serve: Serve, hammer: Hammering) -> None:
    """It is told, what runs goes on, and the same text again is as good as before."""
    service = serve(DISK)
    client = hammer(service.uri())
    with service.qmp() as qmp:
        service.file.unlink()
        message = qmp.wait_event("X_BLKRUN_CONFIG_REJECTED")["data"]["message"]
        assert "No such file" in message
        service.file.write_text(DISK)
        qmp.wait_event("X_BLKRUN_CONFIG_APPLIED")
    client.assert_unharmed()
