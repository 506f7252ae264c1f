"""Dirty bitmaps in plans: made and removed, made anew with their nodes, and waited for."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given
from msgspec import structs

from blkrun.job_options import BackupOptions, JobOptions
from blkrun.model import GraphModel, JobState
from blkrun.options import (
    BitmapOptions,
    BitmapPlace,
    BlockdevOptions,
    CopyBeforeWriteOptions,
    ExportOptions,
    MemoryOptions,
    WriteThresholdOptions,
)
from blkrun.reconcile.live import read_live
from blkrun.reconcile.plan import plan
from blkrun.server.staging import Staging
from tests.reconcile.fake_jobs import LiveWithJobs
from tests.reconcile.live_graph import LiveGraph
from tests.reconcile.test_plan import PATIENT

SIZE = 2**20
RUNNING = JobState()
LEAVING = JobState(status="aborting", cancelled=True)
CONCLUDED = JobState(status="concluded")

HOURLY = BackupOptions(
    job_id="hourly",
    device="disk",
    target="copy",
    filter_node_name="hourly-filter",
    sync="incremental",
    bitmap="changes",
)
CHANGES = BitmapOptions(node="disk")
COARSE = BitmapOptions(node="disk", granularity=2**20)
ELSEWHERE = BitmapOptions(node="other")
ALARM = WriteThresholdOptions(
    node_name="alarm", file="disk", write_threshold=1000, when_spent="remove"
)
ADD, REMOVE = "block-dirty-bitmap-add", "block-dirty-bitmap-remove"


def graph(
    bitmap: BitmapOptions | None,
    *jobs: JobOptions,
    state: JobState = RUNNING,
    size: int = SIZE,
    above: BlockdevOptions | None = None,
) -> GraphModel:
    """Export vda of ``disk``, or of what is ``above`` it, and two others that it can go to."""
    nodes: list[BlockdevOptions] = [
        *(MemoryOptions(node_name=name, size=size) for name in ("disk", "copy", "other")),
        *([above] if above else []),
    ]
    return GraphModel(
        nodes={each.node_name: each for each in nodes},
        groups={},
        exports={"vda": ExportOptions(node=above.node_name if above else "disk")},
        bitmaps={"changes": bitmap} if bitmap else {},
        jobs={each.job_id: each for each in jobs},
        states={each.job_id: state for each in jobs},
    )


def over(disk: str, bitmap: BitmapOptions | None, *jobs: JobOptions) -> GraphModel:
    """Like ``graph``, with a filter over one of the disks."""
    above = WriteThresholdOptions(node_name="above", file=disk, write_threshold=0)
    return graph(bitmap, *jobs, above=above)


def without(model: GraphModel, node: str) -> GraphModel:
    """The same, without a node and its export."""
    nodes = {name: each for name, each in model.nodes.items() if name != node}
    return structs.replace(model, nodes=nodes, exports={})


def said(desired: GraphModel, live: GraphModel) -> list[str]:
    """The plan as it is printed."""
    return [f"{each.sign} {each.text}" for each in plan(desired, live)]


ADDED = "+ bitmap changes of disk (64KiB), all dirty"
REMOVED = "- bitmap changes of disk"
STARTED = "+ backup hourly of disk to copy (sync incremental, bitmap changes)"
CANCELLED = "- backup hourly of disk to copy: cancelled"
FORGOTTEN = "- backup hourly of disk to copy: forgotten"
LATER = "; bitmap changes: changed once it has ended"
COARSER = "+ bitmap changes of disk (1MiB), all dirty"
BIGGER = [
    f"~ {name}: a new node in its place (size 1MiB → 2MiB)" for name in ("disk", "copy", "other")
]


@pytest.mark.parametrize(
    ("desired", "live", "expected"),
    [
        (graph(CHANGES, HOURLY), graph(None), [ADDED, STARTED]),
        (graph(None), graph(CHANGES), [REMOVED]),
        (graph(COARSE), graph(CHANGES), [REMOVED, COARSER]),
        (
            graph(ELSEWHERE),
            graph(CHANGES),
            [REMOVED, "+ bitmap changes of other (64KiB), all dirty"],
        ),
        (
            graph(CHANGES, size=2 * SIZE),
            graph(CHANGES),
            [REMOVED, BIGGER[0], ADDED, *BIGGER[1:]],
        ),
        (
            without(graph(None), "disk"),
            graph(CHANGES),
            [REMOVED, "- export vda", "- backend disk (memory)"],
        ),
        (graph(None), graph(CHANGES, HOURLY), [CANCELLED + LATER]),
        (graph(None), graph(CHANGES, HOURLY, state=LEAVING), []),
        (graph(None), graph(CHANGES, HOURLY, state=CONCLUDED), [FORGOTTEN, REMOVED]),
        (graph(COARSE), graph(CHANGES, HOURLY), [CANCELLED + LATER]),
        (graph(COARSE, HOURLY), graph(CHANGES, HOURLY), [REMOVED, COARSER]),
        (
            graph(ELSEWHERE, structs.replace(HOURLY, job_id="new", device="other", target="copy")),
            graph(CHANGES, structs.replace(HOURLY, target="alarm"), state=LEAVING),
            [],
        ),
        (
            without(graph(None), "disk"),
            graph(CHANGES, HOURLY),
            [CANCELLED, "- export vda", "- backend disk (memory)"],
        ),
        (
            graph(CHANGES, size=2 * SIZE),
            graph(CHANGES, HOURLY),
            [CANCELLED, BIGGER[0], ADDED, *BIGGER[1:]],
        ),
    ],
    ids=[
        "new, with a job",
        "no table",
        "another granularity",
        "another node",
        "its node is replaced",
        "its node goes",
        "with a job that goes",
        "with a job that is going",
        "with a job that has ended",
        "another granularity, a job that goes",
        "another granularity, a job that goes on: the server refuses it",
        "a job that waits for it",
        "its node and the job go",
        "its node is replaced, and the job goes",
    ],
)
def test_edits_of_a_bitmap(desired: GraphModel, live: GraphModel, expected: list[str]) -> None:
    """What each does, in this order."""
    assert said(desired, live) == expected


def test_what_is_sent() -> None:
    """The server is told that it is a file's."""
    (add,) = plan(graph(CHANGES), graph(None))
    assert (add.type, add.table) == (ADD, "bitmaps.changes")
    assert add.data == {
        "node": "disk",
        "name": "changes",
        "granularity": 65536,
        "x-blkrun-of-file": True,
    }
    (remove,) = plan(graph(None), graph(CHANGES))
    assert (remove.type, remove.data) == (REMOVE, {"node": "disk", "name": "changes"})


def test_a_new_one_is_all_dirty() -> None:
    """So the first incremental copy is a full one; and one that is there is left as it is."""
    server = LiveGraph(graph(CHANGES))
    (bitmap,) = server.graph.nodes["disk"].bitmaps.values()
    assert bitmap.bits.count_bytes() == SIZE
    bitmap.clear()
    assert plan(graph(CHANGES), server.model()) == ()
    server.perform(plan(graph(CHANGES, size=2 * SIZE), server.model()))
    (bitmap,) = server.graph.nodes["disk"].bitmaps.values()
    assert bitmap.bits.count_bytes() == 2 * SIZE
    assert server.model() == graph(CHANGES, size=2 * SIZE)


def test_other_data_below_is_all_dirty() -> None:
    """The bitmap has no mark of what is different there: a copy of it would leave that out."""
    bitmap = structs.replace(CHANGES, node="above")
    live = over("disk", bitmap)
    assert said(over("other", bitmap), live) == [
        "- bitmap changes of above",
        "~ above: file disk → other",
        "+ bitmap changes of above (64KiB), all dirty",
    ]
    between = structs.replace(ALARM, when_spent="keep")
    filtered = over("alarm", bitmap)
    filtered = structs.replace(filtered, nodes={**filtered.nodes, "alarm": between})
    kinds = [each.type for each in plan(filtered, live)]
    assert kinds == ["blockdev-add", "block-insert-node"]


def test_other_data_below_a_job_that_goes() -> None:
    """The server refuses to take the bitmap from it: nothing is done until the job has ended."""
    bitmap = structs.replace(CHANGES, node="above")
    live = over("disk", bitmap, structs.replace(HOURLY, device="above"))
    assert REMOVE in [each.type for each in plan(over("other", bitmap), live)]


def test_a_node_that_goes_by_it() -> None:
    """A bitmap is there before what is over its node: a copy-before-write filter, here."""
    keep = CopyBeforeWriteOptions(
        node_name="keep",
        file="disk",
        target="copy",
        bitmap=BitmapPlace(node="disk", name="changes"),
    )
    server = LiveGraph(graph(CHANGES, above=keep))
    assert server.model() == graph(CHANGES, above=keep)


def test_one_made_by_qmp_is_nobodys_business() -> None:
    """It is neither in the live graph nor removed."""
    server = LiveGraph(graph(None))
    server.execute("block-dirty-bitmap-add", {"node": "disk", "name": "theirs"})
    assert server.model() == graph(None)
    server.perform(plan(graph(CHANGES), server.model()))
    assert server.graph.nodes["disk"].bitmaps.keys() == {"theirs", "changes"}


def test_a_server_of_an_older_blkrun() -> None:
    """It says of no bitmap that it is a file's, and of every job it was so."""
    reply = LiveGraph(graph(None)).execute("x-blkrun-query-graph", {})
    bitmap = {"name": "b", "granularity": 512, "recording": True, "busy": False}
    reply["nodes"][0]["bitmaps"] = [bitmap]
    assert read_live(reply).graph.bitmaps == {}
    del reply["nodes"][0]["bitmaps"]
    assert read_live(reply).graph == graph(None)


def test_a_filter_that_has_left_by_itself() -> None:
    """Its bitmap has gone with it; the file's is its child's then."""
    bitmap = structs.replace(CHANGES, node="alarm")
    server = LiveGraph(graph(bitmap, above=ALARM))

    def leave(staging: Staging) -> None:
        staging.retire(staging.nodes["alarm"])

    server.graph.transaction([leave])
    desired = graph(bitmap, above=ALARM)
    server.perform(plan(desired, server.model()))
    assert server.model().bitmaps == {"changes": CHANGES}
    assert plan(desired, server.model()) == ()


# Properties

BITMAPS = st.dictionaries(
    st.sampled_from(["m0", "m1"]),
    st.builds(
        BitmapOptions,
        node=st.sampled_from(["disk", "other"]),
        granularity=st.sampled_from([512, 4096]),
    ),
)


@st.composite
def files(draw: st.DrawFn) -> GraphModel:
    """Two disks, bitmaps of them, and jobs that may use these."""
    size = draw(st.sampled_from([SIZE, 2 * SIZE]))
    names = ["disk", "other", "copy-disk", "copy-other"]
    bitmaps = draw(BITMAPS)
    jobs: dict[str, JobOptions] = {}
    for device in draw(st.sets(st.sampled_from(["disk", "other"]))):
        own = [name for name, bitmap in bitmaps.items() if bitmap.node == device]
        wire: dict[str, Any] = {"device": device, "target": f"copy-{device}"}
        if own:
            wire |= {"sync": "incremental", "bitmap": draw(st.sampled_from(own))}
        name = draw(st.sampled_from(["j", "k"])) + device
        jobs[name] = BackupOptions(job_id=name, filter_node_name=f"{name}-filter", **wire)
    return GraphModel(
        nodes={name: MemoryOptions(node_name=name, size=size) for name in names},
        groups={},
        exports={"vda": ExportOptions(node="disk")},
        bitmaps=bitmaps,
        jobs=jobs,
    )


@st.composite
def servers(draw: st.DrawFn) -> GraphModel:
    """With jobs in any state."""
    model = draw(files())
    states = {name: draw(st.sampled_from([RUNNING, LEAVING, CONCLUDED])) for name in model.jobs}
    return structs.replace(model, states=states)


def goes_on_with_another(live: GraphModel, desired: GraphModel) -> bool:
    """Whether a job runs on while its bitmap, or its disk, is to be another: it is refused."""
    return any(
        not state.ended
        and desired.jobs.get(name) == live.jobs[name]
        and (
            live.nodes["disk"] != desired.nodes["disk"]
            or live.bitmaps.get(live.jobs[name].bitmap or "")  # type: ignore[attr-defined]  # backups
            != desired.bitmaps.get(live.jobs[name].bitmap or "")  # type: ignore[attr-defined]
        )
        for name, state in live.states.items()
    )


@PATIENT
@given(servers(), files())
def test_plans_lead_to_the_bitmaps_of_the_file(live: GraphModel, desired: GraphModel) -> None:
    """One plan does what can be done, others the rest when what is cancelled has ended, and gone.

    No bitmap is taken from a job that has it, and none is missed by a job that starts.
    """
    assume(not goes_on_with_another(live, desired))
    server = LiveWithJobs(live)
    server.perform(plan(desired, server.model()))
    for _ in range(2):
        server.end()
        server.perform(plan(desired, server.model()))
    assert plan(desired, server.model()) == ()
    assert server.model().bitmaps == desired.bitmaps
    assert server.model().jobs == desired.jobs
