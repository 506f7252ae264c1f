"""What is copied: tables that a file takes, commands that a server takes."""

import json
import tomllib
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from blkrun.config import parse
from blkrun.dashboard.model.copying import qmp_of, toml_of
from blkrun.dashboard.model.snapshot import Snapshot, read_snapshot
from blkrun.dashboard.model.subject import Subject
from blkrun.model import GraphModel
from tests.dashboard.dashboard_samples import NASTY_NAMES, export, group, node, reply, snapshot
from tests.reconcile.live_graph import LiveGraph
from tests.reconcile.test_list_plans import graph, graphs, quorum
from tests.reconcile.test_plan import models

QUICK = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=40)


def seen(live: LiveGraph) -> Snapshot:
    """As the dashboard sees it."""
    return read_snapshot(live.execute("x-blkrun-query-graph", {}))


def subjects(found: Snapshot) -> list[Subject]:
    """Everything, so that what is used comes before who uses it."""
    groups = [Subject("group", each.id) for each in found.throttle_groups]
    nodes: list[Subject] = []
    rest = {each.node_name: set(each.children.values()) for each in found.nodes}
    while rest:
        name = next(name for name, below in rest.items() if not below & set(rest))
        nodes.append(Subject("node", name))
        del rest[name]
    return [*groups, *nodes, *(Subject("export", each.id) for each in found.exports)]


@QUICK
@given(models() | graphs())
def test_tables_are_what_a_file_takes(model: GraphModel) -> None:
    """Of any graph that a server may have: read again they say the same."""
    live = LiveGraph(model)
    found = seen(live)
    text = "\n".join(toml_of(found, subject) for subject in subjects(found))
    read = parse(text, Path("/lab/vm.toml")).graph
    now = live.model()
    assert (read.nodes, read.groups, read.exports) == (now.nodes, now.groups, now.exports)


@QUICK
@given(models() | graphs())
def test_commands_are_what_a_server_takes(model: GraphModel) -> None:
    """Another server that is given all of them has the same graph."""
    live, other = LiveGraph(model), LiveGraph()
    found = seen(live)
    for subject in subjects(found):
        command = json.loads(qmp_of(found, subject))
        other.execute(command["execute"], command["arguments"])
    now, copied = live.model(), other.model()
    assert (copied.nodes, copied.groups, copied.exports) == (now.nodes, now.groups, now.exports)


def test_a_list_with_a_gap() -> None:
    """Names in their order, under one key; roles are the server's business."""
    live = LiveGraph(graph(quorum("abc")))
    live.execute("x-blockdev-change", {"parent": "q", "child": "children.1"})
    found, subject = seen(live), Subject("node", "q")
    assert tomllib.loads(toml_of(found, subject))["nodes"]["q"]["children"] == ["a", "c"]
    assert json.loads(qmp_of(found, subject))["arguments"].keys() == {
        "driver",
        "node-name",
        "children",
        "vote-threshold",
    }


def test_a_table_is_written_as_people_do() -> None:
    """The header first, sizes and times with their units, and no defaults."""
    limits = {"bps-total": 2**20, "iops-total": 0, "bps-total-max": 2**21}
    raw = group("gold") | {"limits": {**limits, "bps-total-max-length": 10, "iops-total-max": 0}}
    found = snapshot(reply(1, **{"throttle-groups": [raw]}))
    assert toml_of(found, Subject("group", "gold")).splitlines() == [
        "[throttle-groups.gold]",
        'bps-total = "1MiB"',
        'bps-total-max = "2MiB"',
        'bps-total-max-length = "10s"',
    ]


def test_the_filter_of_a_job_has_no_table() -> None:
    """A file that had one could not be applied."""
    found = snapshot(reply(1, nodes=[node("nf", "mirror_top", "disk", job="move")]))
    assert toml_of(found, Subject("node", "nf")) == '# the filter of job "move": it has no table\n'


def test_what_has_gone_is_nothing() -> None:
    """It may go between the look and the key."""
    for gone in (Subject("node", "gone"), Subject("export", "gone"), Subject("group", "gone")):
        assert toml_of(snapshot(reply(1)), gone) == qmp_of(snapshot(reply(1)), gone) == ""


def test_any_name_is_quoted() -> None:
    """And is the same when it is read."""
    for name in NASTY_NAMES:
        raw = reply(
            1,
            nodes=[node(name, "novelty")],
            exports=[export(name, name)],
            **{"throttle-groups": [group(name, iops_total=5)]},
        )
        found = snapshot(raw)
        for subject, section in (
            (Subject("node", name), "backends"),
            (Subject("export", name), "exports"),
            (Subject("group", name), "throttle-groups"),
        ):
            assert list(tomllib.loads(toml_of(found, subject))[section]) == [name]
            assert name in json.loads(qmp_of(found, subject))["arguments"].values()
