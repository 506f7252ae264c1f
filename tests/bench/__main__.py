"""Every server up at once and measured in turn; the table, and what was reached of what is to be.

make bench BENCH_ARGS="--only randread-4k-qd16-c1 --servers throttle" takes a minute.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import backups, reach, report
from .backups import SCENES, Costs, Scene, backup_servers, measure_backups
from .edits import EditPair, measure_edits
from .load import WORKLOADS, measure
from .place import IMAGES, RAW, BenchError, Image, Place
from .planning import Planning, measure_planning
from .process import Running, which
from .schedule import Pace, Turn, in_turn, lives, schedule
from .servers import THROTTLE, Server, all_servers, check_tools, titled
from .stats_call import CROWDED, StatsCall, measure_stats
from .watching import WATCHED, Watching, measure_watching

EDITS, STATS, PLANS, WATCHING = "edits", "stats", "plans", "dashboard"
"""What --only takes besides workloads."""

FULL = Pace(rounds=3, seconds=0.5, judged_rounds=11, judged_seconds=0.8)
QUICK = Pace(rounds=1, seconds=0.3, judged_rounds=1, judged_seconds=0.5)


@dataclass
class Found:
    """What a run found; edits by the server's title."""

    results: report.Results = field(default_factory=dict)
    edits: dict[str, list[EditPair]] = field(default_factory=dict)
    backups: Costs = field(default_factory=dict)
    stats: StatsCall | None = None
    plans: dict[int, Planning] = field(default_factory=dict)
    """By how many nodes."""
    watching: Watching | None = None


def main() -> int:
    """Measure and print; 1 when something is missing or does not work."""
    arguments = _arguments()
    try:
        check_tools()
        servers = _chosen(all_servers(arguments.against), arguments.servers)
        with tempfile.TemporaryDirectory(prefix="blkrun-bench-") as directory:
            place = Place(Path(directory))
            about = _about(arguments, place)
            found = _run(servers, place, arguments)
    except BenchError as error:
        _say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        _say("bench: stopped")
        return 130
    _show(found, about, arguments)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    add = parser.add_argument
    add(
        "--seconds",
        type=float,
        help=f"of a measurement ({FULL.seconds}, {FULL.judged_seconds} if judged)",
    )
    add("--rounds", type=int, help=f"of everything ({FULL.rounds}, {FULL.judged_rounds} if judged)")
    add("--quick", action="store_true", help="one short round, to see that all of it works")
    add("--only", action="append", metavar="TEXT", help="workloads whose short name holds it")
    add("--servers", action="append", metavar="TEXT", help="servers whose name holds it")
    add("--against", type=Path, metavar="DIR", help="another checkout of blkrun, with its .venv")
    add("--json", action="store_true", help="medians and every round, as JSON")
    arguments = parser.parse_args()
    if any(given is not None and given <= 0 for given in (arguments.seconds, arguments.rounds)):
        parser.error("--seconds and --rounds must be more than 0")
    if arguments.against:
        arguments.against = arguments.against.resolve()
    names = [workload.name for workload in WORKLOADS] + [EDITS, STATS, PLANS, WATCHING]
    names += [scene.name for scene in SCENES]
    arguments.names = [name for name in names if _matches(name, arguments.only)]
    if not arguments.names:
        parser.error(f"--only fits none of {', '.join(names)}")
    arguments.pace = _pace(arguments)
    return arguments


def _pace(arguments: argparse.Namespace) -> Pace:
    pace = QUICK if arguments.quick else FULL
    if arguments.rounds:
        pace = Pace(arguments.rounds, pace.seconds, arguments.rounds, pace.judged_seconds)
    if arguments.seconds:
        pace = Pace(pace.rounds, arguments.seconds, pace.judged_rounds, arguments.seconds)
    return pace


def _matches(name: str, texts: Sequence[str] | None) -> bool:
    return texts is None or any(text in name for text in texts)


def _chosen(servers: Sequence[Server], texts: Sequence[str] | None) -> list[Server]:
    chosen = [server for server in servers if _matches(server.title, texts)]
    if not chosen:
        names = ", ".join(server.title for server in servers)
        raise BenchError(f"--servers fits none of {names}")
    return chosen


def _run(servers: Sequence[Server], place: Place, arguments: argparse.Namespace) -> Found:
    found = Found()
    workloads = [workload for workload in WORKLOADS if workload.name in arguments.names]
    for image in IMAGES:
        fit = [server for server in servers if server.fits(image)]
        loads = [workload for workload in workloads if workload.image is image]
        turns = schedule(loads, fit, arguments.pace, reach.judged())
        for number, together in enumerate(lives(turns, image)):
            with _all_up(fit, place, f"{image.name}{number}-", image) as up:
                _measure_all(together, up, found.results)
    if EDITS in arguments.names:
        throttles = [server for server in servers if server.name == THROTTLE]
        with _all_up(throttles, place, "edits") as up:
            found.edits = _measure_edits(up, arguments.pace)
    scenes = [scene for scene in SCENES if scene.name in arguments.names]
    if scenes:
        with _all_up(backup_servers(servers), place, "backup") as up:
            found.backups = _measure_backups(scenes, up, arguments.pace)
    if STATS in arguments.names:
        _say("x-blkrun-stats")
        room = place.room("crowded", None)
        with CROWDED.up(room):
            found.stats = measure_stats(room.control)
    if PLANS in arguments.names:
        _say("plans")
        found.plans = measure_planning(arguments.pace.rounds)
    if WATCHING in arguments.names:
        _say("dashboard")
        room = place.room("watched", None)
        with WATCHED.up(room) as server:
            found.watching = measure_watching(server, arguments.pace, quick=arguments.quick)
    return found


@contextmanager
def _all_up(
    servers: Sequence[Server], place: Place, rooms: str, image: Image = RAW
) -> Iterator[dict[Server, Running]]:
    """Start all of them, each in a room of its own, which goes with it."""
    with ExitStack() as stack:
        up: dict[Server, Running] = {}
        for number, server in enumerate(servers):
            room = place.room(f"{rooms}{number}", image if server.has_image else None)
            stack.callback(shutil.rmtree, room.directory)
            try:
                up[server] = stack.enter_context(server.up(room))
            except BenchError as error:
                if not server.may_be_missing:
                    raise
                _say(f"left out: {error}")
        yield up


def _measure_all(turns: Sequence[Turn], up: dict[Server, Running], results: report.Results) -> None:
    shown = None
    for server in up:
        results.setdefault(server.title, {})
    for turn in turns:
        if turn.server not in up:
            continue
        if shown != (shown := (turn.workload, turn.round)):
            _say(f"{turn.workload.name}, round {turn.round + 1}")
        try:
            figures = measure(up[turn.server], turn.workload, turn.seconds)
        except BenchError as error:
            raise BenchError(f"{turn.server.title}, {turn.workload.name}: {error}") from error
        results[turn.server.title].setdefault(turn.workload, []).append(figures)


def _measure_edits(up: dict[Server, Running], pace: Pace) -> dict[str, list[EditPair]]:
    edits: dict[str, list[EditPair]] = {server.title: [] for server in up}
    for number in range(pace.judged_rounds if up else 0):
        _say(f"edits, round {number + 1}")
        for server, running in up.items():
            edits[server.title] += measure_edits(running)
    return edits


def _measure_backups(scenes: Sequence[Scene], up: dict[Server, Running], pace: Pace) -> Costs:
    costs: Costs = {}
    for scene in scenes:
        by_title = costs[scene.name] = {server.title: [] for server in up}
        for number in range(pace.rounds):
            _say(f"{scene.name}, round {number + 1}")
            for server in in_turn(list(up), number):
                by_title[server.title].append(measure_backups(server, up[server], scene))
    return costs


def _show(found: Found, about: dict[str, Any], arguments: argparse.Namespace) -> None:
    label = arguments.against.name if arguments.against else ""
    reached = {whose: _reached(found, whose) for whose in dict.fromkeys(("", label))}
    if arguments.only or arguments.servers:
        reached = {whose: [row for row in rows if row.seen] for whose, rows in reached.items()}
    if arguments.json:
        everything = {
            "about": about,
            **report.as_json(found.results, label),
            "edits": {
                title: [one.as_json() for one in pairs] for title, pairs in found.edits.items()
            },
            "dashboard": found.watching.as_json() if found.watching else {},
            "backups": backups.as_json(found.backups),
            "reach": {whose: reach.as_json(rows) for whose, rows in reached.items()},
        }
        _print(json.dumps(everything, indent=2))
        return
    notes = "\n".join(f"{key}: {value}" for key, value in about.items())
    judgements = (reach.table(rows, whose) for whose, rows in reached.items() if rows)
    tables = (report.table(found.results, label), backups.table(found.backups))
    parts = (*tables, *judgements, notes)
    _print("\n\n".join(part for part in parts if part))


def _reached(found: Found, label: str) -> list[reach.Outcome]:
    edits = found.edits.get(titled(THROTTLE, label), [])
    stats = None if label else found.stats
    plans = {} if label else found.plans
    return reach.outcomes(
        found.results,
        edits,
        stats,
        label,
        costs=found.backups,
        plans=plans,
        watching=None if label else found.watching,
    )


def _about(arguments: argparse.Namespace, place: Place) -> dict[str, Any]:
    pace = arguments.pace
    one, five, fifteen = os.getloadavg()
    return {
        "medians": f"{pace.rounds} round(s) of {pace.seconds:g} s, what is judged "
        f"{pace.judged_rounds} of {pace.judged_seconds:g} s; ratios within a round",
        "images": place.describe(),
        "versions": ", ".join(_version(tool) for tool in ("nbdkit", "qemu-storage-daemon", "fio")),
        "machine": f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python "
        f"{platform.python_version()}, load average before {one:.1f} {five:.1f} {fifteen:.1f}",
    }


def _version(tool: str) -> str:
    asked = subprocess.run([which(tool), "--version"], capture_output=True, text=True, check=False)
    return asked.stdout.splitlines()[0].partition(" (")[0]


def _print(text: str) -> None:
    print(text)  # noqa: T201 - what was asked for


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress, beside the table


if __name__ == "__main__":
    sys.exit(main())
