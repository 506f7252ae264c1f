"""Plans from any file to any other, executed on a real graph: minimal, and once is enough (§6)."""

from collections.abc import Iterator
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from blkrun.model import GraphModel
from blkrun.options import BlockdevOptions, children_of
from blkrun.reconcile.operation import Operation
from blkrun.reconcile.plan import plan
from blkrun.server.graph import Graph
from tests.reconcile.configurations import Written, files
from tests.reconcile.live_graph import LiveGraph
from tests.server.inprocess import ignore, leave_thread_states_alone

EDGE_OPERATIONS = {"block-insert-node", "block-remove-node", "x-blkrun-set-edge"}
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="module")
def _plain_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        leave_thread_states_alone(patch)
        yield


@PATIENT
@given(files(), files())
def test_a_plan_leads_from_any_file_to_any_other(before: Written, after: Written) -> None:
    """The graph is exactly the file's, and nothing is left to do; edges are changed once each."""
    live, desired = before.parsed().graph, after.parsed().graph
    server = LiveGraph(live)
    assert server.model() == live
    operations = plan(desired, live)
    server.perform(operations)
    assert server.model() == desired
    assert plan(desired, server.model()) == ()
    changed = [each for each in operations if each.type in EDGE_OPERATIONS]
    assert len(changed) == len(differing_edges(desired, live, replaced(operations)))


@PATIENT
@given(files(), files())
def test_what_stays_is_not_touched(before: Written, after: Written) -> None:
    """The same objects with the same numbers, unless a node cannot become what it is to be."""
    live, desired = before.parsed().graph, after.parsed().graph
    server = LiveGraph(live)
    use_all(server.graph)
    nodes, exports = dict(server.graph.nodes), dict(server.graph.exports)
    rows = {name: node.row() for name, node in nodes.items()}
    seen = {name: export.stats.reads.bytes for name, export in exports.items()}
    operations = plan(desired, live)
    server.perform(operations)
    for name in (live.nodes.keys() & desired.nodes.keys()) - replaced(operations):
        assert server.graph.nodes[name] is nodes[name]
        assert server.graph.nodes[name].row() == rows[name]
    for name in live.exports.keys() & desired.exports.keys():
        if shown_as(live, name) == shown_as(desired, name):
            assert server.graph.exports[name] is exports[name]
            assert exports[name].stats.reads.bytes == seen[name]
    assert replaced(operations) == {
        name
        for name in live.nodes.keys() & desired.nodes.keys()
        if life(live, name) != life(desired, name)
    }


@PATIENT
@given(files(), files(), st.randoms(use_true_random=False))
def test_the_order_of_tables_says_nothing(
    before: Written, after: Written, shuffler: Random
) -> None:
    """Neither what is asked for nor how many operations lead there."""
    shuffled = list(after.tables)
    shuffler.shuffle(shuffled)
    live, desired, same = before.parsed().graph, after.parsed().graph, after.parsed(shuffled).graph
    assert same == desired
    assert plan(same, desired) == ()
    operations, others = plan(desired, live), plan(same, live)
    assert sorted(each.table for each in others if each.type not in EDGE_OPERATIONS) == sorted(
        each.table for each in operations if each.type not in EDGE_OPERATIONS
    )
    assert len(operations) == len(others)
    server = LiveGraph(live)
    server.perform(others)
    assert server.model() == desired


def replaced(operations: tuple[Operation, ...]) -> set[str]:
    """The nodes that new ones take the place of."""
    return {each.data["node-name"] for each in operations if each.type == "x-blkrun-replace-node"}


def differing_edges(
    desired: GraphModel, live: GraphModel, new: set[str]
) -> set[tuple[str, str, str]]:
    """Of the parents that stay: no plan can do with fewer operations than these."""
    edges = {
        ("node", name, role)
        for name in (live.nodes.keys() & desired.nodes.keys()) - new
        for role, child in children_of(live.nodes[name]).items()
        if children_of(desired.nodes[name])[role] != child
    }
    roots = {
        ("export", name, "root")
        for name in live.exports.keys() & desired.exports.keys()
        if shown_as(live, name) == shown_as(desired, name)
        and live.exports[name].node != desired.exports[name].node
    }
    return edges | roots


def shown_as(model: GraphModel, export: str) -> tuple[bool, str]:
    """What cannot be changed of an export."""
    options = model.exports[export]
    return options.read_only, options.description


def life(model: GraphModel, name: str) -> tuple[object, ...]:
    """What a node is for life: driver, fixed options, and the disks that some keep."""
    options = model.nodes[name]
    fixed = [
        (field, getattr(options, field))
        for field in ("size", "offset", "read_only", "path")
        if hasattr(options, field)
    ]
    disks = [life(model, disk_below(model, getattr(options, role))) for role in roles(options)]
    return (name, type(options), *fixed, *disks)


def roles(options: BlockdevOptions) -> list[str]:
    """Of a copy-before-write node both: it is over these disks or is another."""
    return sorted(children_of(options)) if type(options).fixed_edges else []


def disk_below(model: GraphModel, name: str) -> str:
    """Below all filters."""
    while model.nodes[name].is_filter:
        name = children_of(model.nodes[name])["file"]
    return name


def use_all(graph: Graph) -> None:
    """Some numbers at every node that an export leads to."""
    for name in graph.exports:
        connection = graph.connect(name, ignore)
        connection.pread(memoryview(bytearray(512)), 0, 0)
        graph.disconnect(connection)
