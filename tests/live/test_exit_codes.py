"""Each exit code, from the commands that give it; reload gives most of them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from blkrun.cli import Exit
from blkrun.reconcile.lease import holder_of
from tests.live.service import DISK, PATIENCE_S, Service, wait_for

Serve = Callable[[str], Service]

MISSING = DISK + '[backends.f]\ndriver = "file"\npath = "nowhere.img"\n'


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (DISK, Exit.DONE, "applied vm.toml"),
        (DISK.replace("memory", "memry"), Exit.USAGE, 'unknown driver "memry"'),
        (MISSING, Exit.FAILED, "Could not open"),
        (DISK + '[runner]\napply = "ask"\n[backends.n]\ndriver = "null"\n', Exit.PENDING, "waits"),
    ],
    ids=lambda value: value.name if isinstance(value, Exit) else "",
)
def test_reload_says_what_came_of_it(serve: Serve, text: str, code: Exit, words: str) -> None:
    """Also of a file that has not changed since."""
    service = serve(DISK)
    if text != DISK:
        service.edit_and_wait(text)
    done = service.blkrun("reload")
    assert (done.returncode, words in done.stdout + done.stderr) == (code, True), done


def test_nobody_is_there(serve: Serve) -> None:
    """3: reload without a runner says so; without a server nothing can be asked."""
    service = serve(DISK)
    pid = service.server_pid()
    service.kill_runner()
    done = service.blkrun("reload")
    assert (done.returncode, "no runner follows" in done.stderr) == (Exit.NO_SERVER, True)
    assert service.blkrun("stop").returncode == Exit.DONE
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the server to end")  # noqa: PTH110 - short
    for command in ("status", "stop", "events", "reload"):
        assert service.blkrun(command).returncode == Exit.NO_SERVER
    assert service.blkrun("plan", "--exit-code").returncode == Exit.PENDING


def test_a_server_that_hangs(serve: Serve) -> None:
    """4, from whoever has to ask it."""
    service = serve(DISK)
    pid = service.server_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        for command in ("events", "reload"):
            assert service.blkrun(command).returncode == Exit.TIMEOUT
    finally:
        os.kill(pid, signal.SIGCONT)


def test_wrong_usage_and_interruption(serve: Serve) -> None:
    """2 from the words themselves; 130 after Ctrl-C; 1 where there is nothing to show."""
    service = serve(DISK)
    assert holder_of(service.control) is not None
    assert service.blkrun("logs", "-n", "many").returncode == Exit.USAGE
    assert service.blkrun("attach").returncode == Exit.FAILED
    following = subprocess.Popen(
        [sys.executable, "-m", "blkrun", "events", str(service.file), "--follow"],
        stdout=subprocess.PIPE,
    )
    assert following.stdout is not None
    following.stdout.readline()
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=PATIENCE_S)
    assert following.returncode == Exit.INTERRUPTED
