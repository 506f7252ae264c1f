"""Plans, executed on a real graph: they lead where they should, by the shortest way (design §6)."""

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings

from blkrun.model import EMPTY, GraphModel
from blkrun.options import (
    BitmapOptions,
    BlockdevOptions,
    ExportOptions,
    MemoryOptions,
    NullOptions,
    RawOptions,
    ThrottleLimits,
    ThrottleOptions,
    WriteThresholdOptions,
)
from blkrun.reconcile.plan import endangered, plan, summarise
from blkrun.server.stats import Tally
from tests.reconcile.live_graph import LiveGraph

SIZE = 2**20


# Models


def throttle(name: str, file: str, group: str = "g") -> ThrottleOptions:
    """A filter."""
    return ThrottleOptions(node_name=name, file=file, throttle_group=group)


def chain(*filters: str, groups: tuple[str, ...] = ("g",), **limits: int) -> GraphModel:
    """Export vda over these filters, topmost first, over memory ``disk``."""
    nodes: dict[str, BlockdevOptions] = {"disk": MemoryOptions(node_name="disk", size=SIZE)}
    top = "disk"
    for name in reversed(filters):
        nodes[name] = throttle(name, top)
        top = name
    return GraphModel(
        nodes=nodes,
        groups=dict.fromkeys(groups, ThrottleLimits(**limits)),
        exports={"vda": ExportOptions(node=top)},
    )


LIMITS = [
    ThrottleLimits(),
    ThrottleLimits(iops_total=10),
    ThrottleLimits(iops_read=10, iops_read_max=20, iops_read_max_length=3),
    ThrottleLimits(bps_total=4096, iops_write=7, iops_size=512),
]


@st.composite
def models(draw: st.DrawFn) -> GraphModel:
    """Valid graphs over a small pool of names, so that two of them have much in common."""
    groups = draw(st.dictionaries(st.sampled_from("gh"), st.sampled_from(LIMITS), min_size=1))
    nodes: dict[str, BlockdevOptions] = {}
    for name in draw(st.lists(st.sampled_from(["b0", "b1", "n0"]), unique=True, min_size=1)):
        nodes[name] = draw(backends(name))
    above = draw(st.permutations([f"n{number}" for number in range(6)]))
    for name in above[: draw(st.integers(0, 6))]:
        if name not in nodes:
            # Mostly on the one before, which makes chains; or on any, which makes trees.
            below = draw(st.just(list(nodes)[-1]) | st.sampled_from(list(nodes)))
            nodes[name] = draw(over(name, below, sorted(groups)))
    names = draw(st.lists(st.sampled_from(["e0", "e1", "n0", "n1"]), unique=True, max_size=4))
    exports = {name: draw(exports_of(nodes)) for name in names}
    order = draw(st.permutations(list(nodes)))
    return GraphModel(
        nodes={name: nodes[name] for name in order},
        groups=groups,
        exports=exports,
        bitmaps=draw(bitmaps_of(nodes)),
    )


def bitmaps_of(nodes: dict[str, BlockdevOptions]) -> st.SearchStrategy[dict[str, BitmapOptions]]:
    """Of any nodes."""
    bitmap = st.builds(
        BitmapOptions, node=st.sampled_from(list(nodes)), granularity=st.sampled_from([512, 2**31])
    )
    return st.dictionaries(st.sampled_from(["m0", "m1"]), bitmap)


@st.composite
def backends(draw: st.DrawFn, name: str) -> BlockdevOptions:
    """Large enough for every window that is drawn."""
    size = draw(st.sampled_from([SIZE, 2 * SIZE]))
    if draw(st.booleans()):
        return MemoryOptions(node_name=name, size=size)
    return NullOptions(node_name=name, size=size, read_only=draw(st.booleans()))


@st.composite
def over(draw: st.DrawFn, name: str, below: str, groups: list[str]) -> BlockdevOptions:
    """Mostly filters."""
    if name in ("n1", "n2", "n3") or draw(st.booleans()):
        threshold = draw(st.none() | st.sampled_from([0, SIZE]))
        if threshold is not None:
            return WriteThresholdOptions(node_name=name, file=below, write_threshold=threshold)
        return throttle(name, below, draw(st.sampled_from(groups)))
    offset = draw(st.sampled_from([0, 4096]))
    size = 4096 if name == "n5" and draw(st.booleans()) else None
    return RawOptions(node_name=name, file=below, offset=offset, size=size)


@st.composite
def exports_of(draw: st.DrawFn, nodes: dict[str, BlockdevOptions]) -> ExportOptions:
    """Read-only where a node below is."""
    node = draw(st.sampled_from(list(nodes)))
    return ExportOptions(
        node=node,
        read_only=is_read_only(nodes, node) or draw(st.booleans()),
        description=draw(st.sampled_from(["", "a disk"])),
    )


def is_read_only(nodes: dict[str, BlockdevOptions], name: str) -> bool:
    """Whether anything below refuses writes."""
    options = nodes[name]
    below = getattr(options, "file", None)
    return options.read_only or (below is not None and is_read_only(nodes, below))


def fits(model: GraphModel) -> bool:
    """A window of 4 KiB may be too small for another one over it."""
    sizes: dict[str, int] = {}

    def size(name: str) -> int:
        options = model.nodes[name]
        if isinstance(options, (MemoryOptions, NullOptions)):
            return options.size
        if isinstance(options, RawOptions):
            room = size(options.file) - options.offset
            return room if options.size is None or room < 0 else min(options.size, room)
        assert isinstance(options, (ThrottleOptions, WriteThresholdOptions))
        return size(options.file)

    for name, options in model.nodes.items():
        sizes[name] = size(name)
        if isinstance(options, RawOptions) and options.size not in (None, sizes[name]):
            return False
    return all(each >= 0 for each in sizes.values())


MODELS = models().filter(fits)
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


# Properties


@PATIENT
@given(MODELS, MODELS)
@example(chain("a", "b"), chain("b", "a"))
@example(chain(), chain("a", "b", "c", "d"))
@example(chain("a", "b", "c", "d"), chain("d", "b"))
def test_a_plan_leads_from_live_to_desired(live: GraphModel, desired: GraphModel) -> None:
    """§6: exactly there; planning again is an empty plan; what is the same is not reopened."""
    server = LiveGraph(live)
    assert server.model() == live
    before = dict(server.graph.nodes)
    for node in before.values():
        node.past = Tally()
        node.past.reads.bytes = 512
        for each in node.bitmaps.values():
            each.clear()
    server.perform(plan(desired, server.model()))
    assert server.model() == desired
    assert plan(desired, server.model()) == ()
    for name, options in desired.nodes.items():
        if may_stay(live.nodes.get(name), options):
            assert server.graph.nodes[name] is before[name]
            assert server.graph.nodes[name].stats.reads.bytes == 512
    for name, bitmap in desired.bitmaps.items():
        node = server.graph.nodes[bitmap.node]
        bits = node.bitmaps[name].bits
        if bitmap_stays(live, desired, name):
            assert not bits.count_bytes()
        else:
            assert bits.all(0, node.size_bytes)


def bitmap_stays(live: GraphModel, desired: GraphModel, name: str) -> bool:
    """Whether it is the same, of the same node, and the same bytes are there to be read."""
    node = desired.bitmaps[name].node
    return (
        live.bitmaps.get(name) == desired.bitmaps[name]
        and may_stay(live.nodes.get(node), desired.nodes[node])
        and windows(live, node) == windows(desired, node)
    )


def may_stay(old: BlockdevOptions | None, new: BlockdevOptions) -> bool:
    """Whether a node only gets another child, another group or another threshold."""
    if type(old) is type(new) and isinstance(new, (ThrottleOptions, WriteThresholdOptions)):
        return True
    if isinstance(old, RawOptions) and isinstance(new, RawOptions):
        return (old.offset, old.size) == (new.offset, new.size)
    return old == new


@PATIENT
@given(MODELS)
def test_nothing_to_do(model: GraphModel) -> None:
    """What is as it should be needs no operation, and no export is endangered."""
    assert plan(model, model) == ()
    assert endangered((), model, model) == set()


@PATIENT
@given(MODELS, MODELS)
def test_a_plan_touches_only_what_differs(live: GraphModel, desired: GraphModel) -> None:
    """§6: each node, group and export is mentioned by as many operations as it needs."""
    operations = plan(desired, live)
    kinds = [each.type for each in operations]
    added, removed = (
        desired.nodes.keys() - live.nodes.keys(),
        live.nodes.keys() - desired.nodes.keys(),
    )
    assert kinds.count("blockdev-add") == len(added)
    assert kinds.count("blockdev-del") == len(removed)
    both = desired.groups.keys() & live.groups.keys()
    changed = [name for name in both if desired.groups[name] != live.groups[name]]
    assert kinds.count("qom-set") == len(changed)
    assert kinds.count("object-add") == len(desired.groups.keys() - live.groups.keys())
    assert kinds.count("object-del") == len(live.groups.keys() - desired.groups.keys())


@PATIENT
@given(MODELS, MODELS)
def test_endangered_covers_every_export_that_changes_its_disk(
    live: GraphModel, desired: GraphModel
) -> None:
    """An export that is not endangered shows the same backend through the same windows."""
    names = endangered(plan(desired, live), desired, live)
    for name, export in live.exports.items():
        if name not in names:
            new = desired.exports[name]
            assert windows(live, export.node) == windows(desired, new.node)
            assert (new.read_only, new.description) == (export.read_only, export.description)
    assert names <= live.exports.keys()


def windows(model: GraphModel, name: str) -> list[BlockdevOptions]:
    """What says which bytes are seen, from the top down, filters left out."""
    options = model.nodes[name]
    below = getattr(options, "file", None)
    rest = windows(model, below) if below is not None else []
    if options.is_filter:
        return rest
    if isinstance(options, RawOptions):
        options = msgspec.structs.replace(options, file="-")
    return [options, *rest]


# The shortest way, for the edits that people make (design §6)


def types(desired: GraphModel, live: GraphModel) -> list[str]:
    """What a plan does, and that it can be done."""
    server = LiveGraph(live)
    operations = plan(desired, live)
    server.perform(operations)
    assert server.model() == desired
    return [each.type for each in operations]


ADD, DEL = "blockdev-add", "blockdev-del"
INSERT, REMOVE, SET = "block-insert-node", "block-remove-node", "x-blkrun-set-edge"


@pytest.mark.parametrize(
    ("desired", "live", "expected"),
    [
        (chain("a"), chain(), [ADD, INSERT]),
        (chain("x", "a", "y"), chain("x", "y"), [ADD, INSERT]),
        (chain("a", "b"), chain(), [ADD, ADD, SET]),
        (chain(), chain("a"), [REMOVE, DEL]),
        (chain("x", "y"), chain("x", "a", "y"), [REMOVE, DEL]),
        (chain(), chain("a", "b"), [SET, DEL, DEL]),
        (chain("b"), chain("a"), [ADD, SET, DEL]),
        (chain(iops_total=5), chain(), ["qom-set"]),
        (chain("a", "b"), chain("b", "a"), [REMOVE, INSERT, INSERT]),
        (chain(groups=("g", "h")), chain(), ["object-add"]),
        (chain(), chain(groups=("g", "h")), ["object-del"]),
    ],
    ids=[
        "insert on top",
        "insert between",
        "insert two",
        "remove from the top",
        "remove from between",
        "remove two",
        "one for another",
        "a limit",
        "reorder",
        "a new group",
        "a group less",
    ],
)
def test_minimal_plans(desired: GraphModel, live: GraphModel, expected: list[str]) -> None:
    """Toggling a filter is one insert or remove besides its making; a limit is one qom-set."""
    assert types(desired, live) == expected


@pytest.mark.parametrize(
    ("desired", "live", "shown"),
    [
        (chain("a", "b"), chain(), "+ insert a, b between export vda and disk"),
        (chain(), chain("a", "b"), "- remove a, b from between export vda and disk"),
        (chain("c", "x"), chain("a", "b", "x"), "~ replace a, b by c between export vda and x"),
        (chain("x", "a"), chain("x"), "+ insert a between x and disk"),
        (chain(), chain(*"abcdef"), "- remove a, b, c and 3 more from between export vda and disk"),
    ],
)
def test_an_edge_is_one_operation(desired: GraphModel, live: GraphModel, shown: str) -> None:
    """However many filters come and go on it, and its text says which."""
    edges = [each for each in plan(desired, live) if each.type in (INSERT, REMOVE, SET)]
    assert [f"{each.sign} {each.text}" for each in edges] == [shown]


def test_a_changed_limit_sends_only_the_difference() -> None:
    """What stays is not mentioned; back to none is a 0."""
    (operation,) = plan(chain(iops_total=7), chain(iops_total=5, bps_read=4096))
    assert operation.data == {
        "path": "g",
        "property": "limits",
        "value": {"iops-total": 7, "bps-read": 0},
    }
    assert operation.text == "throttle group g: bps-read 4KiB → none, iops-total 5 → 7"


def test_another_group_is_a_reopen() -> None:
    """§3.1: membership changes at runtime, and the node stays."""
    live, groups = chain("a", groups=("g", "h")), dict.fromkeys("gh", ThrottleLimits())
    nodes = {**live.nodes, "a": throttle("a", "disk", "h")}
    desired = GraphModel(nodes=nodes, groups=groups, exports=live.exports)
    assert types(desired, live) == ["blockdev-reopen"]


@pytest.mark.parametrize("name", ["a", "disk"])
def test_discard_is_a_reopen(name: str) -> None:
    """Of a filter or a backend: the node stays, and so does the image that it has open."""
    live = chain("a")
    changed = msgspec.structs.replace(live.nodes[name], discard="ignore")
    desired = GraphModel(
        nodes={**live.nodes, name: changed}, groups=live.groups, exports=live.exports
    )
    (operation,) = plan(desired, live)
    assert operation.type == "blockdev-reopen"
    assert operation.text == f"{name}: discard unmap → ignore"


def test_an_option_that_cannot_change_is_a_replacement() -> None:
    """A new node in the place of the old one, and the export is endangered."""
    live = chain("a")
    disk = MemoryOptions(node_name="disk", size=2 * SIZE)
    desired = msgspec.structs.replace(live, nodes={**live.nodes, "disk": disk})
    assert types(desired, live) == ["x-blkrun-replace-node"]
    assert endangered(plan(desired, live), desired, live) == {"vda"}


def test_a_name_may_go_from_backend_to_filter() -> None:
    """What was a backend below another node is a filter over it now, and the other way round."""
    one = chain("a")
    nodes = {
        "new": MemoryOptions(node_name="new", size=SIZE),
        "a": throttle("a", "new"),
        "disk": throttle("disk", "a"),
    }
    other = GraphModel(nodes=nodes, groups=one.groups, exports={"vda": ExportOptions(node="disk")})
    assert types(other, one) == [ADD, SET, "x-blkrun-replace-node", INSERT]
    assert types(one, other) == ["x-blkrun-replace-node", SET, INSERT, DEL]


def test_an_export_named_like_a_node() -> None:
    """Insert and remove mean the export by that name, so the node's edge is set by its role."""
    live = chain("a", "b")
    exports = {**live.exports, "a": ExportOptions(node="disk")}
    live = msgspec.structs.replace(live, exports=exports)
    shorter = msgspec.structs.replace(chain("a"), exports=exports)
    assert types(shorter, live) == [SET, DEL]
    assert types(live, shorter) == [ADD, SET]


def test_changed_export_options_are_a_new_export() -> None:
    """Deleted and added under its name in one transaction."""
    live = chain()
    exports = {"vda": ExportOptions(node="disk", read_only=True)}
    desired = msgspec.structs.replace(live, exports=exports)
    assert types(desired, live) == ["block-export-del", "block-export-add"]
    assert endangered(plan(desired, live), desired, live) == {"vda"}


# Endangered: what would be taken from a client


def test_filters_endanger_nobody() -> None:
    """Same data, same size: however they are changed."""
    for desired in (chain(), chain("b", "a"), chain("c", "a", iops_total=5)):
        live = chain("a", "b")
        assert endangered(plan(desired, live), desired, live) == set()


def test_a_withdrawn_export_is_endangered() -> None:
    """It goes, and another that comes is not meant."""
    live = chain()
    desired = msgspec.structs.replace(live, exports={"new": ExportOptions(node="disk")})
    assert endangered(plan(desired, live), desired, live) == {"vda"}


def test_another_backend_endangers() -> None:
    """Another disk under the same name, of the same size."""
    live = chain("a")
    nodes = {
        "other": MemoryOptions(node_name="other", size=SIZE),
        "a": throttle("a", "other"),
        "disk": live.nodes["disk"],
    }
    desired = msgspec.structs.replace(live, nodes=nodes)
    assert endangered(plan(desired, live), desired, live) == {"vda"}


def test_another_window_endangers() -> None:
    """The same backend, but other bytes of it: by another offset, or by another window."""

    def model(offset: int, node: str = "w") -> GraphModel:
        window = RawOptions(node_name=node, file="disk", offset=offset, size=4096)
        nodes = {**chain().nodes, node: window}
        return GraphModel(nodes=nodes, groups={}, exports={"vda": ExportOptions(node=node)})

    for desired in (model(4096), model(0, "v")):
        assert endangered(plan(desired, model(0)), desired, model(0)) == {"vda"}


def test_other_exports_are_not_endangered() -> None:
    """Only those above what changes."""
    nodes: dict[str, BlockdevOptions] = {
        name: MemoryOptions(node_name=name, size=SIZE) for name in ("one", "two")
    }
    exports = {name: ExportOptions(node=name) for name in nodes}
    live = GraphModel(nodes=nodes, groups={}, exports=exports)
    changed = {**nodes, "two": NullOptions(node_name="two", size=SIZE)}
    desired = msgspec.structs.replace(live, nodes=changed)
    assert endangered(plan(desired, live), desired, live) == {"two"}


# What is asked of the server


def test_inline_children_are_their_parents_own() -> None:
    """A node that no file speaks of is not a difference to it."""
    server = LiveGraph()
    inline = {"driver": "null", "size": SIZE}
    server.execute("blockdev-add", {"driver": "raw", "node-name": "top", "file": inline})
    assert set(server.model().nodes) == {"top"}


# What is shown


def test_texts_and_tables() -> None:
    """Each operation says what it does, and which table of the file asks for it."""
    shown = [(each.sign, each.table, each.text) for each in plan(chain("a", iops_total=5), EMPTY)]
    assert shown == [
        ("+", "throttle-groups.g", "throttle group g: iops-total 5"),
        ("+", "backends.disk", "backend disk (memory)"),
        ("+", "nodes.a", "node a (throttle) over disk"),
        ("+", "exports.vda", "export vda of a, writable"),
    ]
    assert [each.text for each in plan(chain(), chain("a"))] == [
        "remove a from between export vda and disk",
        "node a (throttle)",
    ]


def test_summary() -> None:
    """Counts by sign, those that are nought left out."""
    assert summarise(plan(chain("a"), EMPTY)) == "+4"
    assert summarise(plan(chain("a", "b", iops_total=5), chain("a"))) == "+2 ~1"
    assert summarise(()) == ""


def test_long_chains_need_no_deep_stack() -> None:
    """Thousands of nodes on each other are planned without recursion."""
    names = [f"t{number}" for number in range(3000)]
    long = chain(*names)
    assert len(plan(long, chain())) == 3001
    assert len(plan(chain(), long)) == 3001
    assert plan(long, long) == ()
