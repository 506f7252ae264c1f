"""A pivot that the file does not tell of yet, when everything ends: clients keep the new disk."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from blkrun.pivot_record import read_records
from tests.live.copying import DIRECT, image
from tests.live.nbd_client import connect
from tests.live.service import Service, wait_for

DISKS = DIRECT.replace('node = "disk"', 'node = "limit"')
MOVE = '[jobs.move]\ntype = "mirror"\ndevice = "disk"\ntarget = "copy"\nwhen-ready = "{when}"\n'
MISTAKE = "\n[exports.vda]\nsizes = 3\n"
WRITTEN = b"\x09" * 4096

Serve = Callable[[str], Service]


def write(service: Service) -> None:
    """What must not be lost: it is answered."""
    client = connect(service.uri())
    client.pwrite(WRITTEN, 0)
    client.flush()
    client.shutdown()


def is_there(service: Service) -> bool:
    """Whether clients read it."""
    client = connect(service.uri())
    data = bytes(client.pread(4096, 0))
    client.shutdown()
    return data == WRITTEN


def pivot_by_hand(service: Service) -> None:
    """With nobody there to edit the file."""
    with service.qmp() as qmp:
        wait_for(lambda: qmp.do("query-block-jobs")[0]["ready"], "the mirror to be ready")
        qmp.do("job-complete", id="move")
        qmp.wait_event("BLOCK_JOB_COMPLETED")


def kill_server(service: Service) -> None:
    """As a power cut does it."""
    pid = service.server_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the server's end")


def follows(service: Service) -> bool:
    """The file says what is so, and nothing is written down beside it any more."""
    text = service.file.read_text()
    control = service.file.with_suffix(".qmp")
    return 'file = "copy"' in text and "enabled = false" in text and not read_records(control)


def test_everything_is_killed_before_the_file_has_followed(serve: Serve) -> None:
    """The next run goes on with the new disk, does not mirror again, and the file follows."""
    service = serve(DISKS + MOVE.format(when="wait"))
    service.kill_runner()
    pivot_by_hand(service)
    write(service)
    assert read_records(service.file.with_suffix(".qmp"))
    kill_server(service)
    service.start()
    assert is_there(service)
    wait_for(lambda: follows(service), "the file to follow")
    assert is_there(service)
    assert image(service, "disk").read_bytes()[:4096] == bytes(4096)


def test_a_file_with_a_mistake_in_it_at_the_pivot(serve: Serve) -> None:
    """Mended after everything was killed, it is read as what is so, and follows."""
    good = DISKS + MOVE.format(when="wait")
    service = serve(good)
    service.edit_and_wait(good + MISTAKE)
    pivot_by_hand(service)
    write(service)
    service.kill_runner()
    kill_server(service)
    service.edit(good)
    service.start()
    assert is_there(service)
    wait_for(lambda: follows(service), "the file to follow")
    assert is_there(service)


def test_plan_and_apply_know_of_it_too(serve: Serve) -> None:
    """Without a runner: neither shows the mirror as one to start, or the old disk as vda's."""
    service = serve(DISKS + MOVE.format(when="wait"))
    service.kill_runner()
    pivot_by_hand(service)
    shown = service.blkrun("plan").stdout
    assert "mirror" not in shown
    assert "disk" not in shown
    kill_server(service)
    shown = service.blkrun("plan").stdout
    assert "mirror" not in shown
    assert "limit (throttle) over copy" in shown
    service.start()
