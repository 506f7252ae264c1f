"""qcow2 over preallocate (iotest 298): how long the file is, when, and that it is all right."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from blkrun.options import (
    ExportOptions,
    FileOptions,
    PreallocateOptions,
    Qcow2Options,
)
from blkrun.server.actions import blockdev_add, blockdev_del, blockdev_reopen, export_add, set_edge
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.staging import Staging
from tests.conformance.tools import require_tool
from tests.live.service import tool

MIB = 2**20


class Setup:
    """export vda → qcow2 ``q`` → preallocate ``ahead`` → ``disk``."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.image = directory / "a.qcow2"
        tool(require_tool("qemu-img"), "create", "-q", "-f", "qcow2", str(self.image), "64M")
        self.graph = Graph(Events())
        self.do(
            partial(blockdev_add, options=FileOptions(node_name="disk", path=str(self.image))),
            partial(blockdev_add, options=ahead(**options)),
            partial(blockdev_add, options=Qcow2Options(node_name="q", file="ahead")),
            lambda s: export_add(s, "vda", ExportOptions(node="q")),
        )

    def do(self, *actions: Callable[[Staging], None]) -> None:
        """One edit."""
        self.graph.transaction(actions)

    def write(self, byte: bytes, count: int, offset: int) -> None:
        """As a client."""
        self.graph.exports["vda"].root.pwrite(memoryview(byte * count), offset, 0)

    @property
    def length(self) -> int:
        """Of the file."""
        return self.image.stat().st_size

    def check(self, *patterns: tuple[int, int, int]) -> None:
        """QEMU finds nothing wrong, and the bytes: (byte, offset, count)."""
        tool(require_tool("qemu-img"), "check", str(self.image))
        for byte, offset, count in patterns:
            words = f"read -P {byte} {offset} {count}"
            said = tool(require_tool("qemu-io"), "-f", "qcow2", "-r", "-c", words, str(self.image))
            assert "failed" not in said


def ahead(**options: Any) -> PreallocateOptions:
    """The filter's options."""
    return PreallocateOptions(node_name="ahead", file="disk", **options)


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    """With the defaults."""
    setup = Setup(tmp_path)
    yield setup
    setup.graph.close()


def test_while_it_is_open_and_after(setup: Setup) -> None:
    """More than 100 MiB for a write of one; less than 10 when it is closed."""
    setup.write(b"x", MIB, 0)
    assert setup.length > 100 * MIB
    setup.graph.close()
    assert setup.length < 10 * MIB
    setup.check((ord("x"), 0, MIB), (0, MIB, 63 * MIB))


def test_other_numbers_live(setup: Setup) -> None:
    """20 MiB more, up to a multiple of 5: exactly 25 MiB for a write of one."""
    setup.do(
        partial(blockdev_reopen, options=ahead(prealloc_size=20 * MIB, prealloc_align=5 * MIB))
    )
    setup.write(b"x", MIB, 0)
    assert setup.length == 25 * MIB


def test_a_snapshot_drops_it(setup: Setup, tmp_path: Path) -> None:
    """Nobody writes to what is a backing."""
    setup.write(b"x", MIB, 0)
    over = FileOptions(node_name="f2", path=str(tmp_path / "b.qcow2"), create=True)
    top = Qcow2Options(node_name="top", file="f2", backing="q", create=True, size=64 * MIB)
    setup.do(
        partial(blockdev_add, options=over),
        partial(blockdev_add, options=top),
        partial(set_edge, parent="vda", role="root", child="top"),
    )
    assert setup.length < 10 * MIB
    setup.write(b"y", MIB, MIB)
    assert setup.length < 10 * MIB
    setup.graph.close()
    setup.check((ord("x"), 0, MIB), (0, MIB, MIB))


def test_taken_out_and_put_in_while_the_image_grows(setup: Setup) -> None:
    """Nothing that was written past it is cut off."""
    for turn in range(6):
        setup.write(bytes([turn + 1]), 3 * MIB, 4 * MIB * turn)
        setup.do(partial(set_edge, parent="q", role="file", child=("disk", "ahead")[turn % 2]))
        setup.write(bytes([turn + 1]), MIB, 4 * MIB * turn + 3 * MIB)
    setup.do(partial(set_edge, parent="q", role="file", child="disk"))
    setup.do(partial(blockdev_del, name="ahead"))
    setup.graph.close()
    setup.check(*((turn + 1, 4 * MIB * turn, 4 * MIB) for turn in range(6)))
