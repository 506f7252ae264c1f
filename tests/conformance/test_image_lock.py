"""QEMU's image lock: who may have an image open beside whom."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from blkrun.errors import CommandError
from blkrun.options import ExportOptions, FileOptions
from blkrun.server.actions import blockdev_add, blockdev_del, export_add, replace_node

from .subjects import Workshop
from .tools import answers, pattern, read, require_tool, running, wait_until, write

ROOT = Path(__file__).resolve().parents[2]
SIZE = 2**20

HOLDER = """
import sys
from blkrun.errors import CommandError
from blkrun.options import FileOptions
from blkrun.server.actions import blockdev_add
from blkrun.server.events import Events
from blkrun.server.graph import Graph
options = FileOptions(node_name="disk", path=sys.argv[1], read_only=sys.argv[2] == "ro")
graph = Graph(Events())
try:
    graph.transaction([lambda staging: blockdev_add(staging, options)])
except CommandError as error:
    print(error, flush=True)
else:
    print("open", flush=True)
    sys.stdin.read()
    graph.close()
"""


@pytest.fixture
def image(tmp_path: Path) -> str:
    """An image with data."""
    path = tmp_path / "disk.img"
    path.write_bytes(pattern(SIZE, 1))
    return str(path)


def node_of(name: str, image: str, *, read_only: bool = False) -> FileOptions:
    """Options of a file node."""
    return FileOptions(node_name=name, path=image, read_only=read_only)


def refused(image: str, permission: str = "write") -> str:
    """QEMU's words, and ours."""
    return f"Failed to get \"{permission}\" lock: is another process using the image '{image}'?"


def refusal(shop: Workshop, options: FileOptions) -> str | None:
    """Why a node cannot be opened, if so."""
    try:
        shop.add(options)
    except CommandError as error:
        return str(error)
    return None


@contextmanager
def other_process(image: str, mode: str) -> Iterator[str]:
    """Another process of ours with the image open; what it said about that."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, image, mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.communicate(timeout=20)


def qemu_io(image: str, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    """One command of QEMU's on the image."""
    return subprocess.run(
        [require_tool("qemu-io"), "-f", "raw", *options, "-c", command, image],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def qemu_nbd(image: str, sock: Path, *options: str) -> Iterator[None]:
    """QEMU with the image open."""
    command = (require_tool("qemu-nbd"), "-f", "raw", "-t", "-k", str(sock), *options, image)
    with running(*command):
        wait_until(lambda: answers(sock))
        yield


def test_second_node_on_one_image(shop: Workshop, image: str) -> None:
    """Two writers in one graph are refused as two programs are, and so is a reader beside one."""
    shop.add(node_of("first", image))
    assert refusal(shop, node_of("second", image)) == refused(image)
    assert refusal(shop, node_of("second", image, read_only=True)) == refused(image)
    shop.graph.transaction([lambda s: blockdev_del(s, "first")])
    assert refusal(shop, node_of("second", image)) is None


def test_readers_share(shop: Workshop, image: str) -> None:
    """Read-only nodes, also of other processes and QEMU's, may look at one image together."""
    first = shop.add(node_of("first", image, read_only=True))
    second = shop.add(node_of("second", image, read_only=True))
    assert read(first, 100, 7) == read(second, 100, 7) == pattern(SIZE, 1)[7:107]
    with other_process(image, "ro") as said:
        assert said == "open"
    assert qemu_io(image, "read -P 32 0 1", "-r").returncode == 0
    assert refusal(shop, node_of("third", image)) == refused(image)


def test_other_process_of_ours(shop: Workshop, image: str) -> None:
    """Whoever has it first keeps it, and its end, whatever its way, frees it."""
    with other_process(image, "rw") as said:
        assert said == "open"
        assert refusal(shop, node_of("disk", image)) == refused(image)
        assert refusal(shop, node_of("disk", image, read_only=True)) == refused(image)
    shop.add(node_of("disk", image))
    with other_process(image, "rw") as said:
        assert said == refused(image)
    with other_process(image, "ro") as said:
        assert said == refused(image)


def test_qemu_is_refused(shop: Workshop, image: str) -> None:
    """While we have the image for writing, QEMU does not write it."""
    node = shop.add(node_of("disk", image))
    for command in ("write 0 512", "truncate 4096"):
        answer = qemu_io(image, command)
        assert answer.returncode != 0
        assert 'Failed to get "write" lock' in answer.stderr
    assert read(node, SIZE, 0) == pattern(SIZE, 1)
    shop.graph.transaction([lambda s: blockdev_del(s, "disk")])
    assert qemu_io(image, "write -P 7 0 512").returncode == 0


def test_qemu_writer_is_refused_beside_our_reader(shop: Workshop, image: str) -> None:
    """What we read must not change under us."""
    shop.add(node_of("disk", image, read_only=True))
    answer = qemu_io(image, "write 0 512")
    assert answer.returncode != 0
    assert 'Failed to get "write" lock' in answer.stderr


def test_qemu_was_first(shop: Workshop, image: str, tmp_path: Path) -> None:
    """An image QEMU writes is refused to us, one it only reads is shared with readers."""
    sock = tmp_path / "sock"
    with qemu_nbd(image, sock):
        assert refusal(shop, node_of("disk", image)) == refused(image, "resize")
        assert refusal(shop, node_of("disk", image, read_only=True)) == refused(image)
    with qemu_nbd(image, tmp_path / "sock2", "--read-only"):
        assert refusal(shop, node_of("reader", image, read_only=True)) is None
        shop.graph.transaction([lambda s: blockdev_del(s, "reader")])
    assert refusal(shop, node_of("disk", image)) is None


def replace(shop: Workshop, *actions: Any, departing: str) -> None:
    """A transaction that removes or replaces a node."""
    shop.graph.transaction(actions, departing=[departing])


@pytest.mark.parametrize("read_only", [False, True])
def test_lock_is_handed_over(shop: Workshop, image: str, read_only: bool) -> None:  # noqa: FBT001
    """A node for the same image in the same transaction takes the lock; nobody slips in."""
    shop.add(node_of("old", image, read_only=read_only))
    new = node_of("new", image, read_only=read_only)
    replace(
        shop,
        lambda s: blockdev_add(s, new),
        lambda s: blockdev_del(s, "old"),
        departing="old",
    )
    assert "old" not in shop.graph.nodes
    assert refusal(shop, node_of("more", image)) == refused(image)
    node = shop.graph.nodes["new"]
    assert read(node, SIZE, 0) == pattern(SIZE, 1)
    if not read_only:
        write(node, b"abc", 0)
    shop.graph.transaction([lambda s: blockdev_del(s, "new")])
    assert refusal(shop, node_of("more", image)) is None


@pytest.mark.parametrize("read_only", [False, True])
def test_lock_has_one_heir(shop: Workshop, image: str, read_only: bool) -> None:  # noqa: FBT001
    """Two nodes in place of one are no less two writers than any others; readers may be two."""
    shop.add(node_of("old", image, read_only=read_only))
    actions = [
        partial(blockdev_add, options=node_of("new", image, read_only=read_only)),
        partial(blockdev_add, options=node_of("newer", image, read_only=read_only)),
        partial(blockdev_del, name="old"),
    ]
    if read_only:
        replace(shop, *actions, departing="old")
        assert set(shop.graph.nodes) == {"new", "newer"}
    else:
        with pytest.raises(CommandError) as raised:
            replace(shop, *actions, departing="old")
        assert str(raised.value) == refused(image)
        assert set(shop.graph.nodes) == {"old"}


def test_handing_over_can_fail(shop: Workshop, image: str) -> None:
    """When the transaction is refused the old node has what it had, the lock included."""
    old = shop.add(node_of("old", image))
    new = node_of("new", image)
    with pytest.raises(CommandError):
        replace(
            shop,
            lambda s: blockdev_add(s, new),
            lambda s: blockdev_del(s, "old"),
            lambda s: blockdev_del(s, "none"),
            departing="old",
        )
    write(old, b"abc", 0)
    assert refusal(shop, new) == refused(image)
    with other_process(image, "ro") as said:
        assert said == refused(image)


@pytest.mark.parametrize("read_only", [False, True])
def test_read_only_is_switched(shop: Workshop, image: str, read_only: bool) -> None:  # noqa: FBT001
    """An edit of ``read-only`` is a new node in the old one's place, under an export too."""
    shop.add(node_of("disk", image, read_only=not read_only))
    options = ExportOptions(node="disk", read_only=True)
    shop.graph.transaction([lambda s: export_add(s, "vda", options)])
    new = node_of("disk", image, read_only=read_only)
    replace(shop, lambda s: replace_node(s, new), departing="disk")
    assert shop.graph.exports["vda"].root is shop.graph.nodes["disk"]
    assert refusal(shop, node_of("more", image)) == refused(image)
    reader = refusal(shop, node_of("reader", image, read_only=True))
    assert reader == (None if read_only else refused(image))


def test_read_only_is_not_switched_beside_a_reader(shop: Workshop, image: str) -> None:
    """Others' locks count when one of our own makes way; the old node keeps its lock."""
    shop.add(node_of("disk", image, read_only=True))
    new = node_of("disk", image)
    with other_process(image, "ro") as said:
        assert said == "open"
        with pytest.raises(CommandError) as raised:
            replace(shop, lambda s: replace_node(s, new), departing="disk")
        assert str(raised.value) == refused(image)
    assert qemu_io(image, "write 0 512").returncode != 0
    replace(shop, lambda s: replace_node(s, new), departing="disk")
