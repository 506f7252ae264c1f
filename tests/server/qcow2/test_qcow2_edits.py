"""Images in a graph that is edited: made, handed over, and nobody else's, while clients write."""

import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blkrun.errors import CommandError
from blkrun.options import (
    BlockdevOptions,
    ExportOptions,
    FileOptions,
    MemoryOptions,
    Qcow2Options,
    ThrottleLimits,
    ThrottleOptions,
)
from blkrun.server import actions
from blkrun.server.connection import Connection
from blkrun.server.events import Events
from blkrun.server.graph import Graph
from blkrun.server.staging import Staging
from tests.server.inprocess import eventually, ignore, leave_thread_states_alone, workers
from tests.server.qcow2.images import info, qemu_img
from tests.server.qcow2.opened import opened, read_all

MIB = 2**20
SIZE = 4 * MIB
BLOCK = 4096


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    """Empty."""
    leave_thread_states_alone(monkeypatch)
    graph = Graph(Events())
    yield graph
    graph.close()


def qcow2(name: str = "image", file: str = "file", **options: Any) -> Qcow2Options:
    """Options in Python's spelling."""
    wire = {key.replace("_", "-"): value for key, value in options.items()}
    table = {"driver": "qcow2", "node-name": name, "file": file} | wire
    return msgspec.convert(table, Qcow2Options)


def add(graph: Graph, *nodes: BlockdevOptions) -> None:
    """In one transaction."""
    graph.transaction([partial(actions.blockdev_add, options=each) for each in nodes])


def served(graph: Graph, path: Path, **options: Any) -> Connection:
    """A client of a new image."""
    add(
        graph,
        FileOptions(node_name="file", path=str(path), create=True),
        qcow2(create=True, size=SIZE, **options),
    )
    graph.transaction(
        [lambda s: actions.export_add(s, "vda", ExportOptions(node="image", read_only=False))]
    )
    return graph.connect("vda", ignore)


# Made


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cluster_size": 512},
        {"cluster_size": 2 * MIB, "refcount_bits": 1},
        {"version": "v2"},
        {"extended_l2": True, "lazy_refcounts": True, "refcount_bits": 64},
    ],
)
def test_a_new_image_is_what_was_asked_for(
    graph: Graph, tmp_path: Path, options: dict[str, Any]
) -> None:
    """As qemu-img tells it, and without a fault."""
    path = tmp_path / "a.qcow2"
    client = served(graph, path, **options)
    client.pwrite(memoryview(b"x" * 1000), 70_000, 0)
    graph.disconnect(client)
    graph.close()
    said = info(path)
    facts = said["format-specific"]["data"]
    assert said["virtual-size"] == SIZE
    assert said["cluster-size"] == options.get("cluster_size", 65536)
    assert facts["compat"] == ("0.10" if options.get("version") == "v2" else "1.1")
    assert facts["refcount-bits"] == options.get("refcount_bits", 16)
    assert facts.get("extended-l2", False) == options.get("extended_l2", False)
    qemu_img("check", path)


def test_an_overlay_names_what_is_below_it(graph: Graph, tmp_path: Path) -> None:
    """By its file, which QEMU then finds; it is as large as that if nothing else is said."""
    add(
        graph,
        FileOptions(node_name="base-file", path=str(tmp_path / "base.qcow2"), create=True),
        qcow2("base", "base-file", create=True, size=SIZE),
        FileOptions(node_name="top-file", path=str(tmp_path / "top.qcow2"), create=True),
        qcow2("top", "top-file", create=True, backing="base"),
        FileOptions(node_name="far-file", path=str(tmp_path / "far.qcow2"), create=True),
        MemoryOptions(node_name="memory", size=MIB + 100),
        qcow2("far", "far-file", create=True, backing="memory"),
    )
    assert graph.nodes["top"].size_bytes == SIZE
    assert graph.nodes["far"].size_bytes == MIB + 512
    graph.close()
    said = info(tmp_path / "top.qcow2")
    assert said["backing-filename"] == "base.qcow2"
    assert said["backing-filename-format"] == "qcow2"
    assert "backing-filename" not in info(tmp_path / "far.qcow2")


def test_an_edit_that_comes_to_nothing_leaves_no_image(graph: Graph, tmp_path: Path) -> None:
    """Neither one that is refused nor one that is only tried; also in a file that was there."""
    new, empty = tmp_path / "new.qcow2", tmp_path / "empty.qcow2"
    empty.touch()

    def refuse(staging: Staging) -> None:
        raise CommandError("no")

    for path, create in ((new, True), (empty, False)):
        edits: list[Callable[[Staging], None]] = [
            partial(
                actions.blockdev_add,
                options=FileOptions(node_name="file", path=str(path), create=create),
            ),
            partial(actions.blockdev_add, options=qcow2(create=True, size=SIZE)),
        ]
        with pytest.raises(CommandError, match="no"):
            graph.transaction([*edits, refuse])
        graph.rehearse(edits)
    assert not new.exists()
    assert empty.stat().st_size == 0
    assert not graph.nodes


def test_no_image_is_made_where_a_client_writes(graph: Graph) -> None:
    """Blank or not: an edit that comes to nothing would take back what the client writes."""
    add(graph, MemoryOptions(node_name="file", size=SIZE))
    export = ExportOptions(node="file", read_only=False)
    graph.transaction([lambda s: actions.export_add(s, "disk", export)])
    client = graph.connect("disk", ignore)
    expected = bytearray(6)

    def write_and_refuse(staging: Staging) -> None:
        expected[:] = b"client"
        client.pwrite(memoryview(expected), 0, 0)
        raise CommandError("no")

    image = qcow2(create=True, size=MIB)
    with pytest.raises(CommandError) as refused:
        graph.transaction([partial(actions.blockdev_add, options=image), write_and_refuse])
    data = bytearray(6)
    client.pread(memoryview(data), 0, 0)
    assert data == expected
    assert "'file' is being written to" in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 2 * SIZE}, "the image is of a disk of 4194304 bytes, not the 8388608"),
        ({"create": True, "size": 1000}, "multiple of 512"),
        ({"create": True}, "'create' needs 'size'"),
    ],
)
def test_an_image_that_is_there_stays_as_it_is(
    graph: Graph, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    """What is asked of it must be so, or can not be asked."""
    path = tmp_path / "a.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
    before = path.read_bytes()
    with pytest.raises(CommandError, match=message):
        add(graph, FileOptions(node_name="file", path=str(path)), qcow2(**options))
    assert path.read_bytes() == before


def test_what_is_no_image_is_not_written_over(graph: Graph, tmp_path: Path) -> None:
    """``create`` is for files with nothing in them."""
    path = tmp_path / "a.raw"
    path.write_bytes(b"text" * 1000)
    with pytest.raises(CommandError, match="not in qcow2 format"):
        add(
            graph,
            FileOptions(node_name="file", path=str(path)),
            qcow2(create=True, size=SIZE),
        )
    assert path.read_bytes() == b"text" * 1000


# Written, while it is edited


class Patterns:
    """Writes of a client's, and what is to be read; each thread has blocks of its own."""

    def __init__(self, client: Connection, threads: int = 3) -> None:
        self.client = client
        self.model = bytearray(SIZE)
        self.stop = threading.Event()
        self.written = 0
        self.works = [partial(self._write, number, threads) for number in range(threads)]

    def _write(self, number: int, threads: int) -> None:
        chance = random.Random(number)
        blocks = range(number, SIZE // BLOCK, threads)
        while not self.stop.is_set():
            at = chance.choice(blocks) * BLOCK
            kind = chance.randrange(8)
            data = bytes(BLOCK) if kind == 0 else chance.randbytes(16) * (BLOCK // 16)
            self.model[at : at + BLOCK] = data
            if kind == 0:
                self.client.zero(BLOCK, at, 1)
            else:
                self.client.pwrite(memoryview(data), at, 2 * (kind == 1))
            if kind == 2:
                self.client.flush(0)
            found = bytearray(BLOCK)
            self.client.pread(memoryview(found), at, 0)
            assert found == data
            self.written += 1

    def more(self) -> None:
        """Wait until some more has been written."""
        before = self.written
        eventually(lambda: self.written > before + 10)

    def under(self, edits: Callable[[], None]) -> None:
        """Have edits while all of them write, and compare everything in the end."""
        with workers(list(self.works)):
            try:
                edits()
            finally:
                self.stop.set()
        found = bytearray(SIZE)
        self.client.pread(memoryview(found), 0, 0)
        assert found == self.model


def check_whole(path: Path, model: bytearray) -> None:
    """QEMU finds no fault, and reads the same."""
    qemu_img("check", path)
    qemu_img("convert", "-f", "qcow2", "-O", "raw", path, path.with_suffix(".raw"))
    assert path.with_suffix(".raw").read_bytes() == model


@pytest.mark.parametrize("options", [{}, {"cluster_size": 4096, "lazy_refcounts": True}])
def test_a_node_hands_its_image_over(graph: Graph, tmp_path: Path, options: dict[str, Any]) -> None:
    """To one with other options, again and again, while clients write: no byte is lost."""
    path = tmp_path / "a.qcow2"
    client = served(graph, path, **options)
    patterns = Patterns(client)

    def edits() -> None:
        for number in range(25):
            patterns.more()
            new = qcow2(create=True, size=SIZE, l2_cache_size=number * 4096, **options)
            graph.transaction([partial(actions.replace_node, options=new)])

    patterns.under(edits)
    graph.disconnect(client)
    graph.close()
    check_whole(path, patterns.model)


def test_a_data_file_of_the_images_own_is_handed_over_too(graph: Graph, tmp_path: Path) -> None:
    """It is locked against others, and not against the node that comes in the old one's place."""
    path, data = tmp_path / "a.qcow2", tmp_path / "data"
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={data}", path, str(SIZE))
    add(graph, FileOptions(node_name="file", path=str(path)), qcow2())
    old = graph.nodes["image"]
    old.pwrite(memoryview(b"x" * BLOCK), BLOCK, 0)
    new = partial(actions.replace_node, options=qcow2(l2_cache_size=BLOCK))
    graph.transaction([new], departing=["image"])
    assert graph.nodes["image"] is not old
    assert read_all(graph.nodes["image"])[: 2 * BLOCK] == bytes(BLOCK) + b"x" * BLOCK


def test_filters_come_and_go_below_an_image(graph: Graph, tmp_path: Path) -> None:
    """Between it and its file, while clients write and it grows."""
    path = tmp_path / "a.qcow2"
    client = served(graph, path, extended_l2=True)
    limit = ThrottleOptions(node_name="limit", file="file", throttle_group="free")
    graph.transaction([lambda s: actions.group_add(s, "free", ThrottleLimits())])
    add(graph, limit)
    patterns = Patterns(client)

    def edits() -> None:
        for _ in range(50):
            patterns.more()
            graph.transaction([lambda s: actions.insert_node(s, "image", "file", "limit")])
            graph.transaction([lambda s: actions.remove_node(s, "image", "file", "limit")])

    patterns.under(edits)
    graph.disconnect(client)
    graph.close()
    check_whole(path, patterns.model)


def test_discard_can_be_changed_under_a_client(graph: Graph, tmp_path: Path) -> None:
    """What can be reopened is: the node stays the same."""
    client = served(graph, tmp_path / "a.qcow2")
    node = graph.nodes["image"]
    patterns = Patterns(client)

    def edits() -> None:
        for number in range(20):
            patterns.more()
            kind = ["ignore", "unmap"][number % 2]
            new = qcow2(create=True, size=SIZE, discard=kind)
            graph.transaction([partial(actions.blockdev_reopen, options=new)])

    patterns.under(edits)
    assert graph.nodes["image"] is node
    graph.disconnect(client)


# Nobody else's


def test_a_second_node_over_an_image_is_refused(graph: Graph, tmp_path: Path) -> None:
    """While clients write through the first one; one that only reads would read nonsense too."""
    served(graph, tmp_path / "a.qcow2")
    for read_only in (False, True):
        with pytest.raises(CommandError, match="Export 'vda' writes to 'file' past node 'other'"):
            add(graph, qcow2("other", read_only=read_only))


def test_the_file_of_an_image_is_not_for_clients(graph: Graph, tmp_path: Path) -> None:
    """Unless they only read it."""
    served(graph, tmp_path / "a.qcow2")

    def export(*, read_only: bool) -> None:
        options = ExportOptions(node="file", read_only=read_only)
        graph.transaction([lambda s: actions.export_add(s, "raw", options)])

    with pytest.raises(CommandError, match="Export 'raw' writes to 'file' past node 'image'"):
        export(read_only=False)
    export(read_only=True)


def test_an_image_stays_on_its_disk(graph: Graph, tmp_path: Path) -> None:
    """Another one below would be read by tables that are not its own."""
    served(graph, tmp_path / "a.qcow2")
    add(graph, MemoryOptions(node_name="other", size=SIZE))
    with pytest.raises(CommandError, match="Node 'image' has its image on 'file'"):
        graph.transaction([lambda s: actions.set_edge(s, "image", "file", "other")])


def test_a_corrupt_image_is_only_read(graph: Graph, tmp_path: Path) -> None:
    """In QEMU's words, and with what can be done."""
    path = tmp_path / "a.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
    data = bytearray(path.read_bytes())
    data[79] |= 2
    path.write_bytes(data)
    with pytest.raises(CommandError, match="Image is corrupt; cannot be opened read/write"):
        add(graph, FileOptions(node_name="file", path=str(path)), qcow2())
    with opened(path) as node:
        assert not any(read_all(node))
