"""A chain of overlays in use, and jobs on it."""

from typing import Any

from blkrun.server.jobs.job import Job
from tests.server import overlay
from tests.server.inprocess import ignore
from tests.server.job_server import JobServer

KIB, MIB = 2**10, 2**20
SIZE = 4 * MIB
CLUSTER = overlay.CLUSTER_BYTES


class ChainServer(JobServer):
    """vda → top → mid → low → base: 1 at 0 in base, 2 at 1 MiB in low, 3 at 2 MiB in mid."""

    def __init__(self) -> None:
        super().__init__()
        below = None
        for value, name in enumerate(("base", "low", "mid", "top"), 1):
            self.add("overlay", name, size=SIZE, backing=below)
            if name != "top":
                self.fill(name, value, (value - 1) * MIB)
            below = name
        export = {"type": "nbd", "id": "vda", "node-name": "top", "writable": True}
        self.execute("block-export-add", export)
        self.client = self.graph.connect("vda", ignore)

    def fill(self, node: str, value: int, offset: int, length: int = MIB) -> None:
        """Write a pattern past everything above."""
        self.graph.nodes[node].pwrite(memoryview(bytes([value]) * length), offset, 0)

    def overlay(self, name: str) -> overlay.Overlay:
        """One of the chain."""
        node = self.graph.nodes[name]
        assert isinstance(node, overlay.Overlay)
        return node

    def stream(self, name: str = "j", **options: Any) -> Job:
        """block-stream of top, which must not be refused."""
        self.execute("block-stream", arguments(name, **options))
        return self.context.jobs.find(name)

    def disk(self) -> bytes:
        """What the client reads, all of it."""
        data = bytearray(SIZE)
        self.client.pread(memoryview(data), 0, 0)
        return bytes(data)


def arguments(name: str = "j", **options: Any) -> dict[str, Any]:
    """From Python's spelling."""
    wire = {key.replace("_", "-"): value for key, value in options.items()}
    return {"job-id": name, "device": "top", **wire}
