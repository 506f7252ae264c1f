"""Overlays stacked over a disk that clients write to, streamed away, with filters in between.

Writers' blocks tell of each other (see ``cut``): what is read at the end is one disk, with not a
write lost and none from before.
"""

import subprocess
from pathlib import Path

import pytest

from tests.live.copying import DIRECT, SIZE, WRITERS, Serve, check_disk, succeeded
from tests.live.cut import Writers, parts, read_all
from tests.live.service import Qmp, Service, wait_for

ROUNDS = pytest.mark.parametrize("rounds", [12, pytest.param(100, marks=pytest.mark.soak)])


def image(name: str) -> dict[str, object]:
    """A qcow2 node's options."""
    wire = {"driver": "qcow2", "node-name": name, "file": f"{name}-file", "backing": None}
    return {**wire, "create": True, "size": SIZE}


def add_overlay(qmp: Qmp, service: Service, name: str) -> None:
    """A new image, without a backing yet."""
    path = str(service.file.parent / f"{name}.qcow2")
    file = {"driver": "file", "node-name": f"{name}-file", "path": path}
    qmp.do("blockdev-add", **file, size=0, create=True)
    qmp.do("blockdev-add", **image(name))


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


@ROUNDS
def test_stacked_and_streamed_away(serve: Serve, rounds: int) -> None:
    """Two overlays a round, then all but the upper one go; no error, no wrong byte."""
    service = serve(DIRECT)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        below = "disk"
        for turn in range(rounds):
            gone = [below] if turn else []
            for name in (f"l{turn}", f"u{turn}"):
                wait_for_writes(writers)
                add_overlay(qmp, service, name)
                qmp.do("blockdev-snapshot", node=below, overlay=name)
                toggle_filter(qmp, name, below)
                below = name
            base = {"base-node": "disk"} if turn < rounds - 1 else {}
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


def test_copied_up_while_written(serve: Serve) -> None:
    """Clients read all of the disk while others write it, and copy-on-read comes and goes."""
    service = serve(DIRECT)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        wait_for_writes(writers)
        add_overlay(qmp, service, "top")
        qmp.do("blockdev-snapshot", node="disk", overlay="top")
        cor = {"driver": "copy-on-read", "node-name": "cor", "file": "top"}
        edge = {"parent": "vda", "child": "top", "node": "cor"}
        qmp.do("blockdev-add", **cor)
        for _ in range(4):
            qmp.do("block-insert-node", **edge)
            toggle_filter(qmp, "cor", "top")
            wait_for_writes(writers)
            read_all(service.uri(), SIZE // 4)
            qmp.do("block-remove-node", **edge)
            wait_for_writes(writers)
        qmp.do("block-insert-node", **edge)
        read_all(service.uri(), SIZE)
        nodes = qmp.do("x-blkrun-query-graph")["nodes"]
        (copied,) = [each for each in nodes if each["node-name"] == "cor"]
        assert copied["driver-specific"]["copied"] > 0
        qmp.do("block-remove-node", **edge)
        qmp.do("blockdev-del", **{"node-name": "cor"})
        qmp.do("blockdev-reopen", options=[image("top")])  # without a backing
        wait_for_writes(writers)
    assert writers.errors == []
    disk = read_all(service.uri(), SIZE)
    assert writers.check(parts(disk, WRITERS)) == writers.answered
    assert service.blkrun("stop").returncode == 0
    checked(service.file.parent / "top.qcow2")


@ROUNDS
def test_stacked_and_committed(serve: Serve, rounds: int) -> None:
    """Two overlays a round; the lower goes down under load, then the upper, with its pivot."""
    service = serve(DIRECT)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work(), service.qmp() as qmp:
        for turn in range(rounds):
            below = "disk"
            for name in (f"l{turn}", f"u{turn}"):
                wait_for_writes(writers)
                add_overlay(qmp, service, name)
                qmp.do("blockdev-snapshot", node=below, overlay=name)
                toggle_filter(qmp, name, below)
                below = name
            wait_for_writes(writers)
            job = {"job-id": "j", "device": below}
            qmp.do("block-commit", **job, **{"top-node": f"l{turn}"})
            succeeded(qmp)
            drop_overlay(qmp, f"l{turn}")
            wait_for_writes(writers)
            qmp.do("block-commit", **job, **{"when-ready": "pivot"})
            succeeded(qmp)
            drop_overlay(qmp, below)
        wait_for_writes(writers)
    assert writers.errors == []
    check_disk(writers, service)


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


def test_the_file_says_when_the_overlay_goes(serve: Serve) -> None:
    """A commit of the active layer, as a table: clients get the base, and the file follows."""
    before = DIRECT.replace('apply = "all"', 'apply = "safe"')
    service = serve(before)
    writers = Writers([service.uri()] * WRITERS)
    with writers.at_work():
        wait_for_writes(writers)
        stacked = OVERLAY + before.replace('node = "disk"', 'node = "top"')
        assert service.edit_and_wait(stacked)["event"] == "X_BLKRUN_CONFIG_APPLIED"
        wait_for_writes(writers)
        job = '[jobs.merge]\ntype = "commit"\ndevice = "top"\nwhen-ready = "pivot"\n'
        assert service.edit_and_wait(stacked + job)["event"] == "X_BLKRUN_CONFIG_APPLIED"
        wait_for(lambda: "enabled = false" in service.file.read_text(), "the file to follow")
        service.edit(before)
        wait_for(lambda: "top" not in service.live().nodes, "the overlay to go")
        wait_for_writes(writers)
    check_disk(writers, service)
