"""qcow2 images behind a real server: edited under load, killed, and looked at by QEMU."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.live.cut import BLOCK_BYTES, BLOCKS_EACH, Writers, parts, read_all
from tests.live.service import Service, tool, wait_for

WRITERS = 3
SIZE = WRITERS * BLOCKS_EACH * BLOCK_BYTES
IMAGE = f"""
[runner]
apply = "all"
[throttle-groups.free]
[backends.top-file]
driver = "file"
path = "top.qcow2"
create = true
[nodes.top]
driver = "qcow2"
file = "{{file}}"
create = true
size = {SIZE}
{{more}}
[exports.vda]
node = "{{root}}"
"""
BASE = f"""
[backends.base-file]
driver = "file"
path = "base.qcow2"
create = true
[nodes.base]
driver = "qcow2"
file = "base-file"
create = true
size = {SIZE}
extended-l2 = true
"""
OVERLAY = 'backing = "{backing}"\n'


def limit(name: str, below: str) -> str:
    """A filter that holds nobody up."""
    return f"""
[nodes.{name}]
driver = "throttle"
throttle-group = "free"
file = "{below}"
"""


def image(file: str = "top-file", root: str = "top", more: str = "") -> str:
    """The image, and what is around it."""
    return IMAGE.format(file=file, root=root, more=more)


def progress(writers: Writers) -> None:
    """Wait until each has written some more."""
    before = list(writers.answered)

    def more() -> bool:
        return all(now > then + 20 for now, then in zip(writers.answered, before, strict=True))

    wait_for(more, "the writers")


def as_raw(path: Path) -> bytes:
    """What QEMU reads of an image that no server has open."""
    raw = path.with_suffix(".raw")
    tool("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(path), str(raw))
    return raw.read_bytes()


def test_an_overlay_under_load(serve: Callable[[str], Service]) -> None:
    """Filters above it, below it and over its backing, and a new node in its place: all is there.

    No client sees an error, and QEMU finds no fault in the images afterwards.
    """
    overlay = BASE + image(more=OVERLAY.format(backing="base"))
    service = serve(overlay)
    writers = Writers([service.uri()] * WRITERS)
    edits = [
        BASE + image(root="limit", more=OVERLAY.format(backing="base")) + limit("limit", "top"),
        BASE + image("limit", more=OVERLAY.format(backing="base")) + limit("limit", "top-file"),
        BASE + image(more=OVERLAY.format(backing="limit")) + limit("limit", "base"),
        BASE + image(more=OVERLAY.format(backing="base") + 'l2-cache-size = "1MiB"\n'),
        overlay,
    ]
    with writers.at_work():
        for text in edits * 2:
            progress(writers)
            assert service.edit_and_wait(text)["event"] == "X_BLKRUN_CONFIG_APPLIED"
    assert not writers.errors
    disk = read_all(service.uri(), SIZE)
    assert writers.check(parts(disk, WRITERS)) == writers.answered
    assert service.blkrun("stop", "--yes").returncode == 0
    directory = service.file.parent
    for name in ("base.qcow2", "top.qcow2"):
        tool("qemu-img", "check", str(directory / name))
    assert as_raw(directory / "top.qcow2") == disk


def test_the_images_own_backing_is_no_drift(serve: Callable[[str], Service]) -> None:
    """It comes with the node, and a file that does not speak of it is in force as it is."""
    service = serve(BASE + image(more=OVERLAY.format(backing="base")))
    assert service.blkrun("stop", "--yes").returncode == 0
    service = Service(service.file.parent, image(), "own")
    try:
        service.start()
        names = {node["node-name"] for node in service.graph()["nodes"]}
        assert len(names) == 4  # with the backing, and the file that has it
        assert service.live() == service.desired()
        said = service.blkrun("plan", "--exit-code")
        assert said.returncode == 0, said.stdout
        event = service.edit_and_wait(image(more='discard = "ignore"\n'))
        assert event["event"] == "X_BLKRUN_CONFIG_APPLIED"
        assert {node["node-name"] for node in service.graph()["nodes"]} == names
        assert service.blkrun("stop", "--yes").returncode == 0
    finally:
        service.end()


def test_a_server_that_is_killed_loses_nothing(serve: Callable[[str], Service]) -> None:
    """All that clients were answered is there; at worst clusters belong to nobody."""
    service = serve(image())
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work():
        wait_for(lambda: all(turn > 300 for turn in writers.answered), "the writers")
        pid = service.server_pid()
        service.kill_runner()  # or it starts another one
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(writers.errors) == WRITERS, "the end of the connections")
    path = service.file.parent / "top.qcow2"
    command = ["qemu-img", "check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, 3), done.stdout  # 3: leaks, and no other fault
    found = writers.check(parts(as_raw(path), WRITERS))
    assert all(
        answered <= there <= answered + 1
        for answered, there in zip(writers.answered, found, strict=True)
    )
