"""What the tests here share: programs they need, processes they start, requests in one line."""

import errno
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest

from blkrun.server.node import Node
from blkrun.server.stats import qemu_counters, row_of
from blkrun.server.way import Extent, Way

DIST_PACKAGES = "/usr/lib/python3/dist-packages"
"""Where the distribution puts Python modules, libnbd's among them."""


def unavailable(reason: str) -> NoReturn:
    """Skip with a reason; in CI, where everything has to be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and in CI that is no reason to skip")
    pytest.skip(reason)


def require_tool(name: str) -> str:
    """The path of a program."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        unavailable(f"{name} is not installed")
    return found


def require_module(name: str) -> None:
    """A Python module that may come from the distribution."""
    if find_spec(name) is None:
        unavailable(f"the Python module {name} is not installed")


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Poll; fail when it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.005)


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A child process, ended by its handle."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def loop_device(image: Path, sector_bytes: int = 512) -> Iterator[Path]:
    """A loop device over an image, detached at the end."""
    losetup = require_tool("losetup")
    made = subprocess.run(
        [losetup, "--find", "--show", f"--sector-size={sector_bytes}", str(image)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        unavailable(f"losetup gives no loop device here: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        yield Path(device)
    finally:
        subprocess.run([losetup, "--detach", device], check=True)


def memory_directory() -> Path:
    """A directory on tmpfs: a filesystem that makes holes, but zeroes no range without one."""
    directory = Path("/dev/shm")
    if not directory.is_dir():
        unavailable("there is no /dev/shm")
    return directory


def answers(path: Path) -> bool:
    """Whether an NBD server greets on a unix socket: qemu-nbd listens before it has its image."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
            return probe.recv(8) == b"NBDMAGIC"
        except OSError:
            return False


def change_way(
    node: Node[Any], change: Callable[[Way], Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What requests do at a node is what ``change`` makes of it, from the next route on."""
    lower, lower_over = node.lower, node.lower_over
    monkeypatch.setattr(node, "lower", lambda *ways: change(lower(*ways)))
    monkeypatch.setattr(node, "lower_over", lambda below: change(lower_over(below)))
    monkeypatch.setattr(node, "form", lambda: ("changed", node))


def read(node: Node[Any], count: int, offset: int) -> bytes:
    """Read into a buffer that is dirty before, as nbdkit's may be."""
    buf = bytearray(b"\xee" * count)
    node.pread(memoryview(buf), offset)
    return bytes(buf)


def write(node: Node[Any], data: bytes, offset: int, flags: int = 0) -> None:
    """Write from a read-only buffer, as nbdkit's is."""
    node.pwrite(memoryview(data), offset, flags)


def all_extents(node: Node[Any], count: int, offset: int) -> list[Extent]:
    """The extents of a whole range; a node may tell about its beginning only, so ask on."""
    found: list[Extent] = []
    at, end = offset, offset + count
    while at < end:
        answer = node.extents(end - at, at)
        assert answer, f"nothing is told about byte {at}"
        for start, length, _ in answer:
            assert start == at, f"the extents {answer} have a gap or are out of order"
            assert length > 0, f"the extents {answer} have an empty one"
            at += length
        assert at <= end, f"the extents {answer} end past byte {end}"
        found += answer
    return found


def errno_of(call: Callable[..., object], *arguments: object) -> str | None:
    """The name of the errno a request fails with; None if it does not fail."""
    try:
        call(*arguments)
    except OSError as error:
        name = errno.errorcode[error.errno or 0]
        return "EOPNOTSUPP" if name == "ENOTSUP" else name  # one number, two names
    return None


def pattern(count: int, seed: int) -> bytes:
    """Data without a zero byte, different for every seed."""
    unit = bytes((seed * 31 + i * 7) % 255 + 1 for i in range(min(count, 251)))
    return (unit * (count // 251 + 1))[:count] if unit else b""


def counts(node: Node[Any]) -> dict[str, int]:
    """What a node has counted, times apart: QEMU's counters that are not 0."""
    found = qemu_counters(row_of(node.stats))
    return {name: value for name, value in found.items() if value and "time" not in name}
