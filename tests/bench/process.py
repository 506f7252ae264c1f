"""A server that is up: started, known by the process that serves, ended by its handle."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .place import BenchError, Room

START_S = 20.0
STOP_S = 20.0


def which(tool: str) -> str:
    """The path of a program; empty if there is none."""
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    room: Room
    pid: int
    """The process that does the work, which for blkrun is not the one that was started."""

    def cpu_s(self) -> float:
        """User and system time of all its threads, those that have ended as well."""
        return parse_cpu_s(Path(f"/proc/{self.pid}/stat").read_text(), os.sysconf("SC_CLK_TCK"))


def parse_cpu_s(stat: str, ticks_per_s: int) -> float:
    """From /proc/PID/stat (proc(5)): the program's name, in brackets, may hold anything."""
    fields = stat[stat.rindex(")") + 2 :].split()
    utime, stime = int(fields[11]), int(fields[12])
    return (utime + stime) / ticks_per_s


@contextmanager
def running(name: str, command: Sequence[str], room: Room, cwd: Path) -> Iterator[Running]:
    """Serve until the block is left.  Raises BenchError with what the server said."""
    server = None
    with room.log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd
        )
    try:
        if problem := _wait_for_export(process, room):
            said = room.log.read_text(errors="replace").strip() or "it said nothing"
            raise BenchError(f"{name} {problem}: {said}")
        yield Running(room, server := _listener(room.socket))
    finally:
        _end(process, server)


def _wait_for_export(process: "subprocess.Popen[bytes]", room: Room) -> str:
    """Wait until the export is there: blkrun's server listens before it has one.

    The reason why it is not, or an empty text.
    """
    deadline = time.monotonic() + START_S
    while not _has_export(room.uri):
        if process.poll() is not None:
            return f"ended with status {process.returncode}"
        if time.monotonic() > deadline:
            return f"has no export after {START_S:.0f} s"
        time.sleep(0.05)
    return ""


def _has_export(uri: str) -> bool:
    command = [which("nbdinfo"), "--size", uri]
    try:
        asked = subprocess.run(command, capture_output=True, timeout=START_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def _listener(path: Path) -> int:
    """The process that listens at a socket: unix(7), SO_PEERCRED."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
        size = struct.calcsize("3i")
        pid, _, _ = struct.unpack(
            "3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
        return int(pid)


def _end(process: "subprocess.Popen[bytes]", server: int | None) -> None:
    """Ctrl-C, which all of them take as the wish to end; a second one if blkrun asks.

    What does not end is killed, the server that blkrun has started before blkrun itself.
    """
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(STOP_S / 4)
            except subprocess.TimeoutExpired:
                continue
    if process.poll() is None:
        for pid in (server, process.pid):
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()
