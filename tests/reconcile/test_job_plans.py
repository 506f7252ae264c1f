"""Jobs in plans: started, changed, stopped, and left alone."""

from itertools import combinations
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given
from msgspec import structs

from blkrun.job_options import BackupOptions, JobOptions, MirrorOptions
from blkrun.model import GraphModel, JobState
from blkrun.options import (
    BlockdevOptions,
    ExportOptions,
    MemoryOptions,
    WriteThresholdOptions,
    children_of,
)
from blkrun.reconcile.jobs import cancelled_by
from blkrun.reconcile.live import read_live
from blkrun.reconcile.plan import endangered, plan
from tests.reconcile.fake_jobs import LiveWithJobs
from tests.reconcile.live_graph import LiveGraph
from tests.reconcile.test_plan import MODELS, PATIENT

SIZE = 2**20

# Models

RUNNING = JobState()
LEAVING = JobState(status="aborting", cancelled=True)
CONCLUDED = JobState(status="concluded")
CANCELLED = JobState(status="concluded", cancelled=True)
PIVOTED = JobState(status="concluded", pivoted=True)
SYNCS = ["full", "top"]
STATES = [
    RUNNING,
    JobState(status="ready"),
    JobState(status="paused"),
    LEAVING,
    CONCLUDED,
    CANCELLED,
    JobState(status="concluded", error="No space left on device"),
]


@st.composite
def jobs_of(draw: st.DrawFn, graph: GraphModel) -> GraphModel:
    """With jobs as a file can have them, each with disks of its own, and some switched off."""
    pairs = [list(pair) for pair in combinations(sorted(graph.nodes), 2)]
    free = draw(st.permutations(pairs)) if pairs else []
    jobs: dict[str, JobOptions] = {}
    used: set[str] = set()
    names = draw(st.lists(st.sampled_from(["j0", "j1", "j2"]), unique=True, max_size=3))
    for name in names:
        pair = next((pair for pair in free if not used & set(pair)), None)
        if pair is not None:
            used |= set(pair)
            jobs[name] = draw(job(name, *pair))
    off = draw(st.sets(st.sampled_from(["j0", "j1", "j2"]))) - jobs.keys()
    return structs.replace(graph, jobs=jobs, resting=frozenset(off))


@st.composite
def job(draw: st.DrawFn, name: str, device: str, target: str) -> JobOptions:
    """Few differences, so that two of them have much in common."""
    wire: dict[str, Any] = {"job-id": name, "device": device, "target": target}
    wire["filter-node-name"] = f"{name}-filter"
    wire["speed"], wire["sync"] = draw(st.sampled_from([0, 4096])), draw(st.sampled_from(SYNCS))
    kind = draw(st.sampled_from([BackupOptions, MirrorOptions]))
    if kind is MirrorOptions:
        wire["when-ready"] = draw(st.sampled_from(["wait", "pivot"]))
    options: JobOptions = msgspec.convert({"type": kind.__struct_config__.tag, **wire}, kind)
    return options


@st.composite
def live_jobs(draw: st.DrawFn, graph: GraphModel) -> GraphModel:
    """Each job in any state."""
    states = {name: draw(st.sampled_from(STATES)) for name in graph.jobs}
    return structs.replace(graph, states=states, resting=frozenset())


FILES = MODELS.flatmap(jobs_of)
SERVERS = FILES.flatmap(live_jobs)


def lasting(options: JobOptions) -> JobOptions:
    """Without what a running job takes anew."""
    options = structs.replace(options, speed=0)
    return (
        structs.replace(options, when_ready="wait")
        if isinstance(options, MirrorOptions)
        else options
    )


# Properties


@PATIENT
@given(SERVERS, FILES)
def test_plans_lead_to_the_jobs_of_the_file(live: GraphModel, desired: GraphModel) -> None:
    """One plan does what can be done, others the rest when what is cancelled has ended, and gone.

    Planned again before that there is nothing to do, but to start what was only to be forgotten.
    """
    server = LiveWithJobs(live)
    first = plan(desired, server.model())
    server.perform(first)
    for each in first:
        if each.type == "x-blkrun-job-remove":
            ended = live.states[each.data["id"]].ended
            assert cancelled_by(each) == (None if ended else each.data["id"])
        else:
            assert cancelled_by(each) is None
    removed = {f"jobs.{each.data['id']}" for each in first if each.type == "x-blkrun-job-remove"}
    assert {each.table for each in plan(desired, server.model())} <= removed
    for _ in range(2):
        server.end()
        server.perform(plan(desired, server.model()))
    assert plan(desired, server.model()) == ()
    model = server.model()
    assert model.nodes == desired.nodes
    assert desired.jobs.keys() <= model.jobs.keys() <= desired.jobs.keys() | desired.resting
    for name, options in desired.jobs.items():
        assert lasting(model.jobs[name]) == lasting(options)
        assert model.states[name].ended or model.jobs[name] == options
    for name in model.jobs.keys() - desired.jobs.keys():
        assert model.states[name].ended


@PATIENT
@given(SERVERS)
def test_a_server_as_the_file_says_is_left_alone(live: GraphModel) -> None:
    """Whatever state each job is in: what has ended is not started again."""
    server = LiveWithJobs(live)
    desired = structs.replace(live, states={})
    assert plan(desired, server.model()) == ()
    rest = structs.replace(desired, jobs={}, resting=frozenset(live.jobs))
    stopped = {each.data["id"] for each in plan(rest, server.model())}
    going_on = {name for name, state in live.states.items() if not (state.ended or state.leaving)}
    assert stopped == going_on


@PATIENT
@given(SERVERS, FILES)
def test_order_of_a_plan(live: GraphModel, desired: GraphModel) -> None:
    """Jobs go before anything else is done, and start when all is done."""
    kinds = [each.type for each in plan(desired, live)]
    removed, started = kinds.count("x-blkrun-job-remove"), sum(map(starts, kinds))
    changed = kinds.count("x-blkrun-job-change")
    assert all(kind == "x-blkrun-job-remove" for kind in kinds[:removed])
    assert all(map(about_jobs, kinds[len(kinds) - started - changed :]))


def starts(kind: str) -> bool:
    """Whether it starts a job."""
    return kind in ("blockdev-backup", "blockdev-mirror")


def about_jobs(kind: str) -> bool:
    """Whether it starts or changes one."""
    return starts(kind) or kind == "x-blkrun-job-change"


# What is said and sent

NIGHTLY = BackupOptions(
    job_id="nightly", device="disk", target="copy", filter_node_name="nightly-filter"
)
MOVE = MirrorOptions(
    job_id="move", device="disk", target="copy", filter_node_name="move-filter", when_ready="pivot"
)


def graph(
    *jobs: JobOptions, state: JobState = RUNNING, resting: tuple[str, ...] = ()
) -> GraphModel:
    """Export vda over a filter over ``disk``, export vdb of ``disk``, and ``copy``."""
    nodes: dict[str, BlockdevOptions] = {
        "disk": MemoryOptions(node_name="disk", size=SIZE),
        "copy": MemoryOptions(node_name="copy", size=SIZE),
        "limit": WriteThresholdOptions(node_name="limit", file="disk", write_threshold=0),
    }
    return GraphModel(
        nodes=nodes,
        groups={},
        exports={"vda": ExportOptions(node="limit"), "vdb": ExportOptions(node="disk")},
        jobs={each.job_id: each for each in jobs},
        states={each.job_id: state for each in jobs},
        resting=frozenset(resting),
    )


def said(desired: GraphModel, live: GraphModel) -> list[str]:
    """The plan as it is printed."""
    return [f"{each.sign} {each.text}" for each in plan(desired, live)]


def test_starting() -> None:
    """What is not at its default is sent, and always sync; it stays listed when it has ended."""
    backup, mirror = (
        plan(graph(each), graph())[0] for each in (structs.replace(NIGHTLY, speed=2**20), MOVE)
    )
    assert (backup.type, mirror.type) == ("blockdev-backup", "blockdev-mirror")
    assert backup.data == {
        "job-id": "nightly",
        "device": "disk",
        "target": "copy",
        "speed": 2**20,
        "filter-node-name": "nightly-filter",
        "sync": "full",
        "auto-dismiss": False,
        "x-blkrun-of-file": True,
    }
    assert backup.text == "backup nightly of disk to copy (sync full, speed 1MiB)"
    assert backup.table == "jobs.nightly"
    assert mirror.text == ("mirror move of disk to copy (sync full, background, when ready: pivot)")


def test_an_incremental_backup_names_its_bitmap() -> None:
    """In the plan too."""
    job = structs.replace(NIGHTLY, sync="incremental", bitmap="b0")
    assert said(graph(job), graph()) == [
        "+ backup nightly of disk to copy (sync incremental, bitmap b0)"
    ]


def test_changing() -> None:
    """Only what differs is sent."""
    new = structs.replace(MOVE, speed=2**20, when_ready="wait")
    (operation,) = plan(graph(new), graph(MOVE))
    assert operation.type == "x-blkrun-job-change"
    assert operation.data == {"id": "move", "speed": 2**20, "when-ready": "wait"}
    assert said(graph(new), graph(MOVE)) == [
        "~ job move: speed none → 1MiB, when-ready pivot → wait"
    ]


CANCELLED_TEXT = "- backup nightly of disk to copy: cancelled"


@pytest.mark.parametrize(
    ("desired", "live", "expected"),
    [
        (graph(), graph(NIGHTLY), [CANCELLED_TEXT]),
        (graph(resting=("nightly",)), graph(NIGHTLY), [CANCELLED_TEXT]),
        (graph(resting=("nightly",)), graph(NIGHTLY, state=CONCLUDED), []),
        (
            graph(),
            graph(NIGHTLY, state=CONCLUDED),
            ["- backup nightly of disk to copy: forgotten"],
        ),
        (graph(), graph(NIGHTLY, state=LEAVING), []),
        (graph(NIGHTLY), graph(NIGHTLY, state=LEAVING), []),
        (graph(structs.replace(NIGHTLY, sync="top")), graph(NIGHTLY, state=LEAVING), []),
        (
            graph(structs.replace(NIGHTLY, sync="top")),
            graph(NIGHTLY),
            [f"{CANCELLED_TEXT} (sync), and started again once it has ended"],
        ),
        (
            graph(structs.replace(NIGHTLY, sync="top")),
            graph(NIGHTLY, state=CONCLUDED),
            [
                "- backup nightly of disk to copy: forgotten (sync), and started again",
            ],
        ),
        (
            graph(structs.replace(MOVE, job_id="nightly", when_ready="wait")),
            graph(NIGHTLY),
            [f"{CANCELLED_TEXT} (another type), and started again once it has ended"],
        ),
        (
            graph(structs.replace(NIGHTLY, job_id="weekly")),
            graph(NIGHTLY),
            [f"{CANCELLED_TEXT}; weekly: started once it has ended"],
        ),
        (graph(structs.replace(NIGHTLY, speed=1)), graph(NIGHTLY, state=CONCLUDED), []),
    ],
    ids=[
        "no table",
        "switched off",
        "switched off, ended",
        "no table, ended",
        "being cancelled, no table",
        "being cancelled, as in the file",
        "being cancelled, another table",
        "an option",
        "an option, ended",
        "another type",
        "another name, the same disks",
        "another speed, ended",
    ],
)
def test_edits_of_a_job(desired: GraphModel, live: GraphModel, expected: list[str]) -> None:
    """What each does."""
    assert said(desired, live) == expected


def test_a_job_and_its_target_go_together() -> None:
    """In one transaction, the job first."""
    desired = graph()
    nodes = {name: node for name, node in desired.nodes.items() if name != "copy"}
    operations = plan(structs.replace(desired, nodes=nodes), graph(NIGHTLY))
    assert [each.type for each in operations] == ["x-blkrun-job-remove", "blockdev-del"]


def test_jobs_endanger_no_client() -> None:
    """Whatever a job does, its device shows the same data."""
    live, desired = graph(), graph(MOVE)
    assert endangered(plan(desired, live), desired, live) == set()


# After a pivot


def moved(graph: GraphModel) -> GraphModel:
    """What the server makes of it when ``move`` pivots."""
    limit = structs.replace(graph.nodes["limit"], file="copy")
    return structs.replace(
        graph,
        nodes={**graph.nodes, "limit": limit},
        exports={**graph.exports, "vdb": ExportOptions(node="copy")},
        states={"move": PIVOTED},
    )


def test_clients_stay_where_the_mirror_has_led_them() -> None:
    """The file still names the old disk: nothing is done, and no export is endangered."""
    desired, live = graph(MOVE), moved(graph(MOVE))
    assert plan(desired, live) == ()
    assert endangered((), desired, live) == set()


@pytest.mark.parametrize("change", [{"sync": "top"}, {"device": "limit"}, {"speed": 7}])
def test_a_mirror_that_has_pivoted_is_not_started_again(change: dict[str, object]) -> None:
    """It would overwrite what clients have written since."""
    desired, live = graph(structs.replace(MOVE, **change)), moved(graph(MOVE))
    assert not {each.type for each in plan(desired, live)} & {
        "blockdev-mirror",
        "x-blkrun-job-remove",
        "x-blkrun-job-change",
    }


def test_an_edit_after_a_pivot_stays_above_the_target() -> None:
    """A new filter over the old disk's name comes over the new disk."""
    desired, live = graph(MOVE), moved(graph(MOVE))
    top = WriteThresholdOptions(node_name="top", file="disk", write_threshold=0)
    desired = structs.replace(
        desired,
        nodes={**desired.nodes, "top": top},
        exports={**desired.exports, "vdb": ExportOptions(node="top")},
    )
    assert said(desired, live) == [
        "+ node top (write-threshold) over copy",
        "+ insert top between export vdb and copy",
    ]


def test_a_file_that_has_followed_is_as_the_server_is() -> None:
    """The table is switched off, the edges lead to the target."""
    live = moved(graph(MOVE))
    followed = structs.replace(live, jobs={}, states={}, resting=frozenset({"move"}))
    assert plan(followed, live) == ()


def test_back_to_the_old_disk_is_an_edit_like_any_other() -> None:
    """With the mirror switched off the file means what it says, and clients are asked for."""
    live = moved(graph(MOVE))
    back = graph(resting=("move",))
    assert [each.type for each in plan(back, live)] == ["x-blkrun-set-edge"] * 2
    assert endangered(plan(back, live), back, live) == {"vda", "vdb"}


def test_two_pivots_one_after_the_other() -> None:
    """From the first disk to the second, from there to the third: in the order of their starts."""
    nodes = {name: MemoryOptions(node_name=name, size=SIZE) for name in ("a", "b", "c")}
    jobs: dict[str, JobOptions] = {
        "one": MirrorOptions(job_id="one", device="a", target="b"),
        "two": MirrorOptions(job_id="two", device="b", target="c"),
    }
    desired = GraphModel(
        nodes=dict(nodes), groups={}, exports={"vda": ExportOptions(node="a")}, jobs=jobs
    )
    live = structs.replace(
        desired,
        exports={"vda": ExportOptions(node="c")},
        states=dict.fromkeys(jobs, PIVOTED),
    )
    assert plan(desired, live) == ()


@PATIENT
@given(MODELS, st.data())
def test_whatever_is_over_the_device_stays_over_the_target(
    graph: GraphModel, data: st.DataObject
) -> None:
    """After a pivot the plan of the old file is empty, and the target's own tree is as it was."""
    names = sorted(graph.nodes)
    device, target = (data.draw(st.sampled_from(names)) for _ in range(2))
    if device == target:
        return
    job = MirrorOptions(job_id="m", device=device, target=target)
    desired = structs.replace(graph, jobs={"m": job})
    own = {target}
    while (
        more := {child for name in own for child in children_of(graph.nodes[name]).values()} - own
    ):
        own |= more
    live = structs.replace(
        desired,
        nodes={
            name: structs.replace(options, file=target)
            if device in children_of(options).values() and name not in own
            else options
            for name, options in graph.nodes.items()
        },
        exports={
            name: structs.replace(each, node=target) if each.node == device else each
            for name, each in graph.exports.items()
        },
        states={"m": PIVOTED},
    )
    assert plan(desired, live) == ()
    assert endangered((), desired, live) == set()


# What a server reports


def entry(options: JobOptions, **values: object) -> dict[str, object]:
    """An element of "jobs"."""
    return {
        "id": options.job_id,
        "type": "backup",
        "options": {"type": "backup", "device": "disk", "target": "copy", "job-id": "nightly"},
        "status": "running",
        "cancelled": False,
        "pivoted": False,
        **values,
    }


def test_a_reply_with_jobs() -> None:
    """Options and state are read; edges that lead to filters of jobs are read as leading below."""
    server = LiveGraph(graph())
    reply = server.execute("x-blkrun-query-graph", {})
    plain = read_live(reply).graph
    for node in reply["nodes"]:
        node["job"] = None
        if node["node-name"] == "limit":
            node["options"]["file"] = "upper"
    for name, below in (("upper", "lower"), ("lower", "disk")):
        reply["nodes"].append(
            {
                "node-name": name,
                "options": {"driver": "something-inside", "node-name": name, "file": below},
                "children": {"file": below, "target": "copy"},
                "monitor-owned": False,
                "job": "nightly",
            }
        )
    for export in reply["exports"]:
        if export["id"] == "vdb":
            export["node-name"] = "upper"
    reply["jobs"] = [entry(NIGHTLY, status="concluded", cancelled=True, error="No space")]
    live = read_live(reply).graph
    assert (live.nodes, live.exports) == (plain.nodes, plain.exports)
    assert live.jobs == {"nightly": structs.replace(NIGHTLY, filter_node_name=None)}
    assert live.states == {
        "nightly": JobState(status="concluded", cancelled=True, error="No space")
    }


def test_a_reply_of_a_server_without_jobs() -> None:
    """An older one names neither."""
    server = LiveGraph(graph())
    assert server.model().jobs == {}
    assert plan(graph(), server.model()) == ()
