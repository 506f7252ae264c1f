"""Overlays stacked over a disk that clients write to, streamed away, with filters in between.

Writers' blocks tell of each other (see ``cut``): what is read at the end is one disk, with not a
write lost and none from before.
"""

import subprocess
from pathlib import Path

from tests.live.copying import DIRECT, SIZE, WRITERS, Serve, succeeded
from tests.live.cut import Writers, parts, read_all
from tests.live.service import Qmp, Service, wait_for

ROUNDS = 12
"""The issue's hundred are done by hand: see its note."""


def add_overlay(qmp: Qmp, service: Service, name: str) -> None:
    """A new image, without a backing yet."""
    path = str(service.file.parent / f"{name}.qcow2")
    file = {"driver": "file", "node-name": f"{name}-file", "path": path}
    qmp.do("blockdev-add", **file, size=0, create=True)
    wire = {"driver": "qcow2", "node-name": name, "file": f"{name}-file", "backing": None}
    qmp.do("blockdev-add", **wire, create=True, size=SIZE)


def drop_overlay(qmp: Qmp, name: str) -> None:
    """It is in nobody's chain any more."""
    qmp.do("blockdev-del", **{"node-name": name})
    qmp.do("blockdev-del", **{"node-name": f"{name}-file"})


def toggle_filter(qmp: Qmp, parent: str, child: str) -> None:
    """In and out between an overlay and its backing image."""
    wire = {"driver": "throttle", "node-name": "between", "throttle-group": "g", "file": child}
    edge = {"parent": parent, "child": child, "node": "between"}
    qmp.do("blockdev-add", **wire)
    qmp.do("block-insert-node", **edge)
    qmp.do("block-remove-node", **edge)
    qmp.do("blockdev-del", **{"node-name": "between"})


def wait_for_writes(writers: Writers) -> None:
    """One more of each."""
    before = list(writers.answered)
    wait_for(lambda: all(map(int.__gt__, writers.answered, before)), "writes")


def checked(image: Path) -> None:
    """qemu-img finds nothing wrong."""
    subprocess.run(["qemu-img", "check", "-q", str(image)], check=True)


def test_stacked_and_streamed_away(serve: Serve) -> None:
    """Two overlays a round, then all but the upper one go; no error, no wrong byte."""
    service = serve(DIRECT)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        below = "disk"
        for turn in range(ROUNDS):
            gone = [below] if turn else []
            for name in (f"l{turn}", f"u{turn}"):
                wait_for_writes(writers)
                add_overlay(qmp, service, name)
                qmp.do("blockdev-snapshot", node=below, overlay=name)
                toggle_filter(qmp, name, below)
                below = name
            base = {"base-node": "disk"} if turn < ROUNDS - 1 else {}
            qmp.do("block-stream", **{"job-id": "j", "device": below, **base})
            succeeded(qmp)
            for name in (f"l{turn}", *gone):
                drop_overlay(qmp, name)
        wait_for_writes(writers)
    assert writers.errors == []
    disk = read_all(service.uri(), SIZE)
    assert writers.check(parts(disk, WRITERS)) == writers.answered
    stopped = service.blkrun("stop")
    assert stopped.returncode == 0, stopped.stderr
    checked(service.file.parent / f"{below}.qcow2")


OVERLAY = f"""
[backends.overlay]
driver = "file"
path = "overlay.qcow2"
size = 0
create = true
[nodes.top]
driver = "qcow2"
file = "overlay"
backing = "disk"
create = true
size = {SIZE}
"""


def test_the_file_says_it_as_well(serve: Serve) -> None:
    """An edit stacks an overlay under an export in use; a job flattens it, and the file follows."""
    service = serve(DIRECT)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work():
        wait_for_writes(writers)
        before = DIRECT.replace('apply = "all"', 'apply = "safe"')
        stacked = OVERLAY + before.replace('node = "disk"', 'node = "top"')
        report = service.edit_and_wait(stacked)
        assert report["event"] == "X_BLKRUN_CONFIG_APPLIED"  # and nobody was asked
        assert report["data"]["drains"] == {"vda": WRITERS}
        assert report["data"]["operations"] == [
            "+ backend overlay (file)",
            "+ node top (qcow2) over overlay, disk",
            "~ export vda: root disk → top",
        ]
        wait_for_writes(writers)
        service.edit_and_wait(stacked + '[jobs.flatten]\ntype = "stream"\ndevice = "top"\n')
        wait_for(lambda: 'backing = ""' in service.file.read_text(), "the file to follow")
        wait_for_writes(writers)
        assert service.live().nodes["top"] == service.desired().nodes["top"]
    assert writers.errors == []
    disk = read_all(service.uri(), SIZE)
    assert writers.check(parts(disk, WRITERS)) == writers.answered
    assert service.blkrun("stop").returncode == 0
    checked(service.file.parent / "overlay.qcow2")
