"""A reply of ``x-blkrun-query-graph`` in types: immutable, everything optional that may be new."""

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace


class Stats(Struct, frozen=True):
    """Counters since the node or export came to be; names are QEMU's."""

    rd_operations: int = 0
    wr_operations: int = 0
    unmap_operations: int = 0
    rd_bytes: int = 0
    wr_bytes: int = 0
    unmap_bytes: int = 0
    failed_rd_operations: int = 0
    failed_wr_operations: int = 0
    failed_flush_operations: int = 0
    failed_unmap_operations: int = 0

    @property
    def failed(self) -> int:
        """Errors of every kind."""
        return (
            self.failed_rd_operations
            + self.failed_wr_operations
            + self.failed_flush_operations
            + self.failed_unmap_operations
        )


class Durations(Struct, frozen=True, rename="kebab"):
    """How many requests took how long: the buckets' floors, in order, and the counts in step."""

    floors_ns: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()


class Latencies(Struct, frozen=True):
    """By kind of request, since the node or export came to be."""

    reads: Durations = Durations()
    writes: Durations = Durations()
    zeroes: Durations = Durations()
    trims: Durations = Durations()
    flushes: Durations = Durations()


class Bitmap(Struct, frozen=True, rename="kebab"):
    """A node's dirty bitmap.  ``busy``: a job works with it."""

    name: str
    granularity: int = 0
    recording: bool = True
    busy: bool = False
    of_file: bool = False


class Node(Struct, frozen=True, rename="kebab", kw_only=True):
    """A node and where its edges lead.  ``latency`` is a place in the snapshot's ``latencies``."""

    node_name: str
    options: dict[str, Any] = {}
    children: dict[str, str] = {}
    is_filter: bool = False
    size: int = 0
    in_flight: int = 0
    stats: Stats = Stats()
    latency: int = 0
    job: str | None = None
    """The job whose filter it is."""
    bitmaps: tuple[Bitmap, ...] = ()
    driver_specific: dict[str, Any] = {}
    """What only its driver knows: how long a throttle has held, whether a threshold is spent, …"""

    @property
    def driver(self) -> str:
        """The driver's name."""
        return str(self.options.get("driver", "?"))

    @property
    def group(self) -> str | None:
        """The throttle group it is a member of."""
        return self.options.get("throttle-group")


class Member(Struct, frozen=True, rename="kebab"):
    """A throttle node in its group, and how many requests wait there."""

    node_name: str
    waiting: int = 0


class Group(Struct, frozen=True):
    """A throttle group: limits as QEMU names them, bucket levels of those that are set."""

    id: str
    limits: dict[str, int] = {}
    levels: dict[str, float] = {}
    members: tuple[Member, ...] = ()


class Peer(Struct, frozen=True):
    """Where a client is: a process over a unix socket, else an address; unknown if neither."""

    pid: int = 0
    uid: int | None = None
    process: str = ""
    address: str = ""


class Client(Struct, frozen=True, rename="kebab"):
    """A connection."""

    id: int
    in_flight: int = 0
    writable: bool = False
    connected_seconds: float = 0
    peer: Peer = Peer()


class Export(Struct, frozen=True, rename="kebab", kw_only=True):
    """A disk that clients see.  ``latency`` is a place in the snapshot's ``latencies``."""

    id: str
    node_name: str
    writable: bool = False
    description: str = ""
    size: int = 0
    in_flight: int = 0
    stats: Stats = Stats()
    latency: int = 0
    clients: tuple[Client, ...] = ()


class Job(Struct, frozen=True, rename="kebab", kw_only=True):
    """A job; ``status`` and ``io_status`` are QEMU's words, ``rate`` is bytes/s, 0 if unknown."""

    id: str
    type: str = "?"
    options: dict[str, Any] = {}
    status: str = "?"
    current_progress: int = 0
    total_progress: int = 0
    rate: float = 0
    paused: bool = False
    io_status: str = "ok"
    cancelled: bool = False
    pivoted: bool = False
    error: str | None = None
    running_ns: int = 0
    of_file: bool = True
    """Whether a file has its table; else somebody has made it by QMP."""


class Snapshot(Struct, frozen=True, rename="kebab", kw_only=True):
    """Everything at one instant of the server.

    Nodes that have seen the same requests share their entry of ``latencies``.
    """

    pid: int
    now_ns: int
    uptime_ns: int = 0
    revision: int = 0
    nodes: tuple[Node, ...] = ()
    throttle_groups: tuple[Group, ...] = ()
    exports: tuple[Export, ...] = ()
    latencies: tuple[Latencies, ...] = ()
    jobs: tuple[Job, ...] = ()
    reports: dict[str, dict[str, Any] | None] = {}
    runner: int | None = None
    """The process that follows the file; 0 if none does, None if that is not known."""

    @property
    def clients(self) -> dict[str, int]:
        """Exports that are open → by how many clients."""
        return {export.id: len(export.clients) for export in self.exports if export.clients}

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Jobs whose work is not over; after a pivot it is, though they say so a moment later."""
        return tuple(job.id for job in self.jobs if job.status != "concluded" and not job.pivoted)


def read_snapshot(reply: Any) -> Snapshot:
    """Raises msgspec.ValidationError when the reply has another shape."""
    return msgspec.convert(reply, Snapshot)


def is_same_but_later(before: Snapshot, after: Snapshot) -> bool:
    """Whether only time has passed: every number is the same, and all else too."""
    return _without_time(before) == _without_time(after)


def _without_time(seen: Snapshot) -> tuple[object, ...]:
    """Of numbers that are the very same ones nothing is compared."""
    exports = (
        replace(
            each, clients=tuple(replace(client, connected_seconds=0) for client in each.clients)
        )
        if each.clients
        else each
        for each in seen.exports
    )
    jobs = tuple(replace(job, running_ns=0) for job in seen.jobs)
    server = (seen.pid, seen.runner, seen.revision)
    return (*server, seen.nodes, seen.throttle_groups, seen.latencies, *exports, jobs, seen.reports)
