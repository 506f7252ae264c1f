"""The board: reports folded, and what of them is a gap."""

from math import isnan

import pytest

from blkrun.dashboard.feed import Happened, Lost, Report, Rewound, Seen
from blkrun.dashboard.model.board import Board
from blkrun.dashboard.model.rates import NOTHING
from blkrun.dashboard.model.status import State
from blkrun.dashboard.model.subject import Subject
from tests.dashboard.dashboard_samples import connected, event, lab, reply, snapshot

DISK = Subject("node", "disk")


def look(seconds: float, **more: object) -> Seen:
    """The lab, and a clock that is 100 s ahead of the server's."""
    return Seen(snapshot(lab(seconds) | more), 100.0 + seconds)


def folded(*reports: Report, at_s: float = 110.0) -> Board:
    """A board that has heard all of them."""
    board = Board()
    for report in reports:
        board.fold(report, report.at_s if isinstance(report, Seen) else at_s)
    return board


def known_s(board: Board) -> list[int]:
    """Whole seconds of the feed's clock, of the last minute, in which the disk's reads are known.

    Where some of a second is known all of it has to be.
    """
    series = board.history.series(DISK, 60)
    slots = series.values["reads"]
    first_s = series.end_s - len(slots) * series.slot_s
    known = [round(first_s + number * 0.2, 3) for number, n in enumerate(slots) if not isnan(n)]
    seconds = sorted({int(at_s + 1e-6) for at_s in known})
    assert len(known) == 5 * len(seconds)
    return seconds


def test_a_look_shows_itself_and_two_show_a_rate() -> None:
    """The history has what is between them."""
    board = folded(look(1))
    assert board.rates is NOTHING
    assert board.before is None
    assert known_s(board) == []
    board = folded(look(1), look(2), look(3))
    assert board.rates.nodes["disk"].reads == 1000
    assert board.before == look(2).snapshot
    assert known_s(board) == [101, 102]
    assert board.seen_s == 103


def test_events_are_in_the_log_whatever_the_server_does() -> None:
    """They need no look."""
    board = folded(Happened((connected(1), connected(2))), Lost("no server"))
    assert len(board.log.records) == 2
    assert board.snapshot is None
    assert board.moment is None


def test_nothing_covers_the_time_in_which_the_server_was_lost() -> None:
    """Also when it is the same one that is there again: its counters have gone on."""
    board = folded(look(1), look(2), Lost("no answer"), look(6), look(7))
    assert known_s(board) == [101, 106]
    assert board.rates.nodes["disk"].reads == 1000


def test_the_first_look_after_a_loss_has_nothing_before_it() -> None:
    """Or a wait or a rate would be of a time in which nobody looked."""
    board = folded(look(1), look(2), Lost("no answer"), look(6))
    assert board.rates is NOTHING
    assert board.before is None
    assert board.state(106, 0.5) is State.RUN


def test_time_between_looks_is_covered_however_long_it_was() -> None:
    """Somebody who was not answered for a while has still counted."""
    assert known_s(folded(look(1), look(5))) == [101, 102, 103, 104]


def test_another_process_is_a_gap_without_a_loss() -> None:
    """It was restarted between two looks, and counts anew."""
    board = folded(look(1), look(2), look(3, pid=43), look(4, pid=43))
    assert known_s(board) == [101, 103]


def test_what_has_gone_keeps_its_past_and_has_a_gap_since() -> None:
    """Until the plots have no room for it."""
    empty = [Seen(snapshot(reply(second)), 100.0 + second) for second in (3, 4)]
    board = folded(look(1), look(2), *empty)
    assert known_s(board) == [101]
    assert board.history.series(DISK, 60).end_s == pytest.approx(104)


def test_lost_keeps_the_last_look_and_says_since_when() -> None:
    """What was known is shown, with its age."""
    board = folded(look(1), look(2), Lost("no server at lab.qmp"), at_s=105)
    assert board.state(112, 0.5) is State.OFFLINE
    assert board.age_s(112) == 7
    assert board.why_lost == "no server at lab.qmp"
    assert board.snapshot == look(2).snapshot
    moment = board.moment
    assert moment is not None
    assert moment.at_s == 102


def test_rewound_is_as_if_nothing_else_had_ever_been_told() -> None:
    """Looks, gaps, events and the state are those of the past that is given."""
    past = (
        (101.0, look(1)),
        (102.0, look(2)),
        (102.5, Happened((connected(9),))),
        (103.0, Lost("nothing was recorded")),
    )
    board = folded(look(50), look(51), Happened((connected(1),)), Rewound(past))
    again = folded(look(1), look(2), Happened((connected(9),)), Lost("nothing was recorded"))
    assert known_s(board) == known_s(again) == [101]
    assert [record.text for record in board.log.records] == [
        record.text for record in again.log.records
    ]
    assert board.state(104, 0.5) is State.OFFLINE
    assert board.age_s(104) == 1


def test_rewound_to_before_the_first_look_knows_nothing() -> None:
    """A recording begins with that."""
    edited = event("X_BLKRUN_CONFIG_APPLIED", 2, file="lab.toml")
    board = folded(look(1), look(2), Happened((edited,)), Rewound(()))
    assert board.log.edited_at is None
    assert board.moment is None
    assert board.before is None
    assert board.state(110, 0.5) is State.CONNECTING
    assert known_s(board) == []


def test_a_kept_history_does_not_go_on() -> None:
    """Who has paused looks at the past of that moment, at every span."""
    board = folded(look(1), look(2))
    kept, then = board.history.copy(), repr(board.history.series(DISK, 1800))
    board.fold(look(60), 160)
    board.fold(look(61), 161)
    assert repr(kept.series(DISK, 1800)) == then  # a NaN equals nothing
    assert repr(board.history.series(DISK, 1800)) != then
