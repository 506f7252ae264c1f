"""Which server is measured when: interleaved, so that the machine's moods hit all of them.

A workload's rounds follow each other, and in each round every server has its turn.  What is
judged has more and longer rounds than what is only shown.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from .load import Workload
from .place import Image
from .servers import Server


@dataclass(frozen=True)
class Pace:
    """How many rounds, and how long a measurement is."""

    rounds: int
    seconds: float
    judged_rounds: int
    judged_seconds: float


@dataclass(frozen=True)
class Turn:
    """One measurement."""

    workload: Workload
    server: Server
    round: int
    seconds: float


Judged = Mapping[Workload, AbstractSet[str]]
"""Workload → names of the servers that a figure to be reached depends on."""


def schedule(
    workloads: Sequence[Workload], servers: Sequence[Server], pace: Pace, judged: Judged
) -> Iterator[Turn]:
    """All measurements in their order."""
    for workload in workloads:
        names = judged.get(workload, frozenset())
        seconds = pace.judged_seconds if names else pace.seconds
        for number in range(max(pace.rounds, pace.judged_rounds if names else 0)):
            present = [
                server for server in servers if number < pace.rounds or _counts(server, names, pace)
            ]
            for server in in_turn(present, number):
                yield Turn(workload, server, number, seconds)


def lives(turns: Iterable[Turn], image: Image) -> list[list[Turn]]:
    """What is measured while the same servers are up: all, or a round if images do not last."""
    if image.fresh:
        rounds = itertools.groupby(turns, key=lambda turn: (turn.workload, turn.round))
        return [list(each) for _, each in rounds]
    together = list(turns)
    return [together] if together else []


def in_turn(servers: Sequence[Server], number: int) -> list[Server]:
    """Each round begins with another server, and every second one goes backwards.

    So none always comes first, and none always follows the same one.
    """
    begin = number % max(len(servers), 1)
    order = [*servers[begin:], *servers[:begin]]
    return order[::-1] if number % 2 else order


def _counts(server: Server, names: AbstractSet[str], pace: Pace) -> bool:
    return server.name in names and pace.judged_rounds > pace.rounds
