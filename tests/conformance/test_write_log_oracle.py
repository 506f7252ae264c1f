"""The same requests through QEMU's blklogwrites and ours: the same log, entry by entry."""

import random
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from blkrun.options import BlkLogWritesOptions, FileOptions
from blkrun.server.actions import blockdev_add, blockdev_del
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.write_log import FLUSH, Entry
from tests.conformance.tools import require_tool
from tests.server.write_logs import Logged, entries_in, replayed

SIZE = 2**17

Request = tuple[str, int, int, int]
"""Kind, offset, count, and the byte that is written."""


def some_requests(seed: int, sector: int) -> Iterator[Request]:
    """Of any alignment, but for discards: of parts of a sector they end QEMU's process."""
    rnd = random.Random(seed)
    for _ in range(40):
        kind = rnd.choice(["write", "write", "zero", "discard", "flush", "read"])
        step = sector if kind == "discard" or rnd.random() < 0.5 else 1
        offset = rnd.randrange(0, SIZE - 2 * sector) // step * step
        count = max(step, rnd.randrange(1, min(20000, SIZE - offset)) // step * step)
        yield kind, offset, count, rnd.randrange(256)


def by_qemu(directory: Path, requests: list[Request], more: str) -> list[Logged]:
    """What QEMU logs."""
    (directory / "disk").write_bytes(bytes(SIZE))
    log = directory / "log"
    log.touch()
    options = (
        f"driver=blklogwrites,discard=unmap,file.driver=file,file.filename={directory}/disk,"
        f"log.driver=file,log.filename={log},file.discard=unmap{more}"
    )
    commands = []
    for kind, offset, count, byte in requests:
        words = {"write": f"write -P {byte}", "zero": "write -z -u", "flush": "flush"}
        place = "" if kind == "flush" else f" {offset} {count}"
        commands += ["-c", words.get(kind, kind) + place]
    command = [require_tool("qemu-io"), "-t", "writeback", *commands, "--image-opts", options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return entries_in(log.read_bytes())


def by_us(directory: Path, requests: list[Request], sector: int = 512) -> list[Logged]:
    """What we log; the node goes at the end."""
    graph = Graph(Events())
    disk = FileOptions(node_name="disk", path=str(directory / "disk"), size=SIZE, create=True)
    log = FileOptions(node_name="log", path=str(directory / "log"), create=True)
    over = BlkLogWritesOptions(node_name="node", file="disk", log="log", log_sector_size=sector)
    graph.transaction([partial(blockdev_add, options=each) for each in (disk, log, over)])
    node = graph.nodes["node"]
    for kind, offset, count, byte in requests:
        if kind == "write":
            node.pwrite(memoryview(bytes([byte]) * count), offset, 0)
        elif kind == "zero":
            node.zero(count, offset, 1)
        elif kind == "discard":
            node.trim(count, offset, 0)
        elif kind == "flush":
            node.flush()
        else:
            node.pread(memoryview(bytearray(count)), offset)
    graph.transaction([partial(blockdev_del, name="node")])
    graph.close()
    return entries_in((directory / "log").read_bytes())


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("seed", range(6))
def test_the_same_log(tmp_path: Path, seed: int, sector: int) -> None:
    """And replaying it makes the disk that both have at the end."""
    requests = list(some_requests(seed, sector))
    (tmp_path / "qemu").mkdir()
    (tmp_path / "ours").mkdir()
    theirs = by_qemu(tmp_path / "qemu", requests, f",log-sector-size={sector}")
    ours = by_us(tmp_path / "ours", requests, sector)
    assert ours == theirs
    last = replayed(bytes(SIZE), ours, sector)
    assert last == (tmp_path / "qemu" / "disk").read_bytes()
    assert last == (tmp_path / "ours" / "disk").read_bytes()


def test_going_on_with_each_others_log(tmp_path: Path) -> None:
    """QEMU appends to ours, and its entries follow."""
    ours = by_us(tmp_path, [("write", 0, 1024, 1), ("zero", 4096, 512, 0)])
    (tmp_path / "disk").unlink()
    both = by_qemu(tmp_path, [("write", 512, 512, 2)], ",log-append=on")
    assert both == [*ours, (Entry(1, 1, 0), b"\2" * 512), (Entry(0, 0, FLUSH), b"")]
