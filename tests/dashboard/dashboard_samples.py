"""Replies and events as a server sends them, and a feed that only says what a test has it say."""

import asyncio
from collections.abc import Callable
from typing import Any

from blkrun.dashboard.actions.base import Desk
from blkrun.dashboard.app import Dashboard
from blkrun.dashboard.feed import Happened, Lost, Report, Seen
from blkrun.dashboard.model.snapshot import Snapshot, read_snapshot
from blkrun.errors import BlkrunError

SECOND = 10**9

NASTY_NAMES = (
    "[red]x[/]",
    "[/]",
    "[::b]",
    "磁盘一号",
    "disk-💾-👨‍👩‍👧",
    "esc\x1b[31mred",
    "tab\there",
    "e\u0301a\u0300",
    "\u202eright-to-left",
    "\ud800",
    "a" * 31,
)


def stats(reads: int = 0, writes: int = 0, **more: int) -> dict[str, int]:
    """Counters of 4 KiB requests."""
    counters = {"rd_operations": reads, "rd_bytes": 4096 * reads}
    return counters | {"wr_operations": writes, "wr_bytes": 4096 * writes} | more


def node(name: str, driver: str, file: str | None = None, **more: Any) -> dict[str, Any]:
    """A node; ``group`` makes it a member."""
    options: dict[str, Any] = {"driver": driver, "node-name": name}
    if "group" in more:
        options["throttle-group"] = more.pop("group")
    return {
        "node-name": name,
        "options": options,
        "children": {"file": file} if file else {},
        "is-filter": driver == "throttle",
        "attached": True,
        "size": 2**30,
        "in-flight": 0,
        "stats": stats(),
        "driver-specific": {},
    } | more


def export(name: str, root: str, **more: Any) -> dict[str, Any]:
    """An export."""
    return {
        "id": name,
        "node-name": root,
        "writable": True,
        "size": 2**30,
        "in-flight": 0,
        "stats": stats(),
        "clients": [],
    } | more


def group(name: str, *members: tuple[str, int], **limits: int) -> dict[str, Any]:
    """A throttle group; members with the requests that wait."""
    return {
        "id": name,
        "limits": {key.replace("_", "-"): value for key, value in limits.items()},
        "levels": {},
        "members": [{"node-name": node, "waiting": waiting} for node, waiting in members],
    }


def client(number: int) -> dict[str, Any]:
    """A connection."""
    return {"id": number, "writable": True, "connected-seconds": 1.5, "in-flight": 0}


def reply(seconds: float = 0, **more: Any) -> dict[str, Any]:
    """What x-blkrun-query-graph answers ``seconds`` after its start."""
    return {
        "pid": 42,
        "now-ns": round(seconds * SECOND),
        "uptime-ns": round(seconds * SECOND),
        "threads": 4,
        "nodes": [],
        "throttle-groups": [],
        "exports": [],
        "reports": {},
    } | more


def job(name: str, status: str = "running", **more: Any) -> dict[str, Any]:
    """A backup of 10 GiB from disk to copy, six of them done in a minute at 100 MiB/s."""
    options = {"type": "backup", "job-id": name, "device": "disk", "target": "copy"}
    return {
        "id": name,
        "type": "backup",
        "options": options | more.pop("options", {}),
        "status": status,
        "current-progress": 6 * 2**30,
        "total-progress": 10 * 2**30,
        "rate": 100 * 2**20,
        "busy": True,
        "paused": status in ("paused", "standby"),
        "ready": status in ("ready", "standby"),
        "io-status": "ok",
        "cancelled": False,
        "pivoted": False,
        "filter": None if status == "concluded" else f"{name}-filter",
        "running-ns": 61 * SECOND,
    } | {key.replace("_", "-"): value for key, value in more.items()}


def lab(seconds: float, *, clients: int = 1, held: int = 0, **more: Any) -> dict[str, Any]:
    """An export over a throttle over a file; 1000 reads and 500 writes a second."""
    done = stats(reads=round(1000 * seconds), writes=round(500 * seconds))
    return (
        reply(
            seconds,
            nodes=[
                node("disk", "file", stats=done),
                node("limit", "throttle", "disk", group="gold", stats=done),
            ],
            exports=[
                export("vda", "limit", stats=done, clients=[client(n) for n in range(clients)])
            ],
            **{"throttle-groups": [group("gold", ("limit", held), iops_total=3000)]},
        )
        | more
    )


def snapshot(raw: dict[str, Any]) -> Snapshot:
    """A reply, read."""
    return read_snapshot(raw)


def event(name: str, second: int = 0, **data: Any) -> dict[str, Any]:
    """An event as it comes over the wire."""
    return {"event": name, "data": data, "timestamp": {"seconds": second, "microseconds": 0}}


def connected(number: int) -> dict[str, Any]:
    """A client came."""
    return event("X_BLKRUN_CLIENT_CONNECTED", number, id=number, export="vda")


class FakeFeed:
    """Says what the test says, when it says it."""

    def __init__(self, clock: "FakeClock | None" = None) -> None:
        self.now_s = clock or FakeClock()
        self.refresh_s = 0.5
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refusal: BlkrunError | None = None
        self._tell: Callable[[Report], object] | None = None

    def wall_s(self, at_s: float) -> float:
        """Noon of a day, and the clock."""
        return 1_800_000_000 + at_s

    def set_refresh(self, refresh_s: float) -> None:
        """Remember it."""
        self.refresh_s = refresh_s

    async def run(self, tell: Callable[[Report], object]) -> None:
        """Nothing by itself."""
        self._tell = tell
        await asyncio.Event().wait()

    async def ask_runner(self, kind: str, data: dict[str, Any]) -> None:
        """Note it, or refuse as told."""
        if self.refusal is not None:
            raise self.refusal
        self.asked.append((kind, data))

    async def ask_server(self, command: str, arguments: dict[str, Any]) -> None:
        """The same."""
        await self.ask_runner(command, arguments)

    def see(self, *replies: dict[str, Any]) -> None:
        """Looks, one after the other."""
        for raw in replies:
            self.tell(Seen(read_snapshot(raw), self.now_s()))

    def hear(self, *events: dict[str, Any]) -> None:
        """Events."""
        self.tell(Happened(events))

    def lose(self, why: str = "no server") -> None:
        """The server goes."""
        self.tell(Lost(why))

    def tell(self, report: Report) -> None:
        """Any report."""
        assert self._tell is not None
        self._tell(report)


class FakeClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now_s


def dashboard(*, owner: bool = True, **desk: Any) -> tuple[Dashboard, FakeFeed, FakeClock]:
    """The app over a fake feed and clock."""
    clock = FakeClock()
    feed = FakeFeed(clock)
    return Dashboard(feed, Desk(title="lab.toml", owner=owner, **desk)), feed, clock


COLUMNS = {
    "rd_operations": "reads-done",
    "wr_operations": "writes-done",
    "unmap_operations": "trims-done",
    "rd_bytes": "reads-bytes",
    "wr_bytes": "writes-bytes",
    "unmap_bytes": "trims-bytes",
    "failed_rd_operations": "reads-failed",
    "failed_wr_operations": "writes-failed",
    "failed_flush_operations": "flushes-failed",
    "failed_unmap_operations": "trims-failed",
}
"""A counter of x-blkrun-query-graph → its column in x-blkrun-stats; nothing is ever zeroed here."""


def numbers(graph: dict[str, Any], last_event: int = 0) -> dict[str, Any]:
    """What x-blkrun-stats answers when x-blkrun-query-graph would answer this."""

    def place(of: dict[str, Any]) -> dict[str, Any]:
        counters = [of["stats"].get(counter, 0) for counter in COLUMNS]
        return {"numbers": [*counters, 0, 0, 0, of["in-flight"]], "latency": of.get("latency", 0)}

    waiting = {
        member["node-name"]: {"driver-specific": {"waiting": member["waiting"]}}
        for each in graph["throttle-groups"]
        for member in each["members"]
    }
    return {
        "pid": graph["pid"],
        "now-ns": graph["now-ns"],
        "revision": graph.get("revision", 0),
        "last-event": last_event,
        "columns": [*COLUMNS.values(), "zeroes-done", "zeroes-bytes", "zeroes-failed", "in-flight"],
        "nodes": {
            each["node-name"]: place(each) | waiting.get(each["node-name"], {})
            for each in graph["nodes"]
        },
        "exports": {each["id"]: place(each) for each in graph["exports"]},
        "latencies": graph.get("latencies", [{}]),
        "throttle-groups": {each["id"]: each["levels"] for each in graph["throttle-groups"]},
        "clients": {each["id"]: each["clients"] for each in graph["exports"]},
        "jobs": graph.get("jobs", []),
    }
