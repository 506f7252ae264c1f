"""The servers that are compared: each serves one image on a private socket while it is measured.

Every process is ended by its handle.  Only one server runs at a time, so they share the image
and its page cache.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 20.0
STOP_S = 20.0
PACKAGES = {
    "nbdkit": "nbdkit",
    "qemu-storage-daemon": "qemu-system-common",
    "nbdinfo": "libnbd-bin",
    "fio": "fio",
}
PLUGIN, DAEMON = "nbdkit file plugin (C)", "qemu-storage-daemon"
"""What blkrun is compared with."""


class BenchError(Exception):
    """Why nothing can be measured, in one message."""


@dataclass(frozen=True)
class Place:
    """A directory of this run: the image, and where a server may put the rest."""

    directory: Path

    @property
    def image(self) -> Path:
        """The disk."""
        return self.directory / "disk.img"

    @property
    def socket(self) -> Path:
        """Where the server listens."""
        return self.directory / "bench.sock"


@dataclass(frozen=True)
class Server:
    """A row of the table."""

    name: str
    command: Callable[[Place], list[str]]

    @contextmanager
    def running(self, place: Place) -> Iterator[str]:
        """Serve the image; gives the URI."""
        place.socket.unlink(missing_ok=True)
        log = place.directory / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(place),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
            )
        try:
            uri = f"nbd+unix:///vda?socket={place.socket}"
            problem = _wait_for_export(process, uri)
            if problem:
                said = log.read_text(errors="replace").strip() or "it said nothing"
                raise BenchError(f"{self.name} {problem}: {said}")
            yield uri
        finally:
            _end(process)


def check_tools() -> None:
    """Raises BenchError naming everything that is missing at once."""
    missing = [f"{tool} ({package})" for tool, package in PACKAGES.items() if not which(tool)]
    if missing:
        raise BenchError(f"not installed: {', '.join(missing)}")
    engines = subprocess.run(
        [which("fio"), "--enghelp"], capture_output=True, text=True, check=False
    )
    if not re.search(r"^\s*nbd$", engines.stdout, re.MULTILINE):
        raise BenchError("this fio has no nbd engine (it is built without libnbd)")


def which(tool: str) -> str:
    """The path of a program; empty if there is none."""
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def all_servers(place: Place) -> list[Server]:
    """In the table's order."""
    engine = "io_uring" if _has_io_uring(place) else "threads"
    return [
        Server(PLUGIN, _nbdkit),
        Server(DAEMON, partial(_daemon, engine)),
        Server("blkrun: file", partial(_blkrun, FILE)),
        Server("blkrun: file, unlimited throttle", partial(_blkrun, FILE + UNLIMITED)),
        Server("blkrun: file, throttle far off", partial(_blkrun, FILE + FAR_OFF)),
    ]


def describe(servers: list[Server], place: Place) -> str:
    """What a reader of the figures has to know of the servers."""
    daemon = next(server for server in servers if server.name == DAEMON)
    engine = (
        "io_uring" if any("aio=io_uring" in word for word in daemon.command(place)) else "threads"
    )
    return f"qemu-storage-daemon: unlimited throttle over file, aio={engine}"


def _nbdkit(place: Place) -> list[str]:
    return [which("nbdkit"), "-f", "-U", str(place.socket), "file", str(place.image)]


def _daemon(engine: str, place: Place) -> list[str]:
    words = {
        "--object": "throttle-group,id=free",
        "--nbd-server": f"addr.type=unix,addr.path={place.socket},max-connections=0",
        "--export": "type=nbd,id=export,node-name=limit,name=vda,writable=on",
    }
    nodes = (
        f"driver=file,node-name=disk,filename={place.image},aio={engine}",
        "driver=throttle,node-name=limit,file=disk,throttle-group=free",
    )
    command = [which("qemu-storage-daemon"), "--object", words.pop("--object")]
    for node in nodes:
        command += ["--blockdev", node]
    for option, value in words.items():
        command += [option, value]
    return command


FILE = """
[server]
listen = "unix:bench.sock"
control = "unix:bench.qmp"

[backends.disk]
driver = "file"
path = "disk.img"
"""

UNLIMITED = """
[throttle-groups.free]

[nodes.limit]
driver = "throttle"
throttle-group = "free"
file = "disk"
"""

FAR_OFF = UNLIMITED.replace(
    "[throttle-groups.free]",
    '[throttle-groups.free]\niops-total = 1_000_000_000\nbps-total = "100TiB"',
)


def _blkrun(text: str, place: Place) -> list[str]:
    node = "limit" if "nodes.limit" in text else "disk"
    path = place.directory / "bench.toml"
    path.write_text(f'{text}\n[exports.vda]\nnode = "{node}"\n')
    return [sys.executable, "-m", "blkrun", "run", "--headless", str(path)]


def _has_io_uring(place: Place) -> bool:
    """Whether QEMU and the kernel both have it: the daemon ends at once if not."""
    server = Server("qemu-storage-daemon with io_uring", partial(_daemon, "io_uring"))
    try:
        with server.running(place):
            return True
    except BenchError:
        return False


def _wait_for_export(process: "subprocess.Popen[bytes]", uri: str) -> str:
    """Wait until the export is there: blkrun's server listens before it has one.

    The reason why it is not, or an empty text.
    """
    deadline = time.monotonic() + START_S
    while not _has_export(uri):
        if process.poll() is not None:
            return f"ended with status {process.returncode}"
        if time.monotonic() > deadline:
            return f"has no export after {START_S:.0f} s"
        time.sleep(0.05)
    return ""


def _has_export(uri: str) -> bool:
    asked = subprocess.run(
        [which("nbdinfo"), "--size", uri], capture_output=True, timeout=START_S, check=False
    )
    return asked.returncode == 0


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ctrl-C, which all of them take as the wish to end; a second one if blkrun asks."""
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(STOP_S / 4)
            except subprocess.TimeoutExpired:
                continue
    if process.poll() is None:
        process.kill()
        process.wait()
