"""Children that a format makes longer, and requests of nodes that are opened or closed."""

import errno
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from blkrun.errors import CommandError
from blkrun.options import (
    BlockdevOptions,
    CopyBeforeWriteOptions,
    ExportOptions,
    FileOptions,
    MemoryOptions,
    NullOptions,
    RawOptions,
    ThrottleLimits,
    ThrottleOptions,
)
from blkrun.server import bitmap_actions
from blkrun.server.actions import blockdev_add, blockdev_del, export_add, group_add, set_edge
from blkrun.server.bitmap_actions import Place
from blkrun.server.events import Events
from blkrun.server.graph import Graph, parents_first
from blkrun.server.node import Node
from blkrun.server.staging import Staging
from tests.server.inprocess import Worker, eventually, ignore

CHUNK = 4096


class Tape(Node[RawOptions]):
    """A format: what is written goes to the end of ``file``, after how often it was opened."""

    driver = "tape"
    grows = frozenset({"file"})
    file: Node[Any]
    closed: ClassVar[list[str]] = []

    def size_over(self, sizes: Mapping[str, int]) -> int:
        """Whatever is below."""
        del sizes
        return 2**20

    def open(self, staging: Staging) -> None:
        """Reads its header, if there is one."""
        del staging
        self.end = self.file.length()
        self.header = bytearray(min(CHUNK, self.end))
        self.file.pread(memoryview(self.header), 0)

    def close(self) -> None:
        """Writes to the very end."""
        Tape.closed.append(self.name)
        self.append(b"closed".ljust(CHUNK))

    def append(self, data: bytes) -> None:
        """At the end."""
        at, self.end = self.end, self.end + len(data)
        self.file.truncate(self.end, exact=False)
        self.file.pwrite(memoryview(data), at, 0)

    def do_pread(self, buf: memoryview, offset: int) -> None:
        """What is at the beginning."""
        del offset
        self.file.pread(buf, 0)

    def do_pwrite(self, buf: memoryview, offset: int, flags: int) -> None:
        """To the end."""
        del offset, flags
        self.append(bytes(buf))


class Setup:
    """A graph, with the means to put a tape over something."""

    def __init__(self) -> None:
        self.graph = Graph(Events())

    def add(self, *options: BlockdevOptions, tape: bool = True) -> None:
        """The options from the bottom up; a tape over the last, all in one edit."""
        actions: list[Callable[[Staging], None]] = [
            partial(blockdev_add, options=each) for each in options
        ]
        if tape:
            actions.append(partial(add_tape, over=options[-1].node_name))
        self.graph.transaction(actions)

    @property
    def tape(self) -> Tape:
        """The format."""
        node = self.graph.nodes["tape"]
        assert isinstance(node, Tape)
        return node

    def delete(self, *names: str) -> None:
        """In one edit."""
        self.graph.transaction([partial(blockdev_del, name=name) for name in names])


def add_tape(staging: Staging, over: str, name: str = "tape") -> None:
    """Over a node that is there, in this edit at the latest."""
    node = staging.node(over)
    assert node is not None
    staging.add_node(Tape(RawOptions(node_name=name, file=over)), {"file": node})


@pytest.fixture
def setup() -> Iterator[Setup]:
    """Closed at the end."""
    Tape.closed.clear()
    setup = Setup()
    yield setup
    setup.graph.close()


def new_file(directory: Path, **options: Any) -> FileOptions:
    """An image that is not there yet, without a size."""
    return FileOptions(node_name="disk", path=str(directory / "image"), create=True, **options)


def test_a_file_is_as_long_as_a_format_makes_it(setup: Setup, tmp_path: Path) -> None:
    """Through a window and a throttle, from nothing; each node knows its size at once."""
    setup.graph.transaction([lambda s: group_add(s, "free", ThrottleLimits(iops_total=10**9))])
    setup.add(
        new_file(tmp_path),
        RawOptions(node_name="window", file="disk"),
        ThrottleOptions(node_name="limit", file="window", throttle_group="free"),
    )
    setup.tape.append(b"x" * CHUNK)
    assert (tmp_path / "image").read_bytes() == b"x" * CHUNK
    sizes = [setup.graph.nodes[name].size_bytes for name in ("disk", "window", "limit")]
    assert sizes == [CHUNK] * 3
    setup.tape.file.truncate(100, exact=True)
    assert (tmp_path / "image").stat().st_size == setup.tape.file.length() == 100


def test_a_window_moves_the_end_that_it_shares(setup: Setup, tmp_path: Path) -> None:
    """A raw node with an offset: the child is longer by that."""
    setup.add(new_file(tmp_path, size=512), RawOptions(node_name="w", file="disk", offset=512))
    setup.tape.append(b"x" * 100)
    assert (tmp_path / "image").read_bytes() == bytes(512) + b"x" * 100


@pytest.mark.parametrize(
    "options",
    [
        (MemoryOptions(node_name="end", size=CHUNK),),
        (NullOptions(node_name="end", size=CHUNK),),
        (
            MemoryOptions(node_name="disk", size=2**20),
            RawOptions(node_name="end", file="disk", size=CHUNK),
        ),
        (
            MemoryOptions(node_name="disk", size=2**20),
            RawOptions(node_name="end", file="disk", size=CHUNK, offset=512),
        ),
    ],
    ids=["memory", "null", "window", "shifted window"],
)
def test_what_has_an_end_is_full_there(setup: Setup, options: tuple[BlockdevOptions, ...]) -> None:
    """ENOSPC, before anything is written past it; what is long enough stays as it is."""
    setup.add(*options)
    file = setup.tape.file
    file.truncate(CHUNK, exact=True)
    file.truncate(1, exact=False)
    assert file.length() == CHUNK
    for size, exact in ((CHUNK + 1, False), (CHUNK + 1, True), (CHUNK - 1, True)):
        with pytest.raises(OSError, match=r"\d bytes") as raised:
            file.truncate(size, exact=exact)
        assert raised.value.errno == errno.ENOSPC
    file.truncate(CHUNK, exact=True)


def test_growing_from_many_threads_never_shrinks(setup: Setup, tmp_path: Path) -> None:
    """Whoever comes late with less does not take from others what they asked for."""
    setup.add(new_file(tmp_path))
    file = setup.tape.file

    def grow(step: int) -> None:
        for size in range(step, 2000, 4):
            file.truncate(size, exact=False)
            assert file.length() >= size

    for worker in [Worker(partial(grow, step)) for step in range(4)]:
        worker.finish()
    assert file.length() == 1999


def test_a_bitmap_on_what_grows_has_all_that_is_new(setup: Setup, tmp_path: Path) -> None:
    """A backup by it would miss what was written there else."""
    setup.add(new_file(tmp_path))
    setup.graph.transaction(
        [lambda s: bitmap_actions.add(s, Place("disk", "b"), granularity_bytes=512)]
    )
    setup.tape.append(b"x" * CHUNK)
    assert setup.graph.nodes["disk"].bitmaps["b"].bits.count_bytes() == CHUNK


def test_an_image_without_a_size_is_for_formats(setup: Setup, tmp_path: Path) -> None:
    """Nobody makes it longer: refused as ever, and it is not there."""
    with pytest.raises(CommandError, match="has no size"):
        setup.add(new_file(tmp_path), tape=False)
    assert not (tmp_path / "image").exists()


def test_edits_under_an_export_of_what_has_grown(setup: Setup, tmp_path: Path) -> None:
    """Growth is no edit: others go on.  Another size by an edit is refused as ever."""
    setup.add(new_file(tmp_path, size=512))
    setup.add(
        RawOptions(node_name="all", file="disk"),
        MemoryOptions(node_name="other", size=CHUNK),
        tape=False,
    )
    read_only = ExportOptions(node="all", read_only=True)
    setup.graph.transaction([lambda s: export_add(s, "raw", read_only)])
    setup.graph.connect("raw", ignore)
    setup.tape.append(b"x" * 512)
    setup.add(MemoryOptions(node_name="beside", size=512), tape=False)
    with pytest.raises(CommandError, match="told a size of 1024 bytes; it would become 4096"):
        setup.graph.transaction([lambda s: set_edge(s, "raw", "root", "other")])


def test_what_needs_one_size_is_not_put_below_a_format(setup: Setup, tmp_path: Path) -> None:
    """A point in time, right below it or further down."""
    setup.add(new_file(tmp_path, size=512), RawOptions(node_name="all", file="disk"))
    setup.add(
        MemoryOptions(node_name="scratch", size=512),
        CopyBeforeWriteOptions(node_name="keep", file="disk", target="scratch"),
        tape=False,
    )
    for parent in ("tape", "all"):
        with pytest.raises(CommandError, match="makes it longer as it writes"):
            setup.graph.transaction([partial(set_edge, parent=parent, role="file", child="keep")])


def test_requests_at_open(setup: Setup, tmp_path: Path) -> None:
    """A format reads what is below, be that of this edit or of an earlier one, shared or not."""
    (tmp_path / "image").write_bytes(b"header".ljust(CHUNK))
    setup.add(
        FileOptions(node_name="disk", path=str(tmp_path / "image")),
        RawOptions(node_name="all", file="disk"),
    )
    assert bytes(setup.tape.header[:6]) == b"header"
    setup.graph.transaction([partial(add_tape, over="all", name="second")])
    second = setup.graph.nodes["second"]
    assert isinstance(second, Tape)
    assert bytes(second.header[:6]) == b"header"


@pytest.mark.parametrize("names", [("tape", "all", "disk"), ("tape",)])
def test_requests_at_close(setup: Setup, tmp_path: Path, names: tuple[str, ...]) -> None:
    """A format writes to what is below, which may go with it: it is closed after it."""
    setup.add(new_file(tmp_path), RawOptions(node_name="all", file="disk"))
    setup.delete(*names)
    eventually(lambda: (tmp_path / "image").read_bytes() == b"closed".ljust(CHUNK))


def test_requests_at_the_end(setup: Setup, tmp_path: Path) -> None:
    """The server ends: formats are closed before what they are over, whichever came first."""
    setup.add(new_file(tmp_path))
    setup.add(MemoryOptions(node_name="other", size=2**20), tape=False)
    setup.graph.transaction([partial(add_tape, over="other", name="upper")])
    setup.graph.transaction([lambda s: set_edge(s, "tape", "file", "upper")])
    setup.graph.close()
    assert Tape.closed == ["tape", "upper"]


def test_an_edit_that_is_given_up_closes_from_above(setup: Setup, tmp_path: Path) -> None:
    """What was opened for nothing may still write to what was."""
    add = [partial(blockdev_add, options=new_file(tmp_path)), partial(add_tape, over="disk")]
    with pytest.raises(CommandError, match="nobody"):
        setup.graph.transaction([*add, partial(blockdev_del, name="nobody")])
    assert Tape.closed == ["tape"]
    assert not (tmp_path / "image").exists()


def test_a_child_that_goes_later_is_closed_later(setup: Setup, tmp_path: Path) -> None:
    """A request in flight keeps a format open; its child is removed by the next edit."""
    setup.add(new_file(tmp_path))
    tape, disk = setup.tape, setup.graph.nodes["disk"]
    with held(disk) as (arrived, go_on):
        writer = Worker(lambda: tape.pwrite(memoryview(b"x" * CHUNK), 0, 0))
        arrived.wait(10)
        setup.delete("tape")
        setup.delete("disk")
        assert not Tape.closed
        go_on.set()
    writer.finish()
    end = b"x" * CHUNK + b"closed".ljust(CHUNK)
    eventually(lambda: (tmp_path / "image").read_bytes() == end)


@contextmanager
def held(node: Node[Any]) -> Iterator[tuple[threading.Event, threading.Event]]:
    """The first write to a node waits: it says that it is there, and goes on when told."""
    arrived, go_on = threading.Event(), threading.Event()
    usual = node.do_truncate

    def wait(size_bytes: int, exact: bool) -> None:  # noqa: FBT001 - as in Node
        arrived.set()
        assert go_on.wait(10)
        usual(size_bytes, exact)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "do_truncate", wait)
        route = node.route
        assert route is not None
        patch.setattr(route, "way", route.way._replace(truncate=wait))
        yield arrived, go_on
        go_on.set()


def test_parents_are_before_all_their_children(setup: Setup) -> None:
    """In whatever order they came, and whatever lies between."""
    setup.add(
        MemoryOptions(node_name="disk", size=2**20),
        RawOptions(node_name="a", file="disk"),
        RawOptions(node_name="b", file="a"),
        RawOptions(node_name="c", file="disk"),
        tape=False,
    )
    nodes = setup.graph.nodes
    ordered = [node.name for node in parents_first([nodes["disk"], nodes["b"], nodes["c"]])]
    assert ordered.index("disk") == 2
    assert set(ordered) == {"disk", "b", "c"}
