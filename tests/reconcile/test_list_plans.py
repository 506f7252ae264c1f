"""Plans for lists of children: what stays stays, and the list is the desired one in the end."""

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from blkrun.model import GraphModel
from blkrun.options import (
    BitmapOptions,
    BlkverifyOptions,
    BlockdevOptions,
    ExportOptions,
    MemoryOptions,
    NullOptions,
    QuorumOptions,
    ThrottleLimits,
    ThrottleOptions,
    children_of,
)
from blkrun.reconcile.dump import dump
from blkrun.reconcile.marks import marks
from blkrun.reconcile.plan import endangered, plan
from tests.reconcile.live_graph import LiveGraph
from tests.reconcile.test_plan import PATIENT

SIZE = 2**20
CHANGE, SET, INSERT, REMOVE = (
    "x-blockdev-change",
    "x-blkrun-set-edge",
    "block-insert-node",
    "block-remove-node",
)


def quorum(children: str, threshold: int = 1, name: str = "q", **options: Any) -> QuorumOptions:
    """Over disks and filters that are called by one letter."""
    made = QuorumOptions(node_name=name, children=tuple(children), vote_threshold=threshold)
    return msgspec.structs.replace(made, **options)


def graph(
    *nodes: BlockdevOptions, exports: dict[str, str] | None = None, disks: str = "abcde"
) -> GraphModel:
    """Disks a to e, with filters A to E over them where these nodes lead there."""
    made: dict[str, BlockdevOptions] = {
        name: MemoryOptions(node_name=name, size=SIZE) for name in disks
    }
    for node in nodes:
        for child in children_of(node).values():
            if child in "ABCDE":
                made[child] = ThrottleOptions(
                    node_name=child, file=child.lower(), throttle_group="g"
                )
    made |= {node.node_name: node for node in nodes}
    return GraphModel(
        nodes=made,
        groups={"g": ThrottleLimits()},
        exports={
            name: ExportOptions(node=node) for name, node in (exports or {"vda": "q"}).items()
        },
    )


def plain(live: GraphModel) -> GraphModel:
    """Without what a file cannot say."""
    return msgspec.structs.replace(live, gaps={})


def members(letters: str) -> st.SearchStrategy[list[str]]:
    """Some of them, in any order."""
    return st.lists(st.sampled_from(letters), min_size=1, max_size=5, unique=True)


@st.composite
def graphs(draw: st.DrawFn) -> GraphModel:
    """Two quorums, one of which may be a child of the other."""
    upper = draw(members("abcdeABCDE"))
    lower = draw(members("abcdeABCDE"))
    if draw(st.booleans()):  # then nobody may write to its children but through it
        upper, lower = draw(members("abA")), draw(members("cdeDE"))
        upper.insert(draw(st.integers(0, len(upper))), "p")
    rewrite = draw(st.booleans())
    return graph(
        quorum("".join(lower), draw(st.integers(1, len(lower))), "p"),
        quorum("".join(upper), draw(st.integers(1, len(upper))), rewrite_corrupted=rewrite),
        exports=draw(st.sampled_from([{"vda": "q"}, {"vda": "p"}])),
    )


@PATIENT
@given(st.lists(graphs(), min_size=2, max_size=4))
def test_plans_lead_from_one_list_to_the_next(steps: list[GraphModel]) -> None:
    """One after the other, so that there are gaps; nothing is left to do, and no quorum is new."""
    server = LiveGraph(steps[0])
    before = {name: server.graph.nodes[name] for name in "pq"}
    for desired in steps[1:]:
        server.perform(plan(desired, server.model()))
        assert plain(server.model()) == desired
        assert plan(desired, server.model()) == ()
    assert {name: server.graph.nodes[name] for name in "pq"} == before


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_a_dump_is_the_file_that_asks_for_it(model: GraphModel) -> None:
    """Children by name, in their order, also where roles have gaps."""
    server = LiveGraph(model)
    server.execute("blockdev-add", {"driver": "memory", "node-name": "f", "size": SIZE})
    server.execute("x-blockdev-change", {"parent": "q", "node": "f"})
    first = next(iter(server.graph.nodes["q"].children))
    server.execute("x-blockdev-change", {"parent": "q", "child": first})
    _, *kept = children_of(model.nodes["q"]).values()
    children = [*kept, "f"]
    shown = ", ".join(f'"{child}"' for child in children)
    text = "".join(dump(server.model(), {}, "title").split())
    assert f'[nodes.q]driver="quorum"children=[{shown.replace(" ", "")},]' in text


def operations(before: str, after: str, **options: Any) -> list[tuple[str, str, str]]:
    """Type, sign and text of what leads from one list to the other, besides nodes that come or go.

    That it can be done is seen to.
    """
    live, desired = graph(quorum(before)), graph(quorum(after, **options))
    server = LiveGraph(live)
    found = plan(desired, server.model())
    server.perform(found)
    assert plain(server.model()) == desired
    made = ("blockdev-add", "blockdev-del")
    return [(each.type, each.sign, each.text) for each in found if each.type not in made]


ADD = "add {} to the children of q: what it has differs until it is written: reads report that"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("abc", "abcd", [(CHANGE, "+", ADD.format("d"))]),
        ("abc", "ac", [(CHANGE, "-", "take b out of the children of q")]),
        ("abc", "b", [(CHANGE, "-", f"take {each} out of the children of q") for each in "ac"]),
        ("abc", "adc", [(SET, "~", "q: children.1 b → d")]),
        ("abc", "aBc", [(INSERT, "+", "insert B between q and b")]),
        ("aBc", "abc", [(REMOVE, "-", "remove B from between q and b")]),
        (
            "abc",
            "acD",
            [
                (CHANGE, "+", ADD.format("D")),
                (CHANGE, "-", "take b out of the children of q"),
            ],
        ),
        (
            "ab",
            "ba",
            [(SET, "~", "q: children.0 a → b"), (SET, "~", "q: children.1 b → a")],
        ),
        (
            "ac",
            "abc",
            [(SET, "~", "q: children.1 c → b"), (CHANGE, "+", ADD.format("c"))],
        ),
    ],
    ids=["add", "take out", "two out", "replace", "insert", "remove", "both", "order", "between"],
)
def test_small_plans(before: str, after: str, expected: list[tuple[str, str, str]]) -> None:
    """A child that comes or goes is one operation; what is between is one of an edge."""
    found = operations(before, after)
    if before == "ac":  # c has a parent until the plan is done: QEMU's command would not take it
        assert found[0] == expected[0]
        assert found[1] == (SET, *expected[1][1:])
    else:
        assert found == expected


def test_other_options_and_children_are_one_operation() -> None:
    """Both by blockdev-reopen: a threshold may only be right with the new list."""
    ((kind, _, text),) = operations("abc", "ab", vote_threshold=2)
    assert kind == "blockdev-reopen"
    assert text == "q: children [a b c] → [a b], vote-threshold 1 → 2"


def test_a_role_behind_a_gap() -> None:
    """What the server calls it, not its place in the list."""
    server = LiveGraph(graph(quorum("abcd")))
    server.perform(plan(graph(quorum("acd")), server.model()))
    assert server.model().gaps == {"q": ("children.0", "children.2", "children.3")}
    (operation,) = plan(graph(quorum("ad")), server.model())
    assert operation.data == {"parent": "q", "child": "children.2"}
    assert marks([operation])["nodes"] == {"q": "~"}
    (operation,) = plan(graph(quorum("aCd")), server.model())[1:]
    assert operation.data == {"parent": "q", "child": "c", "node": "C"}
    (operation,) = plan(graph(quorum("ebd")), server.model())[:1]
    assert operation.data == {"parent": "q", "role": "children.0", "child": "e"}


def test_marks_tell_what_a_new_quorum_will_be_over() -> None:
    """For whoever shows the graph before the edit is made."""
    desired = graph(quorum("abc"))
    found = marks(plan(desired, graph(exports={"vda": "a"})))
    assert found["added"] == {"q": {"driver": "quorum", "over": ["a", "b", "c"]}}


# What a client sees


@pytest.mark.parametrize(
    ("before", "after", "threshold", "pattern", "expected"),
    [
        ("abc", "ab", 2, "quorum", False),
        ("abc", "aBc", 2, "quorum", False),
        ("abc", "abcd", 2, "quorum", False),
        ("abc", "abd", 2, "quorum", False),
        ("ab", "abcd", 2, "quorum", True),
        ("ab", "ac", 1, "quorum", True),
        ("abc", "ade", 1, "quorum", True),
        ("abc", "abde", 3, "quorum", True),
        ("abc", "bca", 2, "fifo", False),
        ("abc", "dabc", 2, "fifo", True),
        ("abc", "bc", 2, "fifo", False),
    ],
)
def test_exports_are_endangered_when_new_children_could_win(
    before: str, after: str, threshold: int, pattern: str, *, expected: bool
) -> None:
    """While those that stay decide, it is the same disk."""
    live = graph(quorum(before, threshold, read_pattern=pattern))
    desired = graph(quorum(after, threshold, read_pattern=pattern))
    found = endangered(plan(desired, live), desired, live)
    assert found == ({"vda"} if expected else set())


@pytest.mark.parametrize(("replaced", "expected"), [("c", False), ("bc", True)])
def test_one_copy_of_three_may_get_another_disk(replaced: str, *, expected: bool) -> None:
    """A new node in its place: the two that stay decide; with two new ones nobody knows."""
    bitmaps = {"m": BitmapOptions(node="q")}
    live = msgspec.structs.replace(graph(quorum("abc", 2)), bitmaps=bitmaps)
    new = {name: NullOptions(node_name=name, size=SIZE) for name in replaced}
    desired = msgspec.structs.replace(live, nodes=live.nodes | new)
    found = plan(desired, live)
    assert [each.type for each in found].count("x-blkrun-replace-node") == len(replaced)
    assert endangered(found, desired, live) == ({"vda"} if expected else set())
    assert ("block-dirty-bitmap-add" in [each.type for each in found]) is expected


def test_a_bitmap_of_a_quorum_goes_on() -> None:
    """A child less, or one more, is not another disk."""
    bitmaps = {"m": BitmapOptions(node="q")}
    live, desired, other = (
        msgspec.structs.replace(graph(quorum(children)), bitmaps=bitmaps)
        for children in ("abc", "abcd", "de")
    )
    assert [each.type for each in plan(desired, live)] == [CHANGE]
    assert "block-dirty-bitmap-add" in [each.type for each in plan(other, live)]


def test_what_blkverify_holds_its_disk_against_is_no_disk() -> None:
    """Another raw is the same disk, another test is not."""
    live = graph(BlkverifyOptions(node_name="q", test="a", raw="b"))
    for test, raw, expected in (("a", "c", set[str]()), ("c", "b", {"vda"})):
        desired = graph(BlkverifyOptions(node_name="q", test=test, raw=raw))
        operations = plan(desired, live)
        assert [each.type for each in operations] == [SET]
        assert endangered(operations, desired, live) == expected
        server = LiveGraph(live)
        server.perform(operations)
        assert server.model() == desired
