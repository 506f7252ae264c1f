"""preallocate: how much is made ahead of a format, and when what is left of it goes."""

import errno
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.errors import CommandError
from blkrun.options import (
    ExportOptions,
    FileOptions,
    MemoryOptions,
    NullOptions,
    PreallocateOptions,
    RawOptions,
)
from blkrun.server.actions import (
    blockdev_add,
    blockdev_del,
    blockdev_reopen,
    export_add,
    export_del,
    replace_node,
    set_edge,
)
from blkrun.server.drivers.preallocate import Preallocate
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.staging import Staging
from tests.server.faulty import Faulty
from tests.server.inprocess import Worker
from tests.server.tape import CHUNK, Tape, add_tape

KIB, MIB = 2**10, 2**20


class Setup:
    """export vda → tape → ahead → disk."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.image = directory / "image"
        self.graph = Graph(Events())
        self.options = PreallocateOptions(node_name="ahead", file="disk", **options)
        disk = FileOptions(node_name="disk", path=str(self.image), create=True)
        self.do(
            partial(blockdev_add, options=disk),
            partial(blockdev_add, options=self.options),
            partial(add_tape, over="ahead"),
            lambda s: export_add(s, "vda", ExportOptions(node="tape")),
        )
        tape = self.graph.nodes["tape"]
        assert isinstance(tape, Tape)
        self.tape = tape

    def do(self, *actions: Callable[[Staging], None]) -> None:
        """One edit."""
        self.graph.transaction(actions)

    def reopen(self, **options: Any) -> None:
        """Other numbers, live."""
        self.options = PreallocateOptions(node_name="ahead", file="disk", **options)
        self.do(partial(blockdev_reopen, options=self.options))

    @property
    def length(self) -> int:
        """Of the file itself."""
        return self.image.stat().st_size


@pytest.fixture
def closing() -> Iterator[list[Graph]]:
    """Graphs that are closed at the end."""
    graphs: list[Graph] = []
    yield graphs
    for graph in graphs:
        graph.close()


@pytest.fixture
def setup(tmp_path: Path, closing: list[Graph]) -> Setup:
    """Small numbers."""
    setup = Setup(tmp_path, prealloc_size=64 * KIB, prealloc_align=16 * KIB)
    closing.append(setup.graph)
    return setup


def test_room_is_made_in_steps_and_allocated(setup: Setup) -> None:
    """The format sees where its own data ends; what is made ahead reads as zeroes."""
    setup.tape.append(b"x" * 5 * KIB)
    assert setup.length == 80 * KIB  # 5 + 64, up to a multiple of 16
    assert setup.image.stat().st_blocks * 512 >= 69 * KIB
    assert setup.tape.file.length() == setup.graph.nodes["ahead"].size_bytes == 5 * KIB
    assert setup.graph.nodes["ahead"].describe() == {"preallocated": 75 * KIB}
    setup.tape.append(b"y" * 75 * KIB)
    assert setup.length == 80 * KIB
    setup.tape.append(b"z")
    assert setup.length == 160 * KIB  # 80 and a byte and 64
    assert setup.image.read_bytes()[: 80 * KIB + 1] == b"x" * 5 * KIB + b"y" * 75 * KIB + b"z"
    assert not any(setup.image.read_bytes()[80 * KIB + 1 :])


def test_qemus_numbers(tmp_path: Path, closing: list[Graph]) -> None:
    """Iotest 298's and those of §7: a format whose data ends at 393216, and at a MiB and a half."""
    setup = Setup(tmp_path, prealloc_size=8 * MIB)
    closing.append(setup.graph)
    setup.tape.append(b"x" * 393216)
    assert setup.length == 9437184
    setup.do(lambda s: export_del(s, "vda", hard=True))
    assert setup.length == 393216
    setup.do(lambda s: export_add(s, "vda", ExportOptions(node="tape")))
    setup.reopen(prealloc_size=20 * MIB, prealloc_align=5 * MIB)
    setup.tape.append(b"x" * MIB)
    assert setup.length == 25 * MIB
    setup.reopen()
    setup.tape.append(b"x" * 24 * MIB)
    assert setup.length > 100 * MIB
    setup.do(lambda s: export_del(s, "vda", hard=True))
    assert setup.length == 393216 + 25 * MIB


def test_the_rest_goes_with_the_node(setup: Setup) -> None:
    """Also with all that is above, whose last word is behind its data."""
    setup.tape.append(b"x" * CHUNK)
    names = ("tape", "ahead", "disk")
    remove = [partial(blockdev_del, name=name) for name in names]
    setup.do(lambda s: export_del(s, "vda", hard=True), *remove)
    assert setup.image.read_bytes() == b"x" * CHUNK + b"closed".ljust(CHUNK)


def test_the_rest_goes_with_the_server(setup: Setup) -> None:
    """As with the node."""
    setup.tape.append(b"x" * CHUNK)
    setup.graph.close()
    assert setup.image.read_bytes() == b"x" * CHUNK + b"closed".ljust(CHUNK)


@pytest.mark.parametrize("back", [False, True])
def test_taken_out_of_the_way(setup: Setup, *, back: bool) -> None:
    """What the format writes past it then stays, whatever becomes of the node."""
    setup.tape.append(b"x" * CHUNK)
    setup.do(lambda s: set_edge(s, "tape", "file", "disk"))
    assert setup.length == CHUNK
    setup.tape.append(b"y" * CHUNK)
    assert setup.length == 2 * CHUNK
    if back:
        setup.do(lambda s: set_edge(s, "tape", "file", "ahead"))
        setup.tape.append(b"z")
        assert setup.length > 64 * KIB
        setup.do(lambda s: set_edge(s, "tape", "file", "disk"))
    setup.do(partial(blockdev_del, name="ahead"))
    assert setup.image.read_bytes() == b"x" * CHUNK + b"y" * CHUNK + b"z" * back


def test_a_node_that_takes_its_place(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """What grows over the new one is not cut by the old one: that has dropped its rest before."""
    setup.tape.append(b"x" * CHUNK)
    lengths: list[int] = []
    close = Preallocate.close

    def closing(node: Preallocate) -> None:
        lengths.append(setup.length)
        close(node)

    monkeypatch.setattr(Preallocate, "close", closing)
    new = PreallocateOptions(node_name="ahead", file="disk", prealloc_size=KIB, prealloc_align=512)
    setup.graph.transaction([partial(replace_node, options=new)], departing=["ahead"])
    setup.tape.append(b"y" * 3 * CHUNK)
    assert lengths == [CHUNK]
    assert setup.length == 4 * CHUNK + KIB
    assert setup.image.read_bytes()[: 4 * CHUNK] == b"x" * CHUNK + b"y" * 3 * CHUNK


def test_below_a_backing_nothing_is_kept(setup: Setup) -> None:
    """A snapshot: the format is somebody's backing from now on, and nobody writes to it (298)."""
    setup.tape.append(b"x" * CHUNK)
    assert setup.length > 64 * KIB
    over = Tape(RawOptions(node_name="over", file="tape"))
    other = MemoryOptions(node_name="other", size=MIB)

    def snapshot(staging: Staging) -> None:
        tape = staging.nodes["tape"]
        staging.add_node(over, {"file": staging.nodes["other"], "backing": tape})
        set_edge(staging, "vda", "root", "over")

    setup.do(partial(blockdev_add, options=other))
    setup.do(snapshot)
    assert setup.length == CHUNK


def test_cannot_be_dropped(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The edit is refused, in QEMU's words; nothing has changed, and it goes on."""
    setup.tape.append(b"x" * CHUNK)

    def fail(fd: int, length: int) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr("os.ftruncate", fail)
        with pytest.raises(CommandError, match="'ahead': Failed to drop preallocation: broken"):
            setup.do(lambda s: export_del(s, "vda", hard=True))
    setup.tape.append(b"y" * CHUNK)
    setup.do(lambda s: export_del(s, "vda", hard=True))
    assert setup.image.read_bytes() == b"x" * CHUNK + b"y" * CHUNK


def test_without_room_for_more(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is nearly full, or cannot allocate: the write has what it needs."""

    def full(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("blkrun.server.drivers.file.zero_range", full)
    setup.tape.append(b"x" * CHUNK)
    assert setup.length == CHUNK
    assert setup.image.read_bytes() == b"x" * CHUNK


def test_over_what_has_an_end(closing: list[Graph]) -> None:
    """Up to it there is room; past it, ENOSPC, as without."""
    graph = Graph(Events())
    closing.append(graph)
    graph.transaction(
        [
            partial(blockdev_add, options=NullOptions(node_name="disk", size=CHUNK)),
            partial(blockdev_add, options=PreallocateOptions(node_name="ahead", file="disk")),
            partial(add_tape, over="ahead"),
        ]
    )
    file = graph.nodes["tape"].children["file"]
    file.truncate(CHUNK, exact=False)
    with pytest.raises(OSError, match="4096 bytes") as raised:
        file.truncate(CHUNK + 1, exact=False)
    assert raised.value.errno == errno.ENOSPC


def test_many_that_want_more(setup: Setup) -> None:
    """From four threads: all get theirs, and none is cut."""

    def work(number: int) -> None:
        for end in range(number, 400 * KIB, 999):
            setup.tape.file.truncate(end + 1, exact=False)
            setup.tape.file.pwrite(memoryview(b"x"), end, 0)

    for worker in [Worker(partial(work, number)) for number in range(4)]:
        worker.finish()
    data_end = setup.tape.file.length()
    setup.do(lambda s: export_del(s, "vda", hard=True))
    content = setup.image.read_bytes()
    assert len(content) == data_end
    assert all(content[at] == 120 for number in range(4) for at in range(number, 400 * KIB, 999))


@given(
    ends=st.lists(st.integers(0, 300 * KIB), max_size=8),
    size=st.integers(0, 100 * KIB),
    align=st.integers(0, 64),
)
def test_the_arithmetic(ends: list[int], size: int, align: int) -> None:
    """Never less than is asked; a multiple of align, and at most that much more."""
    disk = Growing(MemoryOptions(node_name="disk", size=0))
    graph = Graph(Events())
    options = PreallocateOptions(
        node_name="ahead", file="disk", prealloc_size=size, prealloc_align=align * 512
    )
    graph.transaction(
        [
            lambda s: s.add_node(disk, {}),
            partial(blockdev_add, options=options),
            partial(add_tape, over="ahead"),
            lambda s: export_add(s, "vda", ExportOptions(node="tape")),
        ]
    )
    file = graph.nodes["tape"].children["file"]
    asked = 0
    for end in ends:
        file.truncate(end, exact=False)
        asked = max(asked, end)
        assert file.length() == asked <= disk.length_bytes
        step = max(1, align * 512)
        assert not disk.length_bytes % step
        assert disk.length_bytes < asked + size + step
    graph.transaction([lambda s: export_del(s, "vda", hard=True)])
    assert disk.length_bytes == asked


class Growing(Faulty):
    """A RAM disk as long as one wants it."""

    length_bytes = 0

    def size_over(self, sizes: Any) -> int:
        """As it is."""
        del sizes
        return self.length_bytes

    def do_truncate(self, size_bytes: int, exact: bool) -> None:  # noqa: FBT001 - as in Node
        """Whatever is asked for."""
        self.length_bytes = size_bytes if exact else max(size_bytes, self.length_bytes)


def test_an_alignment_that_cannot_be() -> None:
    """QEMU's words; at a reopen too."""
    graph = Graph(Events())
    message = "prealloc-align parameter of preallocate filter is not aligned to 512"
    wrong = PreallocateOptions(node_name="ahead", file="disk", prealloc_align=100)
    disk = partial(blockdev_add, options=NullOptions(node_name="disk"))
    with pytest.raises(CommandError, match=message):
        graph.transaction([disk, partial(blockdev_add, options=wrong)])
    right = PreallocateOptions(node_name="ahead", file="disk", prealloc_align=0)
    graph.transaction([disk, partial(blockdev_add, options=right)])
    with pytest.raises(CommandError, match=message):
        graph.transaction([partial(blockdev_reopen, options=wrong)])
    graph.close()
