"""block-commit between images of different sizes: the base grows, clients' disk never does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blkrun.server.jobs.job import Job
from tests.server import overlay
from tests.server.chain_server import MIB, SIZE, arguments
from tests.server.inprocess import eventually, ignore, leave_thread_states_alone
from tests.server.job_server import JobServer, ended


class SmallBase(JobServer):
    """vda → top → mid → limit → base: a file of 1 MiB below overlays of 4."""

    def __init__(self, path: Path, *, is_raw: bool) -> None:
        super().__init__()
        self.path = path
        path.write_bytes(b"\x01" * MIB)
        file = "file" if is_raw else "base"
        self.add("file", file, path=str(path))
        if is_raw:
            self.add("raw", "base", file=file)
        self.execute("object-add", {"qom-type": "throttle-group", "id": "g"})
        self.add("throttle", "limit", throttle_group="g", file="base")
        self.add("overlay", "mid", size=SIZE, backing="limit")
        self.graph.nodes["mid"].pwrite(memoryview(b"\x02" * MIB), 2 * MIB, 0)
        self.add("overlay", "top", size=SIZE, backing="mid")
        export = {"type": "nbd", "id": "vda", "node-name": "top", "writable": True}
        self.execute("block-export-add", export)
        self.client = self.graph.connect("vda", ignore)

    def commit(self, **options: Any) -> Job:
        """Which must not be refused."""
        self.execute("block-commit", arguments(**options))
        return self.context.jobs.find("j")

    def disk(self) -> bytes:
        """What the client reads."""
        data = bytearray(SIZE)
        self.client.pread(memoryview(data), 0, 0)
        return bytes(data)


@pytest.fixture(params=[False, True], ids=["file", "raw"])
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[SmallBase]:
    """With the base's driver as the parameter says."""
    overlay.register(monkeypatch)
    leave_thread_states_alone(monkeypatch)
    server = SmallBase(tmp_path / "base.img", is_raw=request.param)
    yield server
    server.graph.close()


def test_in_the_middle(server: SmallBase) -> None:
    """The base is as large as the top, and read as far through the filter over it."""
    before = server.disk()
    job = server.commit(top_node="mid")
    ended(job)
    assert job.error is None
    assert server.node("top")["children"] == {"backing": "limit"}
    sizes = {name: server.graph.nodes[name].size_bytes for name in ("base", "limit", "top")}
    assert sizes == dict.fromkeys(sizes, SIZE)
    assert server.disk() == before
    server.graph.nodes["base"].flush()
    assert server.path.read_bytes() == before


def test_of_the_disk_itself(server: SmallBase) -> None:
    """While the client writes beyond the base's old end; after the pivot its disk is as long."""
    job = server.commit()
    eventually(lambda: job.is_ready)
    server.client.pwrite(memoryview(b"\x03" * MIB), 3 * MIB, 0)
    before = server.disk()
    server.execute("job-complete", {"id": "j"})
    ended(job)
    assert (job.error, job.pivoted) == (None, True)
    assert server.graph.exports["vda"].root is server.graph.nodes["base"]
    assert server.graph.nodes["base"].size_bytes == SIZE
    assert server.disk() == before
    server.client.pwrite(memoryview(b"\x04"), SIZE - 1, 0)
    assert server.path.read_bytes() == before[:-1] + b"\x04"


def test_cancelled(server: SmallBase) -> None:
    """The base stays as large, as in QEMU, and nobody sees anything of it."""
    before = server.disk()
    job = server.commit(top_node="mid", speed=1)
    eventually(lambda: server.path.stat().st_size == SIZE)
    server.execute("block-job-cancel", {"device": "j"})
    ended(job)
    assert server.node("top")["children"] == {"backing": "mid"}
    assert server.disk() == before


def test_one_that_cannot(server: SmallBase, tmp_path: Path) -> None:
    """Where the size is a format's business, or options say it, that is said at once."""
    server.add("overlay", "small", size=MIB)
    server.add("overlay", "over", size=SIZE, backing="small")
    assert server.refused("block-commit", arguments(device="over"))[1] == (
        f"Node 'small' has {MIB} bytes, fewer than the {SIZE} to be committed to it: "
        "driver 'overlay' cannot make it larger; qemu-img resize can while none has it"
    )
    (tmp_path / "said.img").write_bytes(bytes(MIB))
    server.add("file", "said", path=str(tmp_path / "said.img"), size=MIB)
    server.add("overlay", "over2", size=SIZE, backing="said")
    assert server.refused("block-commit", arguments(device="over2"))[1] == (
        f"Node 'said' has {MIB} bytes, fewer than the {SIZE} to be committed to it: "
        "'size' of 'said' says how large it stays"
    )


def test_a_larger_base(server: SmallBase) -> None:
    """What is past the top's end stays unseen: only an overlay that is no longer does not care."""
    server.add("overlay", "large", size=2 * SIZE)
    server.add("overlay", "short", size=SIZE, backing="large")
    words = (
        f"Node 'large' has {2 * SIZE} bytes and 'short' {SIZE}: "
        "what is past the end of 'short' would be seen"
    )
    assert server.refused("block-commit", arguments(device="short"))[1] == words
    server.add("overlay", "long", size=2 * SIZE, backing="short")
    middle = {"device": "long", "top_node": "short"}
    assert server.refused("block-commit", arguments(**middle))[1] == words
    server.add("overlay", "equal", size=SIZE, backing="short")
    ended(server.commit(**(middle | {"device": "equal"})))
    assert server.node("equal")["children"] == {"backing": "large"}
