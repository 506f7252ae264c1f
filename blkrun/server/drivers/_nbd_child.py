"""An NBD server started for one node, and the guarantee that it ends with ours.

The command gets a listening unix socket by systemd socket activation (``LISTEN_FDS``), in a
directory only we can enter.  It is a process group of its own, so that a Ctrl-C in our terminal
does not take it from under requests that are still being served, and so that whatever it starts
itself can be ended with it.

That it does not outlive us, even if we are killed, is the work of a *watcher*: a shell in the
child's process group that reads from a pipe which we hold open and never write to.  When the
pipe ends, we have, and it ends the group.  The kernel's own means, PR_SET_PDEATHSIG (``setpriv
--pdeathsig``), is not enough for any command: it is lost where the command changes user, and it
reaches only the first process.  The watcher also keeps the process group's number from being
reused, so that signals sent to the group cannot reach a stranger.

PR_SET_PDEATHSIG fires when the *thread* that started the child ends, and nbdkit (1.32) asks for
it by itself when it is socket-activated.  So a thread that lives until ``close`` starts the
command, not the QMP session's that happens to open the node.
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TERM_GRACE_SECONDS = 2

_SCRIPT = f"""
directory=$1; shift
exec 3<&0 4<&1 0</dev/null 1>&2
( (
    trap '' HUP INT TERM
    exec 3<&- 1>/dev/null 2>&1
    read -r _ <&4
    rm -rf -- "$directory"
    kill -s TERM -- "-$$"; sleep {TERM_GRACE_SECONDS}; kill -s KILL -- "-$$"
) & )
exec 4<&-
export LISTEN_FDS=1 LISTEN_PID=$$
exec "$@"
"""
"""Comes with the socket as stdin and the pipe as stdout, and becomes the command.

``$$`` is the first shell's pid also in the watcher.  The watcher has no part of the listening
socket, or clients would wait for an answer from a server that has ended.
"""


class Child:
    """A running command.  Raises OSError from the constructor, leaving nothing behind."""

    def __init__(self, command: Sequence[str]) -> None:
        if shutil.which(command[0]) is None:
            raise FileNotFoundError(2, "no such program")
        self._directory = tempfile.mkdtemp(prefix="blkrun-nbd-")  # mode 0700
        self.socket_path = str(Path(self._directory) / "socket")
        self._thread = ThreadPoolExecutor(1, "nbd-command")
        try:
            self._process, self._leash = self._thread.submit(self._start, command).result()
        except BaseException:
            self._thread.shutdown()
            shutil.rmtree(self._directory, ignore_errors=True)
            raise

    @property
    def pid(self) -> int:
        """Of the command itself, which is also its process group."""
        return self._process.pid

    def exit_status(self, timeout_seconds: float) -> int | None:
        """Its exit status (or the signal) if it ends in this time.  Does not reap it."""
        pidfd = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(timeout_seconds * 1000):
                return None
        finally:
            os.close(pidfd)
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        return ended.si_status if ended else None

    def close(self) -> None:
        """TERM, KILL two seconds later; at last KILL what is left of the group, and reap."""
        self._signal(signal.SIGTERM)
        self.exit_status(TERM_GRACE_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._thread.shutdown()
        os.close(self._leash)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self, command: Sequence[str]) -> tuple[subprocess.Popen[bytes], int]:
        watched, leash = os.pipe()
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(self.socket_path)
                listener.listen()
                process = subprocess.Popen(  # noqa: S603 - the user's own command
                    ["/bin/sh", "-c", _SCRIPT, "sh", self._directory, *command],
                    stdin=listener.fileno(),
                    stdout=watched,
                    env=_environment(),
                    start_new_session=True,
                )
        except BaseException:
            os.close(leash)
            raise
        finally:
            os.close(watched)
        return process, leash

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def _environment() -> dict[str, str]:
    """Ours, without what is meant for the interpreter in our process or for our own sockets."""
    private = {"PYTHONPATH", "PYTHONHOME", "LISTEN_FDNAMES", "NOTIFY_SOCKET"}
    return {name: value for name, value in os.environ.items() if name not in private}
