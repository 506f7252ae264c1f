"""The dashboard's terminal may go, or stop to be read: disks, file and terminal come to no harm."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.conftest import Make
from tests.live.service import THROTTLED, Service, wait_for
from tests.live.terminal import LEAVE_SCREEN, RESTORE, Terminal, is_listening

pytestmark = pytest.mark.live

Open = Callable[..., Terminal]
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@pytest.fixture
def terminal() -> Iterator[Open]:
    """``terminal("attach", file)``: closed when the test is over."""
    opened: list[Terminal] = []

    def make(*words: str, **options: bool) -> Terminal:
        opened.append(Terminal(*words, **options))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture(params=["attach", "run"])
def watched(
    request: pytest.FixtureRequest, serve: Make, terminal: Open
) -> Callable[..., tuple[Service, Terminal]]:
    """A server, and a dashboard that sees it: a guest's, or the runner's own."""

    def make(**options: bool) -> tuple[Service, Terminal]:
        service = serve(THROTTLED)
        if request.param == "run":
            service.kill_runner()
        shown = terminal(request.param, str(service.file), **options)
        wait_for(lambda: is_listening(shown.process.pid, *SIGNALS), "the dashboard")
        if not options.get("stuck"):
            shown.wait_for(b"vda")
        return service, shown

    return make


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_restores_the_terminal(
    watched: Callable[..., tuple[Service, Terminal]], number: signal.Signals
) -> None:
    """And leaves the disks served."""
    service, shown = watched()
    pid = service.server_pid()
    shown.process.send_signal(number)
    assert shown.end_within(5) == 0
    shown.wait_for(LEAVE_SCREEN)
    for sequence in RESTORE:
        shown.wait_for(sequence)
    assert b"Traceback" not in shown.seen
    assert shown.settings() == shown.before
    assert service.server_pid() == pid


@pytest.mark.parametrize("controlling", [True, False], ids=["with SIGHUP", "without"])
def test_a_closed_terminal_ends_the_dashboard_only(
    watched: Callable[..., tuple[Service, Terminal]], *, controlling: bool
) -> None:
    """Also one whose end nobody is told of."""
    service, shown = watched(controlling=controlling)
    pid = service.server_pid()
    shown.hang_up()
    assert shown.end_within(5) == 0
    assert service.server_pid() == pid


def test_a_stuck_terminal_holds_up_no_end(
    watched: Callable[..., tuple[Service, Terminal]],
) -> None:
    """Nothing that is still to be said is waited for."""
    service, shown = watched(stuck=True)
    pid = service.server_pid()
    shown.process.send_signal(signal.SIGTERM)
    assert shown.end_within(5) == 0
    assert service.server_pid() == pid


def test_a_stuck_terminal_holds_up_no_runner(serve: Make, terminal: Open) -> None:
    """An edit is applied, and a server that was killed is started again."""
    service = serve(THROTTLED)
    service.kill_runner()
    shown = terminal("run", str(service.file), stuck=True)
    wait_for(lambda: is_listening(shown.process.pid, *SIGNALS), "the dashboard")
    report = service.edit_and_wait(THROTTLED.replace("100000", "4321"))
    assert report["event"] == "X_BLKRUN_CONFIG_APPLIED"
    pid = service.server_pid()
    os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        try:
            return service.server_pid() != pid
        except OSError:
            return False

    wait_for(is_back, "another server")
    assert service.edit_and_wait(THROTTLED)["event"] == "X_BLKRUN_CONFIG_APPLIED"


def test_it_goes_on_after_a_stop(watched: Callable[..., tuple[Service, Terminal]]) -> None:
    """As it was: keys still reach it once, and it still ends."""
    _, shown = watched()
    tasks = Path(f"/proc/{shown.process.pid}/task")
    threads, written = len(list(tasks.iterdir())), len(shown.seen)
    shown.process.send_signal(signal.SIGSTOP)
    shown.process.send_signal(signal.SIGCONT)
    wait_for(lambda: shown.seen.find(b"vda", written) >= 0, "the screen to be painted again")
    assert len(list(tasks.iterdir())) == threads
    shown.process.send_signal(signal.SIGTERM)
    assert shown.end_within(5) == 0
