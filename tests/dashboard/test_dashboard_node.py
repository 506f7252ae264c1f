"""The inspector: everything about one node, export or group."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import ComposeResult

from blkrun.dashboard.model.inspect import BUCKETS, InspectRow, buckets, inspect_view
from blkrun.dashboard.model.rates import NOTHING, Interval, Latency, Rate
from blkrun.dashboard.model.snapshot import Durations
from blkrun.dashboard.model.subject import Subject
from blkrun.dashboard.widgets.node import NodePanel, inspect_lines
from tests.dashboard.dashboard_samples import (
    NASTY_NAMES,
    client,
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

LIMIT = Subject("node", "limit")


def busy() -> dict[str, Any]:
    """The lab with everything that there can be to tell of its throttle."""
    raw = lab(1, held=3)
    raw["nodes"][1] |= {
        "in-flight": 4,
        "latency": 1,
        "stats": stats(reads=7, writes=2, failed_wr_operations=1),
        "bitmaps": [{"name": "m0", "granularity": 65536, "recording": True, "of-file": True}],
        "driver-specific": {"waiting": 3, "waited-ns": 12_000_000, "waited-operations": 9},
    }
    reads = {"floors-ns": [2**20, 2**21, 2**23], "counts": [1, 4, 2]}
    raw["latencies"] = [{}, {"reads": reads, "flushes": {"floors-ns": [2**20], "counts": [6]}}]
    return raw


def facts(raw: dict[str, Any], subject: Subject, rates: Interval = NOTHING) -> dict[str, str]:
    """The rows that have a label, by that; of several with one label the last."""
    rows = inspect_view(snapshot(raw), rates, subject).rows
    return {row.label: row.text for row in rows if row.label}


def test_a_quorum_tells_of_its_children_by_role() -> None:
    """Where each leads, also behind a gap, what has gone wrong, and the table with the list."""
    votes = node("votes", "quorum") | {
        "children": {"children.0": "a", "children.2": "c"},
        "driver-specific": {"failures": 1, "bad": 7, "rewritten": 3},
    }
    raw = reply(1, nodes=[node("a", "memory"), node("c", "file"), votes])
    subject = Subject("node", "votes")
    shown = facts(raw, subject)
    assert (shown["children.0"], shown["children.2"]) == ("a (memory)", "c (file)")
    assert (shown["failures"], shown["bad"], shown["rewritten"]) == ("1", "7", "3")
    assert facts(raw, Subject("node", "c"))["from"] == "votes as children.2"
    written = "".join(code(raw, subject))
    assert 'children=["a","c",]' in written.replace(" ", "")


def code(raw: dict[str, Any], subject: Subject) -> list[str]:
    """The table that is shown."""
    return [row.text for row in inspect_view(snapshot(raw), NOTHING, subject).rows if row.code]


def test_a_node_shows_its_table_its_edges_and_its_counters() -> None:
    """And what only its driver knows, its bitmaps, and who leads to it."""
    rates = Interval(
        {"limit": Rate(reads=1000, read_bytes=4096_000)},
        {},
        {"limit": Latency(1_500_000, 9_000_000)},
        {},
    )
    found = facts(busy(), LIMIT, rates)
    assert code(busy(), LIMIT) == [
        "[nodes.limit]",
        'driver = "throttle"',
        'throttle-group = "gold"',
        'file = "disk"',
    ]
    assert found["from"] == "export vda"
    assert found["file"] == "disk (file)"
    assert found["size"] == "1GiB, read-write"
    assert found["waited"] == "12ms"
    assert found["bitmap"] == "m0, per 64KiB, records"
    assert found["in flight"] == "4"
    assert found["latency"] == "p50 1.5ms, p99 9ms"
    assert found["writes"] == "2, 8KiB, 1 failed"
    assert found["flushes"] == "6"
    rows = inspect_view(snapshot(busy()), rates, LIMIT).rows
    assert [row.text for row in rows if row.label == "reads"] == ["1.0k/s, 4.1MB/s", "7, 28KiB"]
    assert (rows[0].text, rows[0].tone) == ("HELD 3", "warn")


def test_latencies_are_bars_by_powers_of_two() -> None:
    """The longest is of the most requests."""
    rows = inspect_view(snapshot(busy()), NOTHING, LIMIT).rows
    assert [(row.label, row.bar, row.text) for row in rows if row.bar is not None] == [
        ("1.05ms to 2.1ms", 0.25, "1"),
        ("2.1ms to 4.19ms", 1.0, "4"),
        ("4.19ms to 8.39ms", 0.0, "0"),
        ("8.39ms to 16.8ms", 0.5, "2"),
    ]


def test_latency_bars_say_how_many_were_since_the_look_before() -> None:
    """Beside all there were; the heading says since when, and nothing is said of a gap."""
    before, rates = busy(), Interval({"limit": Rate(reads=1)}, {}, {}, {})
    before["latencies"][1]["reads"] = {"floors-ns": [2**21, 2**23], "counts": [1, 2]}
    after = snapshot(busy())
    rows = inspect_view(after, rates, LIMIT, before=snapshot(before)).rows
    assert [row.text for row in rows if row.bar is not None] == [
        "1    +1",
        "4    +3",
        "0      ",
        "2      ",
    ]
    (heading,) = [row.text for row in rows if "what they took" in row.text]
    assert heading.endswith("(since it is there, + since the last look)")
    rows = inspect_view(after, NOTHING, LIMIT, before=snapshot(before)).rows
    assert [row.text for row in rows if row.bar is not None] == ["1", "4", "0", "2"]
    assert any(row.text.endswith("took (since it is there)") for row in rows)


@given(st.dictionaries(st.integers(0, 2**42), st.integers(0, 1000), max_size=40))
def test_buckets_lose_no_request(counts: dict[int, int]) -> None:
    """Never more than there is room for, one after the other, and each request in its own."""
    floors = sorted(counts)
    found = buckets([Durations(tuple(floors), tuple(counts[floor] for floor in floors))])
    assert len(found) <= BUCKETS
    assert sum(count for *_, count in found) == sum(counts.values())
    assert all(before[1] == after[0] for before, after in pairwise(found))
    for begin_ns, end_ns, count in found:
        inside = (counts[floor] for floor in floors if begin_ns <= max(floor, 1) < end_ns)
        assert count == sum(inside)


def test_an_export_shows_its_clients() -> None:
    """And its address, if that is known."""
    raw = reply(1, exports=[export("vda", "disk", description="a disk", writable=False)])
    raw["exports"][0]["clients"] = [client(4), client(7) | {"in-flight": 2}]
    subject = Subject("export", "vda")
    assert code(raw, subject) == [
        "[exports.vda]",
        'node = "disk"',
        "read-only = true",
        'description = "a disk"',
    ]
    found = facts(raw, subject)
    assert found["clients"] == "2 (4: 0 in flight, 7: 2 in flight)"
    assert found["size"] == "1GiB, read-only"
    view = inspect_view(snapshot(raw), NOTHING, subject, uri="nbd://host/vda")
    assert InspectRow(label="uri", text="nbd://host/vda") in view.rows


def test_a_group_shows_limits_levels_and_members() -> None:
    """With the burst that is left."""
    limits = {"iops_total": 100, "iops_total_max": 1000, "iops_total_max_length": 10}
    raw = group("gold", ("calm", 0), ("busy", 3), **limits) | {"levels": {"iops-total": 2500.0}}
    rates = Interval({"busy": Rate(reads=90)}, {}, {}, {})
    view = inspect_view(
        snapshot(reply(1, **{"throttle-groups": [raw]})), rates, Subject("group", "gold")
    )
    found = [(row.label, row.text, row.bar) for row in view.rows if row.label]
    assert found == [
        ("iops-total", "90/100", 0.9),
        ("  burst", "75% left", 0.75),
        ("iops-total", "2500", None),
        ("busy", "90/s, 3 held", None),
        ("calm", "—, 0 held", None),
    ]
    assert view.rows[0].text == "HELD 3"


def test_a_jobs_filter_shows_the_job() -> None:
    """What it is, how it is and how far."""
    nodes = [node("disk", "file"), node("nf", "copy-before-write", "disk", job="nightly")]
    nodes[1]["driver-specific"] = {"to-copy": 2**20, "snapshot": "intact"}
    found = facts(reply(1, nodes=nodes, jobs=[job("nightly")]), Subject("node", "nf"))
    assert found["job"] == "nightly: backup, running, 60%"
    assert found["to-copy"] == "1MiB"
    assert found["from"] == "nothing leads here"
    assert facts(reply(1, nodes=nodes), Subject("node", "nf"))["job"] == "nightly"


def test_a_node_that_others_lead_to_names_them_all() -> None:
    """With the edge, where it is not the main one."""
    top = node("top", "copy-before-write", children={"file": "base", "target": "copy"})
    raw = reply(1, nodes=[top, node("base", "file"), node("copy", "memory")])
    raw["exports"] = [export("vda", "base")]
    assert facts(raw, Subject("node", "base"))["from"] == "export vda, top"
    assert facts(raw, Subject("node", "copy"))["from"] == "top as target"


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (None, "select something in the graph"),
        (Subject("node", "gone"), "node gone has gone"),
        (Subject("export", "limit"), "export limit has gone"),
    ],
)
def test_nothing_to_show_says_why(subject: Subject | None, text: str) -> None:
    """Names of other kinds are no match."""
    assert [row.text for row in inspect_view(snapshot(lab(1)), NOTHING, subject).rows] == [text]


def everything_called(name: str) -> tuple[Subject, ...]:
    """Of each kind."""
    return Subject("node", name), Subject("export", name), Subject("group", name)


def test_rows_fit() -> None:
    """Of any names, at any width."""
    raw = busy()
    for name in NASTY_NAMES:
        told = {"driver-specific": {name: name, "flag": True}}
        raw["nodes"].append(node(name, name, name, bitmaps=[{"name": name}]) | told)
        raw["exports"].append(export(name, name, description=name, clients=[client(1)] * 3))
        raw["throttle-groups"].append(group(name, (name, 3), iops_total=5, iops_total_max=9))
    seen = snapshot(raw)
    named = [each for name in NASTY_NAMES for each in everything_called(name)]
    views = [inspect_view(seen, NOTHING, each, uri=each.name) for each in (LIMIT, *named)]
    for width in WIDTHS:
        for view in views:
            assert_fits(inspect_lines(view.rows, width), width)


class Alone(BlkrunApp):
    """The panel by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.panel = NodePanel(id="node")

    def compose(self) -> ComposeResult:
        """Only it."""
        yield self.panel


def test_something_else_is_shown_from_its_first_line() -> None:
    """The same goes on where one was reading, and names are never markup."""

    async def act() -> None:
        app = Alone()
        async with app.run_test(size=(60, 12)) as pilot:
            app.panel.show(inspect_view(snapshot(busy()), NOTHING, LIMIT))
            app.panel.focus()
            await pilot.pause()
            await pilot.press("end")
            await pilot.pause()
            assert app.panel.scroll_offset.y > 0
            app.panel.show(inspect_view(snapshot(lab(2)), NOTHING, LIMIT))
            assert app.panel.cursor > 0
            app.panel.show(inspect_view(snapshot(lab(2)), NOTHING, Subject("node", "[/]")))
            await pilot.pause()
            assert (app.panel.cursor, app.panel.scroll_offset.y) == (0, 0)
            assert "[/]" in str(app.panel.border_title)

    asyncio.run(act())
