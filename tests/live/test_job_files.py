"""[jobs.NAME] in a file that is served: started, changed, cancelled by edits; pivots followed."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blkrun.reconcile.plan import plan
from tests.live.service import Service, wait_for

Serve = Callable[[str], Service]

DISKS = """\
[backends.disk]
driver = "memory"
size   = "4MiB"
[backends.copy]
driver = "memory"
size   = "4MiB"
[exports.vda]
node = "disk"
"""
ALONE = """\
[backends.disk]
driver = "memory"
size   = "4MiB"
[exports.vda]
node = "disk"
"""
BACKUP = '[jobs.job]\ntype   = "backup"\ndevice = "disk"\ntarget = "copy"\n'
MIRROR = BACKUP.replace('"backup"', '"mirror"')
SLOW = 'speed = "256KiB"\n'
EXAMPLES = Path(__file__).parents[2] / "examples"


def job(service: Service, name: str = "job") -> dict[str, Any]:
    """As the server lists it, or nothing."""
    return next((each for each in service.graph()["jobs"] if each["id"] == name), {})


def status(service: Service) -> str:
    """QEMU's word, or nothing."""
    return str(job(service).get("status", ""))


def is_as_the_file_says(service: Service) -> bool:
    """A plan would be empty."""
    return plan(service.desired(), service.live()) == ()


def ended(service: Service) -> Callable[[], bool]:
    """Whether the job has."""
    return lambda: status(service) == "concluded"


def test_a_backup_from_its_table_to_its_end(serve: Serve) -> None:
    """It is started with the file, shown, done once, and forgotten when its table goes."""
    service = serve(DISKS + BACKUP)
    wait_for(ended(service), "the end of the backup")
    assert is_as_the_file_says(service)
    shown = service.blkrun("status").stdout
    assert "disk → copy" in shown
    assert "concluded" in shown
    wait_for(lambda: "job job is done (4MiB)" in service.said(), "the line in the log")
    service.edit_and_wait(DISKS + BACKUP + SLOW)
    service.edit_and_wait(DISKS + BACKUP + "enabled = false\n")
    assert status(service) == "concluded"
    service.edit_and_wait(DISKS)
    assert job(service) == {}


def test_a_job_and_its_target_go_in_one_edit(serve: Serve) -> None:
    """While it runs: it is cancelled, and nothing of it stays."""
    service = serve(DISKS + BACKUP + SLOW)
    wait_for(lambda: status(service) == "running", "the job to run")
    report = service.edit_and_wait(ALONE)
    assert report["data"]["operations"] == [
        "- backup job of disk to copy: cancelled",
        "- backend copy (memory)",
    ]
    wait_for(lambda: job(service) == {}, "the end of the job")
    assert [node["node-name"] for node in service.graph()["nodes"]] == ["disk"]


def test_a_change_that_a_running_job_takes(serve: Serve) -> None:
    """It goes on with another speed."""
    service = serve(DISKS + BACKUP + SLOW)
    report = service.edit_and_wait(DISKS + BACKUP + 'speed = "512KiB"\n')
    assert report["data"]["operations"] == ["~ job job: speed 256KiB → 512KiB"]
    assert job(service)["options"]["speed"] == 2**19
    wait_for(lambda: status(service) == "running", "the job to run")


def test_a_change_that_a_running_job_cannot_take(serve: Serve) -> None:
    """It is cancelled, and started again with it once it has ended."""
    service = serve(DISKS + BACKUP + SLOW)
    service.edit(DISKS + BACKUP + SLOW + 'on-source-error = "stop"\n')
    wait_for(
        lambda: job(service).get("options", {}).get("on-source-error") == "stop", "the new job"
    )
    wait_for(lambda: status(service) == "running", "the job to run")
    assert is_as_the_file_says(service)


def test_a_change_of_a_job_that_has_ended(serve: Serve) -> None:
    """It is forgotten and started again."""
    service = serve(DISKS + BACKUP)
    wait_for(ended(service), "the end of the backup")
    report = service.edit_and_wait(DISKS + BACKUP + SLOW + 'sync = "top"\n')
    assert report["data"]["operations"] == [
        "- backup job of disk to copy: forgotten (sync), and started again"
    ]
    wait_for(lambda: status(service) != "", "the new job")
    assert job(service)["options"]["sync"] == "top"
    assert is_as_the_file_says(service)


def test_switched_off_while_it_runs(serve: Serve) -> None:
    """It is cancelled; switched on again it begins anew."""
    service = serve(DISKS + BACKUP + SLOW)
    service.edit_and_wait(DISKS + BACKUP + SLOW + "enabled = false\n")
    wait_for(lambda: status(service) in ("", "concluded"), "the end of the job")
    assert is_as_the_file_says(service)
    service.edit(DISKS + BACKUP + SLOW)
    wait_for(lambda: status(service) == "running", "the job")


@pytest.mark.parametrize("speed", ["", SLOW])
def test_a_server_that_dies(serve: Serve, speed: str) -> None:
    """What was running is started again, what had been done is not."""
    service = serve(DISKS + BACKUP + speed)
    wait_for(lambda: status(service) == ("running" if speed else "concluded"), "the job")
    wait_for(lambda: speed or "is done" in service.said(), "the runner to hear of it")
    pid = service.server_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "was restarted" in service.said(), "another server")
    assert service.server_pid() != pid
    service.edit_and_wait(DISKS + BACKUP + speed + '[exports.vdb]\nnode = "disk"\n')
    assert status(service) == ("running" if speed else "")


ANY_BITMAP = 'sync = "full"\nbitmap = "b0"\nbitmap-mode = "always"\n'


def test_a_job_whose_bitmap_has_died_with_the_server(serve: Serve) -> None:
    """One that was made by QMP: clients get their disk back, and the job is told of."""
    service = serve(DISKS)
    with service.qmp() as qmp:
        qmp.do("block-dirty-bitmap-add", node="disk", name="b0")
    text = DISKS + BACKUP + ANY_BITMAP + SLOW
    service.edit_and_wait(text)
    wait_for(lambda: status(service) == "running", "the job to run")
    os.kill(service.server_pid(), signal.SIGKILL)
    wait_for(lambda: "was restarted" in service.said(), "another server")
    wait_for(lambda: "Bitmap 'b0' could not be found" in service.said(), "what is not as before")
    assert service.live().exports.keys() == {"vda"}
    assert status(service) == ""
    with service.qmp() as qmp:
        qmp.do("block-dirty-bitmap-add", node="disk", name="b0")
    service.edit(text + "# again\n")
    wait_for(lambda: status(service) == "running", "the job")


CHANGES = '[bitmaps.changes]\nnode = "disk"\n'
INCREMENTAL = BACKUP + 'sync = "incremental"\nbitmap = "changes"\n'


def test_incremental_backups_by_a_bitmap_of_the_file(serve: Serve) -> None:
    """The first copies everything, the next nothing; so it is again in another server."""
    service = serve(DISKS + CHANGES + INCREMENTAL)

    def copied(name: str) -> int:
        wait_for(lambda: job(service, name).get("status") == "concluded", f"the end of {name}")
        assert "error" not in job(service, name)
        return int(job(service, name)["current-progress"])

    assert copied("job") == 4 * 2**20
    service.edit_and_wait(DISKS + CHANGES + INCREMENTAL.replace("jobs.job", "jobs.next"))
    assert copied("next") == 0
    os.kill(service.server_pid(), signal.SIGKILL)
    wait_for(lambda: "was restarted" in service.said(), "another server")
    assert service.live().bitmaps.keys() == {"changes"}
    service.edit_and_wait(DISKS + CHANGES + INCREMENTAL.replace("jobs.job", "jobs.third"))
    assert copied("third") == 4 * 2**20


def test_a_bitmap_and_the_job_that_uses_it_go_in_one_edit(serve: Serve) -> None:
    """The bitmap when the job has ended, without another save; alone it is refused."""
    service = serve(DISKS + CHANGES + INCREMENTAL + SLOW)
    report = service.edit_and_wait(DISKS + INCREMENTAL + SLOW)
    assert report["event"] == "X_BLKRUN_CONFIG_FAILED"
    assert "Bitmap 'changes' is currently in use" in report["data"]["message"]
    service.edit_and_wait(DISKS)
    wait_for(lambda: not service.live().bitmaps, "the bitmap's end")
    assert is_as_the_file_says(service)


def test_a_job_by_qmp_is_left_alone(serve: Serve) -> None:
    """By edits of a file that has no table for it; a table of its name is refused."""
    service = serve(DISKS)
    with service.qmp() as qmp:
        places = {"device": "disk", "target": "copy"}
        qmp.do("blockdev-backup", **{"job-id": "job", "sync": "full", "speed": 2**18}, **places)
    service.edit_and_wait(DISKS + '[exports.vdb]\nnode = "disk"\n')
    wait_for(lambda: status(service) == "running", "the job to run")
    report = service.edit_and_wait(DISKS + BACKUP)
    assert report["event"] == "X_BLKRUN_CONFIG_FAILED"
    wait_for(lambda: status(service) == "running", "the job to run")


def follows(service: Service) -> Callable[[], bool]:
    """Whether the file says that the disk is the other one."""
    return lambda: 'node = "copy"' in service.file.read_text()


def test_the_file_follows_a_pivot(serve: Serve) -> None:
    """Of a mirror that was told to pivot by an edit; its comments stay, and its plan is empty."""
    service = serve(DISKS.replace("[exports", "# what clients see\n[exports") + MIRROR)
    wait_for(lambda: status(service) == "ready", "both disks to be equal")
    text = service.file.read_text()
    service.edit(text + 'when-ready = "pivot"\n')
    wait_for(follows(service), "the file to follow")
    expected = text.replace('node = "disk"', 'node = "copy"')
    assert service.file.read_text() == expected + 'when-ready = "pivot"\nenabled = false\n'
    assert service.live().exports["vda"].node == "copy"
    assert is_as_the_file_says(service)
    wait_for(lambda: "vm.toml says so now" in service.said(), "the line in the log")


def test_a_pivot_while_no_runner_is_there(serve: Serve) -> None:
    """The next runner leaves clients on the new disk, and edits the file."""
    service = serve(DISKS + MIRROR)
    wait_for(lambda: status(service) == "ready", "both disks to be equal")
    service.kill_runner()
    with service.qmp() as qmp:
        qmp.do("job-complete", id="job")
        qmp.wait_event("X_BLKRUN_JOB_PIVOTED")
    wait_for(ended(service), "the end of the mirror")
    assert is_as_the_file_says(service)
    service.start()
    wait_for(follows(service), "the file to follow")
    assert service.live().exports["vda"].node == "copy"


@pytest.mark.parametrize("name", ["backup", "mirror"])
def test_the_examples(serve: Serve, name: str) -> None:
    """They do what they say from a clean checkout."""
    service = serve((EXAMPLES / f"{name}.toml").read_text())
    job_name = {"backup": "nightly", "mirror": "move"}[name]
    wait_for(lambda: job(service, job_name).get("status") == "concluded", "the job's end")
    if name == "mirror":
        wait_for(lambda: 'node = "new"' in service.file.read_text(), "the file to follow")
    assert is_as_the_file_says(service)


def test_a_stop_that_would_cancel_a_job_asks(serve: Serve) -> None:
    """With nobody to answer it is refused and the job goes on; one that has ended is no matter."""
    service = serve(DISKS + BACKUP + SLOW)
    refused = service.blkrun("stop")
    assert refused.returncode == 5
    assert "still in use (job job not done); stop it anyway with --yes" in refused.stderr
    wait_for(lambda: status(service) == "running", "the job to run")
    service.edit_and_wait(DISKS + BACKUP + "speed = 0\n")
    wait_for(ended(service), "the end of the job")
    assert service.blkrun("stop").returncode == 0
