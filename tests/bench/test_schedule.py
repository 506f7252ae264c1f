"""Who is measured when."""

from collections import Counter

from tests.bench.load import WORKLOADS, Workload
from tests.bench.place import EMPTY_QCOW2, RAW
from tests.bench.schedule import Pace, in_turn, lives, schedule
from tests.bench.servers import Server

PACE = Pace(rounds=3, seconds=0.5, judged_rounds=7, judged_seconds=1.5)
LOAD = Workload("randread", 4, 16, 1)


def servers(*names: str) -> list[Server]:
    """Servers that cannot be started."""
    return [Server(name, lambda room: []) for name in names]


def test_every_server_gets_every_workload_in_every_round() -> None:
    """The matrix has no hole."""
    names = ("a", "b", "c")
    counts = Counter(
        (turn.workload, turn.server.name, turn.round)
        for turn in schedule(WORKLOADS, servers(*names), PACE, {})
    )
    cells = {(load, name, number) for load in WORKLOADS for name in names for number in range(3)}
    assert set(counts) == cells
    assert set(counts.values()) == {1}


def test_what_is_judged_has_more_and_longer_rounds() -> None:
    """The servers concerned have them all; the others only the first ones, as long as theirs."""
    turns = list(schedule([LOAD], servers("a", "b", "c"), PACE, {LOAD: frozenset({"a", "c"})}))
    assert Counter(turn.server.name for turn in turns) == {"a": 7, "b": 3, "c": 7}
    assert {turn.seconds for turn in turns} == {1.5}
    assert [turn.round for turn in turns if turn.server.name == "b"] == [0, 1, 2]


def test_rounds_are_interleaved() -> None:
    """A round is over before the next begins."""
    turns = [turn.round for turn in schedule([LOAD], servers("a", "b"), PACE, {})]
    assert turns == [0, 0, 1, 1, 2, 2]


def test_no_server_is_always_first_or_always_after_the_same() -> None:
    """The order turns, and every second round goes backwards."""
    orders = [[one.name for one in in_turn(servers("a", "b", "c"), n)] for n in range(6)]
    assert {order[0] for order in orders} == {"a", "b", "c"}
    before_b = {order[order.index("b") - 1] for order in orders if order[0] != "b"}
    assert before_b == {"a", "c"}


def test_nobody_has_no_turn() -> None:
    """Without servers there is no order to turn."""
    assert in_turn([], 3) == []


def test_images_that_do_not_last_are_new_in_each_round() -> None:
    """All servers are up in each round; others are up all the time, and for nothing not at all."""
    turns = list(schedule([LOAD], servers("a", "b"), PACE, {}))
    assert lives(turns, RAW) == [turns]
    assert lives(turns, EMPTY_QCOW2) == [turns[:2], turns[2:4], turns[4:]]
    assert lives([], RAW) == lives([], EMPTY_QCOW2) == []
