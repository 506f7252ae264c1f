"""Plans for backing chains: an edge that comes, moves or goes is one operation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from blkrun import config
from blkrun.model import GraphModel
from blkrun.reconcile.dump import dump
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.plan import endangered, plan
from tests.reconcile.configurations import Written
from tests.reconcile.live_graph import LiveGraph
from tests.server import overlay

FILE = Path("/lab/lab.toml")
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIZE = overlay.CLUSTER_BYTES

DISK = '[backends.disk]\ndriver = "memory"\nsize = 65536\n[throttle-groups.g]\n'
OVERLAY = '[nodes.ovl]\ndriver = "overlay"\nsize = 65536\n'
LIMIT = '[nodes.limit]\ndriver = "throttle"\nthrottle-group = "g"\n'


@pytest.fixture(autouse=True, scope="module")
def _overlays() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        overlay.register(patch)
        yield


def graph(text: str) -> GraphModel:
    """What a file asks for."""
    return config.parse(text, FILE).graph


def carried_out(before: str, after: str) -> tuple[Operation, ...]:
    """The plan from one file to another, done on a real graph, after which there is none."""
    live, desired = graph(before), graph(after)
    server = LiveGraph(live)
    assert server.model() == live
    operations = plan(desired, live)
    server.perform(operations)
    assert server.model() == desired
    assert plan(desired, server.model()) == ()
    return operations


def texts(operations: tuple[Operation, ...]) -> list[str]:
    """With their signs."""
    return [f"{each.sign} {each.text}" for each in operations]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('backing = ""', 'backing = "disk"', "~ ovl: backing none → disk"),
        ("", 'backing = "disk"', "~ ovl: backing the default → disk"),
        ('backing = "disk"', 'backing = ""', "~ ovl: backing disk → none"),
        ("", 'backing = ""', "~ ovl: backing the default → none"),
        ('backing = "disk"', 'backing = "other"', "~ ovl: backing disk → other"),
        ('backing = "disk"', "", "~ ovl: a new node in its place (backing disk → the default)"),
        ('backing = ""', "", "~ ovl: a new node in its place (backing none → the default)"),
    ],
)
def test_a_backing_edge_is_one_operation(before: str, after: str, words: str) -> None:
    """Said, not said, and said to be none are three things; what only opening tells, opens anew."""
    start = DISK + DISK.split("[throttle", maxsplit=1)[0].replace("disk", "other") + OVERLAY
    assert texts(carried_out(start + before, start + after)) == [words]


def test_a_filter_comes_between_an_overlay_and_its_backing() -> None:
    """In the words of any other edge, and gone again."""
    before = DISK + LIMIT + 'file = "disk"\nenabled = false\n' + OVERLAY + 'backing = "limit"\n'
    after = before.replace("enabled = false\n", "")
    assert texts(carried_out(before, after)) == [
        "+ node limit (throttle) over disk",
        "+ insert limit between ovl and disk",
    ]
    assert texts(carried_out(after, before)) == [
        "- remove limit from between ovl and disk",
        "- node limit (throttle)",
    ]


def test_an_overlay_is_put_over_the_disk_in_use() -> None:
    """One node and one edge, and nobody is asked: clients go on with the disk that they have."""
    before = DISK + '[exports.vda]\nnode = "disk"\n'
    after = DISK + OVERLAY + 'backing = "disk"\n[exports.vda]\nnode = "ovl"\n'
    operations = carried_out(before, after)
    assert texts(operations) == [
        "+ node ovl (overlay) over disk",
        "~ export vda: root disk → ovl",
    ]
    assert endangered(operations, graph(after), graph(before)) == set()


@pytest.mark.parametrize("below", ["disk", "limit"])
def test_overlays_in_a_pile_with_filters_are_a_snapshot_too(below: str) -> None:
    """Two at once, with a filter between and one on top; the limit of before may stay below."""
    limit = LIMIT + 'file = "disk"\n'
    before = DISK + limit + f'[exports.vda]\nnode = "{below}"\n'
    more = OVERLAY.replace("ovl", "high") + LIMIT.replace("limit", "between")
    after = (
        DISK
        + limit
        + OVERLAY
        + f'backing = "{below}"\n'
        + more.replace("[nodes.between]", 'backing = "between"\n[nodes.between]')
    )
    after += 'file = "ovl"\n[exports.vda]\nnode = "high"\n'
    assert endangered(carried_out(before, after), graph(after), graph(before)) == set()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('backing = "disk"\n[exports.vda]\nnode = "ovl"\n', '[exports.vda]\nnode = "disk"\n'),
        ('[exports.vda]\nnode = "disk"\n', 'backing = "disk"\n[exports.vda]\nnode = "ovl"\n'),
    ],
)
def test_what_shows_other_data_is_asked_about(before: str, after: str) -> None:
    """Back to the disk below; and an overlay that was there already, and may have its own data."""
    live = graph(DISK + OVERLAY + before)
    desired = graph(DISK + OVERLAY + after)
    assert endangered(plan(desired, live), desired, live) == {"vda"}


def test_a_dump_tells_the_three_apart() -> None:
    """A name, none, and nothing said come back as they were."""
    rest = "".join(
        OVERLAY.replace("ovl", name) + line
        for name, line in (("a", 'backing = "disk"\n'), ("b", 'backing = ""\n'), ("c", ""))
    )
    model = graph(DISK + rest)
    text = dump(LiveGraph(model).model(), {}, "as it is")
    assert 'backing = ""' in text
    assert graph(text) == model


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('backing = "nope"', 'nodes.ovl.backing: there is no node or backend "nope"'),
        ('backing = "ovl"', "nodes.ovl.backing closes a cycle: ovl -> ovl"),
        ("backing = 5", "nodes.ovl.backing: 5 is not a string"),
    ],
)
def test_a_wrong_backing_is_told_with_its_place(line: str, message: str) -> None:
    """As any other edge's."""
    (problem,) = config.check(DISK + OVERLAY + line, FILE)
    assert problem.message.startswith(message)
    assert problem.line == (DISK + OVERLAY + line).count("\n") + 1


@st.composite
def chains(draw: st.DrawFn) -> Written:
    """A base, filters and overlays over what comes before them, and an export of any."""
    tables: dict[str, dict[str, Any]] = {
        "throttle-groups.g": {},
        "backends.b0": {"driver": "memory", "size": SIZE},
        "backends.b1": {"driver": "null", "size": SIZE},
    }
    below = ["b0", "b1"]
    for name in draw(st.permutations(["o0", "o1", "o2", "t0", "t1"])):
        if draw(st.booleans()):
            continue
        table: dict[str, Any] = {"driver": "overlay", "size": SIZE}
        child = draw(st.sampled_from([*below, "", None]))
        if name.startswith("t"):
            table = {"driver": "throttle", "throttle-group": "g", "file": child or "b0"}
            if draw(st.integers(0, 4)) == 0:
                table["enabled"] = False
        elif child is not None:
            table["backing"] = child
        tables[f"nodes.{name}"] = table
        below.append(name)
    tables["exports.vda"] = {"node": draw(st.sampled_from(below)), "read-only": True}
    return Written(tables)


@PATIENT
@given(chains(), chains())
def test_a_plan_leads_from_any_chain_to_any_other(before: Written, after: Written) -> None:
    """Once is enough, and an edge of a node that stays is changed at most once."""
    operations = carried_out(before.text(), after.text())
    live, desired = before.parsed().graph, after.parsed().graph
    new = {each.data["node-name"] for each in operations if each.type == "x-blkrun-replace-node"}
    edges = {"block-insert-node", "block-remove-node", "x-blkrun-set-edge"}
    stay = (live.nodes.keys() & desired.nodes.keys()) - new
    differing = sum(
        getattr(live.nodes[name], role) != getattr(desired.nodes[name], role)
        for name in stay
        for role in ("backing", "file")
        if hasattr(live.nodes[name], role)
    )
    root = live.exports["vda"].node != desired.exports["vda"].node
    assert sum(each.type in edges for each in operations) == differing + root
