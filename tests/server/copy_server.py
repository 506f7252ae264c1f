"""A disk, something to copy it to, an export over a filter; and jobs between them."""

from typing import Any

from blkrun.options import MemoryOptions
from blkrun.server.jobs.job import Job
from tests.server.faulty import Faulty
from tests.server.inprocess import ignore
from tests.server.job_server import JobServer, ended

KIB, MIB = 2**10, 2**20
CLUSTER = 64 * KIB


class CopyServer(JobServer):
    """vda → limit → disk, and copy; the disks fail when told to.

    Needs ``leave_thread_states_alone``: ``client`` is used by plain Python threads.
    """

    def __init__(self, size_bytes: int = 4 * MIB) -> None:
        super().__init__()
        self.size_bytes = size_bytes
        self.disk, self.copy = self.faulty("disk"), self.faulty("copy")
        self.execute("object-add", {"qom-type": "throttle-group", "id": "g"})
        self.add("throttle", "limit", file="disk", throttle_group="g")
        export = {"type": "nbd", "id": "vda", "node-name": "limit", "writable": True}
        self.execute("block-export-add", export)
        self.client = self.graph.connect("vda", ignore)

    def faulty(self, name: str) -> Faulty:
        """One more disk of this size."""
        node = Faulty(MemoryOptions(node_name=name, size=self.size_bytes))
        self.graph.transaction([lambda staging: staging.add_node(node, {})])
        return node

    def fill(self, pattern: int, offset: int, count: int) -> None:
        """As a client writes."""
        self.client.pwrite(memoryview(bytearray([pattern]) * count), offset, 0)

    def backup(self, name: str = "j", *, sync: str = "full", **options: Any) -> Job:
        """blockdev-backup of disk to copy, which must not be refused."""
        return self.started("blockdev-backup", name, sync=sync, **options)

    def started(self, command: str, name: str = "j", **options: Any) -> Job:
        """Whichever job."""
        self.execute(command, arguments(name, **options))
        return self.context.jobs.find(name)

    def end(self, job: Job) -> list[str]:
        """Wait for it; what it told of itself."""
        ended(job)
        return self.told(job.id)

    def edges(self) -> dict[str, str]:
        """Everybody's child, through which clients' requests go."""
        reply = self.execute("x-blkrun-query-graph")
        nodes = {node["node-name"]: node["children"].get("file") for node in reply["nodes"]}
        found, at = {"vda": reply["exports"][0]["node-name"]}, reply["exports"][0]["node-name"]
        while nodes[at] is not None:
            found[at] = nodes[at]
            at = nodes[at]
        return found

    def entry(self, name: str = "j") -> dict[str, Any]:
        """A job's, in x-blkrun-query-graph."""
        (found,) = [j for j in self.execute("x-blkrun-query-graph")["jobs"] if j["id"] == name]
        assert isinstance(found, dict)
        return found


def arguments(name: str, **options: Any) -> dict[str, Any]:
    """From Python's spelling, with the usual device and target."""
    wire = {key.replace("_", "-"): value for key, value in options.items()}
    return {"job-id": name, "device": "disk", "target": "copy"} | wire
