"""The server process: how nbdkit is started, found and ended.

It outlives the runner: a session of its own, output to a log file beside the control socket.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

import blkrun
from blkrun.errors import BlkrunError
from blkrun.model import Config, ServerAddress
from blkrun.reconcile.activation import listens_at
from blkrun.toml.source import absolute

MISSING = (
    "nbdkit is not installed; on Debian or Ubuntu: "
    "apt install nbdkit nbdkit-plugin-python python3-libnbd"
)

FILE_VARIABLE = "BLKRUN_FILE"
"""In the server's environment: the file it was started for, for those who only see processes."""

PLUGIN = Path(blkrun.__file__).parent / "server" / "plugin.py"

_END_TIMEOUT_S = 2.0
_DOOR_PATIENCE_S = 30
"""For so long clients wait for the first graph; see ``blkrun.server.door``."""


_WITH_SOCKET = 'exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
"""Comes with a listening socket as its input, and becomes nbdkit, to which it is handed."""

_NOT_FOR_THE_SERVER = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Server:
    """A server that this process started."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, begin: int) -> None:
        self._process = process
        self._log = log
        self._begin = begin  # of its part of the log, in bytes

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ended(self) -> str | None:
        """How it ended, or None while it runs.  Also what takes it off the process table."""
        code = self._process.poll()
        if code is None:
            return None
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit status {code}"

    def end(self) -> None:
        """End a server that nobody uses yet."""
        self._process.terminate()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """The end of the log, for somebody who is told that it did not start."""
        said = self._log.read_bytes()[self._begin :]
        lines = said.decode(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"


def log_path(address: ServerAddress) -> Path:
    """Where the server's output goes: ``vm.qmp`` → ``vm.log``."""
    return address.control.with_suffix(".log")


def answers(address: ServerAddress) -> bool:
    """Whether a server is there already."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(address.control)) == 0


def start(config: Config, given: socket.socket | None = None) -> Server:
    """Start nbdkit with an empty graph.  Raises BlkrunError when that cannot be.

    ``given``: the socket to listen on, if a supervisor has made it.
    """
    nbdkit = shutil.which("nbdkit", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if nbdkit is None:
        raise BlkrunError(MISSING)
    _clear_socket(config.address.control, "control")
    if config.address.unix is not None and given is None:
        _clear_socket(config.address.unix, "listen")
    command = [nbdkit, *_arguments(config, given)]
    log = log_path(config.address)
    with log.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(  # noqa: S603 - nbdkit, found above
            command if given is None else ["/bin/sh", "-c", _WITH_SOCKET, "sh", *command],
            stdin=subprocess.DEVNULL if given is None else given.fileno(),
            stdout=output,
            stderr=output,
            env=_environment(config),
            start_new_session=True,
        )
    return Server(process, log, begin)


def _arguments(config: Config, given: socket.socket | None) -> list[str]:
    address, threads = config.address, str(config.server.threads)
    if given is not None:
        where, listen = [], listens_at(given)
    elif address.tcp is not None:
        where = ["-i", address.tcp[0].strip("[]"), "-p", str(address.tcp[1])]
        listen = f"tcp:{address.tcp[1]}"
    else:
        where, listen = ["-U", str(address.unix)], f"unix:{address.unix}"
    parameters = [
        f"control={address.control}",
        f"listen={listen}",
        f"threads={threads}",
        f"cpus={config.server.cpus}",
        f"wait={_DOOR_PATIENCE_S}",
    ]
    return ["-f", *where, "-t", threads, "python", str(PLUGIN), *parameters]


def _environment(config: Config) -> dict[str, str]:
    """Where the embedded Python finds blkrun and msgspec: it knows nothing of our venv."""
    places = [Path(blkrun.__file__).parent.parent, Path(msgspec.__file__).parent.parent]
    paths = dict.fromkeys(str(place) for place in places)
    rest = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_THE_SERVER}
    file = absolute(Path.cwd(), str(config.path))
    return {**rest, "PYTHONPATH": ":".join(paths), FILE_VARIABLE: str(file)}


def _clear_socket(path: Path, what: str) -> None:
    """Remove what a dead server left.  Raises BlkrunError if it is anything else."""
    if not path.exists():
        return
    if not path.is_socket():
        raise BlkrunError(f"{path} is there and is no socket: choose another [server] {what}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        else:
            raise BlkrunError(f"{path} is in use by another server: choose another [server] {what}")


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that its parent has not looked at does not."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False  # it was ours: this took it off the process table
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def check_python() -> None:
    """The embedded Python must have our minor version: it loads our compiled wheels.

    Raises BlkrunError saying what to install.
    """
    nbdkit = shutil.which("nbdkit")
    if nbdkit is None:
        raise BlkrunError(MISSING)
    answer = subprocess.run(  # noqa: S603 - nbdkit, found above
        [nbdkit, "--dump-plugin", "python"], capture_output=True, text=True, check=False
    )
    found = dict(line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line)
    embedded = found.get("python_version", "")
    if not embedded:
        raise BlkrunError(
            "nbdkit has no Python plugin; on Debian: apt install nbdkit-plugin-python"
        )
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if ".".join(embedded.split(".")[:2]) != ours:
        raise BlkrunError(
            f"nbdkit embeds Python {embedded}, blkrun runs in {ours}: "
            "make its virtual environment from the same minor version"
        )
