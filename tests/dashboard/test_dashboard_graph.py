"""The graph: states in words, what waits to change, folding, filtering, and what is selected."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.pilot import Pilot

from blkrun.dashboard.model.rates import NOTHING, Interval, Latency, Rate
from blkrun.dashboard.model.state import node_state
from blkrun.dashboard.model.subject import Subject
from blkrun.dashboard.model.tree import GraphRow, Kind, folded_rows, graph_rows, matching_rows
from blkrun.dashboard.widgets.graph import GraphPanel, graph_lines
from tests.dashboard.dashboard_samples import (
    NASTY_NAMES,
    export,
    group,
    job,
    lab,
    node,
    reply,
    snapshot,
    stats,
)
from tests.dashboard.panel_app import BlkrunApp
from tests.dashboard.test_dashboard_lines import WIDTHS, assert_fits


def two_chains(**more: Any) -> dict[str, Any]:
    """Two exports, each over a throttle over a disk of its own."""
    return reply(
        1,
        nodes=[
            node("disk-a", "file"),
            node("limit-a", "throttle", "disk-a", group="gold"),
            node("disk-b", "memory"),
            node("limit-b", "throttle", "disk-b", group="silver"),
        ],
        exports=[export("vda", "limit-a"), export("vdb", "limit-b")],
        **more,
    )


def rows_of(raw: dict[str, Any], rates: Interval = NOTHING) -> tuple[GraphRow, ...]:
    """The rows of a reply."""
    return graph_rows(snapshot(raw), rates)


def test_all_children_of_a_quorum_are_shown() -> None:
    """In their order, one below the other; one that two lists have is shown in full once."""
    copies = {"children.0": "a", "children.2": "c"}
    both = {"test": "votes", "raw": "c"}
    votes = node("votes", "quorum") | {"children": copies}
    held = node("held", "blkverify") | {"children": both}
    disks = [node("a", "memory"), node("c", "memory")]
    raw = reply(1, nodes=[*disks, votes, held], exports=[export("vda", "held")])
    rows = rows_of(raw)
    assert [(row.guides + row.name, row.kind) for row in rows[1:]] == [
        ("└ held", Kind.NODE),
        ("  ├ votes", Kind.NODE),
        ("  │ ├ a", Kind.NODE),
        ("  │ └ c", Kind.NODE),
        ("  └ c", Kind.AGAIN),
    ]


def names(rows: tuple[GraphRow, ...]) -> list[str]:
    """Of rows, in order."""
    return [row.name for row in rows]


# States


def telling(driver: str, **specific: Any) -> dict[str, Any]:
    """A node whose driver tells something."""
    return node("n", driver) | {"driver-specific": specific}


@pytest.mark.parametrize(
    ("raw", "rate", "held", "word", "tone"),
    [
        (node("n", "file"), Rate(reads=5, errors=2), 0, "ERR 2/s", "bad"),
        (node("n", "file"), Rate(errors=2), 3, "FAILED 2/s", "bad"),
        (node("n", "throttle", group="g"), None, 14, "HELD 14", "warn"),
        (node("n", "file", stats=stats(failed_rd_operations=3)), Rate(), 0, "3 err", "bad"),
        (telling("write-threshold", state="spent"), None, 0, "SPENT", "warn"),
        (telling("write-threshold", state="armed"), None, 0, "", "plain"),
        (telling("copy-before-write", snapshot="intact"), None, 0, "FLEECING", "good"),
        (telling("copy-before-write", snapshot="broken"), None, 0, "BROKEN", "bad"),
        (node("n", "mirror_top", job="move"), None, 0, "job move 42%", "good"),
        (node("n", "file"), Rate(reads=5), 0, "", "plain"),
    ],
)
def test_state_is_a_word_where_somebody_should_look(
    raw: dict[str, Any], rate: Rate | None, held: int, word: str, tone: str
) -> None:
    """The most urgent one, and none where all is well."""
    found = node_state(snapshot(reply(nodes=[raw])).nodes[0], rate, held, 0.42)
    assert (found.words[0], found.tone) == (word, tone)


def test_states_and_figures_are_at_their_nodes() -> None:
    """Latency of the last interval, the job with its share, requests held."""
    raw = two_chains(
        jobs=[job("nightly")], **{"throttle-groups": [group("gold", ("limit-a", 14), iops_total=9)]}
    )
    raw["nodes"][2]["job"] = "nightly"
    latency = Latency(400_000, 12_300_000)
    rates = Interval({"limit-a": Rate(reads=7)}, {}, {"limit-a": latency}, {})
    text = graph_lines(rows_of(raw, rates), 120)
    assert text[1].text.split() == [
        *("└", "T", "limit-a", "throttle", "@gold"),
        *("7", "0", "0", "0", "0", "0.40", "12.3", "HELD", "14"),
    ]  # fmt: skip
    assert "job nightly 60%" in text[5].text


def test_at_80_columns_everything_fits_with_names_of_12_cells() -> None:
    """All six figures, the state, the letter and the whole name, three deep."""
    chain = ["throttle-012", "threshold-12", "raw-window-0", "backend-file"]
    nodes = [node(name, "throttle", below) for name, below in pairwise(chain)]
    rate = Rate(reads=9800, writes=1234, read_bytes=4.1e8)
    latency = Latency(1_234_000_000, 99_999_000_000)
    rates = Interval(
        dict.fromkeys(chain, rate), {}, dict.fromkeys(chain, latency), {"vda": latency}
    )
    raw = reply(1, nodes=[*nodes, node(chain[-1], "file")], exports=[export("vda", chain[0])])
    raw["nodes"][2]["driver-specific"] = {"state": "spent"}
    rows = rows_of(raw, rates)[1:]
    lines = graph_lines(rows, 78)
    for row, line in zip(rows, lines, strict=True):
        assert f"{row.letter} {row.name}" in line.text
        assert "9.8k 1.2k 410M 0 1234 99999" in " ".join(line.text.split())
    assert "SPENT" in lines[2].text


def test_a_state_that_has_no_room_is_said_more_briefly() -> None:
    """A word that is cut would be no word."""
    for rate, brief in ((Rate(errors=1234), "FAILED"), (Rate(reads=1, errors=1234), "ERR 1.2k/s")):
        rates = Interval({"limit": rate}, {}, {}, {})
        for width in range(56, 200):
            line = graph_lines(rows_of(lab(1), rates), width)[1].text
            assert brief.removesuffix("/s") in line, width
            assert "…" not in line[-10:], width


def test_driver_is_visible_from_60_columns_on() -> None:
    """A letter at least."""
    for width in range(58, 200):
        line = graph_lines(rows_of(lab(1)), width)[1].text
        assert "T limit" in line, width


def test_alarms_are_seen_at_any_width_that_has_room() -> None:
    """Where there is no column for them, instead of the detail."""
    rows = rows_of(lab(0, held=14))
    for width in range(40, 200):
        assert "HELD 14" in graph_lines(rows, width)[1].text, width


# What waits to change


PENDING = {
    "kind": "pending",
    "nodes": {"limit-a": "~", "new": "+", "newer": "+", "far": "+", "disk-b": "-"},
    "exports": {"vdc": "+", "vdb": "-"},
    "groups": {},
    "added": {
        "new": {"driver": "throttle", "over": ["disk-a"]},
        "newer": {"driver": "write-threshold", "over": ["new"]},
        "far": {"driver": "nbd", "over": []},
    },
}


def test_an_edit_that_waits_is_marked_in_the_gutter() -> None:
    """New nodes stand where they are going to be; what has no place yet stands at the end."""
    found = rows_of(two_chains(reports={"config": PENDING}))
    assert [(row.mark, row.name, row.guides) for row in found] == [
        ("", "vda", ""),
        ("~", "limit-a", "└ "),
        ("+", "newer", "  └ "),
        ("+", "new", "    └ "),
        ("", "disk-a", "      └ "),
        ("-", "vdb", ""),
        ("", "limit-b", "└ "),
        ("-", "disk-b", "  └ "),
        ("", "not there", ""),
        ("+", "vdc", ""),
        ("+", "far", ""),
    ]
    texts = [line.text for line in graph_lines(found, 100)]
    assert texts[2].startswith("+   └ W newer")
    assert "to come" in texts[2]
    assert "to change" in texts[1]
    assert "to go" in texts[7]


def test_an_edit_in_force_marks_nothing() -> None:
    """Nor does one that was rejected, or a report without names."""
    for report in (PENDING | {"kind": "applied"}, {"kind": "pending", "nodes": 5, "added": None}):
        found = rows_of(two_chains(reports={"config": report}))
        assert {row.mark for row in found} == {""}
        assert len(found) == 6


def test_drift_is_marked_whatever_waits() -> None:
    """Also where somebody took a node out."""
    drift = {
        "kind": "drifted",
        "nodes": {"limit-a": "~", "lost": "+"},
        "exports": {},
        "groups": {},
        "added": {"lost": {"driver": "raw", "over": ["disk-b"]}},
    }
    found = rows_of(two_chains(reports={"config": PENDING, "drift": drift}))
    by_name = {row.name: row for row in found}
    assert by_name["limit-a"].mark == by_name["lost"].mark == "!"
    texts = {row.name: line.text for row, line in zip(found, graph_lines(found, 100), strict=True)}
    assert "DRIFT" in texts["limit-a"]
    assert "gone" in texts["lost"]


def test_marks_of_names_that_are_there_already_add_no_rows() -> None:
    """The report may be older than the graph."""
    added = {"disk-a": {"driver": "file", "over": ["disk-a"]}}
    report = {"kind": "pending", "nodes": {}, "added": added}
    assert len(rows_of(two_chains(reports={"config": report}))) == 6


def test_a_row_keeps_its_key_when_something_is_put_over_it() -> None:
    """So that it stays selected."""
    before = {row.key for row in rows_of(two_chains())}
    after = [row.key for row in rows_of(two_chains(reports={"config": PENDING}))]
    assert before <= set(after)
    assert len(after) == len(set(after))


def test_marked_rows_fit() -> None:
    """Of any names, at any width."""
    added = {name: {"driver": name, "over": [name]} for name in NASTY_NAMES}
    report = {"kind": "pending", "nodes": dict.fromkeys(NASTY_NAMES, "+"), "added": added}
    report["exports"] = dict.fromkeys(NASTY_NAMES, "+")
    nodes = [node(name, "file") for name in NASTY_NAMES[:3]]
    found = rows_of(reply(1, nodes=nodes, reports={"config": report}))
    assert {row.kind for row in found} >= {Kind.COMING}
    for width in WIDTHS:
        assert_fits(graph_lines(found, width), width)


# Folding and filtering


def test_a_folded_export_shows_the_most_urgent_of_what_is_below() -> None:
    """Nothing that somebody should see is hidden."""
    raw = two_chains(**{"throttle-groups": [group("gold", ("limit-a", 3), iops_total=9)]})
    found = folded_rows(rows_of(raw), {"export vda"})
    assert names(found) == ["vda", "vdb", "limit-b", "disk-b"]
    assert found[0].state.words[0] == "HELD 3"
    text = [line.text for line in graph_lines(found, 100)]
    assert text[0].startswith("  ▸ vda")
    assert text[1].startswith("  ▾ vdb")


@pytest.mark.parametrize(
    ("only", "found"),
    [
        ("disk-a", ["vda", "limit-a", "disk-a"]),
        ("GOLD", ["vda", "limit-a"]),
        ("memory", ["vdb", "limit-b", "disk-b"]),
        ("vd", ["vda", "vdb"]),
        ("limit", ["vda", "limit-a", "vdb", "limit-b"]),
        ("nothing", []),
    ],
)
def test_filter_keeps_what_matches_and_what_is_above(only: str, found: list[str]) -> None:
    """By name, driver or group, whichever the case."""
    assert names(matching_rows(rows_of(two_chains()), only)) == found


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=20),
    st.sampled_from("abc"),
)
def test_filtered_rows_are_a_tree(drawn: list[tuple[str, int]], only: str) -> None:
    """Every match is kept, and of each kept row all that is above it."""
    depth, rows = -1, []
    for number, (name, wanted) in enumerate(drawn):
        depth = min(wanted, depth + 1)
        rows.append(GraphRow(key=str(number), kind=Kind.NODE, name=name, depth=depth))
    kept = {row.key for row in matching_rows(rows, only)}
    above: list[GraphRow] = []
    needed = set()
    for row in rows:
        above = [*above[: row.depth], row]
        if row.name == only:
            needed |= {each.key for each in above}
    assert kept == needed


# The panel


class Alone(BlkrunApp):
    """The panel, and what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.panel = GraphPanel(id="graph")
        self.said: list[tuple[str, Subject | None]] = []

    def compose(self) -> ComposeResult:
        """Only it."""
        yield self.panel

    def on_ready(self) -> None:
        """Keys go there."""
        self.panel.focus()

    @on(GraphPanel.Selected)
    @on(GraphPanel.Opened)
    def note(self, message: Message) -> None:
        """Remember it."""
        assert isinstance(message, GraphPanel.Selected | GraphPanel.Opened)
        self.said.append((type(message).__name__, message.subject))

    def shown(self) -> list[str]:
        """The names in sight."""
        return [row.name for row in self.panel._rows]


Play = Callable[[Alone, Pilot[None]], Awaitable[None]]


def perform(play: Play) -> None:
    """Show two chains to a panel by itself, and play."""

    async def act() -> None:
        app = Alone()
        async with app.run_test(size=(60, 14)) as pilot:
            app.panel.show(rows_of(two_chains()))
            await pilot.pause()
            await play(app, pilot)

    asyncio.run(act())


LIMIT_A, DISK_A = Subject("node", "limit-a"), Subject("node", "disk-a")


def test_selection_is_told_once_and_enter_opens() -> None:
    """At first the first row; then what keys lead to; numbers that change tell nothing."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        assert app.said == [("Selected", Subject("export", "vda"))]
        await pilot.press("down")
        app.panel.show(rows_of(two_chains()))
        await pilot.press("enter")
        assert app.said[1:] == [("Selected", LIMIT_A), ("Opened", LIMIT_A)]
        assert app.panel.selected == LIMIT_A

    perform(play)


def test_a_click_selects_and_a_second_one_opens() -> None:
    """Also on the row that is selected at first."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        app.said.clear()
        await pilot.click(GraphPanel, offset=(9, 4))
        assert app.said == [("Selected", DISK_A)]
        await pilot.click(GraphPanel, offset=(9, 4))
        assert app.said[1:] == [("Opened", DISK_A)]
        await pilot.click(GraphPanel, offset=(9, 2))
        assert app.said[2:] == [("Selected", Subject("export", "vda"))]

    perform(play)


def test_selection_that_goes_away_tells_what_is_selected_then() -> None:
    """The plots follow it."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        await pilot.press("end")
        app.said.clear()
        app.panel.show(rows_of(two_chains())[:2])
        await pilot.pause()
        assert app.said == [("Selected", LIMIT_A)]

    perform(play)


def test_keys_fold_and_unfold() -> None:
    """Left goes up to the export first; another look at the server unfolds nothing."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "left")
        assert app.panel.selected == LIMIT_A
        await pilot.press("left", "left")
        assert app.shown() == ["vda", "vdb", "limit-b", "disk-b"]
        app.panel.show(rows_of(two_chains()))
        assert app.shown() == ["vda", "vdb", "limit-b", "disk-b"]
        await pilot.press("right")
        assert len(app.shown()) == 6

    perform(play)


def test_a_click_on_the_mark_folds() -> None:
    """And unfolds; it opens nothing."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        for rows in (4, 6):
            await pilot.click(GraphPanel, offset=(3, 2))
            assert len(app.shown()) == rows
        assert {kind for kind, _ in app.said} == {"Selected"}

    perform(play)


def test_only_leaves_what_matches() -> None:
    """Or says that nothing does."""

    async def play(app: Alone, pilot: Pilot[None]) -> None:
        await pilot.press("end")
        app.panel.only = "silver"
        assert app.shown() == ["vdb", "limit-b"]
        app.panel.only = "[/]"
        assert "nothing here is called [/]" in app.panel.lines[0].text
        assert app.panel.selected is None
        app.panel.only = ""
        assert len(app.shown()) == 6

    perform(play)
