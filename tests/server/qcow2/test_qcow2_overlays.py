"""qcow2 as an overlay: what it has itself, copies of old data, and the name of its backing file."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blkrun.server.chain import gaps
from blkrun.server.qcow2.backing_name import with_backing_name
from blkrun.server.qcow2.errors import ImageError
from blkrun.server.qcow2.header import BACKING_FORMAT, Header, parse
from tests.server.inprocess import InProcess, ignore, leave_thread_states_alone
from tests.server.qcow2.images import qemu_img

SIZE = 4 * 2**20
CLUSTER = 2**16


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """``base.img`` full of a pattern, and ``top.qcow2`` over it with one cluster of its own."""
    (tmp_path / "base.img").write_bytes(b"b" * SIZE)
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.img"]
    subprocess.run([*command, str(tmp_path / "top.qcow2")], check=True)
    write = ["-c", f"write -q -P 116 {CLUSTER} {CLUSTER}"]
    subprocess.run(["qemu-io", *write, str(tmp_path / "top.qcow2")], check=True)
    return tmp_path


@pytest.fixture
def server(images: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """``top`` and its backing file, which the image names."""
    leave_thread_states_alone(monkeypatch)
    server = InProcess()
    server.add("file", "file", path=str(images / "top.qcow2"))
    server.add("qcow2", "top", file="file")
    yield server
    server.graph.close()


def checked(image: Path) -> dict[str, Any]:
    """What qemu-img says of an image in which it finds nothing wrong."""
    subprocess.run(["qemu-img", "check", "-q", str(image)], check=True)
    command = ["qemu-img", "info", "--output=json", str(image)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert isinstance(found, dict)
    return found


def read(server: InProcess, node: str, length: int, offset: int) -> bytes:
    """At a node."""
    data = bytearray(length)
    server.graph.nodes[node].pread(memoryview(data), offset)
    return bytes(data)


def missing(server: InProcess) -> list[tuple[int, int]]:
    """What of the disk the image has not."""
    return list(gaps(server.graph.nodes["top"].allocated, 0, SIZE))


def test_it_knows_what_it_has(server: InProcess) -> None:
    """The cluster that was written, and nothing of the backing file's."""
    assert server.graph.nodes["top"].cluster_bytes() == CLUSTER
    assert missing(server) == [(0, CLUSTER), (2 * CLUSTER, SIZE)]


def test_copy_on_read_fills_the_image(server: InProcess, images: Path) -> None:
    """Then it stands by itself, and qemu-img finds nothing wrong with it."""
    server.add("copy-on-read", "cor", file="top")
    read(server, "cor", 10, 5)
    assert missing(server) == [(2 * CLUSTER, SIZE)]
    read(server, "cor", SIZE, 0)
    assert missing(server) == []
    server.execute("blockdev-del", {"node-name": "cor"})
    server.execute(
        "blockdev-reopen",
        {"options": [{"driver": "qcow2", "node-name": "top", "file": "file", "backing": None}]},
    )
    alone = b"b" * CLUSTER + b"t" * CLUSTER + b"b" * (SIZE - 2 * CLUSTER)
    assert read(server, "top", SIZE, 0) == alone
    arguments = {"device": "top", "image-node-name": "top", "backing-file": ""}
    assert "without a backing file" in server.refused("change-backing-file", arguments)[1]
    server.graph.close()
    checked(images / "top.qcow2")


def test_copied_data_are_referred_to_when_they_are_durable(server: InProcess) -> None:
    """A crash must not leave an entry that leads to what was never written: it was there below."""
    top, file = server.graph.nodes["top"], server.graph.nodes["file"]
    server.add("copy-on-read", "cor", file="top")
    read(server, "cor", 10, 0)  # prepares the image for writes
    top.flush()
    before = file.stats.writes.done
    read(server, "cor", 10, 9 * CLUSTER)
    assert file.stats.writes.done == before + 1  # the data, and no entry yet
    top.flush()
    assert file.stats.writes.done == before + 2


@pytest.mark.parametrize("clients", [0, 1])
def test_the_header_says_another_backing_file(
    server: InProcess, images: Path, clients: int
) -> None:
    """With the format of what is below; as qemu-img reads it; while it is in use."""
    add = {"type": "nbd", "id": "vda", "node-name": "top", "writable": True}
    server.execute("block-export-add", add)
    users = [server.graph.connect("vda", ignore) for _ in range(clients)]
    for user in users:
        user.pwrite(memoryview(b"new"), 0, 0)
    arguments = {"device": "top", "image-node-name": "top", "backing-file": "./base.img"}
    server.execute("change-backing-file", arguments)
    for user in users:
        server.graph.disconnect(user)
    server.graph.close()
    said = checked(images / "top.qcow2")
    assert (said["backing-filename"], said["backing-filename-format"]) == ("./base.img", "raw")


def test_a_read_only_image_keeps_its_header(server: InProcess) -> None:
    """QEMU would open it anew for writing; here that is for the file to say."""
    server.execute("blockdev-del", {"node-name": "top"})
    server.add("qcow2", "top", file="file", read_only=True)
    arguments = {"device": "top", "image-node-name": "top", "backing-file": "x"}
    refused = server.refused("change-backing-file", arguments)
    assert refused[1] == "Node 'top' is read-only: its backing file stays what it is"


def test_a_name_is_put_into_a_header_and_taken_out() -> None:
    """Other extensions stay; what does not fit is refused, and nothing is cut off."""
    header = Header(
        cluster_bits=9,
        size_bytes=SIZE,
        l1_size=1,
        l1_table_offset=1024,
        refcount_table_offset=512,
        refcount_table_clusters=1,
    )
    named = with_backing_name(header, "below.img", "raw")
    assert parse(named.to_bytes().ljust(512, b"\0")) == named
    assert (named.backing_file, named.text(BACKING_FORMAT)) == ("below.img", "raw")
    again = with_backing_name(named, "b", "qcow2")
    assert (again.backing_file, again.text(BACKING_FORMAT)) == ("b", "qcow2")
    assert with_backing_name(again, None, None) == header
    with pytest.raises(ImageError, match="does not fit"):
        with_backing_name(header, "x" * 500, "raw")


def ended(server: InProcess, command: str, **options: str) -> None:
    """A job of top, which is a success."""
    server.execute(command, {"job-id": "j", "device": "top", **options})
    job = server.context.jobs.find("j")
    assert job.join(10.0)
    assert job.error is None


def test_a_stream_of_what_the_image_names(server: InProcess, images: Path) -> None:
    """Nothing is said of a backing, before and after: then the image names none."""
    assert "backing" not in server.node("top")["options"]
    (inline,) = set(server.graph.nodes) - {"top", "file"}
    before = read(server, "top", SIZE, 0)
    ended(server, "block-stream")
    assert "backing" not in server.node("top")["options"]
    assert inline not in server.graph.nodes
    assert read(server, "top", SIZE, 0) == before
    server.graph.close()
    assert "backing-filename" not in checked(images / "top.qcow2")


def test_a_stream_down_to_what_an_image_below_names(images: Path, server: InProcess) -> None:
    """The base comes with the image above it, and then with the overlay, whose image names it."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "top.qcow2"]
    subprocess.run([*command, str(images / "more.qcow2")], check=True)
    server.execute("blockdev-del", {"node-name": "top"})
    server.execute("blockdev-del", {"node-name": "file"})
    server.add("file", "file", path=str(images / "more.qcow2"))
    server.add("qcow2", "top", file="file")
    before = read(server, "top", SIZE, 0)
    middle = server.graph.nodes["top"].children["backing"]
    base = middle.children["backing"].name
    ended(server, "block-stream", **{"base-node": base})
    assert server.node("top")["children"]["backing"] == base
    assert "backing" not in server.node("top")["options"]
    assert middle.name not in server.graph.nodes
    assert read(server, "top", SIZE, 0) == before
    server.graph.close()
    said = checked(images / "more.qcow2")
    assert Path(said["full-backing-filename"]) == images / "base.img"
    assert said["backing-filename-format"] == "raw"


def test_a_commit_to_what_the_image_names_is_refused(server: InProcess) -> None:
    """It was opened to be read only; a base that is to be written has a table of its own."""
    arguments = {"job-id": "j", "device": "top"}
    refused = server.refused("block-commit", arguments)
    assert refused[1].startswith("Block node is read-only: '#block")


def test_a_commit_between_real_images(images: Path, server: InProcess) -> None:
    """Three qcow2 images, the middle one committed; qemu-img reads the same of them afterwards."""
    server.execute("blockdev-del", {"node-name": "top"})
    server.add("file", "base-file", path=str(images / "base.img"))
    server.add("qcow2", "middle", file="file", backing="base-file")
    server.add("file", "new-file", path=str(images / "new.qcow2"), size=0, create=True)
    server.add("qcow2", "top", file="new-file", backing="middle", create=True)
    server.graph.nodes["top"].pwrite(memoryview(b"n" * 1000), CLUSTER + 7, 0)
    before = read(server, "top", SIZE, 0)
    ended(server, "block-commit", **{"top-node": "middle"})
    assert server.node("top")["children"]["backing"] == "base-file"
    assert read(server, "top", SIZE, 0) == before
    server.graph.close()
    assert checked(images / "new.qcow2")["full-backing-filename"] == str(images / "base.img")
    command = ["qemu-img", "convert", "-O", "raw", str(images / "new.qcow2"), str(images / "flat")]
    subprocess.run(command, check=True)
    assert (images / "flat").read_bytes() == before


def test_a_stream_over_an_image_that_ends_within_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it hides, as zeroes beyond its end, stays hidden when it is gone."""
    leave_thread_states_alone(monkeypatch)
    base, mid, top = (tmp_path / name for name in ("base.raw", "mid.qcow2", "top.qcow2"))
    base.write_bytes(b"b" * SIZE)
    short = 3 * CLUSTER + 4096
    qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", mid, str(short))
    qemu_img("create", "-q", "-f", "qcow2", "-b", mid, "-F", "qcow2", top, str(SIZE))
    server = InProcess()
    for path in (base, mid, top):
        server.add("file", f"{path.stem}-file", path=str(path))
    server.add("qcow2", "mid", file="mid-file", backing="base-file")
    server.add("qcow2", "top", file="top-file", backing="mid")
    expected = b"b" * short + bytes(SIZE - short)
    assert read(server, "top", SIZE, 0) == expected
    ended(server, "block-stream", **{"base-node": "base-file"})
    assert server.node("top")["children"] == {"file": "top-file", "backing": "base-file"}
    assert read(server, "top", SIZE, 0) == expected
    server.graph.close()
    checked(top)
