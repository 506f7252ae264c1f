"""An afternoon that went wrong, as a feed tells it: what screens are tested with.

Two throttle groups, one of them full; a chain that returns errors, a threshold that is spent, a
backup that runs and a mirror that has failed; a restart of the server, which is a gap; and last an
edit of the file that waits for a yes while the graph has drifted.  No clock: always the same.
"""

from collections.abc import Iterator
from math import sin
from pathlib import Path
from typing import Any

from blkrun.dashboard.feed import Happened, Lost, Seen
from tests.dashboard.dashboard_samples import SECOND, event, export, group, node, reply, snapshot
from tests.dashboard.recording_samples import BEGIN_S, Told, record

LOST_S, BACK_S, END_S = 34, 40, 72
"""Seconds of the incident: the server goes, another one is there, the last look."""

DIGEST = "c0ffee"
GIB, MIB = 2**30, 2**20

APPLIED: dict[str, Any] = {
    "kind": "applied",
    "file": "lab.toml",
    "summary": "~1",
    "operations": ["~ group gold (iops-total 2500 -> 3000)"],
    "milliseconds": 3.2,
    "number": 7,
    "digest": "01d",
}
PENDING: dict[str, Any] = {
    "kind": "pending",
    "file": "lab.toml",
    "summary": "+1 ~1 -1",
    "why": "it takes a disk from a client",
    "digest": DIGEST,
    "operations": [
        "+ filter lag1 (throttle) above flaky1",
        "~ group silver (bps-total 36MiB -> 48MiB)",
        "- export logs",
    ],
    "taken": {"logs": 1},
    "drains": {"vm1": 2},
    "nodes": {"lag1": "+", "quota": "-"},
    "exports": {"logs": "-"},
    "groups": {"silver": "~"},
    "added": {"lag1": {"driver": "throttle", "over": ["flaky1"]}},
    "diff": [
        "--- in force",
        "+++ lab.toml",
        "@@ -8,4 +8,4 @@",
        " [throttle-groups.silver]",
        '-bps-total = "36MiB"',
        '+bps-total = "48MiB"',
        "@@ -41,3 +41,4 @@",
        "-[exports.logs]",
        '-node = "quota"',
        "+[nodes.lag1]",
        '+driver = "throttle"',
    ],
}
DRIFT: dict[str, Any] = {
    "kind": "drifted",
    "file": "lab.toml",
    "why": "somebody changed it by QMP",
    "operations": ["~ node slow0 (offset 0 -> 1GiB)"],
    "nodes": {"slow0": "~"},
}
REJECTED: dict[str, Any] = {
    "kind": "rejected",
    "file": "lab.toml",
    "line": 9,
    "problems": 2,
    "message": (
        'lab.toml:9:1: error: unknown key "iops-totl", did you mean "iops-total"?\n'
        "    9 | iops-totl = 12000\n"
        "      | ^^^^^^^^^\n"
        'lab.toml:31:8: error: there is no node "flaky"; did you mean "flaky1"?\n'
        '   31 | file = "flaky"\n'
        "      |        ^^^^^^^"
    ),
}


class Load:
    """Requests to one chain that have been counted: sizes, errors and how long they took."""

    FLOORS_NS = tuple(2**exponent for exponent in range(16, 26))

    def __init__(self, iops: int, request_bytes: int, *, swing: float, slow: int) -> None:
        self.iops, self.request_bytes, self.swing, self.slow = iops, request_bytes, swing, slow
        self.reads = self.writes = self.failed = 0
        self.counts = [0] * len(self.FLOORS_NS)

    def pass_second(self, second: int, *, failing: bool) -> None:
        """One more second of it."""
        done = int(self.iops * (1 + self.swing * sin(second / 6)))
        self.reads += done * 2 // 3
        self.writes += done // 3
        self.failed += 3 if failing else 0
        middle = self.slow + round(1.4 * sin(second / 9))
        for index in range(len(self.counts)):
            self.counts[index] += done >> (2 * abs(index - middle))

    @property
    def stats(self) -> dict[str, int]:
        """As a reply has it."""
        return {
            "rd_operations": self.reads,
            "wr_operations": self.writes,
            "rd_bytes": self.reads * self.request_bytes,
            "wr_bytes": self.writes * self.request_bytes,
            "failed_wr_operations": self.failed,
        }

    @property
    def durations(self) -> dict[str, Any]:
        """How long they took."""
        return {"reads": {"floors-ns": list(self.FLOORS_NS), "counts": list(self.counts)}}


class Lab:
    """The server and what passes through it."""

    def __init__(self) -> None:
        self.pid, self.begin_s, self.second = 4711, -4000, 0
        self._begin_loads()

    def _begin_loads(self) -> None:
        self.quick = Load(2400, 4096, swing=0.35, slow=3)
        self.held = Load(600, 65536, swing=0.1, slow=7)
        self.quiet = Load(40, 16384, swing=0.9, slow=2)

    def restart(self) -> None:
        """Another process, whose counters begin anew."""
        self.pid, self.begin_s = 4801, self.second
        self._begin_loads()

    def pass_second(self, *, failing: bool) -> None:
        """One more second."""
        self.second += 1
        self.quick.pass_second(self.second, failing=False)
        self.held.pass_second(self.second, failing=failing)
        self.quiet.pass_second(self.second, failing=False)

    def reply(self, **reports: dict[str, Any] | None) -> dict[str, Any]:
        """What it answers."""
        return reply(
            self.second - self.begin_s,
            pid=self.pid,
            runner=4242,
            nodes=self._nodes(),
            exports=self._exports(),
            jobs=self._jobs(),
            latencies=[{}, *(load.durations for load in (self.quick, self.held, self.quiet))],
            reports=reports,
            **{"throttle-groups": self._groups()},
        )

    def _nodes(self) -> list[dict[str, Any]]:
        quick: dict[str, Any] = {"stats": self.quick.stats, "latency": 1}
        held: dict[str, Any] = {"stats": self.held.stats, "latency": 2, "size": 64 * GIB}
        quiet: dict[str, Any] = {"stats": self.quiet.stats, "latency": 3}
        sound: dict[str, Any] = {
            "stats": self.held.stats | {"failed_wr_operations": 0},
            "latency": 2,
            "size": 64 * GIB,
        }
        backup: dict[str, Any] = {"job": "nightly", "is-filter": True}
        spent: dict[str, Any] = {
            "driver-specific": {"write-threshold": 768 * MIB, "state": "spent"},
            "is-filter": True,
        }
        busy = self.second % 5
        return [
            node("disk0", "file", size=10 * GIB, **quick, **_in_flight(3 + busy)),
            node("slow0", "raw", "disk0", size=10 * GIB, **quick, **_in_flight(6 + busy)),
            node("limit0", "throttle", "slow0", group="gold", **quick, **_in_flight(9 + busy)),
            node("disk1", "nbd", **sound),
            node("nightly-filter", "copy-before-write", "disk1", **sound, **backup),
            node("flaky1", "raw", "nightly-filter", **held, **_in_flight(2)),
            node("limit1", "throttle", "flaky1", group="silver", **held, **_in_flight(16)),
            node("shared", "memory", size=GIB, **quiet),
            node("quota", "write-threshold", "shared", **quiet, **spent),
            node("half", "raw", "shared", size=GIB // 2),
            node("archive", "file", size=64 * GIB),
        ]

    def _exports(self) -> list[dict[str, Any]]:
        age_s = self.second - self.begin_s
        qemu = {"pid": 5120, "uid": 1000, "process": "qemu-system-x86"}
        clients = (
            _client(1, age_s, 12, peer=qemu),
            _client(2, age_s - 1, 9, peer={"pid": 5131, "uid": 0, "process": "nbd-client"}),
            _client(4, 31, 7, peer={"address": "192.0.2.17:50714"}),
            _client(7, 5, 0, writable=False),
        )
        idle = Load(0, 1, swing=0, slow=1)
        disks: list[tuple[str, str, Load, int, tuple[dict[str, Any], ...]]] = [
            ("vm0", "limit0", self.quick, 1, clients[:1]),
            ("vm1", "limit1", self.held, 2, clients[1:3]),
            ("logs", "quota", self.quiet, 3, clients[3:]),
            ("db", "half", idle, 0, ()),
        ]
        return [
            export(
                name,
                root,
                stats=load.stats,
                latency=latency,
                clients=list(of_disk),
                writable=name != "logs",
                **{"in-flight": sum(each["in-flight"] for each in of_disk)},
            )
            for name, root, load, latency, of_disk in disks
        ]

    def _groups(self) -> list[dict[str, Any]]:
        gold = group("gold", ("limit0", 0), iops_total=3000, iops_total_max=6000)
        gold["limits"] |= {"iops-total-max-length": 10, "bps-total": 100 * MIB}
        gold["levels"] = {"iops-total": 20000.0 + 9000 * sin(self.second / 6)}
        silver = group("silver", ("limit1", 14), bps_total=36 * MIB, iops_write=800)
        return [gold, silver]

    def _jobs(self) -> list[dict[str, Any]]:
        nightly = _job("nightly", "disk1", "archive", 400 * MIB * self.second, rate=400 * MIB)
        move = _job("move", "disk0", "archive", 3 * GIB, type="mirror", status="concluded")
        move |= {"error": "No space left on device", "io-status": "nospace"}
        return [nightly, move]


def _in_flight(count: int) -> dict[str, Any]:
    return {"in-flight": count}


def _client(number: int, age_s: float, in_flight: int, **more: Any) -> dict[str, Any]:
    of_client = {"id": number, "connected-seconds": age_s, "in-flight": in_flight}
    return of_client | {"writable": True} | more


def _job(name: str, device: str, target: str, done: int, **more: Any) -> dict[str, Any]:
    kind = more.pop("type", "backup")
    return {
        "id": name,
        "type": kind,
        "options": {"type": kind, "job-id": name, "device": device, "target": target},
        "status": "running",
        "current-progress": done,
        "total-progress": 64 * GIB,
        "running-ns": 190 * SECOND,
    } | more


_HAPPENED: dict[int, tuple[tuple[str, dict[str, Any]], ...]] = {
    1: (("X_BLKRUN_SERVER_ADOPTED", {"pid": 4711}),),
    3: (("X_BLKRUN_CLIENT_CONNECTED", {"id": 1, "export": "vm0"}),),
    4: (("X_BLKRUN_CLIENT_CONNECTED", {"id": 2, "export": "vm1"}),),
    9: (("X_BLKRUN_CONFIG_APPLIED", APPLIED),),
    12: (("JOB_STATUS_CHANGE", {"id": "nightly", "status": "running"}),),
    21: (
        (
            "BLOCK_WRITE_THRESHOLD",
            {"node-name": "quota", "amount-exceeded": 65536, "write-threshold": 768 * MIB},
        ),
    ),
    27: (
        (
            "BLOCK_JOB_COMPLETED",
            {
                "device": "move",
                "type": "mirror",
                "offset": 3 * GIB,
                "len": 64 * GIB,
                "error": "No space left on device",
            },
        ),
    ),
    BACK_S: (("X_BLKRUN_SERVER_RESTARTED", {"why": "killed by signal 9", "jobs": ["nightly"]}),),
    41: (("X_BLKRUN_CLIENT_CONNECTED", {"id": 4, "export": "vm1"}),),
    60: (("X_BLKRUN_CONFIG_REJECTED", REJECTED),),
    66: (("X_BLKRUN_CONFIG_PENDING", PENDING),),
    67: (("X_BLKRUN_CLIENT_CONNECTED", {"id": 7, "export": "logs"}),),
    69: (("X_BLKRUN_DRIFTED", DRIFT),),
    END_S: (("BLOCK_JOB_ERROR", {"device": "nightly", "operation": "read", "action": "ignore"}),)
    * 3,
}


def _reports(second: int) -> dict[str, dict[str, Any] | None]:
    applied = {"in-force": APPLIED}
    if second >= 66:
        return {**applied, "config": PENDING, "drift": DRIFT if second >= 69 else None}
    if second >= 60:
        return {**applied, "config": REJECTED}
    return {**applied, "config": APPLIED} if second >= 9 else {}


def told(until_s: int = END_S) -> Iterator[Told]:
    """One look a second, and the events in between."""
    lab = Lab()
    for second in range(until_s + 1):
        lab.pass_second(failing=second >= 50)
        if second == LOST_S:
            yield second, Lost("the server has gone")
        if second == BACK_S:
            lab.restart()
        if events := _HAPPENED.get(second):
            happened = (event(name, BEGIN_S + second, **data) for name, data in events)
            yield second, Happened(tuple(happened))
        if not LOST_S <= second < BACK_S:
            raw = lab.reply(**_reports(second))
            yield second, Seen(snapshot(raw), BEGIN_S + second)


def connected_late() -> dict[str, Any]:
    """Another client, after all of it."""
    data = {"id": 9, "export": "vm0"}
    return event("X_BLKRUN_CLIENT_CONNECTED", BEGIN_S + END_S + 12, **data)


def recording(path: Path) -> Path:
    """All of it, to be replayed."""
    return record(path, *told())
