"""Compare: every server in every round, every load on each, and the medians at the end."""

import argparse
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .load import BLOCK, DEPTH, SIZE_BYTES, WORKLOADS, measure
from .report import Results, as_json, table
from .servers import BenchError, Place, Server, all_servers, check_tools, describe


def main() -> int:
    """Measure and print; 1 when something is missing or does not work."""
    arguments = _arguments()
    try:
        check_tools()
        with tempfile.TemporaryDirectory(prefix="blkrun-bench-") as directory:
            place = Place(Path(directory))
            _make_image(place.image)
            servers = all_servers(place)
            about = _about(arguments, describe(servers, place))
            results = _run(servers, place, arguments.rounds, arguments.seconds)
    except BenchError as error:
        _say(f"bench: {error}")
        return 1
    if arguments.json:
        print(json.dumps(as_json(results, about), indent=2))  # noqa: T201 - what was asked for
    else:
        notes = "\n".join(f"{key}: {value}" for key, value in about.items())
        print(f"{table(results)}\n\n{notes}")  # noqa: T201 - what was asked for
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, help="each measurement's length (default 3)")
    parser.add_argument("--rounds", type=int, help="measurements behind each median (default 3)")
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument("--json", action="store_true", help="medians and every round, as JSON")
    arguments = parser.parse_args()
    arguments.seconds = arguments.seconds or (1.0 if arguments.quick else 3.0)
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    if arguments.seconds <= 0 or arguments.rounds <= 0:
        parser.error("--seconds and --rounds must be more than 0")
    return arguments


def _run(servers: Sequence[Server], place: Place, rounds: int, seconds: float) -> Results:
    """Each round begins with another server, so that none always follows the same one."""
    results: Results = {server.name: {load: [] for load in WORKLOADS} for server in servers}
    for number in range(rounds):
        turn = number % len(servers)
        for server in [*servers[turn:], *servers[:turn]]:
            _say(f"round {number + 1} of {rounds}: {server.name}")
            with server.running(place) as uri:
                for load in WORKLOADS:
                    results[server.name][load].append(measure(uri, load, seconds))
    return results


def _make_image(path: Path) -> None:
    """Data in every block, which leaves it in the page cache as well."""
    chunk = random.Random(0).randbytes(2**20)
    with path.open("wb") as image:
        for _ in range(SIZE_BYTES // len(chunk)):
            image.write(chunk)
        image.flush()
        os.fsync(image.fileno())


def _about(arguments: argparse.Namespace, servers: str) -> dict[str, Any]:
    one, five, fifteen = os.getloadavg()
    return {
        "load": f"{BLOCK} requests, queue depth {DEPTH} a connection, "
        f"{SIZE_BYTES >> 20} MiB in the page cache",
        "medians": f"{arguments.rounds} round(s) of {arguments.seconds:g} s, ratios within a round",
        "servers": servers,
        "machine": f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python "
        f"{platform.python_version()}, load average before {one:.1f} {five:.1f} {fifteen:.1f}",
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress, beside the table


if __name__ == "__main__":
    sys.exit(main())
