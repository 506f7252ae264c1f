"""Edges that a node keeps for life: filters on the way come and go, another disk is a new node."""

import msgspec
import pytest

from blkrun.model import GraphModel
from blkrun.options import (
    BlockdevOptions,
    CopyBeforeWriteOptions,
    ExportOptions,
    MemoryOptions,
    WriteThresholdOptions,
)
from blkrun.reconcile.plan import plan
from blkrun.server.staging import Staging
from tests.reconcile.live_graph import LiveGraph

SIZE = 2**20


def kept(target: str, *others: BlockdevOptions) -> GraphModel:
    """Vda → keep → disk, with a target."""
    nodes: list[BlockdevOptions] = [
        *(MemoryOptions(node_name=name, size=SIZE) for name in ("disk", "scratch", "other")),
        CopyBeforeWriteOptions(node_name="keep", file="disk", target=target),
        *others,
    ]
    return GraphModel(
        nodes={options.node_name: options for options in nodes},
        groups={},
        exports={"vda": ExportOptions(node="keep")},
    )


ALARM = WriteThresholdOptions(
    node_name="alarm", file="scratch", write_threshold=1000, when_spent="remove"
)


def test_a_filter_over_the_target_comes_and_goes() -> None:
    """The node stays, and what it keeps with it."""
    server = LiveGraph(kept("scratch"))
    node = server.graph.nodes["keep"]
    with_alarm, without = kept("alarm", ALARM), kept("scratch")
    for desired, kinds in (
        (with_alarm, ["blockdev-add", "block-insert-node"]),
        (without, ["block-remove-node", "blockdev-del"]),
    ):
        operations = plan(desired, server.model())
        assert [each.type for each in operations] == kinds
        server.perform(operations)
        assert plan(desired, server.model()) == ()
        assert server.graph.nodes["keep"] is node


def test_a_filter_over_the_target_that_left_by_itself_comes_back() -> None:
    """With another number in its table; the point in time goes on."""
    server = LiveGraph(kept("alarm", ALARM))
    node = server.graph.nodes["keep"]

    def leave(staging: Staging) -> None:
        staging.retire(staging.nodes["alarm"])

    server.graph.transaction([leave])
    assert plan(kept("alarm", ALARM), server.model()) == ()
    desired = kept("alarm", msgspec.structs.replace(ALARM, write_threshold=2000))
    server.perform(plan(desired, server.model()))
    assert plan(desired, server.model()) == ()
    assert server.graph.nodes["keep"] is node


@pytest.mark.parametrize("between", [(), (ALARM,)])
def test_another_target_is_a_new_node(between: tuple[BlockdevOptions, ...]) -> None:
    """Whatever filters there were over the old one: what has been copied is not there."""
    server = LiveGraph(kept("alarm" if between else "scratch", *between))
    desired = kept("other", *between)
    operations = plan(desired, server.model())
    assert "x-blkrun-replace-node" in [each.type for each in operations]
    server.perform(operations)
    assert plan(desired, server.model()) == ()
