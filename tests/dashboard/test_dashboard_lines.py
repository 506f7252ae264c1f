"""Every line fits its width exactly, whatever is in it."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from blkrun.dashboard.arrange import arrange
from blkrun.dashboard.lines import Line, Span, clean, fit, fit_right, fit_spans, gauge, wrap
from blkrun.dashboard.model.config import config_view
from blkrun.dashboard.model.groups import group_rows
from blkrun.dashboard.model.rates import interval
from blkrun.dashboard.model.record import Record
from blkrun.dashboard.model.snapshot import Snapshot
from blkrun.dashboard.model.status import State, Status
from blkrun.dashboard.model.tree import graph_rows
from blkrun.dashboard.widgets.config import config_lines
from blkrun.dashboard.widgets.events import record_line
from blkrun.dashboard.widgets.graph import graph_lines
from blkrun.dashboard.widgets.groups import group_lines
from blkrun.dashboard.widgets.header import header_line
from blkrun.messages import Level
from tests.dashboard.dashboard_samples import (
    NASTY_NAMES,
    client,
    export,
    group,
    lab,
    node,
    reply,
    snapshot,
    stats,
)

WIDTHS = range(8, 201)


def nasty(seconds: float) -> Snapshot:
    """A graph of names that try to break out, deep, with errors and large numbers."""
    names = NASTY_NAMES
    done = stats(reads=round(10**9 * seconds), writes=7, failed_rd_operations=round(20 * seconds))
    members = [
        node(name, "throttle", below, group=names[0], stats=done) for name, below in pairwise(names)
    ]
    raw = reply(
        seconds,
        nodes=[*members, node(names[-1], "file", stats=done), node("unused", "memory")],
        exports=[
            export(name, name, stats=done, clients=[client(1)] * 3, **{"in-flight": 12345})
            for name in names[:3]
        ],
        **{
            "throttle-groups": [
                group(name, *((member, 12345) for member in names), iops_total=1, bps_read=10**15)
                for name in names[:3]
            ]
        },
    )
    return snapshot(raw)


AFTER = nasty(2)
RATES = interval(nasty(1), AFTER)


def assert_fits(lines: list[Line], width: int) -> None:
    """Each line and the sum of its spans are ``width`` cells and harmless."""
    for line in lines:
        assert sum(cell_len(span.text) for span in line.spans) == width, line
        assert cell_len(line.text) == width, line
        assert line.text.isprintable()
        line.text.encode()


def test_graph_rows_fit() -> None:
    """Also narrower than anybody would look at."""
    for width in WIDTHS:
        assert_fits(graph_lines(graph_rows(AFTER, RATES), width), width)


def test_group_rows_fit() -> None:
    """With limits far exceeded and thousands waiting."""
    for width in WIDTHS:
        assert_fits(group_lines(group_rows(AFTER, RATES), width), width)


def test_event_and_edit_rows_fit() -> None:
    """Foreign text of any length."""
    texts = [*NASTY_NAMES, " ".join(NASTY_NAMES)]
    records = [Record(n, "12:03:54.123", Level.ERROR, text) for n, text in enumerate(texts)]
    report = {"kind": "applied", "operations": texts, "notes": texts, "message": texts[-1]}
    for width in WIDTHS:
        assert_fits([record_line(record, width) for record in records], width)
        assert_fits(
            config_lines(config_view({"config": report}, file=texts[-1]).rows, width), width
        )


def test_header_fits() -> None:
    """In every state, with any title."""
    for title in (*NASTY_NAMES, "lab.toml"):
        for state in State:
            status = Status(title=title, state=state, held=3, clients=12, paused_s=61)
            for width in WIDTHS:
                assert_fits([header_line(status, width)], width)


def test_header_fields_go_whole_and_the_state_last() -> None:
    """A half number would be another number."""
    status = Status(title="lab.toml", state=State.RUN, uptime_s=61, clients=2)
    wide = header_line(status, 200).text
    assert " ".join(wide.split()) == "lab.toml ● RUN 1 min R — — W — — QD 0 2 clients every 0.5 s"
    narrow = header_line(status, 24).text
    assert narrow.split() == ["lab.toml", "●", "RUN"]
    assert header_line(status, 8).text.split() == ["●", "RUN"]


def test_narrow_graph_shows_held_instead_of_the_detail() -> None:
    """What somebody should see is never the first to go."""
    rows = graph_rows(snapshot(lab(0, held=14)), RATES)
    for width in (50, 70, 120):
        assert "HELD 14" in graph_lines(rows, width)[1].text


@given(st.text(max_size=60), st.integers(min_value=0, max_value=80))
def test_any_text_fits(text: str, width: int) -> None:
    """Left, right and as spans."""
    assert cell_len(fit(text, width)) == width
    assert cell_len(fit_right(text, width)) == width
    spans = fit_spans((Span(text), Span("|"), Span(text)), width)
    assert sum(cell_len(span.text) for span in spans) == width


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_clean_text_has_no_controls(name: str) -> None:
    """Neither escapes nor direction marks reach the terminal; brackets stay."""
    assert clean(name).isprintable()
    assert clean("[red]x[/]") == "[red]x[/]"


def test_cut_text_says_so() -> None:
    """With an ellipsis, also when the cut is between two spans."""
    assert fit("abcdef", 4) == "abc…"
    assert "".join(span.text for span in fit_spans((Span("abcd"), Span("ef")), 4)) == "abc…"


@pytest.mark.parametrize(
    ("share", "bar"),
    [(0, "····"), (1e-9, "▏···"), (0.5, "██··"), (0.999, "███▉"), (1, "████"), (7, "████")],
)
def test_gauge_tells_something_from_nothing_and_all_from_almost(share: float, bar: str) -> None:
    """Only nothing is empty, only all is full."""
    assert gauge(share, 4) == bar


def test_wrapped_text_is_indented_where_it_goes_on() -> None:
    """Nothing is lost."""
    assert wrap("+ one two three", 8) == ["+ one", "  two", "  three"]


PANELS = ("graph", "plots", "groups", "config", "events", "node", "clients")


@pytest.mark.parametrize("rows", [3, 9, 200])
def test_arrangement_fills_the_screen(rows: int) -> None:
    """Heights add up, each grid row has all twelve columns, and no panel is a mere frame."""
    for width, height in product(range(20, 201), range(5, 61)):
        plan = arrange(width, height, dict.fromkeys(PANELS, rows), None)
        assert sum(plan.heights) == height - 2
        assert sum(plan.spans.values()) == 12 * len(plan.heights)
        assert min(plan.heights) >= min(4, height - 2)


def test_small_graph_leaves_room_for_the_others() -> None:
    """At 80 by 24 a large graph does not squeeze the groups, a small one gives them more."""
    wants = dict.fromkeys(PANELS, 9) | {"graph": 40, "groups": 12, "events": 99}
    assert arrange(80, 24, wants, None).heights == (8, 5, 5, 4)
    assert arrange(80, 24, wants | {"graph": 6}, None).heights == (6, 5, 6, 5)
