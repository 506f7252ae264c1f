"""One x-blkrun-stats call on a server with a hundred nodes: what it takes the server."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from .edits import conversation
from .servers import Server, blkrun

COMMAND = "x-blkrun-stats"
NODES = 100
CALLS = 200


@dataclass(frozen=True)
class StatsCall:
    """Many calls, and how their time was taken; none where there is no such command."""

    ms: Sequence[float]
    how: str


def crowd() -> str:
    """The configuration: disks in memory with a throttle over each, exported."""
    parts = ['[server]\nlisten = "unix:bench.sock"\ncontrol = "unix:bench.qmp"\n']
    parts.append("[throttle-groups.free]\n")
    for number in range(NODES // 2):
        export = "vda" if number == 0 else f"vd{number}"
        parts += [
            f'[backends.disk{number}]\ndriver = "memory"\nsize = "1MiB"\n',
            (
                f'[nodes.limit{number}]\ndriver = "throttle"\nthrottle-group = "free"\n'
                f'file = "disk{number}"\n'
            ),
            f'[exports.{export}]\nnode = "limit{number}"\n',
        ]
    return "\n".join(parts)


CROWDED = Server(
    f"blkrun with {NODES} nodes", partial(blkrun, sys.executable, crowd()), has_image=False
)


def measure_stats(control: Path) -> StatsCall:
    """On a server that is up."""
    with conversation(control) as qmp:
        return timed_calls(qmp.do)


def timed_calls(do: Callable[[str], Any]) -> StatsCall:
    """What the server says that it took, or else the round trip less that of query-version."""
    if COMMAND not in {command["name"] for command in do("query-commands")}:
        return StatsCall((), "not there yet")
    if "server-ns" in do(COMMAND):
        return StatsCall(
            [do(COMMAND)["server-ns"] / 1e6 for _ in range(CALLS)], "as the server says"
        )
    base = median(_round_trips_ms(do, "query-version"))
    took = [ms - base for ms in _round_trips_ms(do, COMMAND)]
    return StatsCall(took, "round trip less that of query-version")


def _round_trips_ms(do: Callable[[str], Any], command: str) -> list[float]:
    took = []
    for _ in range(CALLS):
        begin = time.perf_counter()
        do(command)
        took.append((time.perf_counter() - begin) * 1000)
    return took
