"""The live graph as a file: planned against that graph it asks for nothing."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from blkrun.config import parse
from blkrun.errors import BlkrunError
from blkrun.job_options import BackupOptions, MirrorOptions
from blkrun.model import GraphModel, JobState
from blkrun.options import (
    BitmapPlace,
    CopyBeforeWriteOptions,
    ExportOptions,
    MemoryOptions,
    NbdOptions,
    ThrottleLimits,
    ThrottleOptions,
    WriteThresholdOptions,
)
from blkrun.reconcile.dump import dump
from blkrun.reconcile.plan import plan
from tests.reconcile.live_graph import LiveGraph
from tests.reconcile.test_plan import models

VM = Path("/lab/vm.toml")

DISK = MemoryOptions(node_name="disk", size=2**20)
COPY = MemoryOptions(node_name="copy", size=2**20)
LIMITS = ThrottleLimits(iops_total=500, iops_total_max=1000, iops_total_max_length=5)
THROTTLE = ThrottleOptions(node_name="vda-throttle", file="disk", throttle_group="vda")
LIMITED = GraphModel(
    nodes={"disk": DISK, "vda-throttle": THROTTLE},
    groups={"vda": LIMITS},
    exports={"vda": ExportOptions(node="vda-throttle")},
)


def dumped(graph: GraphModel) -> dict[str, Any]:
    """What the text says; it can be used, and asks for nothing."""
    text = dump(graph, {}, "vm.toml")
    assert plan(parse(text, VM).graph, graph) == ()
    return tomllib.loads(text)


@given(models())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_dump_asks_for_nothing(model: GraphModel) -> None:
    """Of any graph that a server may have, as the runner reads it."""
    live = LiveGraph(model).model()
    config = parse(dump(live, {}, "vm.toml"), VM)
    assert plan(config.graph, live) == ()
    assert config.graph.nodes == live.nodes


def test_settings_are_as_given() -> None:
    """With their own words."""
    text = dump(LIMITED, {"server": {"listen": "unix:a.sock"}}, "vm.toml, as it is")
    assert text.startswith('# vm.toml, as it is\n\n[server]\nlisten = "unix:a.sock"\n\n[')
    assert parse(text, VM).address.unix == Path("/lab/a.sock")


def test_limits_of_an_export_are_in_its_table() -> None:
    """Neither group nor throttle has one."""
    said = dumped(LIMITED)
    assert said.keys() == {"backends", "exports"}
    assert said["exports"]["vda"] == {
        "node": "disk",
        "iops-total": 500,
        "iops-total-max": 1000,
        "iops-total-max-length": "5s",
    }


OTHERWISE = {
    "another member": {
        "nodes": LIMITED.nodes | {"t": msgspec.structs.replace(THROTTLE, node_name="t")}
    },
    "another export": {"exports": LIMITED.exports | {"vdb": ExportOptions(node="vda-throttle")}},
    "options of its own": {
        "nodes": LIMITED.nodes
        | {"vda-throttle": msgspec.structs.replace(THROTTLE, discard="ignore")}
    },
    "no average": {"groups": {"vda": ThrottleLimits()}},
}


@pytest.mark.parametrize("change", OTHERWISE.values(), ids=OTHERWISE)
def test_what_limits_would_not_make_has_tables(change: dict[str, Any]) -> None:
    """A throttle that somebody else uses too, or that is otherwise than limits make it."""
    said = dumped(msgspec.structs.replace(LIMITED, **change))
    assert said["exports"]["vda"] == {"node": "vda-throttle"}
    assert "vda" in said["throttle-groups"]
    assert "vda-throttle" in said["nodes"]


def test_a_spent_filter_stays_spent() -> None:
    """Its table says so, also when what it was over has gone."""
    spent = WriteThresholdOptions(
        node_name="alarm", file="gone", write_threshold=8192, when_spent="remove"
    )
    graph = msgspec.structs.replace(LIMITED, spent={"alarm": spent})
    said = dumped(graph)["nodes"]["alarm"]
    assert said == {
        "driver": "write-threshold",
        "file": "disk",
        "write-threshold": "8KiB",
        "when-spent": "remove",
    }
    assert "# alarm has done its work and left" in dump(graph, {}, "vm.toml")


@pytest.mark.parametrize(
    ("state", "enabled"),
    [
        (JobState(), True),
        (JobState(status="concluded"), True),
        (JobState(status="concluded", pivoted=True), False),
        (JobState(cancelled=True), False),
    ],
)
def test_jobs_go_on_as_they_are(state: JobState, enabled: bool) -> None:  # noqa: FBT001 - a parameter
    """What has ended is not started again; what pivots or is cancelled is switched off."""
    job = MirrorOptions(job_id="move", device="disk", target="copy", filter_node_name="move-filter")
    graph = GraphModel(
        nodes={"disk": DISK, "copy": COPY},
        groups={},
        exports={"vda": ExportOptions(node="copy" if state.pivoted else "disk")},
        jobs={"move": job},
        states={"move": state},
    )
    said = dumped(graph)["jobs"]["move"]
    assert said.get("enabled", True) is enabled
    assert "filter-node-name" not in said


def test_nested_values() -> None:
    """A command's words, a filter's bitmap, a job's options."""
    keep = CopyBeforeWriteOptions(
        node_name="keep",
        file="disk",
        target="copy",
        cbw_timeout=10,
        bitmap=BitmapPlace(node="disk", name="x"),
    )
    nodes = {
        "disk": DISK,
        "copy": COPY,
        "keep": keep,
        "far": NbdOptions(node_name="far", command=("nbdkit", "memory", "1M")),
    }
    job = BackupOptions(
        job_id="b", device="far", target="copy", speed=3 * 2**20, filter_node_name="other"
    )
    graph = GraphModel(
        nodes=nodes, groups={}, exports={}, jobs={"b": job}, states={"b": JobState()}
    )
    said = tomllib.loads(dump(graph, {}, "vm.toml"))
    assert said["nodes"]["keep"]["bitmap"] == {"node": "disk", "name": "x"}
    assert said["nodes"]["keep"]["cbw-timeout"] == "10s"
    assert said["backends"]["far"]["command"] == ["nbdkit", "memory", "1M"]
    assert said["jobs"]["b"]["filter-node-name"] == "other"
    assert said["jobs"]["b"]["speed"] == "3MiB"


def test_a_child_without_a_name() -> None:
    """A file has no way to say it."""
    node = ThrottleOptions(node_name="t", file="#block001", throttle_group="vda")
    with pytest.raises(BlkrunError, match="node t has a child that was given in its blockdev-add"):
        dump(GraphModel(nodes={"t": node}, groups={}, exports={}), {}, "vm.toml")
