"""How people save files, what they get wrong, and what waits for a yes."""

import time
from collections.abc import Callable

import pytest

from tests.live.service import DISK, Service, wait_for

Serve = Callable[[str], Service]

BIGGER = DISK + '\n[backends.more]\ndriver = "null"\n\n[exports.vdb]\nnode = "more"\n'


def has_vdb(service: Service) -> Callable[[], bool]:
    """Whether the bigger file is in force."""
    return lambda: "vdb" in service.live().exports


def test_saved_in_place(serve: Serve) -> None:
    """An editor that truncates, writes half, pauses and writes the rest makes one edit."""
    service = serve(DISK)
    with service.qmp() as qmp, service.file.open("w") as file:
        file.flush()
        time.sleep(0.3)
        file.write(BIGGER)
        file.flush()
        report = service.next_report(qmp)
    assert report["event"] == "X_BLKRUN_CONFIG_APPLIED"
    assert has_vdb(service)()


def test_renamed_over(serve: Serve) -> None:
    """An editor that writes a new file and renames it, twice, is seen twice."""
    service = serve(DISK)
    service.edit(BIGGER)
    wait_for(has_vdb(service), "the first rename")
    service.edit(DISK)
    wait_for(lambda: not has_vdb(service)(), "the second rename")


def test_deleted_and_made_again(serve: Serve) -> None:
    """A file that is gone for a moment takes nothing away."""
    service = serve(DISK)
    service.file.unlink()
    time.sleep(0.3)
    assert "vda" in service.live().exports
    service.file.write_text(BIGGER)
    wait_for(has_vdb(service), "the new file")


def test_a_link_that_is_moved(serve: Serve) -> None:
    """A link to the file in a directory that is swapped, as configuration management does it."""
    service = serve(DISK)
    directory = service.file.parent
    for name, text in (("one", DISK), ("two", BIGGER)):
        (directory / name).mkdir()
        (directory / name / "vm.toml").write_text(text)
    (directory / "current").symlink_to("one")
    service.file.unlink()
    service.file.symlink_to("current/vm.toml")
    time.sleep(0.3)
    assert not has_vdb(service)()
    (directory / "next").symlink_to("two")
    (directory / "next").rename(directory / "current")
    wait_for(has_vdb(service), "the swapped directory")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (DISK.replace("size ", "sise "), 'unknown key "sise"'),
        (DISK.replace('"disk"', '"dusk"'), '"disk"'),
        (DISK.replace("[exports.vda]", "[exports.vda"), "vm.toml:6"),
        ("\n", "describes nothing"),
    ],
)
def test_a_bad_edit_changes_nothing(serve: Serve, bad: str, words: str) -> None:
    """It is shown with its place and the nearest valid name; the good graph goes on."""
    service = serve(DISK)
    before = service.live()
    report = service.edit_and_wait(bad)
    assert report["event"] == "X_BLKRUN_CONFIG_REJECTED"
    assert words in report["data"]["message"]
    assert service.live() == before
    assert service.edit_and_wait(BIGGER)["event"] == "X_BLKRUN_CONFIG_APPLIED"


def test_taking_a_disk_from_a_client_waits_for_a_yes(serve: Serve) -> None:
    """With a client connected the edit is pending; ``apply`` without --yes says so; --yes does."""
    import nbd  # noqa: PLC0415 - the distribution's, see conftest

    service = serve(BIGGER)
    handle = nbd.NBD()
    handle.connect_uri(service.uri("vdb"))
    report = service.edit_and_wait(DISK)
    assert report["event"] == "X_BLKRUN_CONFIG_PENDING"
    assert "vdb (1)" in report["data"]["why"]
    assert handle.pread(512, 0) == bytes(512)

    refused = service.blkrun("apply")
    assert refused.returncode == 5
    assert handle.pread(512, 0) == bytes(512)
    assert service.blkrun("apply", "--yes").returncode == 0
    with pytest.raises(nbd.Error) as raised:
        handle.pread(512, 0)
    assert raised.value.errno == "ESHUTDOWN"
    assert not has_vdb(service)()


def test_another_size_under_a_client_is_refused(serve: Serve) -> None:
    """What a client negotiated stays true: the edit that would change it fails, and says why."""
    import nbd  # noqa: PLC0415 - the distribution's, see conftest

    service = serve('[runner]\napply = "all"\n' + DISK)
    handle = nbd.NBD()
    handle.connect_uri(service.uri())
    report = service.edit_and_wait('[runner]\napply = "all"\n' + DISK.replace("64MiB", "32MiB"))
    assert report["event"] == "X_BLKRUN_CONFIG_FAILED"
    assert "told a size of 67108864 bytes" in report["data"]["message"]
    assert handle.pread(512, 0) == bytes(512)
    handle.shutdown()


def test_asking_for_everything(serve: Serve) -> None:
    """With apply = "ask" every edit waits for ``blkrun apply``."""
    ask = '[runner]\napply = "ask"\n'
    service = serve(DISK)
    report = service.edit_and_wait(ask + BIGGER)
    assert report["event"] == "X_BLKRUN_CONFIG_PENDING"
    assert not has_vdb(service)()
    assert service.blkrun("plan", "--exit-code").returncode == 5
    assert service.blkrun("apply").returncode == 0
    assert has_vdb(service)()
    assert service.blkrun("plan", "--exit-code").returncode == 0


def test_a_start_is_a_yes(serve: Serve) -> None:
    """Also with apply = "ask" a server that is started has what the file says, at once."""
    service = serve('[runner]\napply = "ask"\n' + DISK)
    assert service.graph()["reports"]["config"]["kind"] == "applied"
    assert service.blkrun("plan", "--exit-code").returncode == 0
    assert "drift" not in service.blkrun("status").stdout


def test_commands_and_their_exit_codes(serve: Serve) -> None:
    """check, plan, status and stop say what they should, with the documented codes."""
    service = serve(DISK)
    assert service.blkrun("check").stdout.endswith("ok, 1 node, 0 groups, 1 export\n")
    assert "nothing to do" in service.blkrun("plan").stdout
    status = service.blkrun("status")
    assert status.returncode == 0
    assert "vda" in status.stdout
    assert service.blkrun("status", "--json").stdout.startswith("{")
    second = service.blkrun("run", "--headless")
    assert second.returncode == 1
    assert "already run by process" in second.stderr

    service.file.write_text("nonsense")
    for command in ("check", "plan", "run", "apply"):
        assert service.blkrun(command).returncode == 2
    # A file that is wrong just now is no reason not to look at its server, or to stop it.
    assert "vda" in service.blkrun("status").stdout
    assert service.blkrun("stop").returncode == 0
    assert service.runner is not None
    assert service.runner.wait(timeout=10) == 0
    assert not service.control.exists()
    assert not service.socket.exists()
    assert service.blkrun("status").returncode == 3


def test_a_start_that_cannot_be_says_why(serve: Serve) -> None:
    """A missing image is one line with its place, exit code 1, and no server left behind."""
    service = serve(DISK)
    service.blkrun("stop")
    missing = '[backends.disk]\ndriver = "file"\npath = "nowhere.img"\n[exports.vda]\nnode="disk"\n'
    service.edit(missing)
    done = service.blkrun("run", "--headless")
    assert done.returncode == 1
    assert "nowhere.img': No such file or directory" in done.stderr
    assert "vm.toml:1: [backends.disk]" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not service.control.exists() or service.blkrun("status").returncode == 3
