"""The event log and what of it is shown: folding, filter, search, and where the view stands."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blkrun.dashboard.lines import TONES
from blkrun.dashboard.model.log_view import LogView, Query
from blkrun.dashboard.model.record import (
    Log,
    Record,
    record_json,
    record_text,
    subject_names,
)
from blkrun.dashboard.widgets.events import record_line
from blkrun.messages import Level
from tests.dashboard.dashboard_samples import connected, event
from tests.dashboard.test_dashboard_lines import WIDTHS, assert_fits

TEXT = "client 14 connected to VDA"
BURST = event("BLOCK_JOB_ERROR", device="nightly", operation="read", action="ignore")


def texts(view: LogView) -> list[str]:
    """All rows."""
    return [view[row].text for row in range(len(view))]


def view_of(*numbers: int, kept: int = 100) -> tuple[Log, LogView]:
    """A view of a log that has heard of these clients."""
    log = Log(kept)
    log.add(map(connected, numbers))
    return log, LogView(log)


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("", True),
        ("vda", True),
        ("VDA client", True),
        ("vda vdb", False),
        ("!vdb", True),
        ("!VDA", False),
        ("~cltvd", True),
        ("~vdc", False),
        ("client ~vda !vdb", True),
        ("!", True),
        ("~", True),
        ("  ", True),
        ("c.i", False),
        ("[", False),
        ("!(", True),
    ],
)
def test_all_words_of_a_query_must_hold(query: str, matches: bool) -> None:  # noqa: FBT001 - a table
    """Whatever their case; a word that is only begun says nothing; no word is an expression."""
    assert Query(query).matches(TEXT) is matches


@given(st.text(), st.text(max_size=5))
def test_hits_are_where_the_words_stand(text: str, word: str) -> None:
    """In order, apart, and each of nothing but the words."""
    query = Query(word)
    hits = query.hits(text)
    assert hits == sorted(hits)
    assert all(before[1] < after[0] for before, after in pairwise(hits))
    words = [each for each in word.split() if each[0] not in "!~"]
    for begin, end in hits:
        assert any(re.search(re.escape(each), text[begin:end], re.IGNORECASE) for each in words)


def test_the_same_again_is_one_record_with_a_count() -> None:
    """It keeps its number, and the time is the last one's."""
    log = Log()
    log.add(
        [
            connected(1),
            *(BURST | {"timestamp": {"seconds": n, "microseconds": 0}} for n in range(14)),
            connected(2),
        ]
    )
    assert [(record.number, record.count) for record in log.records] == [(0, 1), (1, 14), (2, 1)]
    assert log[1].folded == "\N{MULTIPLICATION SIGN}14"
    assert log[1].time.endswith(":13.000")


def test_a_view_shows_the_count_of_a_record_that_it_has_already() -> None:
    """In place: no row comes, and none is new."""
    log, view = view_of(1)
    log.add([BURST])
    view.catch_up()
    view.read()
    log.add([BURST, BURST])
    view.catch_up()
    assert (len(view), view[1].count, view.news) == (2, 3, 0)


def test_levels_hide_what_matters_less() -> None:
    """Also what comes later."""
    log, view = view_of(1, 2)
    view.narrow(least=Level.WARNING)
    log.add([BURST, event("X_BLKRUN_CONFIG_FAILED", message="no"), connected(3)])
    view.catch_up()
    assert [view[row].level for row in range(len(view))] == [Level.WARNING, Level.ERROR]
    assert (view.total, view.is_narrowed) == (5, True)


def test_frozen_view_keeps_what_the_log_drops() -> None:
    """It says how many came that can still be read, and thawing shows the present."""
    log, view = view_of(*range(10), kept=10)
    view.read()
    view.freeze()
    before = texts(view)
    log.add(map(connected, range(10, 40)))
    assert view.catch_up() == 0
    view.narrow(Query("vda"))
    assert texts(view) == before
    assert (view.news, view.dropped) == (10, 30)
    view.thaw()
    assert texts(view) == [f"client {number} connected to vda" for number in range(30, 40)]
    assert view.news == 10


def test_hits_are_counted_and_come_round() -> None:
    """Forwards and backwards, with a word when the end is passed."""
    _, view = view_of(7, 1, 17, 2, 27, 3)
    view.look_for(Query("7"))
    assert view.hits == 3
    assert view.next_hit(0, 1) == (2, False)
    assert view.next_hit(3, -1) == (2, False)
    assert view.next_hit(4, 1) == (0, True)
    assert view.next_hit(0, -1) == (4, True)
    assert [view.hit_number(row) for row in range(7)] == [1, None, 2, None, 3, None, None]
    view.look_for(Query("nowhere"))
    assert view.next_hit(0, 1) is None


PAGE = 4
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(1, 12)),
        st.tuples(st.just("filter"), st.sampled_from(["", "1", "!1", "2", "~13", "none"])),
        st.tuples(st.just("scroll"), st.integers(0, 30)),
    ),
    max_size=30,
)


@given(STEPS)
def test_the_record_on_top_stays_whatever_arrives_is_dropped_or_is_filtered(
    steps: list[tuple[str, int | str]],
) -> None:
    """It gives way only to the next that is shown, or to a page that is full to the end."""
    log, view = view_of(*range(20), kept=20)
    count = 20
    for step, value in steps:
        top = view.top
        match step, value:
            case "arrive", int():
                log.add(map(connected, range(count, count + value)))
                count += value
                view.catch_up()
            case "filter", str():
                view.narrow(Query(value))
            case _, int():
                view.see(min(value, max(len(view) - PAGE, 0)))
                continue
        row = view.top_row(PAGE)
        shown = [view[index].number for index in range(len(view))]
        later = [number for number in shown if number >= top]
        if not shown:
            assert row == 0
        elif len(later) >= PAGE:
            assert shown[row] == later[0]
        else:
            assert row == max(len(shown) - PAGE, 0)
        view.see(row)


def test_whatever_comes_a_view_is_what_the_log_has_and_the_filter_lets_pass() -> None:
    """Matched one by one as they come it is the same as all at once."""
    log, view = view_of(kept=50)
    view.narrow(Query("!3 client"))
    view.look_for(Query("2"))
    for number in range(300):
        log.add([connected(number)])
        view.catch_up()
    at_once = LogView(log)
    at_once.narrow(Query("!3 client"))
    at_once.look_for(Query("2"))
    assert texts(view) == texts(at_once)
    assert view.hits == at_once.hits > 0


@pytest.mark.parametrize(
    ("happened", "names"),
    [
        (event("X_BLKRUN_CLIENT_CONNECTED", id=3, export="vda"), ("vda",)),
        (event("BLOCK_EXPORT_DELETED", id="vda"), ("vda",)),
        (event("BLOCK_WRITE_THRESHOLD") | {"data": {"node-name": "disk"}}, ("disk",)),
        (event("JOB_STATUS_CHANGE", id="nightly", status="running"), ("nightly",)),
        (event("BLOCK_JOB_READY", device="nightly"), ("nightly",)),
        (
            event("X_BLKRUN_JOB_PIVOTED", id="nightly", device="disk", target="copy"),
            ("disk", "nightly", "copy"),
        ),
        (event("X_BLKRUN_CONFIG_APPLIED", file="lab.toml"), ()),
        ({"event": "STOP", "timestamp": {"seconds": 0, "microseconds": 0}}, ()),
    ],
)
def test_names_in_an_event(happened: dict[str, object], names: tuple[str, ...]) -> None:
    """First what it is about; a client's number is no name."""
    assert subject_names(Record(0, "", Level.INFO, "", happened)) == names


def test_a_record_is_copied_as_it_reads_and_shown_as_it_came() -> None:
    """One line, and JSON."""
    log = Log()
    log.add([BURST, BURST])
    assert record_text(log[0]).split(" ", 1)[1] == f"WARN \N{MULTIPLICATION SIGN}2 {log[0].text}"
    assert json.loads(record_json(log[0])) == BURST


def test_hits_are_marked_in_lines_that_still_fit() -> None:
    """And the first is in sight, however long the text is."""
    text = "a\tb " + "磁盘 " * 40 + "needle " + "x" * 100
    record = Record(1, "12:03:54.123", Level.ERROR, text, count=14)
    query = Query("needle a")
    assert "hit" in TONES
    for width in WIDTHS:
        assert_fits([record_line(record, width, query)], width)
    far = record_line(Record(1, "12:03:54.123", Level.INFO, text), 80, Query("needle"))
    assert [span.text for span in far.spans if span.tone == "hit"] == ["needle"]
