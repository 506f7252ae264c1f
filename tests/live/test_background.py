"""``run --detach``, and what finds, shows and ends servers: attach, ps, logs, stop."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from blkrun.reconcile.lease import holder_of
from blkrun.reconcile.nbdkit import alive
from tests.live.service import DISK, PATIENCE_S, Service, tool, wait_for

Make = Callable[..., Service]

BLKRUN = (sys.executable, "-m", "blkrun")
MISSING_IMAGE = DISK + '[backends.f]\ndriver = "file"\npath = "nowhere.img"\n'


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """``make(text, name)``: a file that nobody runs yet; what then runs ends with the test."""
    made: list[Service] = []

    def one(text: str = DISK, name: str = "vm", directory: str = "run") -> Service:
        folder = tmp_path / directory
        folder.mkdir(exist_ok=True)
        service = Service(folder, text, name)
        made.append(service)
        return service

    yield one
    for service in made:
        if (runner := holder_of(service.control)) is not None:
            os.kill(runner, signal.SIGKILL)
        for row in rows_of(service.file):
            os.kill(row["server"], signal.SIGKILL)


def rows_of(place: Path) -> list[dict[str, Any]]:
    """What ps lists of one file, or below one directory."""
    rows: list[dict[str, Any]] = json.loads(tool(*BLKRUN, "ps", "--json"))
    return [row for row in rows if Path(row["file"] or "/").is_relative_to(place)]


def detach(service: Service) -> subprocess.CompletedProcess[str]:
    """In the background, and it worked."""
    done = service.blkrun("run", "--detach")
    assert done.returncode == 0, done.stderr
    return done


def runner_of(service: Service) -> int:
    """The process that follows the file."""
    pid = holder_of(service.control)
    assert pid is not None
    return pid


def has_ended(pid: int) -> bool:
    """Whether a process is no more, or only its parent has not looked yet."""
    return not alive(pid)


def test_detached_it_serves_when_the_command_returns(make: Make) -> None:
    """At once, from a session of its own; it follows edits, logs them, and can be ended."""
    service = make()
    done = detach(service)
    assert int(tool("nbdinfo", "--size", service.uri())) == 64 * 2**20
    runner = runner_of(service)
    assert os.getsid(runner) == runner != os.getsid(0)
    for words in (f"  {service.uri()}\n", f"runner {runner}, server {service.server_pid()}, log "):
        assert words in done.stdout
    report = service.edit_and_wait(DISK + '[backends.more]\ndriver = "null"\n')
    assert report["event"] == "X_BLKRUN_CONFIG_APPLIED"
    assert "+ backend more" in wait_for_log(service, "+ backend more")
    assert service.blkrun("stop").returncode == 0
    wait_for(lambda: holder_of(service.control) is None, "the runner to end with the server")
    assert service.blkrun("status").returncode == 3


def wait_for_log(service: Service, words: str) -> str:
    """What ``logs`` prints, when these words are in it."""

    def has() -> str:
        done = service.blkrun("logs")
        return done.stdout if words in done.stdout else ""

    return str(wait_for(has, f"the log to say {words!r}"))


@pytest.mark.parametrize(
    ("text", "code"), [(MISSING_IMAGE, 1), (DISK.replace("memory", "memry"), 2)]
)
def test_detached_it_fails_as_in_the_foreground(make: Make, text: str, code: int) -> None:
    """The same message, the same exit code, and nothing is left running."""
    service = make(text)
    done, foreground = service.blkrun("run", "--detach"), service.blkrun("run", "--headless")
    assert (done.returncode, done.stderr) == (code, foreground.stderr)
    assert foreground.returncode == code
    assert done.stdout == ""
    assert rows_of(service.file) == []
    assert holder_of(service.control) is None


def test_a_second_one_of_a_file_is_refused(make: Make) -> None:
    """With the number of the first, which goes on."""
    service = make()
    detach(service)
    pid = service.server_pid()
    again = service.blkrun("run", "--detach")
    assert again.returncode == 1
    assert f"already run by process {runner_of(service)}" in again.stderr
    assert service.server_pid() == pid


def test_sigterm_to_the_runner_ends_what_it_started(make: Make) -> None:
    """As it does in the foreground, and clients are not asked."""
    service = make()
    detach(service)
    pid, runner = service.server_pid(), runner_of(service)
    os.kill(runner, signal.SIGTERM)
    wait_for(lambda: has_ended(pid), "the server to end")
    wait_for(lambda: has_ended(runner), "the runner to end")
    assert not service.socket.exists()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("option", ["--headless", "--detach"])
def test_told_to_end_before_it_serves(make: Make, option: str, how: str) -> None:
    """While a backend does not answer: exit code 130, and neither server nor runner is left."""
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(make(DISK, "deaf").socket))
        deaf.listen()
        uri = f"nbd+unix:///?socket={deaf.getsockname()}"
        service = make(f'[backends.far]\ndriver = "nbd"\nuri = "{uri}"\n')
        command = subprocess.Popen(
            [*BLKRUN, "run", str(service.file), option], stdin=subprocess.DEVNULL
        )
        wait_for(lambda: rows_of(service.file), "the server to be there")
        wait_for(lambda: holder_of(service.control), "the runner to be there")
        time.sleep(0.3)  # into the transaction; before it, this holds too
        if option == "--detach" and how == "SIGTERM":
            os.kill(runner_of(service), signal.SIGTERM)
        else:
            command.send_signal(signal.Signals[how])
        assert command.wait(PATIENCE_S) == 130
        wait_for(lambda: not rows_of(service.file), "the server to end")
        assert holder_of(service.control) is None


def test_own_ends_a_server_that_was_running_before(make: Make) -> None:
    """A runner that comes after one that was killed leaves the server, but not with --own."""
    service = make()
    detach(service)
    pid = service.server_pid()
    for option, stays in (("--headless", True), ("--own", False)):
        os.kill(runner_of(service), signal.SIGKILL)
        wait_for(lambda: holder_of(service.control) is None, "the runner to be gone")
        assert service.blkrun("run", "--detach", option).returncode == 0
        runner = runner_of(service)
        assert service.server_pid() == pid
        os.kill(runner, signal.SIGTERM)
        wait_for(partial(has_ended, runner), "the runner to end")
        assert alive(pid) is stays
        if stays:
            detach(service)


# Several


def test_four_files_side_by_side(make: Make, tmp_path: Path) -> None:
    """The list has three of one directory and one of another; ending one leaves the others."""
    services = [make(name=name) for name in ("a", "b", "c")] + [make(name="a", directory="other")]
    for service in services:
        detach(service)
    assert [row["file"] for row in rows_of(tmp_path)] == sorted(str(s.file) for s in services)
    for row, service in zip(rows_of(services[1].file), services[1:2], strict=True):
        assert row["server"] == service.server_pid()
        assert row["runner"] == runner_of(service)
        assert row["listen"] == f"unix:{service.socket}"
        assert (row["exports"], row["clients"]) == (["vda"], 0)
    assert services[1].blkrun("stop").returncode == 0
    services.pop(1)
    assert [row["file"] for row in rows_of(tmp_path)] == sorted(str(s.file) for s in services)
    for service in services:
        assert int(tool("nbdinfo", "--size", service.uri())) == 64 * 2**20


def test_one_that_hangs_and_one_without_a_runner(
    make: Make,
) -> None:
    """Both are listed; what only the server could tell is left open."""
    hung, alone = make(name="hung"), make(name="alone")
    for service in (hung, alone):
        detach(service)
    os.kill(runner_of(alone), signal.SIGKILL)
    wait_for(lambda: holder_of(alone.control) is None, "the runner to be gone")
    os.kill(hung.server_pid(), signal.SIGSTOP)
    table = tool(*BLKRUN, "ps")
    rows = {line.split()[0]: line for line in table.splitlines()}
    assert "does not answer" in rows[str(hung.file)]
    assert rows[str(alone.file)].split()[2] == "-"
    assert [row["exports"] for row in rows_of(hung.file)] == [None]


# Looking


def test_logs_of_a_server_that_has_ended(make: Make) -> None:
    """The last lines, and all of them; without a log the path is named."""
    service = make()
    assert str(service.log_of_server) in service.blkrun("logs").stderr
    detach(service)
    service.blkrun("stop")
    wait_for(lambda: holder_of(service.control) is None, "the runner to be gone")
    everything = service.blkrun("logs").stdout
    assert everything == service.log_of_server.read_text()
    assert service.blkrun("logs", "-n", "2").stdout == "".join(
        everything.splitlines(keepends=True)[-2:]
    )


def test_logs_follow_another_file_in_its_place(make: Make) -> None:
    """A log that was rotated away, and one that was cut; Ctrl-C ends it."""
    service = make()
    log = service.log_of_server
    log.write_text("one\ntwo\n")
    with reading(service, "logs", "--follow", "-n", "1") as lines:
        assert next(lines) == "two\n"
        log.rename(log.with_suffix(".1"))
        log.write_text("three\n")
        assert next(lines) == "three\n"
        log.write_text("4\n")
        assert next(lines) == "4\n"


@contextlib.contextmanager
def reading(service: Service, command: str, *options: str) -> Iterator[Iterator[str]]:
    """The lines of a command that goes on until Ctrl-C."""
    process = subprocess.Popen(
        [*BLKRUN, command, str(service.file), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (130, "")
    finally:
        process.kill()
        process.communicate()


def test_events_are_those_of_the_headless_log(make: Make) -> None:
    """One line each, from what the server keeps; --json has the number, and --since leaves out."""
    service = make()
    detach(service)
    service.edit_and_wait(DISK + '[backends.more]\ndriver = "null"\n')
    lines = service.blkrun("events").stdout.splitlines()
    assert len(lines) == 2
    assert wait_for_log(service, lines[1])
    events = [json.loads(line) for line in service.blkrun("events", "--json").stdout.splitlines()]
    numbers = [event["number"] for event in events]
    assert numbers == sorted(set(numbers))
    later = service.blkrun("events", "--json", "--since", str(numbers[0])).stdout.splitlines()
    assert [json.loads(line) for line in later] == events[1:]


def test_events_follow_a_server_that_is_killed(make: Make) -> None:
    """Each event once: those kept, those that come, and those of the server in its place."""
    service = make()
    detach(service)
    with reading(service, "events", "--follow", "--json") as lines:
        names = [json.loads(next(lines))["event"] for _ in range(2)]
        assert names == ["X_BLKRUN_GRAPH_CHANGED", "X_BLKRUN_CONFIG_APPLIED"]
        tool("nbdinfo", "--size", service.uri())
        names = [json.loads(next(lines))["event"] for _ in range(2)]
        assert names == ["X_BLKRUN_CLIENT_CONNECTED", "X_BLKRUN_CLIENT_DISCONNECTED"]
        os.kill(service.server_pid(), signal.SIGKILL)
        anew = [json.loads(next(lines)) for _ in range(2)]
        assert [event["number"] for event in anew] == [1, 2]
        assert [event["event"] for event in anew] == [
            "X_BLKRUN_GRAPH_CHANGED",
            "X_BLKRUN_SERVER_RESTARTED",
        ]


def test_events_end_when_nobody_reads_them(make: Make) -> None:
    """Also when none comes any more: exit code 0, and no word about it."""
    service = make()
    detach(service)
    process = subprocess.Popen(
        [*BLKRUN, "events", str(service.file), "--follow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    try:
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_attach_leaves_the_server(make: Make) -> None:
    """The dashboard says that nobody follows the file, and q leaves it; it needs a terminal."""
    service = make()
    detach(service)
    os.kill(runner_of(service), signal.SIGKILL)
    wait_for(lambda: holder_of(service.control) is None, "the runner to be gone")
    refused = service.blkrun("attach")
    assert refused.returncode == 1
    assert refused.stderr.startswith("blkrun: no terminal for a dashboard; see: blkrun status ")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*BLKRUN, "attach", str(service.file)], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        read_until(ours, b"NO RUNNER")
        os.write(ours, b"q")
        read_until(ours, b"nobody follows the edits of vm.toml")
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert service.blkrun("status").returncode == 0


def read_until(terminal: int, words: bytes) -> None:
    """What the terminal shows, up to these words; at most a few seconds."""
    seen, deadline = b"", time.monotonic() + PATIENCE_S
    while words not in seen:
        assert time.monotonic() < deadline, seen[-2000:]
        seen += os.read(terminal, 65536)
