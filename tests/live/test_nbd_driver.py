"""The nbd driver against real servers: nbdkit and qemu-nbd."""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from blkrun.errors import CommandError
from blkrun.options import NbdOptions
from blkrun.server.drivers import _nbd_child as child_module
from blkrun.server.drivers import nbd as driver_module
from blkrun.server.drivers._nbd_child import Child
from blkrun.server.drivers.nbd import Nbd
from blkrun.server.route import Route
from blkrun.server.staging import Staging
from blkrun.server.way import (
    EXTENT_DATA,
    EXTENT_HOLE,
    EXTENT_ZERO,
    FLAG_FAST_ZERO,
    FLAG_FUA,
    FLAG_MAY_TRIM,
    FLAG_REQ_ONE,
    NOWHERE,
)

pytestmark = pytest.mark.live

try:
    import nbd  # noqa: F401 - only whether it is there
except ImportError:
    sys.path.append("/usr/lib/python3/dist-packages")  # where the distribution puts it

ROOT = Path(__file__).resolve().parents[2]
NO_STAGING = cast("Staging", None)  # the driver does not look at it
MIB = 2**20
SIZE = 64 * MIB

Serve = Callable[..., subprocess.Popen[bytes]]
OpenNode = Callable[..., Nbd]


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Poll; fail when it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.01)


def answers(path: Path) -> bool:
    """Whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def runs(pid: int) -> bool:
    """Whether a process is there and is more than a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def sock(tmp_path: Path) -> Path:
    """Where the server listens."""
    return tmp_path / "sock"


@pytest.fixture
def serve(tmp_path: Path, sock: Path) -> Iterator[Serve]:
    """Start servers on ``sock``, one at a time: nbdkit's arguments, or a whole command."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        sock.unlink(missing_ok=True)
        command = list(arguments)
        if command[0] != "qemu-nbd":
            command = ["nbdkit", "-f", "-U", str(sock), *command]
        process = subprocess.Popen(command)
        running.append(process)
        wait_until(lambda: answers(sock))
        return process

    yield start
    for process in running:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def open_node(sock: Path) -> Iterator[OpenNode]:
    """Open nodes on ``sock``, or with the options given; they are closed at the end."""
    nodes: list[Nbd] = []

    def start(**options: Any) -> Nbd:
        if "command" not in options:
            options.setdefault("uri", f"nbd+unix:///?socket={sock}")
        node = Nbd(NbdOptions(node_name="remote", **options))
        node.open(NO_STAGING)
        node.route = Route((node,), node.lower(NOWHERE, NOWHERE))
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        node.close()


@pytest.fixture
def image(tmp_path: Path) -> str:
    """A sparse raw image."""
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return str(path)


def read(node: Nbd, count: int, offset: int) -> bytes:
    """By the node's data path."""
    buf = bytearray(b"\xee" * count)
    node.pread(memoryview(buf), offset)
    return bytes(buf)


def write(node: Nbd, data: bytes, offset: int, flags: int = 0) -> None:
    """By the node's data path."""
    node.pwrite(memoryview(data), offset, flags)


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno a request fails with; None if it does not fail."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return None


def qemu_nbd(sock: Path, image: str, *more: str) -> list[str]:
    """A command line for a server that lasts."""
    return ["qemu-nbd", "-t", "-k", str(sock), "-f", "raw", *more, image]


# Data


def test_what_is_written_is_read(serve: Serve, open_node: OpenNode) -> None:
    """Odd offsets and lengths come back as they were written, and nothing around them changes."""
    serve("memory", str(SIZE))
    node = open_node()
    data = random.Random(1).randbytes(100_001)
    write(node, data, 4097)
    node.flush()
    assert node.size_over({}) == SIZE
    assert read(node, 100_003, 4096) == b"\0" + data + b"\0"


def test_requests_above_the_servers_limit_are_split(
    serve: Serve, open_node: OpenNode, tmp_path: Path
) -> None:
    """The server sees none larger than the maximum it advertised, and all of the data arrives."""
    limits = ["blocksize-minimum=1", "blocksize-preferred=4K", "blocksize-maximum=64K"]
    policy = ["--filter=blocksize-policy", *limits, "blocksize-error-policy=error"]
    serve("memory", str(SIZE), *policy)
    node = open_node()
    data = random.Random(2).randbytes(MIB + 1)
    write(node, data, 1)
    assert read(node, len(data), 1) == data
    node.zero(MIB, 1, 0)
    node.trim(MIB, 1, 0)
    node.cache(MIB, 1)
    assert read(node, MIB + 1, 1) == b"\0" * MIB + data[-1:]


def test_servers_that_take_whole_blocks(serve: Serve, open_node: OpenNode, tmp_path: Path) -> None:
    """Whole blocks are zeroed and trimmed as such; of a long write only the ends are read first."""
    log = tmp_path / "log"
    policy = ["--filter=blocksize-policy", "blocksize-minimum=4K", "blocksize-error-policy=error"]
    serve(policy[0], "--filter=log", "memory", str(SIZE), *policy[1:], f"logfile={log}")
    node = open_node(connections=1)

    def asked(call: Callable[..., object], *arguments: object) -> list[str]:
        before = len(log.read_text())
        call(*arguments)
        return re.findall(r"id=\d+ (offset=\S+ count=\S+)", log.read_text()[before:])

    block = 4096
    write(node, b"x" * 5 * block, 0)
    assert asked(node.zero, 3 * block, block - 7, FLAG_FAST_ZERO) == [
        "offset=0x1000 count=0x2000",
        *("offset=0x0 count=0x1000", "offset=0x0 count=0x1000"),
        *("offset=0x3000 count=0x1000", "offset=0x3000 count=0x1000"),
    ]
    assert read(node, 5 * block, 0) == b"x" * (block - 7) + bytes(3 * block) + b"x" * (block + 7)
    assert asked(node.trim, 3 * block, block + 7, 0) == ["offset=0x2000 count=0x2000"]
    assert asked(write, node, b"y" * MIB, 1) == [
        "offset=0x0 count=0x1000",
        "offset=0x100000 count=0x1000",
        "offset=0x0 count=0x101000",
    ]
    assert read(node, MIB + 2, 0) == b"x" + b"y" * MIB + b"\0"


def test_requests_above_32_mib_are_split(serve: Serve, open_node: OpenNode) -> None:
    """Without an advertised maximum it is 32 MiB, as the protocol has it."""
    serve("memory", str(SIZE))
    node = open_node()
    data = random.Random(3).randbytes(MIB) * 40
    write(node, data, MIB)
    assert read(node, len(data), MIB) == data


def test_flags_reach_the_server(serve: Serve, open_node: OpenNode, tmp_path: Path) -> None:
    """FUA, MAY_TRIM, FAST_ZERO and REQ_ONE travel as the client gave them, and flush is a flush."""
    log = tmp_path / "log"
    serve("--filter=log", "memory", str(SIZE), f"logfile={log}")
    node = open_node(connections=1)
    write(node, b"x" * 512, 0)
    write(node, b"x" * 512, 512, FLAG_FUA)
    node.zero(512, 1024, FLAG_MAY_TRIM)
    node.zero(512, 1536, FLAG_FUA | FLAG_FAST_ZERO)
    node.trim(512, 2048, FLAG_FUA)
    node.flush()
    node.cache(512, 0)
    node.extents(512, 0, FLAG_REQ_ONE)
    lines = log.read_text()
    for seen in (
        "Write id=1 offset=0x0 count=0x200 fua=0",
        "Write id=2 offset=0x200 count=0x200 fua=1",
        "Zero id=3 offset=0x400 count=0x200 trim=1 fua=0 fast=0",
        "Zero id=4 offset=0x600 count=0x200 trim=0 fua=1 fast=1",
        "Trim id=5 offset=0x800 count=0x200 fua=1",
        "Flush id=6",
        "Cache id=7",
        "Extents id=8 offset=0x0 count=0x200 req_one=1",
    ):
        assert seen in lines


@pytest.mark.parametrize("request_name", ["write", "zero", "trim"])
def test_fua_is_a_flush_where_the_server_has_none(
    serve: Serve, open_node: OpenNode, tmp_path: Path, request_name: str
) -> None:
    """Durability is not lost with a server that cannot do FUA."""
    log = tmp_path / "log"
    serve("--filter=log", "--filter=fua", "memory", str(SIZE), f"logfile={log}")
    node = open_node(connections=1)
    requests: dict[str, Callable[[], None]] = {
        "write": lambda: write(node, b"x" * 512, 0, FLAG_FUA),
        "zero": lambda: node.zero(512, 0, FLAG_FUA),
        "trim": lambda: node.trim(512, 0, FLAG_FUA),
    }
    requests[request_name]()
    lines = log.read_text()
    assert "Flush id=2" in lines
    assert "fua=1" not in lines


def test_zeroes_are_written_where_the_server_has_none(serve: Serve, open_node: OpenNode) -> None:
    """Slow zeroes are real zeroes, and fast ones are refused rather than slow."""
    serve("--filter=nozero", "memory", str(SIZE))
    node = open_node()
    write(node, b"x" * MIB, 0)
    assert errno_of(node.zero, 4096, 0, FLAG_FAST_ZERO) == errno.EOPNOTSUPP
    assert read(node, 4096, 0) == b"x" * 4096
    node.zero(4096, 512, 0)
    assert read(node, 8192, 0) == b"x" * 512 + b"\0" * 4096 + b"x" * (8192 - 4608)


def test_trim_makes_a_hole(serve: Serve, open_node: OpenNode) -> None:
    """What is trimmed in a memory disk is gone from its extents."""
    serve("memory", str(SIZE))
    node = open_node()
    write(node, b"x" * MIB, 0)
    node.trim(MIB, 0, 0)
    assert node.extents(MIB, 0) == [(0, MIB, EXTENT_HOLE | EXTENT_ZERO)]


def test_extents_cover_the_range_and_no_more(serve: Serve, open_node: OpenNode) -> None:
    """Data between holes is found, and the last extent ends with the question."""
    serve("memory", str(SIZE))
    node = open_node()
    write(node, b"x" * MIB, 8 * MIB)
    hole = EXTENT_HOLE | EXTENT_ZERO
    assert node.extents(16 * MIB, 4 * MIB) == [
        (4 * MIB, 4 * MIB, hole),
        (8 * MIB, MIB, EXTENT_DATA),
        (9 * MIB, 11 * MIB, hole),
    ]
    assert node.extents(1000, 8 * MIB + 1) == [(8 * MIB + 1, 1000, EXTENT_DATA)]


def test_everything_is_data_without_extents(serve: Serve, open_node: OpenNode) -> None:
    """A server that was not asked for structured replies cannot tell holes."""
    serve("--no-sr", "memory", str(SIZE))
    assert open_node().extents(MIB, 512) == [(512, MIB, EXTENT_DATA)]


# Errors


@pytest.mark.parametrize("name", ["EIO", "ENOSPC", "EPERM", "ENOMEM", "EINVAL", "ESHUTDOWN"])
def test_errno_reaches_the_client(serve: Serve, open_node: OpenNode, name: str) -> None:
    """The server's errno is ours, and the connection goes on."""
    serve("--filter=error", "memory", str(SIZE), f"error-pwrite={name}", "error-pwrite-rate=1")
    node = open_node()
    for _ in range(10):
        assert errno_of(write, node, b"x" * 512, 0) == getattr(errno, name)
    assert read(node, 512, 0) == b"\0" * 512
    assert node.describe() == {"connections": 4, "reconnects": 0}


def test_error_of_a_read(serve: Serve, open_node: OpenNode) -> None:
    """A structured reply's error is the read's."""
    serve("--filter=error", "memory", str(SIZE), "error-pread=ENOMEM", "error-pread-rate=1")
    assert errno_of(read, open_node(), MIB, 0) == errno.ENOMEM


def test_read_only_server_is_refused(serve: Serve, open_node: OpenNode) -> None:
    """The remedy is in the message, and it works."""
    serve("-r", "memory", str(SIZE))
    with pytest.raises(CommandError, match="read-only = true"):
        open_node()
    node = open_node(read_only=True)
    assert read(node, 512, 0) == b"\0" * 512
    with pytest.raises(CommandError, match="read-only = true"):
        node.prepare_reopen(NbdOptions(node_name="remote", uri=node.options.uri), NO_STAGING)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uri": "nbd+unix:///?socket=/nonexistent/sock"}, "No such file or directory"),
        ({"uri": "/nonexistent/sock"}, "URI does not have a scheme"),
        ({"uri": None}, "either 'uri' or 'command'"),
        ({"command": ("blkrun-no-such-server",)}, "no such program"),
        ({"command": ("nbdkit", "no-such-plugin")}, "ended with status 1"),
    ],
)
def test_what_cannot_be_opened_is_explained(
    open_node: OpenNode, options: dict[str, Any], message: str
) -> None:
    """One line with the reason, and no library's function names."""
    with pytest.raises(CommandError, match=message) as caught:
        open_node(**options)
    assert "\n" not in str(caught.value)
    assert "nbd_" not in str(caught.value)


def test_silent_server_does_not_hold_up_opening(
    open_node: OpenNode, sock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that listens and says nothing is given up on."""
    monkeypatch.setattr(driver_module, "CONNECT_SECONDS", 0.3)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sock))
        listener.listen()
        with pytest.raises(CommandError, match=r"no answer within 0\.3 s"):
            open_node()


def test_server_with_too_few_places(
    serve: Serve, open_node: OpenNode, sock: Path, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says how many connections there could be."""
    monkeypatch.setattr(driver_module, "CONNECT_SECONDS", 1.0)
    serve(*qemu_nbd(sock, image, "--shared=3"))  # the probe of ``serve`` has left by then
    with pytest.raises(CommandError, match="connections = 3"):
        open_node()


# Many threads


def hammer(node: Nbd, region: int, seed: int) -> bytes:
    """Write and read back patterns in 4 MiB of its own; what the region has to hold at last."""
    rng = random.Random(seed)
    model = bytearray(4 * MIB)
    for _ in range(150):
        length = rng.choice([1, 512, 4096, 65_536, 300_000])
        at = rng.randrange(len(model) - length)
        if rng.random() < 0.5:
            model[at : at + length] = rng.randbytes(length)
            write(node, bytes(model[at : at + length]), region + at, rng.choice([0, FLAG_FUA]))
        else:
            assert read(node, length, region + at) == model[at : at + length]
    return bytes(model)


def hammer_with_8_threads(node: Nbd) -> None:
    """Byte for byte, during and after."""
    with ThreadPoolExecutor(8) as threads:
        models = list(threads.map(lambda i: hammer(node, i * 4 * MIB, i), range(8)))
    node.flush()
    assert read(node, 32 * MIB, 0) == b"".join(models)


def test_eight_threads_on_four_connections(serve: Serve, open_node: OpenNode) -> None:
    """Nobody gets anybody else's data from nbdkit."""
    serve("memory", str(SIZE))
    node = open_node(connections=4)
    assert node.describe()["connections"] == 4
    hammer_with_8_threads(node)


def test_eight_threads_on_four_connections_of_qemu(
    serve: Serve, open_node: OpenNode, sock: Path, image: str
) -> None:
    """Nobody gets anybody else's data from qemu-nbd, and it is in the image."""
    serve(*qemu_nbd(sock, image, "--shared=5"))
    node = open_node(connections=4)
    assert node.describe()["connections"] == 4
    hammer_with_8_threads(node)
    with Path(image).open("rb") as file:
        assert read(node, SIZE, 0) == file.read()


def test_eight_threads_on_a_server_without_multi_conn(serve: Serve, open_node: OpenNode) -> None:
    """One connection is all that is safe then, and enough."""
    serve("--filter=multi-conn", "memory", str(SIZE), "multi-conn-mode=disable")
    node = open_node(connections=4)
    assert node.describe()["connections"] == 1
    hammer_with_8_threads(node)


def test_slow_server_does_not_stop_other_threads(serve: Serve, open_node: OpenNode) -> None:
    """The interpreter is free while any kind of request waits for its answer."""
    delays = [f"delay-{kind}=1" for kind in ("read", "write", "zero", "trim", "extents")]
    serve("--filter=delay", "memory", str(SIZE), *delays)
    node = open_node(connections=5)
    calls: list[Callable[[], object]] = [
        lambda: read(node, 512, 0),
        lambda: write(node, b"x" * 512, 512),
        lambda: node.zero(512, 1024, 0),
        lambda: node.trim(512, 2048, 0),
        lambda: node.extents(512, 4096),
    ]
    began = last = time.monotonic()
    longest = 0.0
    with ThreadPoolExecutor(len(calls)) as threads:
        pending = [threads.submit(call) for call in calls]
        while not all(future.done() for future in pending):
            time.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        for future in pending:
            future.result()
    assert 1 <= last - began < 3
    assert longest < 0.5


# Servers that die


def test_server_killed_and_restarted(serve: Serve, open_node: OpenNode) -> None:
    """Requests under way and after fail with EIO; a server on the same socket is used again."""
    delayed = ["--filter=delay", "memory", str(SIZE), "rdelay=30"]
    server = serve(*delayed)
    node = open_node()
    with ThreadPoolExecutor(8) as threads:
        pending = [threads.submit(errno_of, read, node, 512, 0) for _ in range(8)]
        wait_until(lambda: len(node._pool._waiting) == 4)
        server.kill()
        assert [future.result(timeout=8) for future in pending] == [errno.EIO] * 8
    assert errno_of(read, node, 512, 0) == errno.EIO
    server.wait()
    serve("memory", str(SIZE))
    wait_until(lambda: errno_of(read, node, 512, 0) is None)
    for _ in range(8):
        write(node, b"again", 0)
    assert read(node, 5, 0) == b"again"


def test_restart_while_idle_costs_one_request(serve: Serve, open_node: OpenNode) -> None:
    """The first request finds out; the other connections are made anew without failing any."""
    server = serve("memory", str(SIZE))
    node = open_node()
    server.kill()
    server.wait()
    serve("memory", str(SIZE))
    with ThreadPoolExecutor(4) as threads:
        assert errno_of(read, node, 512, 0) == errno.EIO
        pending = [threads.submit(errno_of, read, node, 512, 0) for _ in range(16)]
        assert [future.result() for future in pending] == [None] * 16
    assert node.describe() == {"connections": 4, "reconnects": 1}


def test_flush_tells_of_writes_lost_with_a_server(serve: Serve, open_node: OpenNode) -> None:
    """Acknowledged writes that no flush covered fail the next flush, once."""
    server = serve("memory", str(SIZE))
    node = open_node()
    write(node, b"x" * 512, 0)
    server.kill()
    server.wait()
    serve("memory", str(SIZE))
    assert errno_of(read, node, 512, 0) == errno.EIO
    assert read(node, 512, 0) == b"\0" * 512
    assert errno_of(node.flush) == errno.EIO
    assert errno_of(node.flush) is None


def test_flushed_writes_are_not_reported_lost(serve: Serve, open_node: OpenNode) -> None:
    """A reconnection after a flush, or after FUA, is nobody's loss."""
    server = serve("memory", str(SIZE))
    node = open_node()
    write(node, b"x" * 512, 0)
    node.flush()
    write(node, b"x" * 512, 0, FLAG_FUA)
    server.kill()
    server.wait()
    serve("memory", str(SIZE))
    assert errno_of(read, node, 512, 0) == errno.EIO
    assert errno_of(node.flush) is None


def test_another_size_after_a_restart(serve: Serve, open_node: OpenNode) -> None:
    """Clients were told a size, so a server with another one is not used."""
    server = serve("memory", str(SIZE))
    node = open_node()
    for size in (SIZE // 2, SIZE):
        server.kill()
        server.wait()
        server = serve("memory", str(size))
        if size != SIZE:
            for _ in range(3):
                assert errno_of(read, node, 512, 0) == errno.EIO
    wait_until(lambda: errno_of(read, node, 512, 0) is None)


def test_requests_do_not_hang_on_a_silent_server(
    serve: Serve, open_node: OpenNode, sock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight threads wait together for one bounded attempt, not one after the other."""
    monkeypatch.setattr(driver_module, "RECONNECT_SECONDS", 1.0)
    server = serve("memory", str(SIZE))
    node = open_node(connections=1)
    server.kill()
    server.wait()
    assert errno_of(read, node, 512, 0) == errno.EIO
    sock.unlink()
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(8) as threads:
        listener.bind(str(sock))
        listener.listen()
        began = time.monotonic()
        pending = [threads.submit(errno_of, read, node, 512, 0) for _ in range(8)]
        assert [future.result() for future in pending] == [errno.EIO] * 8
        assert 1 <= time.monotonic() - began < 3


# Commands


@pytest.mark.parametrize("server", ["nbdkit", "qemu-nbd"])
def test_command_serves_and_ends_on_close(open_node: OpenNode, image: str, server: str) -> None:
    """Closing the node ends the process and removes its socket."""
    command = {
        "nbdkit": ("nbdkit", "file", image),
        "qemu-nbd": ("qemu-nbd", "-t", "--shared=4", "-f", "raw", image),
    }[server]
    node = open_node(command=command)
    assert node.describe()["connections"] == 4
    hammer_with_8_threads(node)
    child = node._child
    assert child is not None
    directory = Path(child.socket_path).parent
    assert directory.stat().st_mode & 0o777 == 0o700
    node.close()
    assert not runs(child.pid)
    assert not directory.exists()


def test_command_has_no_part_in_our_python(
    open_node: OpenNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's interpreter path is not the command's."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    child = open_node(command=("nbdkit", "memory", "1M"))._child
    assert child is not None
    environment = Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0")
    assert b"LISTEN_PID=%d" % child.pid in environment
    assert not [entry for entry in environment if entry.startswith(b"PYTHONPATH=")]


def test_dead_command_stays_dead(open_node: OpenNode) -> None:
    """Its data may have died with it, so everything fails with EIO and nothing is restarted."""
    node = open_node(command=("nbdkit", "memory", str(SIZE)))
    assert node._child is not None
    os.kill(node._child.pid, signal.SIGKILL)
    began = time.monotonic()
    for _ in range(6):
        assert errno_of(read, node, 512, 0) == errno.EIO
        assert errno_of(node.flush) == errno.EIO
    assert time.monotonic() - began < 2


def test_command_that_ignores_term_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its two seconds of grace, with whatever it has started itself."""
    monkeypatch.setattr(child_module, "TERM_GRACE_SECONDS", 0.3)
    note = tmp_path / "pid"
    script = f"trap '' TERM; sleep 60 & echo $! >{note}.new; mv {note}.new {note}; wait"
    child = Child(("sh", "-c", script))
    wait_until(note.exists)
    began = time.monotonic()
    child.close()
    assert 0.3 <= time.monotonic() - began < 3
    assert not runs(child.pid)
    wait_until(lambda: not runs(int(note.read_text())))


HOLDER = """
import sys, time
try:
    import nbd
except ImportError:
    sys.path.append("/usr/lib/python3/dist-packages")
import threading
from blkrun.options import NbdOptions
from blkrun.server.drivers.nbd import Nbd
node = Nbd(NbdOptions(node_name="n", command=tuple(sys.argv[1:])))
starter = threading.Thread(target=node.open, args=(None,))
starter.start()
starter.join()
node.do_pread(memoryview(bytearray(512)), 0)
print(node._child.pid, node._child.socket_path, flush=True)
time.sleep(100)
"""


def test_command_ends_with_a_killed_server(image: str) -> None:
    """It outlives the thread that started it, but not our process, killed without warning."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, "nbdkit", "file", image],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    try:
        assert holder.stdout is not None
        with holder.stdout:
            pid, path = holder.stdout.readline().split()
        assert runs(int(pid))
        assert answers(Path(path))
    finally:
        holder.kill()
        holder.wait()
    wait_until(lambda: not runs(int(pid)))
    wait_until(lambda: not Path(path).parent.exists())


def test_threads_in_the_queue_are_served_in_order(serve: Serve, open_node: OpenNode) -> None:
    """A thread that comes back at once does not pass by those that wait."""
    serve("--filter=delay", "memory", str(SIZE), "rdelay=5ms")
    node = open_node(connections=1)
    counts = [0] * 4
    stop = threading.Event()

    def loop(index: int) -> None:
        while not stop.is_set():
            read(node, 512, 0)
            counts[index] += 1

    with ThreadPoolExecutor(4) as threads:
        pending = [threads.submit(loop, index) for index in range(4)]
        wait_until(lambda: max(counts) >= 20)
        stop.set()
        for future in pending:
            future.result()
    assert max(counts) - min(counts) <= 4
